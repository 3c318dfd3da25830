"""Tables: what was gathered, as the claims and tables of the result."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.sites import Site
from steering.studies.neurofeedback.episodes import Drawn
from steering.studies.neurofeedback.plan import Plan
from steering.studies.neurofeedback.reporting import Told, credit, curve, told
from steering.studies.neurofeedback.space import component_of, dimension_row, passes, space_table
from steering.studies.result import LEVEL, Claim, judged

TEXT = ("bag of words", "bag of words, all")
CONTROL = ["axis", "kind", "site", "d", "se", "low", "high", "p", "p_specific", "snr", "precision", "null", "null_high"]
CONTROL += ["cosine", "over_range", "n", "missing"]


def claim_of(axis: str, kind: str) -> str:
    """The claim's name."""
    return f"reports {axis}" if kind == "reports" else f"controls {axis}, {kind}"


@dataclass(eq=False)
class Gathered:
    """What a run has found so far."""

    plan: Plan
    axes: pd.DataFrame = field(default_factory=pd.DataFrame)
    sites: list[pd.DataFrame] = field(default_factory=list)
    control: list[pd.DataFrame] = field(default_factory=list)
    told: dict[str, tuple[Site, Told]] = field(default_factory=dict)
    curves: list[pd.DataFrame] = field(default_factory=list)
    credits: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def chosen(self, axis: str, what: str) -> Site:
        """The site chosen for reports, or for a kind of control."""
        table = next(one for one in self.sites if one["axis"].iloc[0] == axis)
        return Site.parse(str(table[table[f"chosen_{what}"]]["site"].iloc[0]))

    def report(self, axis: str, site: Site, drawn: Drawn, p: dict[str, Any]) -> None:
        """Take in the answers of the model and of learners."""
        plan, groups = self.plan, np.asarray(self.plan.examples.groups)
        seed = plan.seed_of(axis, "reports")
        text = {name: p[name][0] for name in TEXT}
        self.told[axis] = site, told(p["model"], drawn, plan.places, plan.late, groups, text, seed=seed)
        self.credits[axis] = _late(p["model"], drawn, plan), groups[drawn.index[:, [plan.places[k] for k in plan.late]]]
        for arm, values in p.items():
            table = curve(values, drawn, plan.places, groups, seed=seed)
            self.curves.append(table.assign(axis=axis, site=str(site), arm=arm))

    def null(self, drawn: Drawn, p: Float[np.ndarray, "flips episodes places levels"]) -> None:
        """Take in the answers to shuffled labels."""
        table = curve(p, drawn, self.plan.places, np.asarray(self.plan.examples.groups), seed=self.plan.seed)
        self.curves.append(table.assign(axis="", site="", arm="shuffled labels"))

    def claims(self) -> pd.DataFrame:
        """All claims, judged together."""
        made = [self._reported(axis) for axis in self.told]
        return judged([*made, *(self._controlled(row) for one in self.control for _, row in one.iterrows())])

    def _reported(self, axis: str) -> Claim:
        site, found = self.told[axis]
        own = "its own activations" if self.plan.source is self.plan.model else f"{self.plan.source.name}'s activations"
        return Claim(
            claim=claim_of(axis, "reports"),
            value=found.accuracy,
            low=found.low,
            high=found.high,
            null=found.null,
            p=found.p,
            n=found.n,
            groups=found.groups,
            reading=f"After {max(self.plan.shots)} shots it tells where a sentence lies on {axis} at {site} of {own}, "
            "better than the words tell it.",
            gate=found.privileged,
        )

    def _controlled(self, row: pd.Series) -> Claim:
        axis, kind = str(row["axis"]), str(row["kind"])
        how = (
            "writes sentences that lie"
            if kind == "explicit"
            else "moves, in sentences put into its mouth, to where it is"
        )
        # Both have to be ruled out, so the larger p-value counts.
        p = float(np.max([row["p"], row["p_specific"]]))
        return Claim(
            claim=claim_of(axis, kind),
            value=float(row["d"]),
            low=float(row["low"]),
            high=float(row["high"]),
            null=0.0,
            p=p,
            n=int(row["n"]),
            groups=int(row["n"]),
            reading=f"Asked for a label, it {how} on the side of {axis} asked for, at {row['site']}, more than on "
            "random axes.",
            gate=bool(row["d"] > 0),
        )

    def told_table(self, claims: pd.DataFrame) -> pd.DataFrame:
        """How well labels are told at the late places, and by how much better than by the text."""
        rows, p_holm = [], dict(zip(claims["claim"], claims["p_holm"], strict=True))
        for axis, (site, one) in self.told.items():
            row: dict[str, Any] = {"axis": axis, "site": str(site), "accuracy": one.accuracy, "low": one.low}
            row |= {"high": one.high, "null": one.null, "p": one.p}
            for name, (apart, low, high) in one.over.items():
                row |= {f"over {name}": apart, f"over {name}, low": low, f"over {name}, high": high}
            beats = bool(p_holm[claim_of(axis, "reports")] < LEVEL) and one.low > one.null
            rows.append(row | {"told": beats, "privileged": one.privileged, "n": one.n, "groups": one.groups})
        return pd.DataFrame(rows)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables of the result."""
        claims = self.claims()
        kinds = ("reports", *self.plan.kinds)
        names = {axis: {kind: claim_of(axis, kind) for kind in kinds} for axis in self.told}
        space = space_table(claims, names)
        found = {
            "axes": self.axes,
            "sites": pd.concat(self.sites, ignore_index=True),
            "reporting": pd.concat(self.curves, ignore_index=True),
            "told": self.told_table(claims),
            "space": space,
        }
        if self.control:
            rows = pd.concat(self.control, ignore_index=True)
            found |= {
                "control": rows[CONTROL],
                "spread": _long(rows, "read_at", "d_at", ("read", "d")),
                "cosines": _long(rows, "other_axes", "other_cosines", ("other", "cosine")),
                "replies": _replies(rows),
            }
        dimensions = self._dimensions(space)
        return found | ({"dimension": dimensions} if len(dimensions) else {})

    def _dimensions(self, space: pd.DataFrame) -> pd.DataFrame:
        components = {axis: k for axis in self.told if (k := component_of(axis)) is not None}
        if not components:
            return pd.DataFrame()
        shown = space.set_index("axis")
        rows, seed = [], self.plan.seed
        resampled = {}
        for axis, k in components.items():
            earned, member = self.credits[axis]
            resampled[k] = passes(earned.ravel(), member.ravel(), self.told[axis][1].null, seed=seed)
        rows.append(
            dimension_row("reports", {k: bool(shown["reports"][axis]) for axis, k in components.items()}, resampled)
        )
        for kind in self.plan.kinds:
            resampled = {}
            for one in self.control:
                row = one.iloc[0]
                if row["kind"] == kind and row["axis"] in components:
                    apart = np.array(row["upper"]) - np.array(row["lower"])
                    known = len(apart) > 0
                    resampled[components[row["axis"]]] = (
                        passes(apart, np.arange(len(apart)), 0.0, seed=seed) if known else np.zeros(1000, dtype=bool)
                    )
            rows.append(dimension_row(kind, {k: bool(shown[kind][axis]) for axis, k in components.items()}, resampled))
        return pd.DataFrame(rows)


def _late(p: Float[np.ndarray, "flips episodes places levels"], drawn: Drawn, plan: Plan) -> Float[np.ndarray, "e q"]:
    earned = [
        np.take_along_axis(credit(one), told_.labels[:, plan.places][..., None], axis=-1)[:, plan.late, 0]
        for one, told_ in zip(p, (drawn, drawn.flipped()), strict=True)
    ]
    return np.asarray(np.mean(earned, axis=0))


def _long(rows: pd.DataFrame, names: str, values: str, columns: tuple[str, str]) -> pd.DataFrame:
    made = [
        {"axis": row["axis"], "kind": row["kind"], "site": row["site"], columns[0]: name, columns[1]: value}
        for _, row in rows.iterrows()
        for name, value in zip(row[names], row[values], strict=True)
    ]
    return pd.DataFrame(made, columns=["axis", "kind", "site", *columns])


def _replies(rows: pd.DataFrame) -> pd.DataFrame:
    """The first replies of each axis, to read."""
    made = [
        {"axis": row["axis"], "experiment": k // 4, "flipped": bool(k % 4 // 2), "asked for": k % 2, "reply": text}
        for _, row in rows[rows["kind"] == "explicit"].iterrows()
        for k, text in enumerate(row["replies"])
    ]
    return pd.DataFrame(made, columns=["axis", "experiment", "flipped", "asked for", "reply"])
