"""Study: the parts of self-prediction, one after another; what takes long is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Int

from lens.collect import collect
from lens.errors import DataError
from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from probes.base import Probe
from steering.studies.pieces import Pieces
from steering.studies.result import Claim
from steering.studies.self_prediction import tabling
from steering.studies.self_prediction.answering import (
    MANY_VALUES,
    Property,
    answers,
    hypotheticals_of,
    spoken_answers,
)
from steering.studies.self_prediction.comparing import MODELS, claims
from steering.studies.self_prediction.reading import folds_of, read, read_texts
from steering.studies.self_prediction.tabling import Evidence, Target

# Less than this on the words offered, and a note says so.
LITTLE = 0.5
METHOD = "The activations are read by a linear probe on frozen models, not by models finetuned on hypotheticals."


@dataclass(frozen=True, eq=False)
class Study:
    """What `run` was given, checked."""

    models: Mapping[str, Model]
    questions: Examples
    property: Property
    options: list[list[str]] | None
    spoken: Mapping[str, str]
    probe: str | Probe
    sites: str | Site | Sequence[str | Site]
    folds: int
    samples: int
    max_new_tokens: int
    seed: int
    pieces: Pieces
    progress: bool

    def run(self) -> tuple[list[Claim], dict[str, pd.DataFrame], tuple[str, ...]]:
        """Claims, tables and notes."""
        said = {name: table for name in MODELS if (table := self._said(name)) is not None}
        evidence = Evidence(
            targets=self.targets,
            groups=self.groups,
            activations={name: self._read(name) for name in MODELS},
            texts=self.pieces.table("text", lambda: self._each(self._texts)),
            said={name: np.array(table["shares"].tolist()) for name, table in said.items()},
            answers={name: table.iloc[self.kept] for name, table in self.asked.items()},
            seed=self.seed,
        )
        found, gaps = claims(evidence.read_right, evidence.plain_right, evidence.said_right, self.groups, self.seed)
        tables = {
            "accuracy": tabling.accuracies(evidence),
            "layers": tabling.layers(evidence),
            "gaps": gaps,
            "similarity": tabling.similarity(evidence),
            "spoken": tabling.spoken(evidence),
            "confusion": tabling.confusion(evidence),
            "answers": self._answers(),
        }
        return found, tables, (*self._notes(said), METHOD)

    @cached_property
    def asked(self) -> dict[str, pd.DataFrame]:
        """What each model answers, all rows."""
        return {name: self.pieces.table(f"answers {name}", self._answering(name)) for name in MODELS}

    @cached_property
    def kept(self) -> Int[np.ndarray, " n"]:
        """The rows where both models' answers have the property. Raises DataError: none, or one value for all."""
        known = {name: table["value"].notna().to_numpy() for name, table in self.asked.items()}
        both = known["A"] & known["B"]
        groups = self.questions.groups[both].astype(str)
        for name, table in self.asked.items():
            who = f"{name} ({self.models[name].name})"
            if not known[name].any():
                some = table["answer"].head(3).tolist()
                raise DataError(f"{who}: none of {len(both)} answers has the property; they begin {some!r:.120}.")
            held = table["value"][both]
            often = [value for value in held.unique() if len(set(groups[(held == value).to_numpy()])) > 1]
            if len(often) < 2:
                counts = ", ".join(f"{value!r:.40} {count} times" for value, count in held.value_counts().items())
                raise DataError(
                    f"{who}: to have something to predict, two values of the property must occur in two groups each; "
                    f"found: {counts or 'none':.200}; {int((~both).sum())} of {len(both)} rows could not be parsed."
                )
        return np.flatnonzero(both)

    @cached_property
    def groups(self) -> np.ndarray:
        return self.questions.groups[self.kept]

    @cached_property
    def targets(self) -> dict[str, Target]:
        found = {}
        for name in MODELS:
            held = self.asked[name]["value"].iloc[self.kept].tolist()
            # Not numpy's own texts, which lose a null character at their end.
            values = sorted(set(held))
            codes = np.array([values.index(value) for value in held])
            found[name] = Target(values, codes, folds_of(codes, self.groups, self.folds, self.seed))
        return found

    @cached_property
    def hypotheticals(self) -> Examples:
        return hypotheticals_of(self.questions.select(self.kept))

    def _answering(self, name: str) -> Callable[[], pd.DataFrame]:
        def make() -> pd.DataFrame:
            return answers(
                self.models[name],
                self.questions,
                self.property,
                self.options,
                samples=self.samples,
                max_new_tokens=self.max_new_tokens,
                seed=self.seed,
                progress=self.progress,
            )

        return make

    def _each(self, make: Callable[[Target], pd.DataFrame]) -> pd.DataFrame:
        """A table for each model's answers, below each other."""
        tables = [make(one).assign(target=name) for name, one in self.targets.items()]
        return pd.concat(tables, ignore_index=True)

    def _read(self, name: str) -> pd.DataFrame:
        """Both models' answers, out of one model's activations."""

        def make() -> pd.DataFrame:
            acts = collect(
                self.models[name], self.hypotheticals, sites=self.sites, span="prompt[-1]", progress=self.progress
            )
            arrays = {str(site): acts.numpy(site) for site in acts.sites}
            return self._each(lambda one: read(arrays, one.codes, one.plan, len(one.values), self.probe))

        return self.pieces.table(f"activations {name}", make)

    def _texts(self, one: Target) -> pd.DataFrame:
        texts = self.hypotheticals.texts(response=False)
        return read_texts(texts, one.codes, one.plan, len(one.values), self.probe)

    def _said(self, name: str) -> pd.DataFrame | None:
        """What a model says of itself, of kept rows; None where there is too much that it could say."""
        values = self.targets[name].values
        if len(values) > MANY_VALUES:
            return None

        def make() -> pd.DataFrame:
            prompts = self.hypotheticals.prompts
            return spoken_answers(self.models[name], prompts, values, self.spoken, progress=self.progress)

        return self.pieces.table(f"spoken {name}", make)

    def _answers(self) -> pd.DataFrame:
        group = [str(one) for one in self.questions.groups]
        parts = [self.asked[name][["row", "answer", "value"]].assign(model=name, group=group) for name in MODELS]
        return pd.concat(parts, ignore_index=True)

    def _notes(self, said: Mapping[str, pd.DataFrame]) -> list[str]:
        n, groups, notes = len(self.questions), self.groups.astype(str), []
        if len(self.kept) < n:
            lost = {name: int(table["value"].isna().sum()) for name, table in self.asked.items()}
            notes.append(
                f"{n - len(self.kept)} of {n} rows were left out: the answer does not have the property "
                f"(A: {lost['A']}, B: {lost['B']})."
            )
        for name, one in self.targets.items():
            rare = [value for code, value in enumerate(one.values) if len(set(groups[one.codes == code])) < 2]
            if rare:
                notes.append(f"{len(rare)} values of {name}'s answers occur in one group only: no probe can tell them.")
            if name not in said:
                notes.append(
                    f"{name} answers in {len(one.values)} different ways: it was not asked what it would answer, where "
                    f"at most {MANY_VALUES} can be offered."
                )
                continue
            mass = float(said[name]["mass"].mean())
            if mass < LITTLE:
                notes.append(f"Asked what it would answer, {name} gives the words offered {mass:.2g} of probability.")
            if (said[name]["by"] == "whole answer").any():
                notes.append(f"What {name} could say is more than one token: scored whole, by the sum over tokens.")
        return notes
