"""Calibration: whether a stated confidence is the rate at which it is right, and what would make it so.

    error       Σ_b (n_b / n) |mean of y in b − mean of s in b|,      b: ten bins of equal count, by s
    stated      logit s = T · logit p + b,                            p: the true rate
    repaired    σ((logit s − b) / T),                                 T, b by maximum likelihood

The error is not 0 for a confidence that is exactly right, since y is drawn: beside it stands what it would then be.

Source: Kadavath et al., Language Models (Mostly) Know What They Know (2022); Guo et al., On Calibration of Modern
Neural Networks (2017; temperature); Bröcker & Smith (2007; the error of exact probabilities).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import optimize, special

from lens.errors import DataError
from probes.metrics import brier, calibrated_errors, calibration_error

BINS = 10
SAFE = 1e-6
FLAT = 1e-2
# Answers drawn of each question, as many as in the source.
TRIALS = 30


@dataclass(frozen=True)
class Temperature:
    """logit s = temperature · logit p + offset."""

    temperature: float
    offset: float

    def repaired(self, stated: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """What the stated confidence stands for: σ((logit s − offset) / temperature)."""
        return np.asarray(special.expit((_logit(stated) - self.offset) / self.temperature))


def temperature_fit(stated: Float[np.ndarray, " n"], known: Float[np.ndarray, " n"]) -> Temperature:
    """The temperature and offset with which a confidence is stated, by maximum likelihood of rates given it.

        maximise Σ_i p_i log q_i + (1 − p_i) log(1 − q_i),      q = σ(a · logit s + c),   T = 1/a,   b = −c/a

    stated: confidences s, known: rates p, both from 0 to 1. Raises DataError: confidences that are all the same, or do
    not rise with the rates.
    """
    x = _logit(stated)
    if np.ptp(x) < 1e-9:
        raise DataError(f"Every stated confidence is {float(stated[0]):.3g}: no temperature can be fitted.")

    def loss(both: np.ndarray) -> tuple[float, np.ndarray]:
        z = both[0] * x + both[1]
        error = special.expit(z) - known
        return float(np.sum(np.logaddexp(0, z) - known * z)), np.array([error @ x, error.sum()])

    found = optimize.minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-8})
    slope, intercept = (float(one) for one in found.x)
    if slope < FLAT:
        raise DataError(
            f"Stated confidence does not rise with what is known (slope {slope:.2g}): there is no temperature to mend."
        )
    return Temperature(1 / slope, -intercept / slope)


def calibration(
    stated: Float[np.ndarray, " n"], right: Int[np.ndarray, "n trials"], *, bins: int = BINS, seed: int = 0
) -> dict[str, float]:
    """How far a stated confidence is from the rate at which it is right.

    right: 1 for each trial of a question that was answered right. ece: the calibration error; ece_null and
    ece_null_high: its mean and 95th percentile were the confidence exact; rms: the root of the mean squared gap over
    bins; brier: the mean squared error (.25 for a constant .5).
    """
    trials = right.shape[1]
    y, s = right.reshape(-1), np.repeat(stated, trials)
    null = calibrated_errors(s, bins=bins, seed=seed)
    gaps = curve(stated, right, bins=bins)
    rms = float(np.sqrt(np.average((gaps["right"] - gaps["stated"]) ** 2, weights=gaps["n"])))
    return {
        "ece": calibration_error(y, s, bins=bins),
        "ece_null": float(null.mean()),
        "ece_null_high": float(np.quantile(null, 0.95)),
        "rms": rms,
        "brier": brier(y, s),
    }


def curve(stated: Float[np.ndarray, " n"], right: Int[np.ndarray, "n trials"], *, bins: int = BINS) -> pd.DataFrame:
    """Bins of equal count by stated confidence: its mean, the rate right, and the number of questions."""
    order = np.argsort(stated, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    rows = [{"stated": stated[part].mean(), "right": right[part].mean(), "n": len(part)} for part in parts]
    return pd.DataFrame(rows)


def drawn(known: Float[np.ndarray, " n"], trials: int, seed: int) -> Int[np.ndarray, "n trials"]:
    """Answers sampled at temperature 1, as right (1) or wrong: each with its question's known probability."""
    return (np.random.default_rng(seed).random((len(known), trials)) < known[:, None]).astype(int)


def calibrated(
    stated: Float[np.ndarray, " n"],
    p_ik: Float[np.ndarray, " n"],
    known: Float[np.ndarray, " n"],
    groups: np.ndarray,
    *,
    seed: int,
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Errors of P(IK), of what is stated, and of that mended by a temperature fitted on the other half of the groups:
    tables calibration, curve and temperature; and notes."""
    right = drawn(known, TRIALS, seed)
    confidences, tables, notes = {"P(IK) probe": p_ik, "stated": stated}, {}, []
    try:
        rows, mended = [_fitted("all", stated, known)[1]], np.full(len(stated), np.nan)
        first = _half(groups, seed)
        for name, train in (("one half", first), ("the other half", ~first)):
            fit, row = _fitted(name, stated[train], known[train])
            rows.append(row)
            mended[~train] = fit.repaired(stated[~train])
        tables["temperature"] = pd.DataFrame(rows)
        confidences["stated, mended"] = mended
    except DataError as error:
        notes.append(f"No temperature was fitted: {error}")
    found = [{"confidence": name} | calibration(s, right, seed=seed) for name, s in confidences.items()]
    tables["calibration"] = pd.DataFrame(found)
    curves = [curve(s, right).assign(confidence=name) for name, s in confidences.items()]
    return tables | {"curve": pd.concat(curves, ignore_index=True)}, notes


def _fitted(
    name: str, stated: Float[np.ndarray, " n"], known: Float[np.ndarray, " n"]
) -> tuple[Temperature, dict[str, str | float]]:
    fit = temperature_fit(stated, known)
    return fit, {"rows": name, "temperature": fit.temperature, "offset": fit.offset}


def _half(groups: np.ndarray, seed: int) -> np.ndarray:
    """Rows of a random half of the groups."""
    names = np.unique(groups)
    return np.isin(groups, np.random.default_rng(seed).permutation(names)[: len(names) // 2])


def _logit(probability: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.asarray(special.logit(np.clip(probability, SAFE, 1 - SAFE)))
