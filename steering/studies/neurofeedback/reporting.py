"""Reporting: how often, and how surely, the model gives the label that the axis gives.

    credit(q) = ½ Σ over an episode as it is and flipped of 1[argmax_l p(l) = y_q]       (ties share)
    p: the share of permutations of labels over groups of sentences with at least the accuracy observed

Labels are permuted over the sentences that are asked about, with the answers as they are: what an answer has to do with
its sentence but not with the axis stays.

Source: Ji-An et al., metacognitive monitoring and control (2025).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from lens.intervals import mean_interval
from probes.metrics import p_value
from steering.studies.neurofeedback.episodes import Drawn

PERMUTATIONS = 1999


def places_of(shots: Sequence[int], *, more: int = 4) -> tuple[list[int], list[int]]:
    """Places at which answers are read: those of the shots asked for and, for the claim, some more of the second half;
    and which of them are late (in the second half)."""
    most = max(shots)
    late = set(np.linspace(most // 2 + 1, most, more).round().astype(int).tolist()) if most else {0}
    places = sorted({*map(int, shots), *late})
    return places, [number for number, place in enumerate(places) if place > most / 2 or most == 0]


def credit(p: Float[np.ndarray, "*rows levels"]) -> Float[np.ndarray, "*rows levels"]:
    """What an answer earns for each label that could have been right: 1 for the most likely one, shared at ties."""
    best = p >= p.max(axis=-1, keepdims=True)
    return best / best.sum(axis=-1, keepdims=True)


def curve(
    p: Float[np.ndarray, "flips episodes places levels"],
    drawn: Drawn,
    places: Sequence[int],
    groups: np.ndarray,
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Accuracy with its interval over groups, and cross-entropy, by number of shots. p: answers as it is and, if there
    are two, flipped."""
    earned = _at(credit(p), drawn, places).mean(axis=0)
    surprise = -np.log(np.clip(_at(p, drawn, places), 1e-12, 1)).mean(axis=0)
    rows = []
    for number, place in enumerate(places):
        member = groups[drawn.index[:, place]]
        low, high = mean_interval(earned[:, number], member, seed=seed)
        rows.append(
            {
                "shots": place,
                "accuracy": float(earned[:, number].mean()),
                "low": low,
                "high": high,
                "cross_entropy": float(surprise[:, number].mean()),
                "n": len(earned),
                "groups": len(set(member)),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Told:
    """How well labels are told at the late places. null: by permuted labels. over: the paired gain over each reader of
    the text, with its interval."""

    accuracy: float
    low: float
    high: float
    null: float
    p: float
    n: int
    groups: int
    over: dict[str, tuple[float, float, float]]

    @property
    def privileged(self) -> bool:
        """Whether it is better than every reader of the text."""
        return all(low > 0 for _, low, _ in self.over.values())


def told(
    p: Float[np.ndarray, "flips episodes places levels"],
    drawn: Drawn,
    places: Sequence[int],
    late: Sequence[int],
    groups: np.ndarray,
    text: Mapping[str, Float[np.ndarray, "episodes places levels"]],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Told:
    """Accuracy at the late places. text: what readers of the text answer there."""
    at, chosen = [places[number] for number in late], list(late)
    index = drawn.index[:, at]
    by_label = credit(p)[:, :, chosen]
    if len(by_label) == 2:
        # Flipped, the label told for y is k − 1 − y.
        by_label = np.stack([by_label[0], by_label[1][..., ::-1]])
    earned = by_label.mean(axis=0)
    y = drawn.labels[:, at]
    own = np.take_along_axis(earned, y[..., None], axis=-1)[..., 0]
    member = groups[index].ravel()
    low, high = mean_interval(own.ravel(), member, seed=seed)
    null = permuted(earned, index, y, groups, permutations=permutations, seed=seed)
    over = {}
    for name, guess in text.items():
        apart = own - np.take_along_axis(credit(guess[:, chosen]), y[..., None], axis=-1)[..., 0]
        over[name] = (float(apart.mean()), *mean_interval(apart.ravel(), member, seed=seed))
    return Told(
        accuracy=float(own.mean()),
        low=low,
        high=high,
        null=float(null.mean()),
        p=p_value(null, float(own.mean())),
        n=own.size,
        groups=len(set(member)),
        over=over,
    )


def permuted(
    earned: Float[np.ndarray, "episodes places levels"],
    index: Int[np.ndarray, "episodes places"],
    y: Int[np.ndarray, "episodes places"],
    groups: np.ndarray,
    *,
    permutations: int,
    seed: int,
) -> Float[np.ndarray, " permutations"]:
    """Accuracies with labels permuted over groups of sentences: earned[e, q, l], what the answer to q earns if its
    label is l."""
    asked, row = np.unique(index.ravel(), return_inverse=True)
    total = np.zeros((len(asked), earned.shape[-1]))
    np.add.at(total, row, earned.reshape(-1, earned.shape[-1]))
    labels = np.zeros(len(asked), dtype=np.int64)
    labels[row] = y.ravel()
    drawn = shuffled(labels, groups[asked], permutations, seed)
    return np.asarray(total[np.arange(len(asked)), drawn].sum(axis=1) / index.size)


def shuffled(labels: Int[np.ndarray, " n"], groups: np.ndarray, count: int, seed: int) -> Int[np.ndarray, "count n"]:
    """Labels permuted as the groups allow: within groups that hold several, from group to group among the others."""
    random = np.random.default_rng(seed)
    _, member = np.unique(groups.astype(str), return_inverse=True)
    rows = [np.flatnonzero(member == one) for one in range(int(member.max()) + 1)]
    pure = [one for one in rows if len(set(labels[one].tolist())) == 1]
    out = np.tile(labels, (count, 1))
    if pure:
        first = np.array([labels[one[0]] for one in pure])
        dealt = random.permuted(np.tile(first, (count, 1)), axis=1)
        for number, one in enumerate(pure):
            out[:, one] = dealt[:, number, None]
    for one in rows:
        if len(set(labels[one].tolist())) > 1:
            out[:, one] = random.permuted(out[:, one], axis=1)
    return out


def _at(
    values: Float[np.ndarray, "flips episodes places levels"], drawn: Drawn, places: Sequence[int]
) -> Float[np.ndarray, "flips episodes places"]:
    """Of each answer, the value at its true label."""
    told_ = [one.labels[:, list(places)] for one in (drawn, drawn.flipped())]
    return np.stack([np.take_along_axis(v, y[..., None], axis=-1)[..., 0] for v, y in zip(values, told_, strict=False)])
