"""Tabling: what was read and said, as tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from steering.studies.self_prediction.answering import frequencies
from steering.studies.self_prediction.comparing import MODE, MODELS, OTHER, Right, accuracy, alike, by_mode
from steering.studies.self_prediction.reading import CONSTANT

SPOKEN = "spoken"
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Target:
    """A model's own answers: the value of each kept row, as codes, and the folds stratified by them."""

    values: list[str]
    codes: Int[np.ndarray, " n"]
    plan: list[tuple[np.ndarray, np.ndarray]]

    def words(self, codes: Int[np.ndarray, " n"]) -> np.ndarray:
        return np.array(self.values, dtype=object)[codes]


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that was read and said. activations[model]: tables of `reading.read` for both targets, out of one model's
    activations; texts: of `read_texts`; said[model]: shares, [n, values]; answers: of kept rows."""

    targets: Mapping[str, Target]
    groups: np.ndarray
    activations: Mapping[str, pd.DataFrame]
    texts: pd.DataFrame
    said: Mapping[str, Float[np.ndarray, "n values"]]
    answers: Mapping[str, pd.DataFrame]
    seed: int

    def chosen(self, table: pd.DataFrame, target: str) -> pd.DataFrame:
        """One row each: what the folds predict from the sites that they chose."""
        return table[(table["target"] == target) & table["chosen"]].sort_values("row")

    def text(self, reader: str, target: str) -> pd.DataFrame:
        return self.chosen(self.texts[self.texts["site"] == reader], target)

    def right(self, table: pd.DataFrame, target: str) -> Bool[np.ndarray, " n"]:
        return table["predicted"].to_numpy() == self.targets[target].codes

    @cached_property
    def read_right(self) -> dict[tuple[str, str], Bool[np.ndarray, " n"]]:
        """By (reader, target)."""
        return {
            (reader, target): self.right(self.chosen(self.activations[reader], target), target)
            for reader in MODELS
            for target in MODELS
        }

    @cached_property
    def plain_right(self) -> dict[str, Right]:
        """By target: what needs no model."""
        readers = list(self.texts["site"].unique())
        return {
            target: {name: self.right(self.text(name, target), target) for name in readers} | {MODE: by_mode(one.codes)}
            for target, one in self.targets.items()
        }

    @cached_property
    def said_right(self) -> Right:
        return {name: shares.argmax(axis=1) == self.targets[name].codes for name, shares in self.said.items()}


def accuracies(found: Evidence) -> pd.DataFrame:
    """Who tells whose answers: accuracy with its interval, and cross-entropy in nats (nan: no probabilities)."""
    rows = []
    for target, one in found.targets.items():

        def add(reader: str, right: np.ndarray, entropy: float, target: str = target, one: Target = one) -> None:
            row = {"target": target, "reader": reader, **accuracy(right, found.groups, found.seed)}
            rows.append(row | {"cross_entropy": entropy, "n": len(one.codes), "values": len(one.values)})

        for name in (target, OTHER[target]):
            table = found.chosen(found.activations[name], target)
            add(f"{name}'s activations", found.read_right[name, target], _entropy(table["p"].to_numpy()))
        for name, right in found.plain_right[target].items():
            share = np.bincount(one.codes) / len(one.codes)
            p = share[one.codes] if name == MODE else found.text(name, target)["p"].to_numpy()
            add(name, right, _entropy(p))
        if target in found.said:
            p = found.said[target][np.arange(len(one.codes)), one.codes]
            add(SPOKEN, found.said_right[target], _entropy(p))
    return pd.DataFrame(rows)


def layers(found: Evidence) -> pd.DataFrame:
    """Every site by itself, out of fold; chosen: the share of rows whose fold took it."""
    rows = []
    for name in MODELS:
        table = found.activations[name]
        for (target, site), part in table[table["site"] != CONSTANT].groupby(["target", "site"], sort=False):
            right = found.right(part.sort_values("row"), str(target))
            row = {"target": target, "reader": f"{name}'s activations", "site": site}
            row |= accuracy(right, found.groups, found.seed)
            rows.append(row | {"cross_entropy": _entropy(part["p"].to_numpy()), "chosen": float(part["chosen"].mean())})
    return pd.DataFrame(rows)


def similarity(found: Evidence) -> pd.DataFrame:
    """How alike the two models answer."""
    first, second = (one.words(one.codes) for one in found.targets.values())
    return pd.DataFrame([alike(first, second) | {"n": len(first), "groups": len(set(found.groups.astype(str)))}])


def spoken(found: Evidence) -> pd.DataFrame:
    """What each model says of itself, beside baselines. mode, distribution: accuracy of the commonest value, and of
    guessing with the frequencies of the values. text: of the best reader of the text. calibration: mean |share said −
    frequency of the value among its answers| over rows and values (nan: frequencies unknown); calibration_constant:
    of saying the mean frequencies for every row."""
    rows = []
    for name, shares in found.said.items():
        one = found.targets[name]
        often = frequencies(found.answers[name], one.values)
        marginal = np.bincount(one.codes) / len(one.codes)
        texts = {reader: float(right.mean()) for reader, right in found.plain_right[name].items() if reader != MODE}
        best = max(texts, key=lambda reader, texts=texts: texts[reader])  # type: ignore[misc]
        row = {"model": name, **accuracy(found.said_right[name], found.groups, found.seed)}
        row |= {"mode": float(marginal.max()), "distribution": float(marginal @ marginal)}
        row |= {"text": texts[best], "best_text": best, "calibration": _distance(shares, often)}
        known = often[~np.isnan(often).any(axis=1)]
        row["calibration_constant"] = _distance(known.mean(axis=0), often) if len(known) else np.nan
        rows.append(row | {"confidence": float(shares.max(axis=1).mean()), "n": len(one.codes)})
    return pd.DataFrame(rows)


def confusion(found: Evidence) -> pd.DataFrame:
    """What each model answered by what its own activations predict: rows of each pair."""
    tables = []
    for target, one in found.targets.items():
        mine = found.chosen(found.activations[target], target)
        pairs = pd.DataFrame({"answered": one.words(one.codes), "predicted": one.words(mine["predicted"].to_numpy())})
        tables.append(pairs.value_counts(sort=False).rename("rows").reset_index().assign(target=target))
    return pd.concat(tables, ignore_index=True)


def _entropy(p: Float[np.ndarray, " n"]) -> float:
    return -float(np.log(np.maximum(p, TINY)).mean())


def _distance(shares: np.ndarray, often: Float[np.ndarray, "n values"]) -> float:
    """Mean absolute difference over the rows whose frequencies are known; nan where none are."""
    apart = np.abs(shares - often)
    known = ~np.isnan(apart)
    return float(apart[known].mean()) if known.any() else float("nan")
