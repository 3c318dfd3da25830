"""Rows of tokens, packed: only the tokens that are there, one row after another."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped

from lens.activations import Activations
from lens.errors import DataError
from lens.sites import Site
from probes.standardise import ROUNDING


def token_array(acts: Activations, site: str | Site) -> Float[np.ndarray, "n tokens d"]:
    """Unpooled activations at one site as token probes take them: nan where a row has no token.

    What stands at places that the mask leaves out is never looked at. Raises SiteError: a site that was not collected.
    DataError: pooled activations, a row without a token, or a token that is not finite.
    """
    array = acts[site]
    if acts.mask is None or array.ndim != 3:
        raise DataError(f"Token probes read every token; activations at {site} are pooled: collect with pool='none'.")
    broken = acts.mask & ~array.isfinite().all(dim=-1)
    if bool(broken.any()):
        row = int(broken.any(dim=1).int().argmax())
        raise DataError(f"Row {row}: a token at {site} holds values that are not finite (nan or infinite).")
    if not bool(acts.mask.any(dim=1).all()):
        raise DataError(f"Row {int((~acts.mask.any(dim=1)).int().argmax())} has no token: there is nothing to read.")
    return array.masked_fill(~acts.mask[..., None], torch.nan).numpy()


@dataclass(frozen=True, eq=False)
class TokenRows:
    """The tokens of n rows. values: one row's after another's. starts, counts: where each row begins among them, and
    how many it has. there: which places of the padded array they came from."""

    values: Float[np.ndarray, "all d"]
    starts: Int[np.ndarray, " n"]
    counts: Int[np.ndarray, " n"]
    there: Bool[np.ndarray, "n tokens"]

    @classmethod
    def of(cls, X: Any) -> "TokenRows":
        """Pack `[n, tokens, d]`; a token that is nan throughout is none. Raises DataError: another shape, no rows, a
        row without a token, or a token that is not finite."""
        X = np.asarray(X)
        if X.ndim != 3 or 0 in X.shape:
            raise DataError(f"Token probes read [n, tokens, d] (pool='none'); given: shape {list(X.shape)}.")
        if X.dtype.kind != "f":
            raise DataError(f"Token probes read floating-point numbers; given: {X.dtype}.")
        there = ~np.isnan(X).all(axis=2)
        counts = there.sum(axis=1)
        if not counts.all():
            raise DataError(f"Row {int(np.argmin(counts))} has no token: there is nothing to read.")
        packed = cls(X[there].astype(np.float64), np.cumsum(counts) - counts, counts, there)
        finite = np.isfinite(packed.values).all(axis=1)
        if not finite.all():
            row = int(np.searchsorted(packed.starts, np.argmin(finite), side="right")) - 1
            raise DataError(f"Row {row}: a token holds values that are not finite (NaN or infinite).")
        return packed

    def __len__(self) -> int:
        return len(self.starts)

    def standardised(
        self, weight: Float[np.ndarray, " n"]
    ) -> "tuple[TokenRows, Float[np.ndarray, ' d'], Float[np.ndarray, ' d']]":
        """Tokens with mean 0 and variance 1, each as heavy as its row, and what was taken off and divided by."""
        heavy = self.spread(weight) / self.spread(weight).sum()
        center = heavy @ self.values
        moved = self.values - center
        scale = np.sqrt(heavy @ moved**2)
        still = scale <= ROUNDING * np.abs(center)
        moved[:, still], scale[still] = 0.0, 1.0
        moved /= scale
        return replace(self, values=moved), center, scale

    def spread(self, of_rows: Shaped[np.ndarray, "n *k"]) -> Shaped[np.ndarray, "all *k"]:  # noqa: F821
        """What belongs to a row, at each of its tokens."""
        return np.repeat(of_rows, self.counts, axis=0)

    def total(self, of_tokens: Float[np.ndarray, "all *k"]) -> Float[np.ndarray, "n *k"]:  # noqa: F821
        """Sum over each row's tokens."""
        return np.add.reduceat(of_tokens, self.starts, axis=0)

    def highest(self, of_tokens: Float[np.ndarray, "all *k"]) -> Float[np.ndarray, "n *k"]:  # noqa: F821
        """Maximum over each row's tokens."""
        return np.maximum.reduceat(of_tokens, self.starts, axis=0)

    def softmax(self, logits: Float[np.ndarray, "all *k"]) -> Float[np.ndarray, "all *k"]:  # noqa: F821
        """exp(logit) / Σ exp(logit) over each row's tokens."""
        raised = np.exp(logits - self.spread(self.highest(logits)))
        return raised / self.spread(self.total(raised))

    def padded(self, of_tokens: Float[np.ndarray, " all"]) -> Float[np.ndarray, "n tokens"]:
        """In the places that the tokens came from, nan elsewhere."""
        places = np.full(self.there.shape, np.nan)
        places[self.there] = of_tokens
        return places
