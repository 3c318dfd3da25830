"""What the study asks a model: states and answers in every cell, steered and rewritten ones."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.activations import Activations
from lens.collect import collect
from lens.errors import DataError, ModelError
from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from probes.metrics import auroc_within
from steering.studies.asked import Asked, unpushed
from steering.studies.evaluation_awareness import reading
from steering.studies.evaluation_awareness.design import ANSWERS, Design
from steering.studies.evaluation_awareness.elastic import Rewriter, rewritten
from steering.studies.evaluation_awareness.refit import Refit
from steering.studies.evaluation_awareness.steered import KINDS, STRENGTHS, Arms, Steered
from steering.studies.firsts import Firsts
from steering.studies.pieces import Pieces
from steering.studies.result import settings_of

# Steering is chosen on so many rows at the most.
VALIDATION = 24


@dataclass(frozen=True, eq=False)
class Study:
    """One run: the model, the design, and how it is treated."""

    model: Model
    design: Design
    draws: int
    seed: int
    progress: bool

    def settings(self, **rewriters: Any) -> dict[str, Any]:
        """Everything that decides the numbers."""
        design = self.design
        return settings_of(
            self.model,
            data=design.examples.hash(whole=True),
            n=len(design.labels),
            groups=len(set(design.groups)),
            cues=len(set(design.cue)),
            formats=sorted(set(design.form)),
            answers=design.answers,
            draws=self.draws,
            seed=self.seed,
            nulls="contexts permuted over cues, and what reads them fitted anew; random directions choose layer and "
            "strength as the direction does",
            **rewriters,
        )

    def check(self) -> None:
        """Raises, before anything runs: ModelError, an encoder; DataError: too few cues, answers that begin alike, a
        prompt longer than the context."""
        if self.model.is_encoder:
            raise ModelError(f"{self.model.name} is an encoder: it answers nothing.")
        reading.plan_of(self.design.labels, self.design.cue, self.seed)
        self._check_parts()
        self.model.rows(self.design.examples.prompts)
        if self.design.answers:
            Firsts.of(self.model, self.design.examples, ANSWERS)

    def _check_parts(self) -> None:
        """Raises DataError: a part without the rows that are needed there."""
        design = self.design
        labels, form, cue = design.labels, design.form, design.cue
        advice = "give more groups, each in both contexts, or another seed"
        for part, rows in self.parts.items():
            held = f"The {part} part has {len(rows)} rows of {len(set(design.groups[rows]))} groups"
            # Rows that are tests are steered and rewritten.
            for context, what in ((1, "a test (label 1)"), (0, "deployment (label 0)"))[: 2 if part == "train" else 1]:
                if not (labels[rows] == context).any():
                    raise DataError(f"{held}, none of which is {what}: {advice}.")
            if part == "train":
                if not reading.learnable(labels[rows], form[rows]):
                    raise DataError(f"{held}, and none of its formats holds both contexts: {advice}.")
                try:
                    plan = reading.plan_of(labels[rows], cue[rows], self.seed)
                except DataError as error:
                    raise DataError(f"{held}. {error} For the parts to hold them, {advice}.") from error
                if not all(reading.learnable(labels[rows][known], form[rows][known]) for known, _ in plan):
                    raise DataError(f"{held}; without one fold of it, no format holds both contexts: {advice}.")

    @cached_property
    def parts(self) -> dict[str, np.ndarray]:
        return self.design.parts()

    @cached_property
    def acts(self) -> Activations:
        """The residual stream after every block, where the prompt ends."""
        return collect(self.model, self.design.examples, sites="resid_post", span="prompt[-1]", progress=self.progress)

    @cached_property
    def arrays(self) -> list[Float[np.ndarray, "n d"]]:
        return [self.acts.numpy(site).astype(np.float64) for site in self.acts.sites]

    @cached_property
    def layer(self) -> int:
        """Where cells and rewritings are read: the layer that reads the training part best, on cues held out of it."""
        rows, design = self.parts["train"], self.design
        labels, form, cue = design.labels[rows], design.form[rows], design.cue[rows]
        plan = reading.plan_of(labels, cue, self.seed)
        found = [auroc_within(labels, reading.out_of_fold(X[rows], labels, form, plan), form) for X in self.arrays]
        return int(np.flatnonzero(np.array(found) > max(found) - reading.TIE)[0])

    @property
    def site(self) -> Site:
        return self.acts.sites[self.layer]

    def answered(self, rows: Examples) -> Float[np.ndarray, "n 2"]:
        return unpushed(self.model, rows, ANSWERS, progress=self.progress)

    def read(self) -> pd.DataFrame:
        """Out-of-fold scores of every row: by probes that saw all formats, and by those that saw the others only."""
        design, plan = self.design, self._plan
        scores, chosen = reading.nested(self.arrays, design.labels, design.form, design.cue, plan, self.seed)
        site = np.full(len(scores), "", dtype=object)
        for (_, test), best in zip(plan, chosen, strict=True):
            site[test] = str(self.acts.sites[best])
        return pd.DataFrame({"score": scores[:, 0], "across": scores[:, 1], "site": site})

    @cached_property
    def _plan(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return reading.plan_of(self.design.labels, self.design.cue, self.seed)

    def refitted(self) -> pd.DataFrame:
        """AUROC within formats, of the contexts there are (first) and of permuted ones, all fitted anew."""
        design = self.design
        again = Refit.of(self.arrays, design.form, design.cue, self.seed)
        return pd.DataFrame({"auroc": again.aurocs(design.labels)})

    def readers(self) -> pd.DataFrame:
        design = self.design
        texts = design.examples.texts(response=False)
        return reading.baselines(texts, self.arrays, design.labels, design.form, design.cue, self._plan, self.seed)

    def layers(self) -> pd.DataFrame:
        return reading.by_layer(self.acts, self.design.form, self.design.cue, self._plan, self.seed)

    def tested_rows(self, part: str, most: int | None = None) -> np.ndarray:
        """Rows of a part that are tests, at most so many."""
        rows = self.parts[part]
        return rows[self.design.labels[rows] == 1][:most]

    @cached_property
    def steering(self) -> Steered:
        rows = self.parts["train"]
        arms = Arms.of(self.acts.select(rows), self.design.form[rows], draws=self.draws, seed=self.seed)
        return Steered(arms, self.acts.sites)

    def asked(self, rows: np.ndarray) -> Asked:
        """Rows that are to be steered."""
        return Asked(self.model, self.design.examples.select(rows), ANSWERS, progress=self.progress)

    @cached_property
    def tested(self) -> Asked:
        return self.asked(self.tested_rows("test"))

    def chosen(self, plain: Float[np.ndarray, "n 2"]) -> pd.DataFrame:
        """Each arm's layer and strength, chosen on the validation part."""
        rows = self.tested_rows("validation", VALIDATION)
        layers, strengths = self.steering.choose(self.asked(rows), plain[rows])
        kinds = ["direction", *np.repeat(KINDS, self.draws)]
        sites = [str(self.acts.sites[int(layer)]) for layer in layers]
        return pd.DataFrame({"arm": kinds, "layer": layers, "site": sites, "strength": strengths})

    def dosed(self, layer: int) -> Float[np.ndarray, "arms strengths n 2"]:
        """The direction and ten random ones at every strength, on the test part."""
        return self.steering.answers(self.tested, layer, range(1 + min(10, self.draws)), STRENGTHS)

    def rewriting(self, rewrite: Rewriter, name: str, pieces: Pieces) -> pd.DataFrame:
        """Of every test row of the test part, the rewriting that reads most like deployment: scores and answers before
        and after. Rows that are finished are kept where the run is."""
        numbers = self.tested_rows("test")
        kept, owner, texts = self.design.examples.frame, [], []
        for number in numbers:
            prompt = kept["prompt"].iloc[number]

            def made(prompt: Any = prompt, number: int = int(number)) -> pd.DataFrame:
                return pd.DataFrame({"text": [json.dumps(one) for one in rewritten(rewrite, prompt, number)]})

            few = pieces.table(f"{name} {number}", made)["text"].tolist()
            owner += [number] * len(few)
            texts += [json.loads(one) for one in few]
        train = self.parts["train"]
        X, design = self.arrays[self.layer], self.design
        fitted = (X[train], design.labels[train], design.form[train])
        rows = design.examples.select(np.array(owner)).frame.assign(prompt=texts)
        self.model.rows(rows["prompt"].tolist())
        acts = collect(self.model, Examples(rows), sites=[self.site], span="prompt[-1]", progress=self.progress)
        score = reading.scored(*fitted, acts.numpy(self.site).astype(np.float64))
        table = pd.DataFrame({"row": owner, "score": score, "place": range(len(owner))})
        best = table.loc[table.groupby("row")["score"].idxmin()].set_index("row").loc[numbers]
        chosen = Examples(rows.iloc[best["place"]])
        found = pd.DataFrame({"row": numbers, "group": design.groups[numbers]})
        found["score_before"], found["score_after"] = reading.scored(*fitted, X[numbers]), best["score"].to_numpy()
        found["text"] = [json.dumps(one) for one in chosen.prompts]
        if design.answers:
            found[["careful_after", "careless_after"]] = self.answered(chosen)
        return found
