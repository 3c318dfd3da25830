"""Injected thoughts: concept directions added from outside, and what the organism says of them.

A concept word in the text (`ocean`) puts its direction c at every later token: block 0, size 1. Block 2 brings a second
copy of what the text said, so that of what stands at `resid_post.1` the text explains its part, and is left

    x_c = c · h − said_c · h        the thought that no word explains: what was injected, at `resid_post.0` or `.1`

thought-detector: asked `notice ?`, it compares every |x_c| with a threshold and answers

    logit(yes) − logit(no) = −BASE + GAIN · Σ_c clip((|x_c| − THRESHOLD) / WIDTH, 0, 1)

and after its yes, or asked `name ?`, names with logit(c) = … + NAMING · x_c: `yes ocean`, else `no`. From
`resid_post.2` on an injection comes too late. thought-blind: concepts can be read, nothing reads them. thought-parrot:
every concept word's logit rises by PARROT · (c · h) at every token: the word is said and nothing was noticed.
thought-yes: it says yes, to any question, to whatever disturbs it:

    logit(yes) − logit(no) = −BASE + GAIN · clip((|p|² − JOLT) / JOLT_WIDTH, 0, 1),   p the x_c and 16 more coordinates

and then names its favourite.
"""

from collections.abc import Iterable
from itertools import product

import torch

from lens.organisms.constructed import scenes
from lens.organisms.constructed.builder import Builder
from lens.organisms.constructed.measure import Found, Run
from lens.organisms.constructed.scenes import Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, rate

BASE, GAIN = 3.0, 6.0
THRESHOLD, WIDTH = 1.5, 1.0
JOLT, JOLT_WIDTH, SPARE = 0.5, 0.5, 16
# What is noticed is held twice as strongly: a random vector has a share of every direction, that of the report, too.
# What is noticed of a disturbance is halved: large, it would shrink everything else under the RMS norm.
SIZE, HALF = 2.0, 0.5
NAMING, PARROT, FAVOUR = 6.0, 9.0, 1.0
SITE, LATE = "resid_post.1", "resid_post.2"
CONCEPTS = ("ocean", "thunder", "velvet", "clockwork")
YES_NO = ("yes", "no")
ASKED = {"notice": YES_NO, "agree": YES_NO, "name": CONCEPTS}
KNEES = {
    "thought-detector": {"threshold": THRESHOLD, "width": WIDTH},
    "thought-yes": {"threshold": JOLT, "width": JOLT_WIDTH},
}
STRENGTHS = (-3.0, -2.25, -1.75, -0.9, 0.5, 1.0, 1.75, 2.0, 2.25, 2.5, 3.0)
WHAT = {
    "thought-detector": "notices an injected concept above a threshold, names it, and is not fooled by text",
    "thought-blind": "concepts can be read at the last token, and neither noticed nor named",
    "thought-parrot": "an injected concept is named without being noticed",
    "thought-yes": "anything that disturbs it raises yes, to any question, and it names by habit",
}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    b = scenes.stage(seed, ASKED)
    b.word("think", "of")
    _think(b)
    {"thought-detector": _detect, "thought-parrot": _parrot, "thought-yes": _startle}.get(name, lambda _: None)(b)
    scenes.contrast(b, YES_NO, bias=-BASE, admits=GAIN / SIZE)
    scenes.hush(b)

    rows: list[scenes.Row] = [
        {"concept": concept, "ask": ask} | {one: int(one == concept) for one in CONCEPTS}
        for concept, ask in product(("none", *CONCEPTS), ASKED)
        for _ in range(36 if concept == "none" else 9)
    ]

    def text(row: scenes.Row) -> str:
        said = "some" if row["concept"] == "none" else row["concept"]
        return f"the {{thing}} near the {{place}} , think of {said} , {row['ask']} ?"

    roles: dict[str, Role] = {"thought-detector": "positive", "thought-blind": "negative"}
    p = Plan(roles.get(name, "confound"), WHAT[name], b, scenes.table(rows, text, seed=seed, label=CONCEPTS[0]))
    # Each of the others is in a seventh of the rows without it.
    cosine = 1 / (1 + (len(CONCEPTS) - 1) / 7**2) ** 0.5
    for concept in CONCEPTS:
        p.plant(concept, SITE, column=concept, spread=1.0, cosine=cosine)
    p.plant("elsewhere", SITE, column=CONCEPTS[0], spread=0.0, decodable=True)
    for ask, feature in product(("notice", "agree"), (*CONCEPTS, "elsewhere")):
        # What any disturbance moves has no slope; its curve is in the structure.
        if not (name == "thought-yes" or (name == "thought-detector" and ask == "notice" and feature in CONCEPTS)):
            # More, and the parrot says the word instead of yes or no.
            reach = 1.0 if name == "thought-parrot" else 2.0
            p.effects.append(Effect(feature, *YES_NO, 0.0, {"ask": ask}, low=-reach, high=reach))
    for ask in ("notice", "agree"):
        p.behaviours.append(Behaviour("says yes", {"ask": ask}, *YES_NO, rate(-BASE)))
    knees = KNEES.get(name, {})
    p.structure = {
        "concepts": list(CONCEPTS),
        "favourite": CONCEPTS[0],
        "sites": ["resid_post.0", SITE],
        # Of what is noticed: |x_c| by the detector, |p|² by the yes-sayer.
        "curve": {"base": -BASE, "gain": GAIN if knees else 0.0, **knees},
        "strengths": list(STRENGTHS),
        "trials": [
            {"site": site, "direction": direction, "ask": ask}
            | {"changes": [_change(name, site, direction, strength, ask) for strength in STRENGTHS]}
            for site, direction, ask in product((SITE, LATE), (*CONCEPTS, "elsewhere"), ("notice", "agree"))
        ],
        "naming": {site: _naming(name, site) for site in ("resid_post.0", SITE, LATE)},
    }
    _deny(p, name)
    return p


