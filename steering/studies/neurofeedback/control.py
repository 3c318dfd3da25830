"""Control: what replies that are asked to be of a label do to the activations.

    explicit    the model writes a sentence, which is then read in place, without a score
    implicit    a sentence of the data is put in its place: only activations can follow what was asked

Every experiment draws shots and a sentence, and is run four times: labels as they are and flipped, each asked for the
lowest and for the highest label (`effect`).

Source: Ji-An et al., metacognitive monitoring and control (2025).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from lens.collect import collect
from lens.examples import Examples
from lens.generation import generate
from lens.model import Model
from lens.sites import Site
from steering.studies.neurofeedback.axes import Axis, Components
from steering.studies.neurofeedback.effect import cohen_d, effect_of, precision_of, specific, sums
from steering.studies.neurofeedback.episodes import Drawn, shots_of
from steering.studies.neurofeedback.forms import Form

Kind = Literal["explicit", "implicit"]
KINDS: tuple[Kind, ...] = ("explicit", "implicit")
CELLS = tuple(product((0, 1), (0, 1)))


@dataclass(frozen=True, eq=False)
class Replies:
    """What was read of the replies: states[site][e, flip, asked]; nan where the model wrote nothing. texts: the replies
    of each experiment."""

    states: Mapping[Site, Float[np.ndarray, "e 2 2 d"]]
    texts: list[list[str]]

    @property
    def whole(self) -> np.ndarray:
        """Which experiments have all four replies."""
        one = next(iter(self.states.values()))
        return np.asarray(~np.isnan(one).any(axis=(1, 2, 3)))


def replies(
    model: Model,
    form: Form,
    sentences: Sequence[str],
    drawn: Drawn,
    kind: Kind,
    sites: Sequence[Site],
    *,
    temperature: float = 0.7,
    seed: int = 0,
    progress: bool = True,
) -> Replies:
    """Run every experiment four times, and read the replies at all sites, averaged over their tokens."""
    prompts, given = [], []
    for episode in range(len(drawn.index)):
        as_is, flipped = (shots_of(sentences, one, episode) for one in (drawn, drawn.flipped()))
        for flip, asked in CELLS:
            shots = (flipped if flip else as_is)[:-1]
            prompts.append(form.control(shots, asked * (drawn.levels - 1)))
            given.append(as_is[-1][0])
    if kind == "implicit":
        said = given
    else:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = generate(
                model,
                prompts,
                max_new_tokens=form.max_new_tokens,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
            )
        said = [form.reply(one.text) for one in made]
    held = np.flatnonzero([bool(one) for one in said])
    shape = (len(drawn.index), 2, 2)
    states = {site: np.full((len(said), model.d_model), np.nan, dtype=np.float32) for site in sites}
    if len(held):
        spoken = [form.spoken(said[one]) for one in held]
        table = Examples(pd.DataFrame({"prompt": [prompts[one] for one in held], "response": spoken, "group": held}))
        acts = collect(model, table, sites=list(sites), span="response", progress=progress)
        for site in sites:
            states[site][held] = acts[site].numpy()
    texts = [said[k : k + 4] for k in range(0, len(said), 4)]
    return Replies({site: one.reshape(*shape, -1) for site, one in states.items()}, texts)


def summarised(
    found: Replies,
    axis: Axis,
    parts: Components,
    natural: Float[np.ndarray, " n"],
    others: Mapping[str, Axis],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """One row: effect, precision with its null, how specific, and where else it shows.

    natural: scores of the sentences by themselves. others: the axes of this site, for cosines.
    """
    keep = found.whole
    states = {site: one[keep].astype(np.float64) for site, one in found.states.items()}
    row: dict[str, Any] = {"axis": axis.name, "site": str(axis.site), "missing": int((~keep).sum())}
    if keep.sum() < 3:
        return row | {"n": int(keep.sum())} | dict.fromkeys(NUMBERS, np.nan) | {name: [] for name in LISTS}
    here = states[axis.site]
    scores = axis.score(here)
    one, zero = sums(scores)
    pcs = sums(parts.score(here))
    effect = effect_of(one, zero, seed=seed)
    moved = np.subtract(*(side.mean(axis=0) for side in sums(here)))
    size = float(np.linalg.norm(moved))
    cosines = {name: float(moved @ other.vector / size) if size > 0 else 0.0 for name, other in others.items()}
    outside = (scores < natural.min()) | (scores > natural.max())
    return (
        row
        | effect._asdict()
        | {"p_specific": specific(effect.d, pcs, seed=seed)}
        | precision_of(one, zero, pcs, seed=seed)._asdict()
        | {
            "cosine": float(moved @ axis.vector / size) if size > 0 else 0.0,
            "over_range": float(outside.mean()),
            "read_at": [str(site) for site in states],
            "d_at": [float(cohen_d(*sums(state @ axis.vector))) for state in states.values()],
            "other_axes": list(cosines),
            "other_cosines": list(cosines.values()),
            "upper": one.tolist(),
            "lower": zero.tolist(),
            "replies": [text for four in found.texts[:3] for text in four],
        }
    )


NUMBERS = ("d", "se", "low", "high", "p", "snr", "p_specific", "precision", "null", "null_high", "cosine", "over_range")
LISTS = ("read_at", "d_at", "other_axes", "other_cosines", "upper", "lower", "replies")
