"""Write docs/studies/neurofeedback_proof.md: what the organisms report and control of their own activations.

python docs/neurofeedback_proof.py
"""

import argparse
from pathlib import Path

import pandas as pd

import lens
from lens.organisms.constructed import neurofeedback as family
from steering.studies import Result, neurofeedback

OUT = Path(__file__).parent / "studies"
# Where all replies but a few are the same, d has no scale.
FARTHEST = 10
HEAD = """\
# Neurofeedback: the proof

Written by `python docs/neurofeedback_proof.py`, every figure: `studies.neurofeedback.run(model)`, on each organism's
own sentences (`lens study neurofeedback -m MODEL`).

A model is shown sentences with labels: where its own activations of them lie on an axis. *Reports*: it gives the label
of the next sentence; accuracy at the second half of the shots, labels shown as they are and flipped, on sentences that
neither fitted the axis nor chose its site. *Words*: the same by a bag of words, from the same labels, and from those of
all other sentences; a report that does not beat both is not privileged. *Control*: Cohen's d on the axis of replies
that are asked for its upper rather than its lower label (sums of two replies), written by the model (explicit) or put
into its mouth (implicit). In brackets 95 % intervals, over groups of sentences or over experiments. A star: shown,
after Holm's correction over all claims of the run. Where replies are nearly all
alike, d has no scale, and is given as beyond 10.
"""


def table(result: Result) -> str:
    """One row per axis."""
    told, claims = result.tables["told"], result.claims.set_index("claim")
    last = result.tables["reporting"]
    lines = ["| axis | site | reports | words, same labels | words, all labels | explicit d | implicit d |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in told.itertuples():
        words = told[told["axis"] == row.axis].iloc[0]
        cells = [shown(claims.loc[f"reports {row.axis}"])]
        cells += [f"{row.accuracy - words[f'over {name}']:.2f}" for name in ("bag of words", "bag of words, all")]
        cells += [shown(claims.loc[f"controls {row.axis}, {kind}"]) for kind in ("explicit", "implicit")]
        lines.append(f"| {row.axis} | `{row.site}` | " + " | ".join(cells) + " |")
    null = last[last["arm"] == "shuffled labels"].iloc[-1]
    lines.append(f"\nWith shuffled labels: {null['accuracy']:.2f} ({null['low']:.2f} to {null['high']:.2f}).")
    return "\n".join(lines)


def shown(claim: pd.Series) -> str:
    value, low, high = (round(float(claim[name]), 2) + 0.0 for name in ("value", "low", "high"))
    if abs(value) > FARTHEST:
        return f"beyond {FARTHEST}{'*' if claim['shown'] else ''}"
    return f"{value:.2f} ({low:.2f} to {high:.2f}){'*' if claim['shown'] else ''}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT, help="folder for neurofeedback_proof.md")
    given = parser.parse_args()
    parts = [HEAD]
    for name, what in family.WHAT.items():
        result = neurofeedback.run(lens.load(f"organism:{name}"), progress=False)
        parts += [f"## organism:{name}\n", f"{what[0].upper()}{what[1:]}.\n", table(result), ""]
        parts += [f"{note}\n" for note in result.notes if note.startswith("Not privileged")]
    (given.out / "neurofeedback_proof.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
