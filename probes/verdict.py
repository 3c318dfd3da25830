"""The verdict on a cell: what its out-of-fold scores are worth, beside chance and beside what the text alone gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from lens.activations import Activations
from probes.cell import Design, text_only
from probes.metrics import auroc, auroc_interval, auroc_within, p_value
from probes.text_evidence import READERS, Untold, surest


@dataclass(frozen=True)
class Judge:
    """What all rows of a sweep's table are judged by.

    null: AUROC of each cell on the labels of each permutation. text: AUROC of each text-only classifier.
    """

    design: Design
    null: Float[np.ndarray, "draws cells"]
    text: Mapping[str, float]
    untold: Untold | None
    strata: np.ndarray | None

    @classmethod
    def of(
        cls,
        acts: Activations,
        design: Design,
        null: Sequence[Sequence[float]],
        strata: np.ndarray | None,
        text_evidence: float | None,
    ) -> "Judge":
        """null: of each cell. strata: see `probes.strata`. Warns where the texts tell nearly every label."""
        labels, untold = design.labels, None
        read = text_only(acts, design)
        if text_evidence is not None:
            readers = np.stack([read[name] for name in READERS], axis=1)
            untold = Untold(labels, design.groups, readers, surest(readers, labels), text_evidence)
        text = {name: float(auroc(labels, score)) for name, score in read.items()}
        return cls(design, np.array(null).T, text, untold, strata)

    def row(self, number: int, cell: Mapping[str, Any], controls: Mapping[str, float]) -> dict[str, Any]:
        """The columns of cell `number` (see `probes.sweep`), from its scores, control_task and resemblance, and the
        controls of its site."""
        labels, groups, seed = self.design.labels, self.design.groups, self.design.seed
        score, permuted = np.array(cell["scores"]), len(self.null) > 0
        value = float(auroc(labels, score))
        low, high = auroc_interval(labels, score, groups, seed=seed)
        row: dict[str, Any] = {"auroc": value, "low": low, "high": high}
        row["accuracy"] = float(((score > 0) == labels).mean())
        if self.strata is not None:
            within = auroc_interval(labels, score, groups, seed=seed, strata=self.strata)
            row["within"] = auroc_within(labels, score, self.strata)
            row |= {"within_low": within[0], "within_high": within[1]}
        return row | {
            "p": p_value(self.null.max(axis=1), value) if permuted else np.nan,
            "p_cell": p_value(self.null[:, number], value) if permuted else np.nan,
            **controls,
            "resemblance": cell["resemblance"],
            "shuffled": float(self.null[:, number].mean()) if permuted else np.nan,
            "control_task": cell["control_task"],
            "selectivity": value - cell["control_task"],
            **self.text,
            **(self.untold.of(score, seed=seed) if self.untold is not None else {}),
            "n": len(labels),
            "groups": len(set(groups)),
        }
