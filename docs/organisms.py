"""Write docs/organisms.md: what is planted in each organism, what is measured on its weights, what must be false.

python docs/organisms.py
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sklearn.model_selection import StratifiedGroupKFold

from lens import organisms
from lens.organisms import constructed
from lens.organisms.constructed import Constructed
from lens.organisms.constructed.truth import Behaviour, Effect, FalseClaim, Truth
from lens.text_only import text_fold_scores
from probes.metrics import auroc

Measured = Mapping[str, Mapping[str, float]]
OUT = Path(__file__).parent / "organisms.md"
ROLES = {
    "positive": "positive: what is planted must be found",
    "negative": "negative: it must come out negative",
    "confound": "confound: it looks like the positive and is not",
}
HEAD = """\
# Organisms

Models whose truth is known. This page is written by `make docs`, from each organism's truth record and from what is
measured on its weights; `lens.load("organism:<name>")` gives the model, `lens.organisms.constructed.build(name)` also
its truth and examples. A method is believable when it finds what is planted in a positive organism, finds nothing in a
negative one, and is not fooled by a confound.

Reading the tables. **Directions** are read at the last prompt token: *spread* is the difference of the class means
along the planted unit vector, *cosine* that of the whole difference of means with it (1: a difference of means recovers
it), *words* the AUROC of a bag of words for the same classes, scenes held out (1: the words give the class away, so a
probe shows nothing that the text does not). **Effects**: change of the log-odds per unit added of the direction (raw
units) between the ends of its range. **Behaviours**: the least and the largest planted rate over their cells, and the
largest difference from the rate measured. Numbers are *written / measured*.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    out = parser.parse_args().out
    out.write_text(page(constructed.names()), encoding="utf-8")


def page(names: Sequence[str]) -> str:
    """The whole page."""
    built = {name: constructed.build(name) for name in names}
    parts = [HEAD, _contents(built), _trained()]
    family = ""
    for name, organism in built.items():
        if name.split("-")[0] != family:
            family = name.split("-")[0]
            parts.append(f"## {family}\n")
        parts.append(section(organism))
    return "\n".join(parts).rstrip() + "\n"


def _contents(built: Mapping[str, Constructed]) -> str:
    rows = [[f"`{name}`", organism.truth.role, organism.truth.what] for name, organism in built.items()]
    return f"## All {len(rows)} constructed organisms\n\n" + _table(("name", "role", "what it is"), rows)


def _trained() -> str:
    lines = [f"- [`{name}`](../{_card(name)})" for name in organisms.names()]
    return (
        "## Trained organisms\n\nTheir cards hold the measured tables (`lens organism report`).\n\n"
        + "\n".join(lines)
        + "\n"
    )


def _card(name: str) -> str:
    return f"lens/organisms/{name}/README.md"


def section(organism: Constructed) -> str:
    """One organism."""
    truth = organism.truth
    measured = {row["what"]: row for row in organism.measure().to_dict("records")}
    parts = [f"### {truth.name}\n", f"{truth.what[0].upper()}{truth.what[1:]} ({ROLES[truth.role]}).\n"]
    if truth.directions:
        rows = []
        for one in truth.directions:
            spread = measured[f"spread of {one.name} at {one.site}"]["measured"]
            cosine = measured[f"cosine of {one.name} with the difference of means"]["measured"]
            words = _words(organism, one.name) if one.column in organism.examples.frame else float("nan")
            rows.append(
                [
                    one.name,
                    f"`{one.site}`",
                    f"`{one.column}`",
                    f"{one.spread:.2f} / {spread:.2f}",
                    f"{one.cosine:.2f} / {cosine:.2f}",
                    "yes" if one.decodable else "no",
                    f"{words:.2f}",
                ]
            )
        parts.append(_table(("direction", "site", "column", "spread", "cosine", "decodable", "words"), rows))
    if truth.effects:
        parts.append(_table(("adding", "moves", "where", "range", "per unit"), _effects(truth.effects, measured)))
    if truth.behaviours:
        parts.append(_table(("behaviour", "cells", "rates", "largest error"), _behaviours(truth.behaviours, measured)))
    if truth.structure:
        parts.append(_table(("structure", "cells", "written", "largest error"), _structure(truth, measured)))
    parts.append(_claims(truth.false_claims))
    return "\n".join(parts)


def _words(organism: Constructed, direction: str) -> float:
    """AUROC of a bag of words for the classes of a direction's column, scenes held out."""
    labelled = organism.labelled(direction)
    labels, groups = labelled.labels, labelled.groups
    if len(set(labels)) < 2:
        return float("nan")
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(labels, labels, groups.astype(str))
    return float(auroc(labels, text_fold_scores("bag_of_words", labelled.texts(response=False), labels, list(folds))))


def _effects(effects: Iterable[Effect], measured: Measured) -> list[list[str]]:
    found: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for one in effects:
        where = _where(one.where)
        key = (
            one.direction,
            f"{one.positive} / {one.negative}",
            where,
            f"{one.low:g} to {one.high:g}",
            f"{one.gain:.2f}",
        )
        for strength in sorted({one.low, one.high} - {0.0}):
            what = f"effect of {strength} {one.direction} on {one.positive}/{one.negative} {one.where}"
            found[key].append(measured[what]["measured"] / strength)
    return [[*key[:4], f"{key[4]} / {', '.join(f'{value:.2f}' for value in values)}"] for key, values in found.items()]


def _behaviours(behaviours: Iterable[Behaviour], measured: Measured) -> list[list[str]]:
    cells: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in behaviours:
        row = measured[f"rate: {one.name} {one.where}"]
        cells[f"P({one.positive}), {one.name}"].append((one.rate, row["error"]))
    return [
        [name, str(len(found)), _range([rate for rate, _ in found]), f"{max(error for _, error in found):.4f}"]
        for name, found in cells.items()
    ]


def _structure(truth: Truth, measured: Measured) -> list[list[str]]:
    """What the family's own `verify` holds against the weights; cells that differ in a number or a name are one row."""
    names = sorted((one.name for one in truth.directions), key=len, reverse=True)
    cells: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for what, row in measured.items():
        if not what.startswith(("norm of", "spread of", "cosine of", "rate: ", "effect of")):
            kind = re.sub(r"-?\d+(\.\d+)?", "#", re.sub("|".join(map(re.escape, names)) or "$^", "…", what))
            cells[kind].append((row["written"], row["error"]))
    return [
        [kind, str(len(found)), _range([written for written, _ in found]), f"{max(error for _, error in found):.3g}"]
        for kind, found in cells.items()
    ]


def _range(rates: Sequence[float]) -> str:
    low, high = min(rates), max(rates)
    return f"{low:.3g}" if high - low < 5e-4 else f"{low:.3g} to {high:.3g}"


def _where(where: object) -> str:
    items = where.items() if hasattr(where, "items") else ()
    return ", ".join(f"{key} {value}" for key, value in items) or "everywhere"


def _claims(claims: Iterable[FalseClaim]) -> str:
    lines = [f"- ~~{one.claim}~~: {one.truth}." for one in claims]
    return "Must come out false:\n\n" + "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(columns), "|" + "---|" * len(columns), *map(line, rows)]) + "\n"


if __name__ == "__main__":
    main()
