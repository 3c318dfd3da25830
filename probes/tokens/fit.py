"""Fit a token probe on unpooled activations: its scores of rows and of tokens, and the direction it stands for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.base import clone

from lens.activations import Activations
from lens.errors import DataError, available
from lens.model import Model
from lens.reading import Job
from lens.sites import Site
from probes.direction import Direction
from probes.fit import Fitted, name_of, two_labels
from probes.monitor import Watched
from probes.provenance import provenance_of
from probes.tokens.attention import AttentionProbe
from probes.tokens.base import UnpooledProbe
from probes.tokens.pooled import TokenProbe
from probes.tokens.rows import token_array

TOKEN_PROBES: dict[str, Callable[[], UnpooledProbe]] = {
    "mean": partial(TokenProbe, "mean"),
    "last": partial(TokenProbe, "last"),
    "max": partial(TokenProbe, "max"),
    "softmax": partial(TokenProbe, "softmax"),
    "attention": AttentionProbe,
}


def make_tokens(probe: str | UnpooledProbe) -> UnpooledProbe:
    """An unfitted token probe by name, or a copy of one. Raises DataError: an unknown name, or a parameter out of
    range."""
    if isinstance(probe, UnpooledProbe):
        made = clone(probe)
        made.check_parameters()
        return made
    if probe not in TOKEN_PROBES:
        raise DataError(f"Unknown token probe {probe!r}; available: {available(TOKEN_PROBES)}.")
    return TOKEN_PROBES[probe]()


@dataclass(frozen=True)
class FittedTokens(Fitted):
    """A fitted token probe: the estimator, and the direction along which it scores single tokens."""

    estimator: UnpooledProbe

    def scores(self, acts: Activations, *, other_model: bool = False) -> Float[np.ndarray, " n"]:
        """The score of each row of unpooled activations. Raises what `Direction.check` and `token_array` raise."""
        return self.estimator.decision_function(self._read(acts, other_model))

    def token_scores(self, acts: Activations, *, other_model: bool = False) -> Float[np.ndarray, "n tokens"]:
        """The score of each token, nan where there is none. Raises as `scores`."""
        return self.estimator.token_scores(self._read(acts, other_model))

    def pool(self, acts: Activations, *, other_model: bool = False) -> Activations:
        """Unpooled activations pooled as the probe pools them, `Σ_t a_it h_it`: rows that its direction scores as it
        does, for `probes.evaluate`, `probes.calibrate` and whatever else takes a direction and rows.

        Raises as `scores`. DataError: several heads, which see a row in several ways.
        """
        if len(self.estimator.values_) > 1:
            raise DataError(f"{len(self.estimator.values_)} heads see a row in as many ways; pool with one head.")
        rows = torch.from_numpy(self.estimator.pooled(self._read(acts, other_model))).float()
        site, source = self.direction.site, replace(acts.source, pool=self.direction.provenance.pool)
        return replace(acts, arrays={site: rows}, norms={site: acts.norms[site]}, source=source, mask=None)

    def show(
        self, model: Model, acts: Activations, row: int, *, threshold: float = 0.0, other_model: bool = False
    ) -> Watched:
        """One row's tokens coloured by their scores, orange above the threshold.

        Raises as `scores`. DataError: no such row, or one whose text has other tokens than were read.
        """
        if not 0 <= row < len(acts):
            raise DataError(f"Row {row} does not exist: there are {len(acts)} rows.")
        one = acts.select([row])
        scores = self.token_scores(one, other_model=other_model)[0]
        scores = scores[~np.isnan(scores)]
        source: Any = acts.source
        job = Job.prepare(
            model,
            one.examples,
            sites=[self.direction.site],
            span=source.span,
            pool="none",
            batch_tokens=None,
            padding_side="right",
            truncate=source.truncate,
        )
        first, count = int(job.first[0]), int(job.counts[0])
        if count != len(scores):
            raise DataError(f"Row {row} has {count} tokens in span {source.span!r}; {len(scores)} were read.")
        ids = job.rows[0].ids[first : first + count]
        tokens = tuple(model.tokenizer.convert_ids_to_tokens(ids))
        return Watched(model.tokenizer.decode(ids), tokens, scores, threshold, stopped=False)

    def _read(self, acts: Activations, other_model: bool) -> Float[np.ndarray, "n tokens d"]:
        site = self.direction.site
        self.direction.check(acts.source.fingerprint, acts[site].shape[-1], acts.source.model, other_model=other_model)
        return token_array(acts, site)


def fit_tokens(acts: Activations, site: str | Site, probe: str | UnpooledProbe = "attention") -> FittedTokens:
    """Fit one token probe at one site, on all rows of unpooled activations.

    The direction scores single tokens, `norm · (v · h) + bias`; moving all tokens of a row along it by δ moves the
    row's score by `norm · δ`. Its `difference` and `neutral` are of rows as the probe pools them.

    Raises SiteError: a site that was not collected. DataError: pooled activations, one class, a missing label, a row
    without a token, a token that is not finite, or a probe that found nothing.
    """
    labels, X = two_labels(acts.examples), token_array(acts, site)
    estimator = make_tokens(probe).fit(X, labels)
    coef = estimator.coef_[0]
    norm = float(np.linalg.norm(coef))
    if norm == 0:
        raise DataError(f"The probe {name_of(probe)} at {site} is zero: the tokens of both classes are alike there.")
    pooled = estimator.pooled(X)
    means = np.stack([pooled[labels == value].mean(axis=0) for value in (0, 1)])
    direction = Direction(
        vector=torch.from_numpy(coef / norm).float(),
        site=acts.site(site),
        norm=norm,
        bias=float(estimator.intercept_[0]),
        residual_norm=acts.residual_norm(site),
        difference=float(np.linalg.norm(means[1] - means[0])),
        neutral=float(means.mean(axis=0) @ coef / norm),
        provenance=provenance_of(
            replace(acts.source, pool=name_of(probe)),
            len(X),
            method=name_of(probe),
            seed=estimator.get_params().get("seed"),
        ),
        log_odds=True,
    )
    return FittedTokens(estimator, direction)
