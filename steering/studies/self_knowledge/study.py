"""What the study measures of a model: what it knows, what it says, and what of it can be read."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.activations import Activations
from lens.collect import collect
from lens.model import Model
from lens.text_only import Fold
from probes.folds import grouped_folds
from steering.studies.ask import ask
from steering.studies.result import settings_of
from steering.studies.self_knowledge import pik
from steering.studies.self_knowledge.questions import PLAIN, Questions
from steering.studies.self_knowledge.revision import again
from steering.studies.self_knowledge.stated import verdict_prompts
from steering.studies.self_knowledge.tracking import is_known


@dataclass(frozen=True, eq=False)
class Study:
    """One run: the model, perhaps another that is asked the same, the questions, and how they are treated."""

    model: Model
    other: Model | None
    questions: Questions
    folds: int
    C: float
    shots: int | None
    again: bool
    seed: int
    progress: bool

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers."""
        return settings_of(
            self.model,
            questions=self.questions.examples.hash(whole=True),
            n=len(self.questions),
            groups=len(set(self.groups)),
            spoken=self.questions.spoken,
            other=None if self.other is None else self.other.name,
            other_fingerprint=None if self.other is None else self.other.fingerprint,
            folds=self.folds,
            C=self.C,
            shots=self.shots,
            again=self.again,
            seed=self.seed,
            nulls="labels permuted over groups of equal size; the layer is chosen inside the training groups",
        )

    def check(self) -> None:
        """Raises DataError, before anything runs: a prompt longer than the context, more shots than questions."""
        plain = self.questions.where(self.plain)
        for model in filter(None, (self.model, self.other)):
            model.rows(self.questions.prompts)
            model.rows(self.questions.told_prompts)
        if self.shots is not None:
            self.model.rows(verdict_prompts(plain, shots=self.shots, seed=self.seed)[0])
        if self.again:
            longest = [max(few, key=len) for few in plain.answers]
            self.model.rows([again(prompt, one) for prompt, one in zip(plain.prompts, longest, strict=True)])

    @cached_property
    def groups(self) -> np.ndarray:
        return self.questions.groups.astype(str)

    @cached_property
    def plain(self) -> np.ndarray:
        """Rows without help."""
        context = self.questions.strata("context")
        return np.arange(len(self.questions)) if context is None else np.flatnonzero(context == PLAIN)

    def knowledge(self, model: Model) -> pd.DataFrame:
        """known: P(right) among the answers; stated: the confidence that is said; share_k: of each answer (with the one
        that declines, where there is one); mass: the probability left on the answers."""
        asked, shown = self.questions, self.progress
        found = ask(model, asked.prompts, asked.answers, label="Asking questions", progress=shown)
        stated, said = asked.say(model, progress=shown)
        shares = said.share if asked.spoken == "unsure" else found.share
        columns = {"known": found.share[:, 0], "mass": found.mass, "stated": stated, "stated_mass": said.mass}
        columns |= {f"share_{k}": shares[:, k] for k in range(shares.shape[1])}
        return pd.DataFrame(columns).assign(by=found.by, stated_by=said.by)

    def states(self, model: Model) -> Activations:
        """The residual stream after every block, where the question ends."""
        return collect(model, self.questions.examples, sites="resid_post", span="prompt[-1]", progress=self.progress)

    def plan(self, known: Float[np.ndarray, " n"]) -> list[Fold]:
        """Folds: trained on rows without help, tested on every row of the groups held out."""
        plain = self.plain
        labels = is_known(known[plain])
        inside = grouped_folds(labels, self.groups[plain], self.folds, self.seed)
        held = [np.unique(self.groups[plain[test]]) for _, test in inside]
        return [
            (plain[train], np.flatnonzero(np.isin(self.groups, out)))
            for (train, _), out in zip(inside, held, strict=True)
        ]

    def topic_plan(self, known: Float[np.ndarray, " n"]) -> list[Fold]:
        """Folds that hold out one topic each, of the rows without help."""
        topics = self.questions.strata("topic")
        assert topics is not None
        plain = self.plain
        return [(plain[train], plain[test]) for train, test in pik.leave_one_out(topics[plain], known[plain])]

    def readable(self, states: Activations, known: Float[np.ndarray, " n"], plan: list[Fold]) -> pd.DataFrame:
        """Out-of-fold P(IK) of every row (nan where it is in no fold), its fold, and the layer that the fold chose."""
        arrays = [states.numpy(site).astype(np.float64) for site in states.sites]
        score, chosen = pik.nested_scores(
            arrays, known, self.groups, plan, C=self.C, seed=self.seed, progress=self.progress
        )
        fold, site = np.full(len(known), -1), np.full(len(known), "", dtype=object)
        for number, ((_, test), best) in enumerate(zip(plan, chosen, strict=True)):
            fold[test], site[test] = number, str(states.sites[best])
        return pd.DataFrame({"p_ik": score, "fold": fold, "site": site})
