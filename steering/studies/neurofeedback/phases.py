"""Phases: sentences read, each axis' sites chosen, and the reports and replies that count."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from lens.collect import collect
from lens.examples import Examples
from lens.sites import Site
from steering.studies.neurofeedback.axes import Axis, Components, components, fit_axes
from steering.studies.neurofeedback.control import Kind, Replies, replies, summarised
from steering.studies.neurofeedback.effect import cohen_d, sums
from steering.studies.neurofeedback.episodes import Drawn, answers, draw
from steering.studies.neurofeedback.labels import cuts_of, label_by
from steering.studies.neurofeedback.learners import WORDS_C, learnt, predicted, words_of
from steering.studies.neurofeedback.plan import Plan
from steering.studies.neurofeedback.reporting import credit

# Of the episodes that count, so many choose the site: for reports, and for replies.
REPORTS, REPLIES = 5, 10
# Of a site, reports and both kinds of replies.
KEPT = 3


@dataclass(frozen=True, eq=False)
class Bench:
    """A plan with its sentences read, its axes fitted, and labels on every axis at every site."""

    plan: Plan
    states: dict[Site, Float[np.ndarray, "n d"]]
    axes: dict[str, dict[Site, Axis]]
    parts: dict[Site, Components]
    labels: dict[tuple[str, Site], Int[np.ndarray, " n"]]
    words: Float[np.ndarray, "n words"]
    asked: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> "Bench":
        """Raises DataError: an axis that cannot be fitted, or whose labels would be of one kind."""
        table = Examples(
            plan.examples.frame.assign(
                prompt=[plan.source_form.alone()] * len(plan.examples),
                response=[plan.source_form.spoken(one) for one in plan.sentences],
            )
        )
        acts = collect(plan.source, table, sites=list(plan.sites), span="response", progress=plan.progress)
        states = {site: acts[site].double().numpy() for site in acts.sites}
        parts = {site: components(one[plan.fit]) for site, one in states.items()}
        axes = fit_axes(acts.select(plan.fit), plan.asked, parts, seed=plan.seed)
        labels = {}
        for name, at in axes.items():
            for site, axis in at.items():
                scores = axis.score(states[site])
                cuts = cuts_of(scores[plan.used], plan.threshold, name=f"{name} at {site}")
                labels[name, site] = label_by(scores, cuts)
        return cls(plan, states, axes, parts, labels, words_of(plan.sentences))

    def described(self) -> pd.DataFrame:
        """Every axis at every site, and the share of sentences in the upper half of its labels."""
        plan = self.plan
        rows = [
            {
                "axis": name,
                "site": str(site),
                "threshold": str(plan.threshold),
                "upper_share": float((self.labels[name, site][plan.used] >= plan.levels / 2).mean()),
                "upper_share_test": float((self.labels[name, site][plan.test] >= plan.levels / 2).mean()),
                "rank": self.parts[site].vectors.shape[1],
                "n": len(plan.used),
            }
            for name, at in self.axes.items()
            for site in at
        ]
        return pd.DataFrame(rows)

    def chosen(self, name: str) -> pd.DataFrame:
        """For each site of an axis, on validation sentences: accuracy of reports, d of replies; and which is chosen."""
        plan, rows = self.plan, []
        for site in self.axes[name]:
            row: dict[str, Any] = {"axis": name, "site": str(site)}
            if len(self.axes[name]) > 1:
                drawn = self.draw(name, site, plan.validation, max(8, plan.episodes // REPORTS), "validation")
                p = self.answers(drawn)
                row["accuracy"] = _accuracy(p, drawn, plan)
            for kind in plan.kinds:
                if len(self.axes[name]) > 1:
                    drawn = self.draw(name, site, plan.validation, max(5, plan.episodes // REPLIES), "validation")
                    found = self.replies(drawn, kind)
                    scores = self.axes[name][site].score(found.states[site][found.whole])
                    row[f"d_{kind}"] = float(cohen_d(*sums(scores))) if len(scores) > 1 else np.nan
            rows.append(row)
        table = pd.DataFrame(rows)
        columns = {"reports": "accuracy"} | {str(kind): f"d_{kind}" for kind in plan.kinds}
        for what, column in columns.items():
            best = 0 if column not in table or table[column].isna().all() else int(table[column].idxmax())
            table[f"chosen_{what}"] = np.arange(len(table)) == best
            table[column] = table.get(column, np.nan)
        return table

    def draw(self, name: str, site: Site, pool: Int[np.ndarray, " m"], episodes: int, part: str) -> Drawn:
        """Episodes on an axis. Sites whose labels are the same get the same episodes."""
        return draw(
            self.labels[name, site],
            pool,
            levels=self.plan.levels,
            episodes=episodes,
            places=max(self.plan.shots) + 1,
            seed=self.plan.seed_of(name, part),
        )

    def answers(self, drawn: Drawn) -> Float[np.ndarray, "flips episodes places levels"]:
        """Probabilities of the labels, with those shown as they are and flipped."""
        plan = self.plan

        def ask() -> Any:
            both = [
                answers(plan.model, plan.form, plan.sentences, one, plan.places, plan.tokens, progress=plan.progress)
                for one in (drawn, drawn.flipped())
            ]
            return np.exp(np.stack(both))

        return np.asarray(self._once(("answers", *_key(drawn)), ask))

    def replies(self, drawn: Drawn, kind: Kind) -> Replies:
        """Replies as asked for, read at all sites."""
        plan = self.plan

        def ask() -> Replies:
            return replies(
                plan.model,
                plan.form,
                plan.sentences,
                drawn,
                kind,
                plan.sites,
                temperature=plan.temperature,
                seed=plan.seed_of(kind),
                progress=plan.progress,
            )

        found: Replies = self._once((kind, *_key(drawn)), ask)
        return found

    def reported(self, name: str, site: Site) -> dict[str, Float[np.ndarray, "*flips episodes places levels"]]:
        """On test sentences: the answers of the model and of the learners."""
        plan, labels = self.plan, self.labels[name, site]
        drawn = self.tested(name, site)
        train = np.setdiff1d(np.arange(len(labels)), plan.test)
        known = predicted(self.words[None, train], labels[None, train], self.words[None], plan.levels, C=WORDS_C)[0]
        spread = self.states[site][plan.fit].std(axis=0)
        features = (self.states[site] - self.states[site][plan.fit].mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        return {
            "model": self.answers(drawn),
            "ideal observer": learnt(features, drawn, plan.places),
            "bag of words": learnt(self.words, drawn, plan.places, C=WORDS_C),
            "bag of words, all": known[drawn.index[:, plan.places]],
        }

    def tested(self, name: str, site: Site) -> Drawn:
        """The episodes that reports are judged on."""
        return self.draw(name, site, self.plan.test, self.plan.episodes, "test")

    def shuffled(self) -> Drawn:
        """Episodes whose labels are drawn anew for each: what comes of labels that mean nothing."""
        plan, random = self.plan, np.random.default_rng(self.plan.seed_of("shuffled"))
        index = np.stack([random.permutation(plan.test)[: max(plan.shots) + 1] for _ in range(plan.episodes)])
        return Drawn(index, random.integers(plan.levels, size=index.shape), plan.levels)

    def controlled(self, name: str, site: Site, kind: Kind) -> dict[str, Any]:
        """On test sentences: what replies do to the axis."""
        plan, axis = self.plan, self.axes[name][site]
        drawn = self.draw(name, site, plan.test, plan.episodes, f"test {kind}")
        others = {other: at[site] for other, at in self.axes.items() if site in at}
        natural = axis.score(self.states[site])
        found = self.replies(drawn, kind)
        seed = plan.seed_of(name, kind)
        return {"kind": kind} | summarised(found, axis, self.parts[site], natural, others, seed=seed)

    def _once(self, key: Any, ask: Any) -> Any:
        """The same episodes are run once: sites may agree in all labels. Only the last are kept."""
        if key not in self.asked:
            while len(self.asked) >= KEPT:
                del self.asked[next(iter(self.asked))]
            self.asked[key] = ask()
        return self.asked[key]


def _key(drawn: Drawn) -> tuple[bytes, bytes]:
    return drawn.index.tobytes(), drawn.labels.tobytes()


def _accuracy(p: Float[np.ndarray, "flips episodes places levels"], drawn: Drawn, plan: Plan) -> float:
    earned = [
        np.take_along_axis(credit(one), told.labels[:, plan.places][..., None], axis=-1)[:, plan.late]
        for one, told in zip(p, (drawn, drawn.flipped()), strict=True)
    ]
    return float(np.mean(earned))
