"""Tasks: what a model does where it is asked to decide, in place of what it says of itself.

Each is `task(model, *interventions, system="", …) -> Task`: a table with a row for every question and its value, scores
with intervals, and how many answers are missing. They run on chat models and plain causal models. `Asking` says how:
by probabilities of the answers there are, or by what is generated, read by a strict rule or by a judge.
"""

from steering.studies.personality.tasks.asking import Asking, Judge
from steering.studies.personality.tasks.base import Task
from steering.studies.personality.tasks.columbia_card import columbia_card, optimal
from steering.studies.personality.tasks.iat import Pairing, bias_score, iat
from steering.studies.personality.tasks.sycophancy import sycophancy

__all__ = ["Asking", "Judge", "Pairing", "Task", "bias_score", "columbia_card", "iat", "optimal", "sycophancy"]
