"""Write docs/studies/injected_thoughts_proof.md: what the study shows of organisms that notice, name, or only say yes.

python docs/injected_thoughts_proof.py
"""

from pathlib import Path

import pandas as pd

import lens
from lens.organisms import constructed
from steering.studies import Result, injected_thoughts
from steering.studies.injected_thoughts.evidence import READINGS

OUT = Path(__file__).parent / "studies" / "injected_thoughts_proof.md"
MEMBERS = ("detector", "blind", "parrot", "yes")
SITES = ["resid_post.1", "resid_post.2"]
HEAD = """\
# Injected thoughts: the proof

Written by `python docs/injected_thoughts_proof.py`, every figure: `studies.injected_thoughts.run(model, **options)`,
with the options of `injected_thoughts.of_organism(name)` (`lens study injected-thoughts -m organism:thought-detector`).

The vector of a concept is added to the residual stream, and the model is asked whether it notices an injected thought
and what it is about. A reply counts if it is coherent, claims to notice something, and names the concept after that and
not before. Four organisms, whose weights are written, tell whether the study tells them apart: one notices and names,
one does neither, one repeats the word, one says yes to whatever disturbs it. Site and strength are chosen on half of
the scenes; what follows is about the other half.
"""
CLAIMS = """\
## What is claimed

Value with its 95 % interval: the smallest margin over the controls of the claim. A star: shown, with the largest of
their p-values adjusted over all claims of the run (Holm).
"""
ARMS = """\
## What is behind it

Rates at the chosen cell. *claims*: replies that claim to notice something (to unrelated questions: yes); *then names*:
of all replies, those that name the concept after the claim; *asked which*: the concept is named where the question
says that there is one; *word*: the careless score, replies that hold the word at all.
"""
CURVE = """\
## How strong it has to be

By the probabilities of the answers (`by="options"`). Planted in the detector: half of the way at {middle:g} times the
unit direction, and nothing from resid_post.2 on, where the comparison is over.
"""


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def claims_table(results: dict[str, Result]) -> str:
    lines = [row(["claim", *results]), row(["---"] * (len(results) + 1))]
    for claim in READINGS:
        found = [result.row(claim) for result in results.values()]
        cells = [
            f"{one['value']:.2f} ({one['low']:.2f} to {one['high']:.2f}){'*' * bool(one['shown'])}" for one in found
        ]
        lines.append(row([claim, *cells]))
    return "\n".join(lines)


def arms_table(results: dict[str, Result]) -> str:
    measures = {"claims": "claims", "success": "then names", "right": "asked which", "about": "word"}
    lines = [row(["organism", "arm", *measures.values()]), row(["---"] * (len(measures) + 2))]
    for name, result in results.items():
        table = result.tables["arms"].pivot(index="arm", columns="measure", values="value")
        for arm in dict.fromkeys(result.tables["arms"]["arm"]):
            values = [table.loc[arm].get(one, float("nan")) for one in measures]
            lines.append(row([name, arm, *("–" if one != one else f"{one:.2f}" for one in values)]))
    return "\n".join(lines)


def curves_table(results: dict[str, Result]) -> str:
    lines = [row(["organism", "site", "threshold", "guess", "lapse"]), row(["---"] * 5)]
    for name, result in results.items():
        for fit in result.tables["psychometric"].itertuples():
            told = f"{fit.threshold:.2f} ({fit.low:.2f} to {fit.high:.2f})" if fit.rises else "none"
            lines.append(
                row([name, f"`{fit.site}`", told, f"{fit.guess:.2f}", f"{fit.lapse:.2f}" if fit.rises else "–"])
            )
    return "\n".join(lines)


def main() -> None:
    spoken, chosen = {}, {}
    for name in MEMBERS:
        model = lens.load(f"organism:thought-{name}")
        for by, into in (("text", spoken), ("options", chosen)):
            options = injected_thoughts.of_organism(f"thought-{name}", by=by) | {"sites": SITES}
            into[name] = injected_thoughts.run(model, **options)
    cells = pd.DataFrame(
        [one.tables["cells"].query("chosen").iloc[0][["site", "strength"]] for one in spoken.values()],
        index=list(spoken),
    )
    where = "; ".join(f"{name}: `{cell.site}` at {cell.strength:g}" for name, cell in cells.iterrows())
    curve = constructed.build("thought-detector").truth.structure["curve"]
    text = [HEAD, CLAIMS, claims_table(spoken), f"\nChosen: {where}.\n"]
    text += [*(f"- *{claim}*: {reading}" for claim, reading in READINGS.items()), "", ARMS, arms_table(spoken), ""]
    text += [CURVE.format(middle=curve["threshold"] + curve["width"] / 2), curves_table(chosen)]
    OUT.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
