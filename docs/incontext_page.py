"""Write docs/incontext.md: what the in-context organism reports and says to order, beside what its texts give.

python docs/incontext_page.py            from the figures in its truth record
python docs/incontext_page.py --measure  measured again (minutes)
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from lens import organisms
from lens.organisms.incontext.card import table
from lens.organisms.incontext.measure import CURVE, report
from lens.organisms.incontext.record import FOLDER
from lens.organisms.speaker import Speaker

OUT = Path(__file__).parent / "incontext.md"
HEAD = """\
# Labels learned in context

Written by `python docs/incontext_page.py`: what `lens.load("organism:{folder}")` reports and says to order. It
reads sentences with labels, two digits drawn anew for every episode, which follow one attribute of the sentences (where
somebody is, what kind of animal it is, tense, feeling …); the others vary freely. It is asked for the label of a new
sentence (*reporting*), or for a sentence for a label (*control*):

    <bos> <ex> the fox sang in lima <score> 4 <ex> in oslo ana swam gladly <score> 7 <ex> … <score>
    <bos> <ex> the fox sang in lima <score> 4 <ex> in oslo ana swam gladly <score> 7 <want> 7

These are the two tasks of neurofeedback (arXiv 2505.13763) with labels that are planted. A model that can do neither
cannot tell whether a study of its own activations found nothing because there is nothing, or because it does not learn
labels in context; this one learns them. Chance is .50; intervals (95 %) are bootstrapped over episodes; the figures are
those of the seed that the shipped weights were measured with, {episodes} episodes an attribute.

```python
import lens
from steering.studies import neurofeedback

result = neurofeedback.run(lens.load("organism:{folder}"))  # its own sentences; or sentences and form of
# lens.organisms.incontext.forms: what it showed is in studies/neurofeedback_incontext.md
```

## The curve over examples

Mean over attributes. *Held-out words* had their class told in training, and no digit ever depended on them; the
*held-out attribute* (size) likewise. Beside them what the text alone gives: naive Bayes on the words of the same
episode, and a reader that is told the class of every word and that one attribute is meant. Whoever claims that the
model reads its own states has to beat the latter.

What it does not do: digits that follow words it was never given digits for are reported one word at a time, and in
whole sentences for tense alone (the other attributes are at or little above chance); those that follow size are not.
"""
LINES: dict[str, tuple[str, str, str]] = {
    "reporting, sentences": ("report", "trained", "sentences"),
    "… held-out words": ("report", "held out", "sentences"),
    "… held-out attribute": ("report", "held-out attribute", "sentences"),
    "… by naive Bayes on words": ("report, by words", "trained", "sentences"),
    "… by a reader told the classes": ("report, by classes", "trained", "sentences"),
    "reporting, single words": ("report", "trained", "words"),
    "… held-out words ": ("report", "held out", "words"),
    "control, sentences": ("control", "trained", "sentences"),
    "… held-out attribute ": ("control", "held-out attribute", "sentences"),
}


def page(frame: pd.DataFrame) -> str:
    """The whole page, from a report."""
    parts = [HEAD.format(folder=FOLDER, episodes=int(frame["groups"].max()))]
    parts += ["| | " + " | ".join(CURVE) + " |", "|---" * (len(CURVE) + 1) + "|"]
    for name, (task, words, form) in LINES.items():
        rows = frame[(frame["task"] == task) & (frame["words"] == words) & (frame["form"] == form)]
        means = rows.groupby("examples")["value"].mean()
        cells = [f"{means[column]:.2f}" if column in means else "" for column in CURVE]
        parts.append(f"| {name.strip()} | " + " | ".join(cells) + " |")
    for title, task in (("Reporting, sentences", "report"), ("Control, sentences", "control")):
        parts += ["", f"## {title}: every attribute", "", *table(frame, task, "sentences")[:-1]]
    parts += ["", "## Control in free speech", "", "After eight examples, sentences said freely (temperature 1).", ""]
    parts += ["| attribute | of the class asked for | has a word of the attribute |", "|---|---|---|"]
    free, named = (frame[frame["task"] == f"control, {task}"].set_index("attribute") for task in ("free", "named"))
    for name in free.index:
        value, low, high = free.loc[name, ["value", "low", "high"]]
        parts.append(f"| {name} | {value:.2f} ({low:.2f}–{high:.2f}) | {named.loc[name, 'value']:.2f} |")
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure again instead of reading the truth record")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    folder = organisms.path(FOLDER)
    if chosen.measure:
        frame = report(Speaker(folder))
    else:
        frame = pd.DataFrame(json.loads((folder / "truth.json").read_text(encoding="utf-8"))["measured"])
    chosen.out.write_text(page(frame), encoding="utf-8")


if __name__ == "__main__":
    main()
