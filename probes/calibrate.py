"""Calibrate: turn a direction's scores into probabilities, on rows of groups that it was not fitted on.

    platt       P(1 | s) = σ(a s + b), maximum likelihood with targets (n₁ + 1)/(n₁ + 2) and 1/(n₀ + 2)
    isotonic    P(1 | s) = the non-decreasing step function closest to the labels; ties and gaps by interpolation

Platt's two numbers need few rows; isotonic regression fits any shape and needs about a thousand.

Source: Platt, Probabilistic Outputs for Support Vector Machines (1999); Zadrozny & Elkan, Transforming Classifier
Scores into Accurate Multiclass Probability Estimates (2002).
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import optimize, special
from sklearn.isotonic import IsotonicRegression

from lens import documents
from lens.activations import Activations
from lens.errors import DataError, available
from probes.direction import Direction
from probes.fit import Fitted, check_labels
from probes.guard import warn_reused
from probes.provenance import Provenance, provenance_of

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A direction and what probability its scores stand for. Made by `calibrate`.

    slope, offset: of Platt's form. knots: scores and probabilities between which isotonic ones are interpolated.
    provenance: model and rows that it was calibrated on, which are not the direction's.
    """

    direction: Direction
    method: str
    slope: float = 1.0
    offset: float = 0.0
    knots: tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]] | None = None
    provenance: Provenance = field(default_factory=Provenance)

    def probability(self, scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """P(label 1) of scores."""
        if self.knots is not None:
            return np.interp(scores, *self.knots)
        return np.asarray(special.expit(self.slope * scores + self.offset))

    def predict(self, acts: Activations, *, other_model: bool = False) -> Float[np.ndarray, " n"]:
        """P(label 1) of every row. Raises what `Direction.score_activations` and `check` raise."""
        scores = self.direction.score_activations(acts, other_model=other_model)
        self.check(acts, other_model=other_model)
        return self.probability(scores.double().numpy())

    def check(self, acts: Activations, *, other_model: bool = False) -> None:
        """Raises ArtifactError where it was calibrated on another model than these activations come from (unless
        allowed), as a direction that was carried there with `other_model=True` may be."""
        self.provenance.check(
            "calibration",
            len(self.direction.vector),
            fingerprint=acts.source.fingerprint,
            width=acts.width,
            name=acts.source.model,
            other_model=other_model,
        )

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, which `Direction.load` reads as well: for the direction alone."""
        facts: dict[str, Any] = {"method": self.method, "slope": self.slope, "offset": self.offset, "format": FORMAT}
        facts["provenance"] = asdict(self.provenance)
        tensors = {"vector": self.direction.vector}
        if self.knots is not None:
            tensors["knots"] = torch.from_numpy(np.stack(self.knots).astype(np.float64))
        return documents.write(path, tensors, direction=self.direction.header(), calibration=facts)

    @classmethod
    def load(cls, path: str | Path) -> "Calibrated":
        """Read what `save` wrote. Raises ArtifactError: no such file, no direction, or one that is not calibrated."""
        direction = Direction.load(path)

        def make(facts: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Calibrated:
            known, pair = Provenance(**facts.pop("provenance")), tensors.get("knots")
            knots = None if pair is None else (pair[0].numpy(), pair[1].numpy())
            return cls(direction=direction, provenance=known, knots=knots, **facts)

        return documents.read(path, "calibration", make, what="calibration", format=FORMAT)


def calibrate(
    probe: Direction | Fitted,
    acts: Activations,
    *,
    method: Literal["platt", "isotonic"] = "platt",
    other_model: bool = False,
) -> Calibrated:
    """Learn what probability a direction's scores stand for, on rows of other groups than it was fitted on.

    Raises DataError: one class, an unknown method, or scores that fall where the labels rise: a calibration would turn
    the direction round, which is fixed at fit time. Warns where the rows are those that it was fitted on.
    """
    if method not in ("platt", "isotonic"):
        raise DataError(f"Unknown calibration {method!r}; available: {available(['platt', 'isotonic'])}.")
    direction = probe.direction if isinstance(probe, Fitted) else probe
    labels = check_labels(acts)
    scores = direction.score_activations(acts, other_model=other_model).double().numpy()
    warn_reused(direction, acts, "calibrated")
    if scores[labels == 1].mean() <= scores[labels == 0].mean():
        raise DataError("Rows with label 1 score no higher than rows with label 0: there is nothing to calibrate.")
    known = provenance_of(acts.source, len(labels), method=method)
    if method == "platt":
        slope, offset = platt(scores, labels)
        return Calibrated(direction, method, slope, offset, provenance=known)
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, labels)
    return Calibrated(direction, method, knots=(fitted.X_thresholds_, fitted.y_thresholds_), provenance=known)


def platt(scores: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> tuple[float, float]:
    """Slope and offset of Platt's sigmoid; its targets keep both finite where a threshold tells the classes apart."""
    center, spread = float(scores.mean()), float(scores.std()) or 1.0
    z = (scores - center) / spread
    high, low = (labels == 1).sum(), (labels == 0).sum()
    target = np.where(labels == 1, (high + 1) / (high + 2), 1 / (low + 2))

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        logit = point[0] * z + point[1]
        gap = special.expit(logit) - target
        return float(np.sum(np.logaddexp(0, logit) - target * logit)), np.array([gap @ z, gap.sum()])

    a, b = optimize.minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    return float(a / spread), float(b - a * center / spread)
