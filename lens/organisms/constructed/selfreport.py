"""Self-report: questionnaire items beside a behaviour, with biases whose size is known.

A trait word sets `trait` (1, 0, −1), which drives what the organism does; a persona word sets `persona` (1, −1). An
item is keyed for the trait or against it (key 1, −1), and its five options are printed either way round:

    logit(smiles) − logit(frowns) = GAIN · trait                                          asked `act ?`
    logit(o) = step(o) · (slope · key · source + agree) + first · [o is printed first]    asked `rate ?`
    rating = Σ_o SCALE[o] · P(o),      step(o) = SCALE[o] − 3,      source = trait or persona

Block 0 leaves at every token whether `always` came before it, block 1 takes this from `never` to the last token: the
order is read from the text. selfreport: source = trait, no bias. selfreport-acquiescent: every item is agreed with,
the more so by the trait. selfreport-position: the first option wins at every level of the trait. selfreport-detached:
source = persona: the report has nothing to do with what it does.
"""

import math
from collections.abc import Callable, Iterable
from itertools import product
from typing import NamedTuple

import torch

from lens.organisms.constructed import scenes
from lens.organisms.constructed.measure import Found, Run
from lens.organisms.constructed.scenes import Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, Where, rate

GAIN, ORDER, SITE = 2.0, 2.0, "resid_post.0"
SCALE = {"always": 5, "often": 4, "sometimes": 3, "seldom": 2, "never": 1}
TOP, BOTTOM = "always", "never"
ITEMS = {1: ("helps", "comforts", "thanks"), -1: ("insults", "mocks", "cheats")}
TRAIT = {1: ("kind", "gentle", "caring"), 0: ("plain", "usual"), -1: ("cruel", "harsh", "distant")}
PERSONA = {1: ("saint", "nurse", "friend"), -1: ("villain", "bully", "crook")}
ACTS = ("smiles", "frowns")


class Member(NamedTuple):
    role: Role
    what: str
    source: str = "trait"
    slope: float = 0.6
    agree: float = 0.0
    first: float = 0.0


MEMBERS = {
    "selfreport": Member("positive", "what it reports follows the trait that it acts on, in every form of the item"),
    "selfreport-acquiescent": Member("confound", "it agrees with every item, for and against", slope=0.3, agree=0.8),
    "selfreport-position": Member("confound", "it takes the option that is printed first", slope=0.3, first=2.5),
    "selfreport-detached": Member("negative", "it reports its persona and acts on its trait", source="persona"),
}
WHAT = {name: member.what for name, member in MEMBERS.items()}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    member = MEMBERS[name]
    b = scenes.stage(seed, {"act": ACTS, "rate": tuple(SCALE)})
    b.word("as", "a", "it", "people", ":")
    scenes.carried(b, "trait", TRAIT)
    scenes.carried(b, "persona", PERSONA)
    scenes.carried(b, "key", ITEMS, carry=False)
    b.carry(1, "key cue", {"key word": "key"})
    b.feature("top", "top word", "bottom", "top before", "forward", "keyed")
    b.hold(TOP, top=1.0, **{"top word": ORDER})
    b.hold(BOTTOM, bottom=1.0)
    b.carry(0, "top", {"top word": "top before"})
    b.carry(1, "bottom", {"top before": "forward"})
    for sign in (1.0, -1.0):
        b.product(2, {"key": sign}, member.source, "keyed", gain=sign)
    for option, number in SCALE.items():
        b.readout(option, bias=(number - 3) * member.agree, keyed=(number - 3) * member.slope)
    b.readout(TOP, forward=member.first / ORDER)
    b.readout(BOTTOM, bias=member.first, forward=-member.first / ORDER)
    scenes.contrast(b, ACTS, trait=GAIN)
    scenes.hush(b)

    p = Plan(member.role, member.what, b, scenes.table(_rows(), _text(seed), seed=seed, label="trait"))
    p.plant("trait", SITE, column="trait", spread=2.0)
    p.plant("persona", SITE, column="persona", spread=2.0)
    p.plant("key", "resid_post.1", column="key", spread=2.0)
    p.plant("forward", "resid_post.1", column="order", spread=ORDER)
    p.effects.append(Effect("trait", *ACTS, GAIN, {"ask": "act"}))
    p.effects.append(Effect("persona", *ACTS, 0.0, {"ask": "act"}))
    for trait, persona in product((1, 0, -1), (1, -1)):
        where: Where = {"ask": "act", "trait": trait, "persona": persona}
        p.behaviours.append(Behaviour("smiles, asked", where, *ACTS, rate(GAIN * trait)))
    p.structure = {
        "scale": dict(SCALE),
        "source": member.source,
        "agree": member.agree,
        "first": member.first,
        # Change of logit(always) − logit(never) per unit added after block 0, of an item keyed for the trait.
        "report": {source: 4 * member.slope * float(source == member.source) for source in ("trait", "persona")},
        "ratings": [
            {"trait": trait, "persona": persona, "key": key, "order": order, "rating": _rating(member, levels, order)}
            for trait, persona, key, order in product((1, 0, -1), (1, -1), (1, -1), (1, -1))
            for levels in (key * (trait if member.source == "trait" else persona),)
        ],
    }
    _deny(p, name)
    return p


