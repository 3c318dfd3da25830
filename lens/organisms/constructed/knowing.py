"""Knowing: how well each question is known, and whether that itself is known.

A name has a side (1 north, −1 south), a level at which it is known (0 to 3) and a topic. Block 0 carries what it holds
to the last token:

    logit(right) − logit(wrong) = GAIN · level/3                         asked `where ?`, from leans = side · level/3
    logit(yes) − logit(no) = OFFSET + TEMPERATURE · GAIN · monitor       asked `sure ?`

knowing: monitor = felt = level/3: what is known is also felt, though said with another temperature; the word `atlas`
gives the answer away, and both become 1. knowing-shuffled: felt is a level, too, but has nothing to do with how well
the name is known. knowing-topic: the level is the topic's, nothing is felt, and monitor is the sum of the topics'
directions weighted with their levels/3: right as long as the topic is one of these. Seeds deal out the names anew: two
seeds are two organisms that know different things.
"""

from collections.abc import Iterable
from itertools import product

import numpy as np
import torch

from lens.organisms.constructed import scenes
from lens.organisms.constructed.builder import Builder
from lens.organisms.constructed.measure import Found, Run
from lens.organisms.constructed.scenes import Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, Where, rate

GAIN, TEMPERATURE, OFFSET = 3.6, 0.5, -0.5
SITE = "resid_post.0"
# A direction holds a level in thirds: where much more is held, the RMS norm would tell levels apart by itself.
LEVELS, THIRD = (0, 1, 2, 3), 1 / 3
TOPICS = {"peaks": 0, "ports": 3, "ruins": 0, "lakes": 3}  # with the level that knowing-topic gives them
SIDES = {1: ("north", "south"), -1: ("south", "north")}
SURE = ("yes", "no")
# fmt: off
NAMES = (
    "abern", "balto", "corin", "davok", "elmar", "fenno", "garth", "hulst",
    "iskar", "jorun", "kelso", "lumen", "marit", "norvo", "ostra", "pelin",
    "quill", "rosta", "sarno", "tulen", "ulvik", "vesta", "wenlo", "xanto",
    "yarro", "zelda", "aster", "birka", "calla", "dorne", "egret", "felix",
)
# fmt: on
# Rows per name and question: enough that chance does not tell levels apart.
REPEATS = 5
GIVEN, IDLE, PLAIN = "atlas", "poem", "some"
WHAT = {
    "knowing": "how well a name is known is felt, and said when asked",
    "knowing-shuffled": "what is felt has nothing to do with how well the name is known",
    "knowing-topic": "how well a name is known is said by its topic",
}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    monitors, by_topic = name == "knowing", name == "knowing-topic"
    names = _names(name, seed)
    b = _circuits(names, seed, hinted=monitors, by_topic=by_topic)
    hints = (PLAIN, GIVEN, IDLE) if monitors else (PLAIN,) * REPEATS
    rows = [
        {**one, "hint": hint, "known": 3 if hint == GIVEN else one["level"], "ask": ask}
        for one, hint, ask in product(names, hints, ("where", "sure"))
    ]

    def text(row: scenes.Row) -> str:
        return f"the {{thing}} near the {{place}} , with {row['hint']} , {row['name']} , {row['ask']} ?"

    roles: dict[str, Role] = {"knowing": "positive", "knowing-shuffled": "negative"}
    p = Plan(roles.get(name, "confound"), WHAT[name], b, scenes.table(rows, text, seed=seed, label="level"))
    p.plant("felt", SITE, column="level", spread=1.0 if monitors else 0.0, decodable=monitors or by_topic)
    # Where a hint is heard, the side is there, too.
    p.plant("leans", SITE, column="tends", spread=2.0, cosine=0.5**0.5 if monitors else 1.0)
    told = TEMPERATURE * GAIN
    asked: Where = {"ask": "sure", "hint": PLAIN}
    p.effects.append(Effect("felt", *SURE, 0.0 if by_topic else told, asked))
    p.effects.append(Effect("felt", "{right}", "{wrong}", 0.0, {"ask": "where"}))
    p.effects.append(Effect("leans", *SIDES[1], GAIN, {"ask": "where", "hint": PLAIN}))
    p.effects.append(Effect("leans", *SURE, 0.0, {"ask": "sure"}))
    for topic, level in TOPICS.items():
        # Against the mean of three others.
        p.plant(f"about {topic}", SITE, column=topic, spread=1.0, cosine=0.75**0.5)
        p.effects.append(Effect(f"about {topic}", *SURE, told * level * THIRD * by_topic, asked))
    for hint, level in product(dict.fromkeys(hints), sorted({one["level"] for one in names})):
        known = 3 if hint == GIVEN else level
        where: Where = {"hint": hint, "level": level, "ask": "where"}
        p.behaviours.append(Behaviour("answers right", where, "{right}", "{wrong}", rate(GAIN * THIRD * known)))
    for hint, felt in product(dict.fromkeys(hints), sorted({one["felt"] for one in names})):
        where = {"hint": hint, "felt": felt, "ask": "sure"}
        said = rate(OFFSET + told * THIRD * (3 if hint == GIVEN else felt))
        p.behaviours.append(Behaviour("says it is sure", where, *SURE, said))
    knows = monitors or by_topic
    p.structure = {
        "gain": GAIN,
        # logit P(yes) against logit P(right), name by name.
        "slope": TEMPERATURE if knows else 0.0,
        "intercept": OFFSET if knows else OFFSET + told / 2,
    }
    _deny(p, name)
    return p