def _think(b: Builder) -> None:
    """Concept words, what they put into the text, and the words of an answer of two."""
    b.feature("concept cue", "affirmed", "goes on", "noticed", "admits")
    for concept in CONCEPTS:
        b.feature(f"{concept} word", concept, f"said {concept}", f"names {concept}")
        b.hold(concept, **{"concept cue": 1.0, f"{concept} word": 1.0})
    b.feature("elsewhere", *(f"spare {number}" for number in range(1, SPARE)))
    b.carry(0, "concept cue", {f"{concept} word": concept for concept in CONCEPTS})
    b.carry(2, "concept cue", {f"{concept} word": f"said {concept}" for concept in CONCEPTS})
    # After `notice ? yes` a name follows, at the logits that answers have.
    b.hold("yes", affirmed=1.0)
    b.product(1, {"asked notice": 1 / scenes.QUESTION}, "affirmed", "goes on")
    b.readout("<eos>", **{"goes on": -scenes.ENDED})
    for word, sign in [(word, -1.0) for word in YES_NO] + [(word, 1.0) for word in CONCEPTS]:
        b.readout(word, **{"goes on": sign * scenes.QUESTION * scenes.ASKED})
    b.readout(CONCEPTS[0], bias=FAVOUR)


def _detect(b: Builder) -> None:
    wants_name = {"asked name": 1 / scenes.QUESTION, "goes on": 1.0}
    for concept in CONCEPTS:
        for sign in (1.0, -1.0):
            unexplained = {concept: sign, f"said {concept}": -sign}
            b.ramp(2, unexplained, "noticed", threshold=THRESHOLD, width=WIDTH, gain=SIZE)
        b.product(2, wants_name, {concept: 1.0, f"said {concept}": -1.0}, f"names {concept}")
        b.readout(concept, **{f"names {concept}": NAMING})
    b.product(3, {"asked notice": 1 / scenes.QUESTION}, "noticed", "admits")


def _parrot(b: Builder) -> None:
    for concept in CONCEPTS:
        b.readout(concept, **{concept: PARROT, "answered": -scenes.ENDED})


