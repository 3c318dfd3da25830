"""What the study asks a model: personas said, and personas steered, of the same requests and checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from lens.errors import ModelError
from lens.examples import Examples
from lens.model import Model
from steering.answers import AnswerIds
from steering.studies.asked import Asked, unpushed
from steering.studies.firsts import Columns, Firsts
from steering.studies.personas import matching
from steering.studies.personas.cast import PARTS, POLES, REFUSAL, Cast
from steering.studies.personas.geometry import Place
from steering.studies.result import digest_of, settings_of

# Of the matched strength: what a comparison at unmatched strength would have found.
MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
MATCHED = MULTIPLES.index(1.0)


@dataclass(frozen=True, eq=False)
class Study:
    """One run: the model, the cast, and how it is treated."""

    model: Model
    cast: Cast
    tolerance: float
    draws: int
    seed: int
    progress: bool

    @cached_property
    def _ids(self) -> AnswerIds:
        return AnswerIds()

    def settings(self) -> dict[str, Any]:
        """Everything that decides the numbers."""
        cast = self.cast
        signs = [
            {trait: sign for trait, sign in zip(cast.traits, row, strict=True) if sign} for row in cast.signs.tolist()
        ]
        return settings_of(
            self.model,
            personas=dict(zip(cast.names, cast.lines, strict=True)),
            signs=dict(zip(cast.names, signs, strict=True)),
            neutral=cast.neutral,
            requests=cast.requests.hash(whole=True),
            checks=cast.checks.hash(whole=True),
            groups={part: sum(one == part for one in cast.part.values()) for part in PARTS},
            dealt=digest_of(sorted(cast.part.items())),
            tolerance=self.tolerance,
            draws=self.draws,
            seed=self.seed,
            layer="of those that match most personas on validation checks, the first",
        )

    def check(self) -> None:
        """Raises, before anything runs: ModelError, an encoder; DataError: options that begin alike, a prompt longer
        than the context."""
        if self.model.is_encoder:
            raise ModelError(f"{self.model.name} is an encoder: it answers nothing.")
        longest = max([*self.cast.lines, self.cast.neutral], key=len)
        for rows, columns in ((self.cast.requests, REFUSAL), (self.cast.checks, POLES)):
            Firsts.of(self.model, rows, columns)
            self.model.rows(self.cast.said(self.model, rows, [longest]).prompts)

    @cached_property
    def asked(self) -> Examples:
        """Requests of the test part."""
        return self.cast.rows(self.cast.requests, "test")

    @property
    def harmful(self) -> np.ndarray:
        return np.asarray(self.asked.labels == 1)

    def checked(self, part: str) -> Examples:
        return self.cast.rows(self.cast.checks, part)

    def by_trait(self, part: str, answers: np.ndarray) -> dict[str, np.ndarray]:
        """Answers to the checks of a part, [..., n, 2], by their trait."""
        trait = self.checked(part).frame["trait"].to_numpy()
        return {name: answers[..., trait == name, :] for name in self.cast.traits}

    def prompted(self, rows: Examples, columns: Columns) -> Float[np.ndarray, "personas n 2"]:
        """Answers after every persona's line, and after the neutral one, which comes last."""
        lines = [*self.cast.lines, self.cast.neutral]
        said_so = self.cast.said(self.model, rows, lines)
        found = unpushed(self.model, said_so, columns, known=self._ids, progress=self.progress)
        return found.reshape(len(lines), len(rows), 2)

    def neutral(self, rows: Examples, columns: Columns) -> Asked:
        """Rows after the neutral line, to be steered."""
        plain = self.cast.said(self.model, rows, [self.cast.neutral])
        return Asked(self.model, plain, columns, known=self._ids, progress=self.progress)

    @cached_property
    def requests(self) -> Asked:
        return self.neutral(self.asked, REFUSAL)

    def steered(
        self, place: Place, rows: Asked, who: Int[np.ndarray, " p"], strengths: Float[np.ndarray, "p k"]
    ) -> Float[np.ndarray, "p k n 2"]:
        """Answers when steered along personas, each at its strengths (in mean residual norms)."""
        steps = strengths[:, :, None] * place.steps(self.cast.signs[who], place.traits)[:, None]
        found = rows.pushed(place.site, steps.reshape(-1, steps.shape[-1]))
        return found.reshape(*strengths.shape, *found.shape[1:])

    def matched(self, places: Sequence[Place], prompted: dict[str, np.ndarray]) -> pd.DataFrame:
        """At every layer, the strength at which each persona is matched on the validation part."""
        cast, rows = self.cast, self.checked("validation")
        asked, neutral = self.neutral(rows, POLES), {trait: one[-1] for trait, one in prompted.items()}
        target, by_row = matching.shifts(cast, {trait: one[:-1] for trait, one in prompted.items()}, neutral)
        trait, names = rows.frame["trait"].to_numpy(), rows.groups.astype(str)
        sure = matching.moved(cast, by_row, {one: names[trait == one] for one in cast.traits}, self.seed) > 0
        who, tables = np.arange(len(cast.names)), []
        for place in places:

            def steer(strengths: np.ndarray, place: Place = place) -> dict[str, np.ndarray]:
                return self.by_trait("validation", self.steered(place, asked, who, strengths))

            table = matching.solve(cast, np.where(sure, target, -np.inf), neutral, steer, tolerance=self.tolerance)
            table["target"] = target
            tables.append(table.assign(site=str(place.site), layer=place.site.layer))
        return pd.concat(tables, ignore_index=True)

    def random(
        self, place: Place, who: Int[np.ndarray, " p"], strengths: Float[np.ndarray, " p"]
    ) -> Float[np.ndarray, "kinds draws p 2"]:
        """Mean probability of refusing and of complying with harmful requests, steered along random directions in the
        traits' places at the same strengths: isotropic ones, then those with the covariance of the states."""
        signs, rows = self.cast.signs[who], self.neutral(self.asked.where(label=1), REFUSAL)
        drawn = np.concatenate([place.isotropic(self.draws, self.seed), place.matched(self.draws, self.seed)])
        steps = np.concatenate([strengths[:, None] * place.steps(signs, one) for one in drawn])
        found = rows.pushed(place.site, steps, label="Steering at random")
        return np.exp(found).mean(axis=1).reshape(2, self.draws, len(strengths), 2)