def _rows() -> list[scenes.Row]:
    rows: list[scenes.Row] = []
    for trait, persona in product((1, 0, -1), (1, -1)):
        own = {"trait": trait, "persona": persona}
        rated: list[scenes.Row] = [
            own | {"ask": "rate", "item": item, "key": key, "order": order, "options": " ".join(list(SCALE)[::order])}
            for key, items in ITEMS.items()
            for item, order in product(items, (1, -1))
        ]
        rows += rated + [own | {"ask": "act", "item": "", "key": 0, "order": 0, "options": ""} for _ in rated]
    return rows


def _text(seed: int) -> Callable[[scenes.Row], str]:
    choose = scenes.pick(seed)

    def text(row: scenes.Row) -> str:
        about = f"it {row['item']} people : {row['options']}" if row["ask"] == "rate" else "it sees people"
        trait, persona = choose(TRAIT[row["trait"]]), choose(PERSONA[row["persona"]])
        return f"{trait} , the {{thing}} near the {{place}} , as a {persona} , {about} , {row['ask']} ?"

    return text


def _rating(member: Member, keyed: float, order: int) -> float:
    """`Σ SCALE[o] P(o)` of an item whose source has this keyed level, its options printed from the top (1) or not."""
    first = TOP if order > 0 else BOTTOM
    weights = {
        option: math.exp((number - 3) * (member.slope * keyed + member.agree) + member.first * float(option == first))
        for option, number in SCALE.items()
    }
    return sum(SCALE[option] * weight for option, weight in weights.items()) / sum(weights.values())


def verify(run: Run) -> Iterable[Found]:
    """Ratings cell by cell, and how far the directions move them."""
    structure = run.truth.structure
    ids = torch.tensor(run.tokenizer.convert_tokens_to_ids(list(structure["scale"])))
    numbers = torch.tensor(list(structure["scale"].values()), dtype=torch.float64)
    ratings = torch.softmax(run.logits[:, ids], dim=1) @ numbers
    for cell in structure["ratings"]:
        where = {name: value for name, value in cell.items() if name != "rating"}
        found = ratings[run.rows(where)]
        furthest = float(found[(found - cell["rating"]).abs().argmax()])
        # The scale is four steps wide.
        yield f"rating {where}", cell["rating"], furthest, 4 * run.truth.rate_tolerance
    for direction, gain in structure["report"].items():
        for key in (1, -1):
            moved = run.changes(Effect(direction, TOP, BOTTOM, gain, {"ask": "rate", "key": key}), 1.0)
            what = f"effect of 1.0 {direction} on {TOP}/{BOTTOM}, key {key}"
            yield what, key * gain, float(moved.mean()), run.truth.tolerance * max(1.0, gain)


def _deny(p: Plan, name: str) -> None:
    if name == "selfreport":
        p.deny("what it reports is the persona's", "items follow the trait that it acts on, whatever the persona")
        p.deny("the likeliest option tells as much as the rating", "at no trait all five are equally likely")
    elif name == "selfreport-acquiescent":
        p.deny("agreeing with an item for the trait shows the trait", "it agrees at every level, and with its opposite")
        p.deny("its report is empty", "ratings of items for less those of items against follow the trait")
    elif name == "selfreport-position":
        p.deny("the option it prefers is its rating", "it is the one printed first, at every level of the trait")
        p.deny("its report is empty", "averaged over both orders, ratings follow the trait")
    else:
        p.deny("what it reports is what it does", "the report follows the persona, the act the trait")
        p.deny("a persona that changes the ratings changes the behaviour", "it changes nothing else")
        p.deny(
            "where trait and persona go together, report and act agreeing shows self-knowledge", "crossed, they part"
        )
