"""Pushed: what steering does to self-report, behaviour and state, beside random directions of the same norm.

p = the larger of two:   of items (self-report), scenes or contexts: keys permuted over all items, or signs flipped
                         of random directions: `chance.beyond_random`
"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from lens.intervals import mean_interval
from lens.sites import Site
from steering.paired import sign_flip
from steering.studies.personality import chance
from steering.studies.personality.conditions import Condition
from steering.studies.personality.parting import part_claim
from steering.studies.personality.study import Study, along_direction
from steering.studies.result import Claim


class Pushed:
    """One steered condition."""

    def __init__(self, study: Study, condition: Condition, site: Site | None) -> None:
        self.study, self.condition, self.site = study, condition, site
        self.notes: list[str] = []
        if not along_direction(condition) or not study.random_draws:
            self.notes.append(f"{condition.name}: no random directions stand beside it, so that it shows nothing.")
        if site is None and study.scenes:
            self.notes.append(
                f"{condition.name}: its state is not read; there is no prompted condition of {condition.trait} to read "
                "it along, or no site after the steered one."
            )

    def shifts(self, table: pd.DataFrame) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """A row for every kind and trait measured; and the shifts of random directions."""
        study, rows, null = self.study, [], []
        ranges = {("behaviour", one.trait): one.range for one in study.behaviours}
        for (kind, trait), part in table.groupby(["kind", "trait"], sort=False):
            span = ranges.get((kind, trait), study.inventory.range if kind == "self-report" else 1.0)
            each = {draw: self._change(mine) / span for draw, mine in part.groupby("draw")}
            weights = self._weights(kind, trait, each[0].shape[1])
            found = {draw: self._shift(change, weights) for draw, change in each.items()}
            random = np.array([value for draw, value in found.items() if draw > 0])
            null += [
                {"condition": self.condition.name, "kind": kind, "measured": trait, "draw": draw, "shift": value}
                for draw, value in found.items()
                if draw > 0
            ]
            contribution = each[0] * weights * len(weights)
            contexts, items = np.indices(contribution.shape)
            names = self._groups(part) if kind == "behaviour" else np.arange(contribution.shape[1])
            many = len(set(names.tolist())) >= contribution.shape[0]
            units = (names[items] if many else contexts).reshape(-1).astype(str)
            flat = contribution.reshape(-1)
            low, high = mean_interval(flat, units, seed=study.seed)
            p = np.array([self._p(kind, trait, each[0], flat, units, table), chance.beyond_random(found[0], random)])
            present = ~np.isnan(flat)
            rows.append(
                {
                    "condition": self.condition.name,
                    "trait": self.condition.trait,
                    "kind": kind,
                    "measured": trait,
                    "shift": found[0],
                    "low": low,
                    "high": high,
                    "p": float("nan") if np.isnan(p).any() else float(p.max()),
                    "n": int(present.sum()),
                    "groups": len(set(units[present])),
                    "missing": int((~present).sum()),
                    "left": float(part.loc[part["draw"] == 0, ["mass_high", "mass_low"]].mean().mean()),
                    "random_low": float(random.min()) if len(random) else np.nan,
                    "random_high": float(random.max()) if len(random) else np.nan,
                    "keyed_both": kind != "self-report" or bool((weights > 0).any() and (weights < 0).any()),
                    "gate": bool(len(random) and found[0] > np.abs(random).max()),
                }
            )
        return rows, null

    def parts(self, rows: list[dict[str, Any]]) -> Claim | None:
        """Whether one of self-report and behaviour follows the steering while the other stays within the margin."""
        own = {row["kind"]: row for row in rows if row["measured"] == self.condition.trait}
        if "self-report" not in own or "behaviour" not in own:
            return None
        both = [own[kind] for kind in ("self-report", "behaviour")]
        still = [self._still(row) for row in both]
        return part_claim(self.condition.name, both, still, self._apart(both), self.study.margin)

    def _still(self, row: dict[str, Any]) -> float:
        """p that a shift lies within ±margin, from its interval taken for normal."""
        error = max((row["high"] - row["low"]) / (2 * 1.96), 1e-9)
        return float(stats.norm.sf((self.study.margin - abs(row["shift"])) / error))

    def _apart(self, both: list[dict[str, Any]]) -> Float[np.ndarray, " draws"]:
        """Draws of the difference of both shifts, each normal with the width of its interval."""
        rng = np.random.default_rng(self.study.seed)
        one, other = (
            rng.normal(row["shift"], max((row["high"] - row["low"]) / (2 * 1.96), 1e-12), chance.DRAWS) for row in both
        )
        return np.asarray(one - other)

    def _change(self, part: pd.DataFrame) -> Float[np.ndarray, "contexts rows"]:
        wide = part.assign(change=part["high"] - part["low"]).pivot(index="context", columns="row", values="change")
        return wide.to_numpy(dtype=float)

    def _groups(self, part: pd.DataFrame) -> np.ndarray:
        """Of each scene."""
        return part.drop_duplicates("row").sort_values("row")["group"].to_numpy()

    def _weights(self, kind: str, trait: str, count: int) -> Float[np.ndarray, " rows"]:
        items = self.study.inventory.items
        if kind == "self-report":
            return chance.balanced(items.loc[items["trait"] == trait, "key"].to_numpy())
        return np.full(count, 1 / count)

    def _shift(self, change: Float[np.ndarray, "contexts rows"], weights: Float[np.ndarray, " rows"]) -> float:
        found = chance.scored(change, weights)
        return float(np.nanmean(found)) if (~np.isnan(found)).any() else float("nan")

    def _p(
        self, kind: str, trait: str, change: np.ndarray, flat: np.ndarray, units: np.ndarray, table: pd.DataFrame
    ) -> float:
        """Over items, groups of scenes or contexts, whichever are more; one-sided as the shift is to be positive."""
        if kind == "self-report" and change.shape[1] >= change.shape[0]:
            mine = table[(table["kind"] == kind) & (table["draw"] == 0)]
            per = mine.assign(change=mine["high"] - mine["low"]).groupby("row")["change"].mean()
            items = self.study.inventory.items
            keys = np.where(items["trait"] == trait, items["key"], 0)
            moved = per.reindex(range(len(items))).to_numpy(dtype=float)
            return chance.permuted(moved, keys, items["trait"].to_numpy(), seed=self.study.seed)
        return sign_flip(flat, units, seed=self.study.seed)
