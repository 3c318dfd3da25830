"""The rows of docs/real_text.md: which texts, which label, and what must not be split."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

import lens

ROWS, TURNS, TESTED, SEED = 1000, 150, 0.4, 0
BIG_FIVE = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
DARK = ("machiavellianism", "narcissism", "psychopathy")
TRAITS = ("confusion", "impatience", "incoherence", "skeptical")
UNSEEN = "telehealth"
ALIKE, EDITED = 0.25, 0.6


@dataclass(frozen=True)
class Task:
    """One line of the page: the rows to train on and the rows to test on, which share no group."""

    name: str
    train: lens.Examples
    test: lens.Examples

    @classmethod
    def of(cls, name: str, examples: lens.Examples) -> "Task":
        return cls(name, *examples.split(test=TESTED, by="group", seed=SEED))


Reader = Callable[[Path], pd.DataFrame]


def persona(name: str) -> Reader:
    def read(folder: Path) -> pd.DataFrame:
        return lens.formats.load(folder / "anthropic_evals" / "persona" / f"{name}.jsonl", "anthropic").frame

    return read


def truth(name: str) -> Reader:
    def read(folder: Path) -> pd.DataFrame:
        return lens.formats.load(folder / "truth" / f"{name}.csv", "geometry_of_truth").frame

    return read


def xstest(folder: Path) -> pd.DataFrame:
    """Safe and unsafe prompts around the same word; the kinds without a word are about discrimination, one group."""
    table = pd.read_csv(folder / "refusal" / "xstest_prompts.csv")
    group = table["focus"].str.lower().str.strip().fillna("discrimination")
    return pd.DataFrame({"prompt": table["prompt"], "label": (table["label"] == "unsafe").astype(int), "group": group})


def emotion(folder: Path) -> pd.DataFrame:
    texts = {
        label: json.loads((folder / "repe" / "emotions" / f"{name}.json").read_text(encoding="utf-8"))
        for label, name in ((1, "happiness"), (0, "sadness"))
    }
    rows = [{"prompt": text, "label": label} for label, found in texts.items() for text in dict.fromkeys(found)]
    return pd.DataFrame(rows).assign(group=range(len(rows)))


def commonsense(folder: Path) -> pd.DataFrame:
    """Label 1 = wrong. An edit of a sentence stands right after it, sometimes after another edit."""
    table = pd.read_csv(folder / "ethics" / "commonsense_test_short.csv")
    return pd.DataFrame({"prompt": table["input"], "label": table["label"], "group": _chained(table["input"], _edited)})


def justice(folder: Path) -> pd.DataFrame:
    """Label 1 = reasonable. Rows about one situation stand together, and begin alike or end alike."""
    table = pd.read_csv(folder / "ethics" / "justice_test.csv")
    return pd.DataFrame(
        {"prompt": table["scenario"], "label": table["label"], "group": _chained(table["scenario"], _alike)}
    )


def _chained(given: pd.Series, alike: Callable[[str, str], bool]) -> np.ndarray:
    """Groups of texts that stand together and are alike, each with the one before it."""
    texts = [" ".join(text.lower().split()) for text in given]
    return np.cumsum([0, *(not alike(one, other) for one, other in pairwise(texts))])


def _edited(one: str, other: str) -> bool:
    """Whether one text is an edit of the other, of whichever words."""
    return _alike(one, other) or SequenceMatcher(None, one, other, autojunk=False).ratio() > EDITED


def _alike(one: str, other: str) -> bool:
    """Whether two texts share a good part of the shorter one, at the beginning or at the end."""
    return max(_begin(one, other), _begin(one[::-1], other[::-1])) >= ALIKE * min(len(one), len(other))


def _begin(one: str, other: str) -> int:
    """With how many characters two texts begin alike."""
    differ = (number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return next(differ, min(len(one), len(other)))


def deontology(folder: Path) -> pd.DataFrame:
    """Label 1 = reasonable."""
    table = pd.read_csv(folder / "ethics" / "deontology_test.csv")
    texts = table["scenario"].str.strip() + " " + table["excuse"].str.strip()
    return pd.DataFrame({"prompt": texts, "label": table["label"], "group": table["scenario"].str.strip()})


DATA: dict[str, Reader] = {
    **{f"persona: {name}": persona(name) for name in (*BIG_FIVE, *DARK)},
    "XSTest: unsafe, not safe": xstest,
    "ETHICS commonsense: wrong": commonsense,
    "ETHICS justice: reasonable": justice,
    "ETHICS deontology: reasonable": deontology,
    "truth: cities": truth("cities"),
    "truth: Spanish words": truth("sp_en_trans"),
    "emotion: happiness, not sadness": emotion,
}


def sample(table: pd.DataFrame, rows: int = ROWS) -> lens.Examples:
    """Whole groups, drawn at random, up to so many rows."""
    order = np.random.default_rng(SEED).permutation(table["group"].astype(str).unique())
    sizes = table["group"].astype(str).value_counts()[order].cumsum()
    kept = set(sizes.index[: max(1, int((sizes <= rows).sum()))])
    return lens.Examples(table[table["group"].astype(str).isin(kept)].reset_index(drop=True))


def turns(folder: Path, limit: int = TURNS) -> lens.Examples:
    """Turns of users with a trait, at most so many for each trait in each domain; no label yet."""
    files = ("user_turns_matched", "user_turns_airline_retail")
    parts = [lens.formats.load(folder / "tau_trait" / f"{name}.jsonl", "tau_trait").frame for name in files]
    table = pd.concat(parts, ignore_index=True)
    table = table[table["trait"].isin(TRAITS)].sample(frac=1, random_state=SEED)
    few = table.groupby(["trait", "domain"]).head(limit).sort_index()
    return lens.Examples(few[["prompt", "group", "trait", "domain", "turn"]])


def pairs(rows: lens.Examples) -> Iterator[Task]:
    """Every trait against every other: on tasks that were not trained on, and in a domain that was not."""
    for positive, negative in combinations(TRAITS, 2):
        both = rows.where(trait=[positive, negative])
        # A domain with one of the two alone would tell the trait.
        traits = both.frame.groupby("domain")["trait"].nunique()
        both = both.where(domain=list(traits.index[traits == 2]))
        pair = lens.Examples.from_frame(both.frame, label="trait", positive=positive, group="group")
        name = f"{positive}, not {negative}"
        yield Task.of(f"tau: {name}", pair)
        elsewhere = (pair.frame["domain"] != UNSEEN).to_numpy()
        yield Task(f"tau: {name}; {UNSEEN} unseen", pair.select(elsewhere), pair.select(~elsewhere))
