"""Plan: what a run is given, checked before anything long begins, and the sentences' parts.

Half of the sentences (by groups) fit the axes; a third of the others choose each axis' site; the rest is reported on.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from lens.errors import DataError, SiteError
from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from steering.studies.neurofeedback.axes import Asked, check_axes, flat_axes
from steering.studies.neurofeedback.control import KINDS, Kind
from steering.studies.neurofeedback.episodes import Tokens, longest
from steering.studies.neurofeedback.forms import Form, can_control, form_for
from steering.studies.neurofeedback.labels import Threshold, levels_of
from steering.studies.neurofeedback.own import own
from steering.studies.neurofeedback.reporting import places_of

AXES = ("logistic", "pc", "random")
SHOTS = (0, 2, 4, 8, 16, 32, 64)
EPISODES = 100
TEST = 2 / 3


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be run. source: the model whose activations give the labels. fit, validation, test: rows of the
    sentences. places, late: where answers are read, and which of these count for claims."""

    model: Model
    source: Model
    form: Form
    source_form: Form
    examples: Examples
    fit: Int[np.ndarray, " fit"]
    validation: Int[np.ndarray, " validation"]
    test: Int[np.ndarray, " test"]
    sites: tuple[Site, ...]
    asked: Asked
    threshold: Threshold
    shots: tuple[int, ...]
    places: list[int]
    late: list[int]
    tokens: Tokens
    kinds: tuple[Kind, ...]
    episodes: int
    temperature: float
    seed: int
    progress: bool

    @property
    def levels(self) -> int:
        return levels_of(self.threshold)

    @property
    def sentences(self) -> list[str]:
        return [str(one) for one in self.examples.prompts]

    @property
    def used(self) -> Int[np.ndarray, " used"]:
        """The sentences that no axis was fitted on."""
        return np.concatenate([self.validation, self.test])

    def seed_of(self, *names: object) -> int:
        """A seed of its own for everything that is drawn."""
        return zlib.crc32("/".join(map(str, (self.seed, *names))).encode())


def planned(
    model: Model,
    sentences: Examples | None,
    *,
    axes: Asked | None,
    shots: Sequence[int] | None,
    sites: Any,
    episodes: int | None,
    form: Any,
    threshold: Threshold | None,
    labels: Model | None,
    temperature: float,
    seed: int,
    progress: bool,
) -> Plan:
    """Raises DataError, ModelError, SiteError: what cannot be run, and what could."""
    if sentences is None:
        kept = own(model)
        sentences, form = kept.sentences, form or kept.form
        axes, threshold = axes or kept.axes, threshold or kept.threshold
        shots, episodes = kept.shots if shots is None else shots, episodes or kept.episodes
    axes, threshold, episodes = axes or AXES, threshold or "median", EPISODES if episodes is None else episodes
    for number, one in enumerate(sentences.prompts):
        if not isinstance(one, str):
            raise DataError(f"Row {number}: a sentence is a plain text; given: chat messages.")
    check_axes(axes)
    levels = levels_of(threshold)
    if episodes < 5:
        raise DataError(f"episodes={episodes}: at least 5 are needed.")
    texts = [str(one) for one in sentences.prompts]
    source = labels or model
    written = form_for(model, form, texts[0])
    for axis in flat_axes(axes):
        if not isinstance(axis, str):
            axis.check_model(source)
    found = tuple(source.sites(sites))
    if any(site.in_bridge for site in found):
        raise SiteError("Scores are read in the residual stream; give resid_post, resid_mid or resid_pre.")
    fit, validation, test = _parts(sentences, seed)
    tokens = Tokens.of(model, written, texts, levels)
    kinds: tuple[Kind, ...] = () if labels is not None or not can_control(written) else KINDS
    chosen = _shots(model, written, texts, shots, min(len(validation), len(test)), control=bool(kinds))
    places, late = places_of(chosen)
    return Plan(
        model=model,
        source=source,
        form=written,
        source_form=written if labels is None else form_for(source, form, texts[0]),
        examples=sentences,
        fit=fit,
        validation=validation,
        test=test,
        sites=found,
        asked=axes,
        threshold=threshold,
        shots=chosen,
        places=places,
        late=late,
        tokens=tokens,
        kinds=kinds,
        episodes=episodes,
        temperature=temperature,
        seed=seed,
        progress=progress,
    )


def _parts(examples: Examples, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if len(set(map(str, examples.groups))) < 6:
        raise DataError(
            f"{len(examples)} sentences of {len(set(map(str, examples.groups)))} groups: at least 6 groups are needed, "
            "to fit axes, to choose sites, and to test."
        )
    numbered = Examples(examples.frame.assign(_row=np.arange(len(examples))))
    fit, rest = numbered.split(test=0.5, seed=seed)
    validation, test = rest.split(test=TEST, seed=seed)
    first, second, third = (np.sort(part.frame["_row"].to_numpy(dtype=np.int64)) for part in (fit, validation, test))
    return first, second, third


def _shots(
    model: Model, form: Form, texts: Sequence[str], asked: Sequence[int] | None, pool: int, *, control: bool
) -> tuple[int, ...]:
    wanted = sorted({int(one) for one in (SHOTS if asked is None else asked)})
    if not wanted or wanted[0] < 0:
        raise DataError(f"shots={asked!r}: numbers of examples, from 0, are needed.")
    most = longest(model, form, texts, min(wanted[-1], len(texts) - 1), control=control)
    if most < 0:
        raise DataError(f"{model.name}'s context of {model.context} tokens does not hold a single sentence to score.")
    if asked is None:
        # Half of the pool stays unshown, so that labels can be fair coins.
        return tuple(one for one in wanted if one <= min(most, (pool - 1) // 2))
    if wanted[-1] >= pool:
        raise DataError(
            f"{wanted[-1]} shots need {wanted[-1] + 1} sentences in the smallest part of the data; it has {pool}. Give "
            f"more sentences, or at most {pool - 1} shots."
        )
    if wanted[-1] > most:
        raise DataError(
            f"{wanted[-1]} shots do not fit into {model.name}'s context of {model.context} tokens; at most {most} do."
        )
    return tuple(wanted)
