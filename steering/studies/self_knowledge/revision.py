"""Revision: what a model does with its own first answer when it is asked again.

p: P(right) at first; q: P(right | its first answer, right, is before it); r: P(right | a wrong first answer is).

    CL = Σ p q / Σ p        confidence: a right answer is kept
    CS = Σ (1 − p) r / Σ (1 − p)        critique: a wrong one is mended
    Acc₂ = mean(p q + (1 − p) r)
    RSS = (Acc₂ − Acc₁²) / (2 Acc₁ (1 − Acc₁))

RSS alone cannot tell a model that never changes its answer (CL, CS = 1, 0) from one that draws it anew (Acc₁, Acc₁):
both have .5. The three belong together.

Source: Confidence v.s. Critique: A Decomposition of Self-Correction Capability for LLMs (Yang et al., 2024).
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.examples import Prompt
from lens.intervals import group_counts, percentiles
from lens.model import Model
from steering.studies.ask import ask
from steering.studies.self_knowledge.questions import Questions

DRAWS = 1000


def again(prompt: Prompt, answer: str) -> Prompt:
    """The question, an answer to it, and the question once more."""
    if isinstance(prompt, str):
        return f"{prompt} {answer}\n{prompt}"
    return [*prompt, {"role": "assistant", "content": answer}, *[one for one in prompt if one["role"] != "system"]]


def revised(
    model: Model, questions: Questions, first: Float[np.ndarray, "n k"], *, progress: bool = True
) -> pd.DataFrame:
    """Columns p, q, r of every question: each answer is forced as the first one, weighted by how probable it was.

        q = P(right | right first),      r = Σ_{j wrong} p_j P(right | j first) / (1 − p)

    first [n, k]: shares of the answers at first, the right one in column 0.
    """
    answers = questions.answers
    width = first.shape[1]
    prompts = [again(one, each) for one, few in zip(questions.prompts, answers, strict=True) for each in few]
    options = [few for few in answers for _ in range(width)]
    right = ask(model, prompts, options, label="Asking again", progress=progress).share[:, 0].reshape(-1, width)
    p = first[:, 0]
    wrong = (first[:, 1:] * right[:, 1:]).sum(axis=1)
    return pd.DataFrame({"p": p, "q": right[:, 0], "r": np.divide(wrong, 1 - p, out=np.zeros_like(p), where=p < 1)})


def revision(table: pd.DataFrame, groups: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
    """CL, CS, Acc₁, Acc₂ and RSS, with cluster-bootstrap 95 % intervals over groups."""
    p, q, r = (table[name].to_numpy(dtype=float) for name in "pqr")
    found = _scores(p, q, r, np.ones((1, len(p))))
    drawn = _scores(p, q, r, group_counts(groups, DRAWS, seed))
    rows = []
    for name, values in found.items():
        low, high = percentiles(drawn[name][np.isfinite(drawn[name])], 0.95)
        rows.append({"score": name, "value": float(values[0]), "low": low, "high": high})
    return pd.DataFrame(rows)


def _scores(p: np.ndarray, q: np.ndarray, r: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        right, wrong, total = weights @ p, weights @ (1 - p), weights.sum(axis=1)
        first, second = right / total, (weights @ (p * q + (1 - p) * r)) / total
        return {
            "CL": weights @ (p * q) / right,
            "CS": weights @ ((1 - p) * r) / wrong,
            "RSS": (second - first**2) / (2 * first * (1 - first)),
            "accuracy": first,
            "accuracy, asked again": second,
        }