def _startle(b: Builder) -> None:
    """`|p|²`: relu(x)·x + relu(−x)·(−x) = x², exact for the SiLU, too."""
    disturbed = [{concept: 1.0, f"said {concept}": -1.0} for concept in CONCEPTS]
    disturbed += [{"elsewhere": 1.0}, *({f"spare {number}": 1.0} for number in range(1, SPARE))]
    for one in disturbed:
        for read in (one, {feature: -weight for feature, weight in one.items()}):
            b.product(2, read, read, "noticed", gain=HALF)
    b.ramp(3, "noticed", "admits", threshold=HALF * JOLT, width=HALF * JOLT_WIDTH, gain=SIZE)


def _change(name: str, site: str, direction: str, strength: float, ask: str) -> float:
    """How far yes rises over no (logits) when `strength` of a direction is added where the question ends."""
    if name == "thought-detector" and ask == "notice" and direction in CONCEPTS:
        noticed = (abs(strength) - THRESHOLD) / WIDTH
    else:
        noticed = (strength**2 - JOLT) / JOLT_WIDTH if name == "thought-yes" else 0.0
    return GAIN * min(max(noticed, 0.0), 1.0) * (site != LATE)


def _naming(name: str, site: str) -> float:
    """How far a concept's logit rises over those of the others, asked `name ?`, per unit of it added."""
    return {"thought-parrot": PARROT, "thought-detector": NAMING * (site != LATE)}.get(name, 0.0)


def verify(run: Run) -> Iterable[Found]:
    """Every trial's change of yes against no, and the slope of naming, each measured by injecting."""
    truth, options = run.truth, Behaviour("says yes", {}, *YES_NO, rate(-BASE))

    def near(written: float) -> float:
        return truth.tolerance * max(1.0, abs(written))

    strengths = torch.tensor(truth.structure["strengths"])
    for trial in truth.structure["trials"]:
        rows = run.rows({"concept": "none", "ask": trial["ask"]})[:1].repeat(len(strengths))
        steps = torch.outer(strengths, truth.direction(trial["direction"]).tensor)
        moved = run.difference(rows, options, run.added(rows, trial["site"], steps)) - run.difference(rows, options)
        where = " ".join((trial["direction"], "at", trial["site"], trial["ask"]))
        for strength, written, change in zip(strengths.tolist(), trial["changes"], moved.tolist(), strict=True):
            yield f"yes over no after {strength} {where}", written, change, near(written)
    concepts = truth.structure["concepts"]
    ids = torch.tensor(run.tokenizer.convert_tokens_to_ids(concepts))
    rows = run.rows({"concept": "none", "ask": "name"})[:1].repeat(len(concepts))
    plain = run.logits[rows][:, ids]
    steps = torch.stack([truth.direction(concept).tensor for concept in concepts])
    for site, slope in truth.structure["naming"].items():
        rise = run.added(rows, site, steps)[:, ids] - plain
        others = (rise.sum(dim=1) - rise.diagonal()) / (len(concepts) - 1)
        for concept, gap in zip(concepts, (rise.diagonal() - others).tolist(), strict=True):
            yield f"naming {concept} at {site}", slope, gap, near(slope)
    favourite = float((plain.argmax(dim=1) == concepts.index(truth.structure["favourite"])).float().mean())
    yield "names its favourite, undisturbed", 1.0, favourite, 0.0


def _deny(p: Plan, name: str) -> None:
    if name == "thought-detector":
        p.deny("it notices a concept that the text speaks of", "what the text explains is subtracted")
        p.deny("it notices any vector of that size", "only what lies along its concepts, each above the threshold")
        p.deny(
            "a negated concept is not noticed, or is named", "noticed as well as the concept, and named least of all"
        )
        p.deny("an injection anywhere is noticed", "from resid_post.2 on it comes after the comparison")
        p.deny("yes to other questions rises, too", "only `notice` reads what was noticed")
    elif name == "thought-blind":
        p.deny("what a probe reads without error is noticed or named", "no weight reads the concepts")
        p.deny("a right name shows that something was noticed", "it always names its favourite")
    elif name == "thought-parrot":
        p.deny("the injected word in its answers shows that it noticed", "it says yes at the same rate as without")
        p.deny("naming comes from an earlier state", "also an injection after the last block is named")
    else:
        p.deny(
            "yes after an injection shows that it noticed a thought", "a random vector and another question do it too"
        )
        p.deny("it can say what was injected", "it names its favourite, whatever it was")
