"""What the measurements say: tables, claims and notes."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lens.errors import DataError
from probes.metrics import auroc_interval, auroc_within, p_value
from steering.paired import paired
from steering.studies.pieces import Pieces
from steering.studies.result import Claim, Result, judged
from steering.studies.self_knowledge import pik, tracking
from steering.studies.self_knowledge.abstention import dcs
from steering.studies.self_knowledge.calibration import calibrated
from steering.studies.self_knowledge.questions import PLAIN
from steering.studies.self_knowledge.revision import revised, revision
from steering.studies.self_knowledge.stated import p_true
from steering.studies.self_knowledge.study import Study

LITTLE = 0.5


class Told:
    """Runs a study piece by piece and reads what each piece says."""

    def __init__(self, study: Study, pieces: Pieces) -> None:
        self.study, self.pieces = study, pieces
        self.notes: list[str] = []
        self.tables: dict[str, pd.DataFrame] = {}
        self.knowledge = pieces.table("knowledge", lambda: study.knowledge(study.model))
        self.known = self.knowledge["known"].to_numpy(dtype=float)
        self.stated = self.knowledge["stated"].to_numpy(dtype=float)
        self.plain = study.plain
        self.groups = study.groups[self.plain]
        self._check()

    def _check(self) -> None:
        known = self.known[self.plain]
        if not tracking.both_kinds(known):
            raise DataError(
                f"{self.study.model.name} knows {tracking.is_known(known).mean():.0%} of the questions (P(right) above "
                "a half): with all of one kind there is nothing to tell apart. Give questions of which it knows some."
            )
        labels = tracking.is_known(known)
        for value, what in ((1, "known"), (0, "not known")):
            count = len(set(self.groups[labels == value]))
            if count < self.study.folds:
                raise DataError(
                    f"{count} groups hold questions that are {what}; {self.study.folds} folds need as many of each. "
                    "Give more questions, or fewer folds."
                )
        masses = {"mass": "the answers", "stated_mass": "what states its confidence"}
        if self.study.questions.spoken == "unsure":
            masses = {"stated_mass": "the answers"}
        for column, what in masses.items():
            left = float(self.knowledge[column].mean())
            if left < LITTLE:
                self.notes.append(f"Only {left:.2g} of the probability is on {what}: the model hardly answers so.")
        for column, what in (("by", "Answers"), ("stated_by", "Confidence")):
            if (self.knowledge[column] == "whole answer").any():
                self.notes.append(f"{what}: not single tokens; scored whole, by the sum over their tokens.")

    def result(self) -> Result:
        study = self.study
        claims = [*self._read(), *self._topics(), *self._said(), *self._contexts(), *self._models(), *self._verdicts()]
        score = self.read["p_ik"].to_numpy(dtype=float)[self.plain]
        tables, notes = calibrated(self.stated[self.plain], score, self.known[self.plain], self.groups, seed=study.seed)
        self.tables |= tables
        self.notes += notes
        self._revised()
        if study.questions.spoken == "unsure":
            shares = self.knowledge.filter(like="share_").to_numpy(dtype=float)[self.plain]
            self.tables["dcs"] = dcs(shares, self.groups, seed=study.seed)
        measured = pd.concat([self.knowledge, self.read[["p_ik", "fold", "site"]]], axis=1)
        given = study.questions.frame.drop(columns=["wrong", "prompt"])
        given = given[[name for name in given if name not in measured]].astype(str)
        self.tables["knowledge"] = pd.concat([given, measured], axis=1)
        return Result("self_knowledge", judged(claims), self.tables, study.settings(), tuple(self.notes))

    def _claim(
        self, name: str, found: dict[str, float], reading: str, *, null: float = 0.5, gate: bool = True
    ) -> Claim:
        n, groups = len(self.plain), len(set(self.groups))
        return Claim(name, found["auroc"], found["low"], found["high"], null, found["p"], n, groups, reading, gate)

    def _read(self) -> Iterator[Claim]:
        """P(IK): by layer, and with the layer chosen inside the folds; beside it what the texts tell."""
        study, known = self.study, self.known
        self.states = study.states(study.model)
        plan = study.plan(known)
        self.read = self.pieces.table("read", lambda: study.readable(self.states, known, plan))
        plain, place = self.plain, {int(row): number for number, row in enumerate(self.plain)}
        within = [
            (np.array([place[row] for row in train]), np.array([place[row] for row in test if row in place]))
            for train, test in plan
        ]
        self.tables["layers"] = self.pieces.table(
            "layers",
            lambda: pik.by_layer(self.states.select(plain), known[plain], within, C=study.C, seed=study.seed),
        )
        texts = study.questions.examples.select(plain).texts(response=False)
        told = pik.text_scores(texts, known[plain], within, seed=study.seed)
        labels = tracking.is_known(known[plain])
        rows = []
        for name, score in told.items():
            low, high = auroc_interval(labels, score, self.groups, seed=study.seed)
            value = tracking.tracked(score, known[plain], self.groups, draws=0, seed=study.seed)["auroc"]
            rows.append({"classifier": name, "auroc": value, "low": low, "high": high})
        self.tables["texts"] = pd.DataFrame(rows)
        best = float(self.tables["texts"]["auroc"].max())
        found = tracking.tracked(
            self.read["p_ik"].to_numpy(dtype=float)[plain], known[plain], self.groups, seed=study.seed
        )
        if found["low"] <= best:
            self.notes.append(
                f"Classifiers that see the texts alone reach AUROC {best:.2f}: P(IK) may be no more than that."
            )
        yield self._claim(
            "P(IK) can be read",
            found,
            "Where a question ends, the state tells whether its answer is known, better than text or topic do.",
            gate=found["low"] > best and self._within_topics(),
        )

    def _within_topics(self) -> bool:
        """Whether P(IK) tells questions of one topic apart: otherwise it may be the topic that is known or not."""
        topics = self.study.questions.strata("topic")
        if topics is None:
            return True
        score, strata = self.read["p_ik"].to_numpy(dtype=float)[self.plain], topics[self.plain]
        labels = tracking.is_known(self.known[self.plain])
        value = auroc_within(labels, score, strata)
        if np.isnan(value):
            self.notes.append("Topics are known as a whole or not at all: what can be read may be the topic.")
            return False
        low, high = auroc_interval(labels, score, self.groups, seed=self.study.seed, strata=strata)
        row = {"classifier": "P(IK) within topics", "auroc": value, "low": low, "high": high}
        self.tables["texts"] = pd.concat([self.tables["texts"], pd.DataFrame([row])], ignore_index=True)
        return low > 0.5

    def _topics(self) -> Iterator[Claim]:
        """On a topic that the probe was not fitted on, among questions of that topic."""
        topics = self.study.questions.strata("topic")
        if topics is None:
            return
        study, plain = self.study, self.plain
        try:
            plan = study.topic_plan(self.known)
        except DataError as error:
            self.notes.append(f"No transfer to new topics was tried: {error}")
            return
        read = self.pieces.table("topics", lambda: study.readable(self.states, self.known, plan))
        score, labels = read["p_ik"].to_numpy(dtype=float)[plain], tracking.is_known(self.known[plain])
        strata = topics[plain]
        value = auroc_within(labels, score, strata)
        if np.isnan(value):
            self.notes.append(
                "No topic has both known and unknown questions: whether P(IK) carries over cannot be told."
            )
            return
        low, high = auroc_interval(labels, score, self.groups, seed=study.seed, strata=strata)
        null = tracking.permuted_within(labels, score, strata, self.groups, seed=study.seed)
        self.tables["topics"] = pd.DataFrame({"topic": strata, "known": self.known[plain], "p_ik": score})
        found = {"auroc": value, "low": low, "high": high, "p": p_value(null, value)}
        yield self._claim(
            "P(IK) carries over to new topics",
            found,
            "A probe fitted on other topics tells known from unknown questions within a new one.",
        )

    def _said(self) -> Iterator[Claim]:
        """Whether what it says goes with what it knows."""
        found = tracking.tracked(self.stated[self.plain], self.known[self.plain], self.groups, seed=self.study.seed)
        yield self._claim(
            "it says what it knows", found, "The confidence that it states is higher where it knows the answer."
        )

    def _contexts(self) -> Iterator[Claim]:
        """What each kind of help changes, in questions that were also asked without it."""
        contexts = self.study.questions.strata("context")
        if contexts is None:
            return
        rows: list[dict[str, Any]] = []
        for name in sorted(set(contexts) - {PLAIN}):
            for what, values in (
                ("stated", self.stated),
                ("p_ik", self.read["p_ik"].to_numpy(float)),
                ("known", self.known),
            ):
                change, groups = _against_plain(values, contexts, self.study.groups, name)
                rows.append({"context": name, "what": what} | paired(change, groups, seed=self.study.seed))
        self.tables["contexts"] = pd.DataFrame(rows)
        for row in rows:
            if row["what"] == "stated":
                yield Claim(
                    f"context {row['context']} changes what it says",
                    value=float(row["change"]),
                    low=float(row["low"]),
                    high=float(row["high"]),
                    null=0.0,
                    p=float(row["p"]),
                    n=int(row["n"]),
                    groups=int(row["n"]),
                    reading=f"With {row['context']}, the confidence that it states changes.",
                )

    def _models(self) -> Iterator[Claim]:
        """Whose state tells whose knowledge: four pairs, on the same folds for each knowledge."""
        study, other = self.study, self.study.other
        if other is None:
            return
        theirs = self.pieces.table("knowledge of the other", lambda: study.knowledge(other))
        known = {study.model.name: self.known, other.name: theirs["known"].to_numpy(dtype=float)}
        if len(known) < 2:
            known = {f"{study.model.name} (1)": self.known, f"{other.name} (2)": theirs["known"].to_numpy(dtype=float)}
        states = dict(zip(known, (self.states, study.states(other)), strict=True))
        rows, scores = [], {}
        for whose, truth in known.items():
            if not tracking.both_kinds(truth[self.plain]):
                self.notes.append(f"{whose} knows all of the questions or none: its knowledge is not compared.")
                continue
            plan = study.plan(truth)
            for of, acts in states.items():
                number = list(known).index(whose) * 2 + list(known).index(of)
                read = self.pieces.table(f"states {number}", partial(study.readable, acts, truth, plan))
                score = read["p_ik"].to_numpy(dtype=float)[self.plain]
                scores[whose, of] = score
                found = tracking.tracked(score, truth[self.plain], self.groups, seed=study.seed)
                rows.append({"states of": of, "knowledge of": whose, **found})
        self.tables["models"] = pd.DataFrame(rows)
        mine, its = known
        if (mine, its) in scores:
            gap = tracking.swapped(
                scores[mine, mine], scores[mine, its], self.known[self.plain], self.groups, seed=study.seed
            )
            found = {"auroc": gap["difference"], **{name: gap[name] for name in ("low", "high", "p")}}
            reading = "Its own state tells more of what it knows than the state of another model, asked the same."
            yield self._claim("its own state tells more than another model's", found, reading, null=0.0)

    def _verdicts(self) -> Iterator[Claim]:
        """P(True) of right and wrong answers."""
        study = self.study
        if study.shots is None:
            return
        shots = study.shots
        plain = study.questions.where(self.plain)
        table = self.pieces.table(
            "p_true", lambda: p_true(study.model, plain, shots=shots, seed=study.seed, progress=study.progress)[0]
        )
        self.tables["p_true"] = table
        owner = table["question"].to_numpy(dtype=int)
        groups, right = self.groups[owner], table["right"].to_numpy(dtype=float)
        found = tracking.tracked(table["p_true"].to_numpy(dtype=float), right, groups, draws=0, seed=study.seed)
        wide = table.pivot(index="question", columns="right", values="p_true")
        change = (wide[1] - wide[0]).to_numpy(dtype=float)
        found["p"] = paired(change, self.groups, seed=study.seed)["p"]
        reading = "P(True) is higher for right answers."
        # The test is of any difference: the other way round, it takes wrong answers for right ones.
        yield self._claim("it tells right answers from wrong ones", found, reading, gate=found["auroc"] > 0.5)

    def _revised(self) -> None:
        """CL, CS and RSS, always together."""
        study = self.study
        if not study.again:
            return
        width = len(study.questions.answers[0])
        shares = self.knowledge.filter(like="share_").to_numpy(dtype=float)[self.plain, :width]
        first = shares / shares.sum(axis=1, keepdims=True)
        plain = study.questions.where(self.plain)
        table = self.pieces.table("revised", lambda: revised(study.model, plain, first, progress=study.progress))
        self.tables["revision"] = revision(table, self.groups, seed=study.seed)


def _against_plain(
    values: np.ndarray, contexts: np.ndarray, groups: np.ndarray, context: str
) -> tuple[np.ndarray, np.ndarray]:
    """Means per group with this context less those without, of groups that have both; and the groups."""
    frame = pd.DataFrame({"value": values, "context": contexts, "group": groups})
    wide = frame.pivot_table(index="group", columns="context", values="value", aggfunc="mean")
    both = wide[[PLAIN, context]].dropna()
    return (both[context] - both[PLAIN]).to_numpy(dtype=float), both.index.to_numpy().astype(str)
