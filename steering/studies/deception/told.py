"""What the measurements say: tables, claims and notes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from probes.metrics import auroc, auroc_interval
from steering.studies.deception.causal import SOUND, Steered
from steering.studies.deception.numbers import Test, Told, three
from steering.studies.deception.scenes import ENOUGH, ERROR
from steering.studies.deception.study import READERS, Study
from steering.studies.pieces import Pieces
from steering.studies.result import Claim

DETECTS = "detects deception on new scenarios"
SPARES = "does not flag honest answers in the same scenario"
TELLS = "tells lies from honest errors"
ADDED, TAKEN = "adding the direction makes it lie", "taking the direction away makes it honest"
LEXICAL = 0.9


class Findings:
    """Reads what the pieces of a study say. backed: whether labels agree with what the model believes and states."""

    def __init__(self, study: Study, pieces: Pieces, steered: Steered | None, *, backed: bool = True) -> None:
        self.study, self.pieces, self.steered, self.options = study, pieces, steered, study.options
        self.backed = backed
        scenes = study.scenes
        self.labels, self.kinds, self.inside = scenes.labels, scenes.kinds, scenes.inside
        self.test = Test(scenes.labels, scenes.groups, scenes.inside, seed=self.options.seed)
        self.notes = [*scenes.said_missing("scenarios"), *study.control.said_missing("control chats")]
        self.tables: dict[str, pd.DataFrame] = {}
        self.validation = pieces.table("validation", study.validation)
        self.scores = pieces.table("scores", study.scores)
        self.text = pieces.table("texts", study.texts)
        best = self.validation[(self.validation["detector"] == self.options.detectors[0]) & self.validation["chosen"]]
        self.name, self.site = str(best["detector"].iloc[0]), str(best["site"].iloc[0])
        self.score, self.passing = self._of(self.name, self.site)

    def claims(self) -> list[Claim]:
        """Every claim; fills the tables."""
        found = [*self._detected(), *self._kinds(), *self._transfer(), *self._steered()]
        self._layers()
        self._detectors()
        self._baselines()
        self._rows()
        self._noted()
        return found

    def _of(self, name: str, site: str) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " k"]]:
        """A detector's scores of scenario rows and of control chats."""
        column = self.scores[f"{name} {site}"].to_numpy(dtype=float)
        return column[: len(self.labels)], column[len(self.labels) :]

    def _three(self, name: str, site: str) -> dict[str, float]:
        return three(*self._of(name, site), self.labels, self.inside, fpr=self.options.fpr)

    def _best_text(self, rows: Bool[np.ndarray, " n"]) -> float:
        """The highest AUROC of a text-only classifier fitted on the pairs, on these rows."""
        labels = self.labels[rows]
        return max(float(auroc(labels, self.text[name].to_numpy(dtype=float)[: len(rows)][rows])) for name in READERS)

    def _claim(self, name: str, told: Told, reading: str, *, null: float = 0.5, gate: bool = True) -> Claim:
        return Claim(name, told.value, told.low, told.high, null, told.p, told.n, told.groups, reading, gate)

    def _detected(self) -> Iterator[Claim]:
        """AUROC; and recall less the flag rate of honest answers in the same scenarios, where that rate is low."""
        told, text = self.test.told(self.score, self.inside), self._best_text(self.inside)
        yield self._claim(
            DETECTS,
            told,
            f"The {self.name} detector, fitted on instructed pairs, tells deceptive from honest answers in the same "
            "scenarios, better than classifiers of the texts that are fitted on the same pairs.",
            gate=told.low > text and self.backed,
        )
        numbers = self._three(self.name, self.site)
        if told.low <= text:
            self.notes.append(f"Classifiers of the texts alone, fitted on the pairs, reach AUROC {text:.2f}.")
        if numbers["flagged_high"] > self.options.tolerated:
            self.notes.append(
                f"{numbers['flagged']:.0%} of honest answers in the scenarios are flagged (95 % interval to "
                f"{numbers['flagged_high']:.0%}; tolerated: {self.options.tolerated:.0%}): the detector may read the "
                "scenario."
            )
        yield self._claim(
            SPARES,
            self.test.gap(self.score > numbers["threshold"]),
            "At the threshold of ordinary chats, deceptive answers are flagged more often than honest ones in the same "
            f"scenarios, of which no more than {self.options.tolerated:.0%} are (value: the difference of the rates).",
            null=0.0,
            gate=numbers["flagged_high"] <= self.options.tolerated and self.backed,
        )

    def _kinds(self) -> Iterator[Claim]:
        """Lies against honest errors; each kind against honest answers."""
        rows, lies = [], self.study.scenes.lies
        if (self.kinds == ERROR).any():
            kept = self.inside & ((self.labels == 1) | (self.kinds == ERROR))
            reading = "Lies score higher than errors that are no lies, in the same scenarios."
            yield self._kept(TELLS, kept, reading)[0]
        threshold = self._three(self.name, self.site)["threshold"]
        for kind in sorted(set(self.kinds)):
            mine = self.kinds == kind
            row = {"kind": kind, "label": int(self.labels[mine][0]), "n": int(mine.sum())}
            row |= {"flagged": float((self.score[mine] > threshold).mean())}
            if kind in lies:
                reading = f"Answers of the kind {kind} score higher than honest ones in the same scenarios."
                claim, text = self._kept(f"finds {kind}", self.study.against_honest(kind), reading)
                row |= {"auroc": claim.value, "low": claim.low, "high": claim.high, "p": claim.p, "text": text}
                if len(lies) > 1:
                    yield claim
            rows.append(row)
        self.tables["kinds"] = pd.DataFrame(rows)

    def _kept(self, name: str, kept: Bool[np.ndarray, " n"], reading: str) -> tuple[Claim, float]:
        """A claim on rows of the scenario, and the AUROC of the best text; without a number where a side has none."""
        if len(set(self.labels[kept])) == 2:
            told, text = self.test.told(self.score, kept), self._best_text(kept)
            return self._claim(name, told, reading, gate=told.low > text and self.backed), text
        lacks = "honest" if (self.labels[kept] == 1).all() else "deceptive"
        self.notes.append(
            f"{name}: not tested, since no {lacks} row that it needs is in the scenario (column 'scenario' 1). Against "
            "rows outside of it, a detector of the scenario would tell them too."
        )
        nan = float("nan")
        nothing = Told(nan, nan, nan, nan, int(kept.sum()), len(set(self.study.scenes.groups[kept])))
        return self._claim(name, nothing, reading, gate=False), nan

    def _transfer(self) -> Iterator[Claim]:
        """A detector of one kind, on every kind."""
        if not self.study.battery:
            return
        scores = self.pieces.table("transfer", self.study.transfer)
        rows = []
        for kind in self.study.battery:
            column = scores[kind].to_numpy(dtype=float)
            score, control = column[: len(self.labels)], column[len(self.labels) :]
            others: list[tuple[Told, float]] = []
            for tested in self.study.scenes.lies:
                kept = self.study.against_honest(tested) & ~np.isnan(score)
                if len(set(self.labels[kept])) < 2:
                    self.notes.append(f"{kind} → {tested}: no rows in the scenario, of other groups than the pairs'.")
                    continue
                told = self.test.told(score, kept)
                texts = [scores[f"{kind} {name}"].to_numpy(dtype=float)[: len(score)][kept] for name in READERS]
                text = max(float(auroc(self.labels[kept], one)) for one in texts)
                known = ~np.isnan(score)
                numbers = three(
                    score[known],
                    control,
                    self.labels[known] * (self.kinds[known] == tested),
                    self.inside[known],
                    fpr=self.options.fpr,
                )
                row = {"fitted on": kind, "tested on": tested, **told._asdict(), "text": text}
                rows.append(row | {name: numbers[name] for name in ("recall", "recall_low", "recall_high")})
                if tested != kind:
                    others.append((told, text))
            if others:
                worst = min((one for one, _ in others), key=lambda one: one.value)
                yield self._claim(
                    f"a detector of {kind} finds every other kind",
                    worst._replace(p=max(one.p for one, _ in others)),
                    f"Fitted on pairs of the kind {kind} alone, it tells every other kind from honest answers (value: "
                    "the lowest AUROC; p: the highest).",
                    gate=all(one.low > max(text, 0.5) for one, text in others) and self.backed,
                )
        self.tables["transfer"] = pd.DataFrame(rows)

    def _steered(self) -> Iterator[Claim]:
        """What adding the direction and taking it away does."""
        if self.steered is None:
            return
        parts: dict[str, pd.DataFrame] = {}

        def made(name: str) -> pd.DataFrame:
            if not parts:
                assert self.steered is not None
                parts.update(self.steered.tables())
            return parts[name]

        names = ["steered", "curve"] + (["removed"] if self.steered.liars is not None else [])
        for name in names:
            self.tables[name] = self.pieces.table(name, lambda name=name: made(name))  # type: ignore[misc]
        readings = {
            "added": (
                ADDED,
                "Asked plainly, it lies more often when the direction is added, and more so than with any "
                "but few random directions, each at the layer and strength that it does most at.",
            ),
            "taken away": (
                TAKEN,
                "Where it lies, it lies less when the direction is taken away, and more so than with "
                "random directions.",
            ),
        }
        for row in self.tables["steered"].itertuples():
            name, reading = readings[str(row.arm)]
            null = float(row.random)
            whole = bool(row.sound and row.coherence >= SOUND * row.plain)
            if row.sound and not whole:
                self.notes.append(
                    f"{str(row.arm).capitalize()} at {row.site}, strength {row.strength:g}, the direction leaves "
                    f"{row.coherence:.2g} of the probability on the answers ({row.plain:.2g} without it): it is not "
                    "coherent, and nothing is shown of it."
                )
            yield Claim(
                name,
                row.change,
                row.low,
                row.high,
                null,
                row.p,
                int(row.n),
                int(row.groups),
                reading,
                whole and (row.change > null) == (row.arm == "added"),
            )
        if not self.tables["steered"]["sound"].all():
            self.notes.append(
                f"No layer and strength leaves {SOUND:g} of the probability on the answers that was there: the "
                "direction was steered with at the first, and nothing is shown of it; try lower strengths."
            )

    def _layers(self) -> None:
        rows, cosines = [], self.pieces.table("cosines", self.study.cosines)["cosine"]
        for one, cosine in zip(self.validation.itertuples(), cosines, strict=True):
            score, _ = self._of(one.detector, one.site)
            low, high = auroc_interval(self.labels, score, self.study.scenes.groups, seed=self.options.seed)
            numbers = self._three(one.detector, one.site)
            row = {"detector": one.detector, "layer": one.layer, "site": one.site, "validation": one.validation}
            row |= {
                "apart": one.apart,
                "cosine": cosine,
                "chosen": bool(one.chosen),
                "auroc": float(auroc(self.labels, score)),
            }
            rows.append(row | {"low": low, "high": high, "recall": numbers["recall"], "flagged": numbers["flagged"]})
        self.tables["layers"] = pd.DataFrame(rows)

    def _detectors(self) -> None:
        """The three numbers of every detector, and recall one layer before and after."""
        rows = []
        for name in self.options.detectors:
            own = self.tables["layers"][self.tables["layers"]["detector"] == name].reset_index(drop=True)
            at = int(own["chosen"].to_numpy().argmax())
            told = self.test.told(self._of(name, own["site"][at])[0])
            row = {"detector": name, "site": own["site"][at], "auroc": told.value, "low": told.low, "high": told.high}
            row |= {"p": told.p, **self._three(name, own["site"][at])}
            row["recall_before"] = float(own["recall"][at - 1]) if at else np.nan
            row["recall_after"] = float(own["recall"][at + 1]) if at + 1 < len(own) else np.nan
            rows.append(row | {"controls": len(self.passing)})
        self.tables["detectors"] = pd.DataFrame(rows)

    def _baselines(self) -> None:
        rows = []
        nulls = self.pieces.table("nulls", self.study.nulls)
        for name, drawn in nulls.groupby("null", sort=False):
            low, high = np.quantile(drawn["auroc"], [0.025, 0.975])
            row = {"baseline": name, "auroc": float(drawn["auroc"].mean()), "low": float(low), "high": float(high)}
            row |= {one: float(drawn[one].mean()) for one in ("recall", "flagged")}
            rows.append(row | {"interval": "central 95 % of draws", "draws": len(drawn)})
        for name in self.text:
            column = self.text[name].to_numpy(dtype=float)
            score, control = column[: len(self.labels)], column[len(self.labels) :]
            low, high = auroc_interval(self.labels, score, self.study.scenes.groups, seed=self.options.seed)
            row = {"baseline": name, "auroc": float(auroc(self.labels, score)), "low": low, "high": high}
            numbers = {"recall": np.nan, "flagged": np.nan}
            if not np.isnan(control).any():
                numbers = three(score, control, self.labels, self.inside, fpr=self.options.fpr)
            row |= {one: numbers[one] for one in ("recall", "flagged")}
            rows.append(row | {"interval": "bootstrap over groups", "draws": 0})
        self.tables["baselines"] = pd.DataFrame(rows)

    def _rows(self) -> None:
        """The first detector's score of every row."""
        scenes = pd.DataFrame({"set": "scenarios", "kind": self.kinds, "label": self.labels, "score": self.score})
        scenes["scenario"], scenes["group"] = self.inside.astype(int), self.study.scenes.groups
        chats = pd.DataFrame({"set": "control", "kind": "control", "score": self.passing, "scenario": 0})
        chats["label"], chats["group"] = 0, self.study.control.groups
        self.tables["scores"] = pd.concat([scenes, chats], ignore_index=True)

    def _noted(self) -> None:
        count, fpr = len(self.passing), self.options.fpr
        if count < ENOUGH:
            rank = int(np.floor(fpr * count + 1e-9)) + 1
            self.notes.append(
                f"{count} control chats: the threshold at a false-positive rate of {fpr:g} is their "
                f"{'highest' if rank == 1 else f'{rank}. highest'} score, which is coarse; give {ENOUGH:,} or more."
            )
        there = [name for name in self.text if name.endswith("learned there")]
        told = {name: float(auroc(self.labels, self.text[name].to_numpy(float)[: len(self.labels)])) for name in there}
        if told and max(told.values()) >= LEXICAL:
            self.notes.append(
                "Classifiers that learn from the texts of the scenarios themselves reach AUROC "
                f"{max(told.values()):.2f}: what is deceptive there can be told from the words."
            )
