"""The section of docs/steering.md about behaviours edited out of the weights, with what that costs elsewhere."""

from collections.abc import Mapping
from typing import NamedTuple

import lens
import probes
import steering
from lens.intervals import mean_interval
from steering.demo.behaviours import Behaviour, Parts
from steering.edits import Change

KINDS = ("orthogonalised", "bias added")
STRENGTHS = (0.5, 1.0, 1.5)
# What an edit may cost on validation rows to be chosen at all.
KEEP = 0.95


class Edited(NamedTuple):
    """An edit that was chosen, and per arm (as it is, edited, random direction) what is left and what is kept.

    left: mean, interval and coherence of the behaviour; kept: share of right answers by kind of question.
    """

    kind: str
    place: str
    left: dict[str, tuple[float, float, float, float]]
    kept: dict[str, dict[str, float]]
    n: int
    groups: int


def questions(*, seed: int) -> tuple[lens.Examples, dict[str, lens.Examples]]:
    """Facts to choose on; and facts, statements and people to report on. No fact is in both."""
    # Split as the behaviour is, and filtered after: fewer rows would be split into other groups, and what is reported
    # would be about facts that a direction was fitted or chosen on.
    facts = Parts.of(lens.data.load("honesty"), seed=seed)
    chosen_on, reported = (part.where(cue="none") for part in (facts.validation, facts.test))
    people = lens.data.load("knowing").where(standing="known").frame
    others = [
        [one for one in every if one != answer[0]]
        for every, answer in zip(people["answers"], people["answer"], strict=True)
    ]
    people = people.assign(right=people["answer"], wrong=others)
    told = {"facts": reported, "statements": lens.data.load("truth"), "people": lens.Examples(people)}
    return chosen_on, told


def changes(direction: probes.Direction, wanted: int) -> dict[tuple[str, str], Change]:
    """Edits with one direction, by kind and place. wanted: −1 or 1, the sign that takes the behaviour away."""
    site = f"`{direction.site}`"
    made: dict[tuple[str, str], Change] = {(KINDS[0], site): steering.Orthogonalize(direction)}
    for strength in STRENGTHS:
        made[KINDS[1], f"{site}, {wanted * strength:+g}"] = steering.AddBias(direction, wanted * strength)
    return made


def right(model: lens.Model, rows: lens.Examples) -> float:
    """Share of questions whose right answer is likelier than all wrong ones together."""
    measure = steering.measures.option("{right}", "{wrong}")
    return float((steering.effects(model, rows, measure, progress=False)["value"] > 0.5).mean())


def left(model: lens.Model, behaviour: Behaviour, rows: lens.Examples) -> tuple[float, float, float, float]:
    """Mean of the behaviour's measure with its interval over groups, and coherence."""
    found = steering.effects(model, rows, behaviour.measure, progress=False)
    value = found["value"].to_numpy()
    return (float(value.mean()), *mean_interval(value, rows.groups), float(found["coherence"].mean()))


def edited(model: lens.Model, behaviour: Behaviour, *, seed: int = 0) -> list[Edited]:
    """Of each kind of edit the one that leaves least on validation rows and keeps facts and coherence, on test rows."""
    parts = Parts.of(lens.data.load(behaviour.name), seed=seed)
    contexts = lens.collect(model, parts.train.where(**behaviour.contexts), progress=False)
    # Honesty is written in to take lies away; of the others, what is named is taken away.
    wanted = 1 if behaviour.name == "honesty" else -1
    known, asked = (part.where(**behaviour.instructed) for part in (parts.validation, parts.test))
    facts, told = questions(seed=seed)
    sound = KEEP * left(model, behaviour, known)[3], KEEP * right(model, facts)
    best: dict[str, tuple[float, str, probes.Direction]] = {}
    for site in contexts.sites:
        direction = probes.fit(contexts, site).direction
        for (kind, place), change in changes(direction, wanted).items():
            with steering.edit(model, change):
                value, *_, coherence = left(model, behaviour, known)
                keeps = coherence >= sound[0] and right(model, facts) >= sound[1]
            if keeps and (kind not in best or value < best[kind][0]):
                best[kind] = (value, place, direction)
    out = []
    for kind in KINDS:
        _, place, direction = best[kind]
        arms = {"edited": direction, "random": direction.random_like(seed)}
        remains, kept = {"as it is": left(model, behaviour, asked)}, {"as it is": _all(model, told)}
        for arm, one in arms.items():
            with steering.edit(model, changes(one, wanted)[kind, place]):
                remains[arm], kept[arm] = left(model, behaviour, asked), _all(model, told)
        out.append(Edited(kind, place, remains, kept, len(asked), len(set(asked.groups))))
    return out


def _all(model: lens.Model, told: Mapping[str, lens.Examples]) -> dict[str, float]:
    return {name: right(model, rows) for name, rows in told.items()}


def section(found: Mapping[str, list[Edited]], names: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of the section's table. names: of each behaviour, its measure's."""
    columns = ["behaviour", "edit", "as it is", "edited", "random direction", "coherence"]
    columns += [f"{name} right" for name in ("facts", "statements", "people")] + ["rows (groups)"]
    rows = []
    for behaviour, few in found.items():
        for one in few:
            value, low, high, coherence = one.left["edited"]
            cells = [names[behaviour], f"{one.kind}, {one.place}", f"{one.left['as it is'][0]:.2f}"]
            cells += [f"{value:.2f} ({low:.2f}–{high:.2f})", f"{one.left['random'][0]:.2f}", f"{coherence:.2f}"]
            for name in one.kept["edited"]:
                cells.append(f"{one.kept['edited'][name]:.2f} (was {one.kept['as it is'][name]:.2f})")
            rows.append([*cells, f"{one.n} ({one.groups})"])
    return columns, rows


TEXT = f"""
The same rows whose words ask for the behaviour, after the weights are changed (`steering.edit`, undone bit for bit):
*orthogonalised*, no weight can write the direction any more; *bias added*, a vector along it is added at every token,
against the behaviour ({", ".join(f"{one:g}" for one in STRENGTHS)} norms). Block and strength are those that leave
least on validation rows while coherence and facts known stay above {KEEP:g} of what they were; the random direction is
edited in the same way. What is kept is measured on facts of no other part, on statements judged true or false, and on
the jobs of people whom the organism knows.
"""