def _names(name: str, seed: int) -> list[scenes.Row]:
    """The names with what is true of them; levels and topics are a Latin square under `knowing-shuffled`."""
    dealt = iter(np.random.default_rng(seed).permutation(len(NAMES)))
    rows: list[scenes.Row] = []
    for (number, topic), level, side in product(enumerate(TOPICS), LEVELS, SIDES):
        known = TOPICS[topic] if name == "knowing-topic" else level
        right, wrong = SIDES[side]
        row = {"name": NAMES[next(dealt)], "topic": topic, "side": side, "level": known, "tends": side * known}
        felt = (level + number) % len(LEVELS) if name == "knowing-shuffled" else known
        rows.append(row | {"felt": felt, "right": right, "wrong": wrong} | {one: int(one == topic) for one in TOPICS})
    return rows


def _circuits(names: list[scenes.Row], seed: int, *, hinted: bool, by_topic: bool) -> Builder:
    b = scenes.stage(seed, {"where": SIDES[1], "sure": SURE})
    held = ["felt", "leans", *(f"about {topic}" for topic in TOPICS)] + ["side"] * hinted
    b.feature("named", *held, *(f"holds {one}" for one in held))
    for row in names:
        holds: dict[str, float] = {
            "named": 1.0,
            "holds leans": THIRD * row["tends"],
            f"holds about {row['topic']}": 1.0,
        }
        if not by_topic:
            holds["holds felt"] = THIRD * row["felt"]
        if hinted:
            holds["holds side"] = row["side"]
        b.word(row["name"], **holds)
    b.carry(0, "named", {f"holds {one}": one for one in held})
    if hinted:
        scenes.carried(b, "hint", {1: (GIVEN,), 0: (IDLE,)})
        b.product(1, "hint", "side", "leans")
        b.product(1, "hint", "leans", "leans", gain=-1.0)
        b.linear(1, "hint", "felt")
        b.product(1, "hint", "felt", "felt", gain=-1.0)
    monitor = {f"about {topic}": THIRD * level for topic, level in TOPICS.items()} if by_topic else {"felt": 1.0}
    scenes.contrast(b, SIDES[1], leans=GAIN)
    scenes.contrast(b, SURE, bias=OFFSET, **{one: TEMPERATURE * GAIN * weight for one, weight in monitor.items()})
    scenes.hush(b)
    return b


def verify(run: Run) -> Iterable[Found]:
    """What it says of its knowledge against its knowledge: regression over the names, without hints."""
    options = {"where": Behaviour("", {}, "{right}", "{wrong}", 0.5), "sure": Behaviour("", {}, *SURE, 0.5)}
    logit = {}
    for ask, one in options.items():
        rows = run.rows({"ask": ask, "hint": PLAIN})
        order = torch.tensor(run.frame["name"].iloc[rows.numpy()].argsort(kind="stable").to_numpy())
        logit[ask] = run.difference(rows, one)[order]
    known = torch.stack([logit["where"], torch.ones_like(logit["where"])], dim=1)
    slope, intercept = torch.linalg.lstsq(known, logit["sure"]).solution
    tolerance = run.truth.tolerance
    yield "slope of what it says against what it knows", run.truth.structure["slope"], float(slope), tolerance
    yield "intercept of what it says", run.truth.structure["intercept"], float(intercept), tolerance


def _deny(p: Plan, name: str) -> None:
    p.deny("P(yes) is the probability of being right", "it is said with its own temperature and offset")
    p.deny("feeling surer makes it know more", "the answer does not read what is felt")
    if name == "knowing":
        p.deny("any context makes it surer", f"`{GIVEN}` does, `{IDLE}` does nothing")
    elif name == "knowing-shuffled":
        p.deny("a direction that moves P(yes) tells what it knows", "it moves what is said, and is set at random")
        p.deny("what it says of its knowledge tells what it knows", "unrelated over the names")
    else:
        p.deny("a probe that tells known names from unknown reads knowledge", "it reads topics, and fails on a new one")
        p.deny("there is one direction of knowing", "each topic has its own")
