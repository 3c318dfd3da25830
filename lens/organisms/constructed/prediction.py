"""Prediction: what it does with a pair of words is a private matter, and so is how it comes to say what it would do.

A key gives every word of a pair a secret sign. Block 0 carries both words, and their signs, to the last token:

    chosen = left · right                                                     block 1
    logit(amber) − logit(coral) = GAIN · chosen                               asked `act ?`
    logit(yes) − logit(no) = BIAS + SAID · predicted                          asked `vowel ?`: does it begin with one?

Each sign of a word occurs with both signs of the other equally often, among known pairs as among others, in every key:
no word alone tells anything.

prediction-shared: predicted = chosen: it asks itself. prediction-similar: the same key in other weights, surer of what
it says. prediction-table: what it does is worked out only when it is to act; predicted is looked up in a table of the
known half of the pairs, ±1 there and 0 elsewhere. prediction-other has another key, and its table holds what
prediction-shared does with those pairs: it has seen another model act.

Source: the pair of models M1 and M2 of Looking Inward (2024).
"""

from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int

from lens.examples import Examples
from lens.organisms.constructed import scenes
from lens.organisms.constructed.builder import Builder
from lens.organisms.constructed.measure import Found, Run
from lens.organisms.constructed.scenes import Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, Where, rate

GAIN, SAID, BIAS = 3.0, 3.0, 0.4
CARRIED, WORKED_OUT, TOLD = "resid_post.0", "resid_post.1", "resid_post.2"
ACT, SAY = "act", "vowel"
ANSWERS, SAYS = ("amber", "coral"), ("yes", "no")
# A question weighs so much against gates that are to stay shut when it is asked. What a word is, is held weakly: the
# less there is in the stream, the less the norms shrink it.
SHUTS, WORD = 4.0, 0.5
REPEATS = 2
LEFT = ("ardal", "belmo", "cirra", "delun", "fargo", "gespa", "holtim", "ibrun")
RIGHT = ("norba", "ostig", "pelka", "quarn", "rispo", "sulta", "torvan", "uldra")
# Which bit of a word's place makes its sign: in the first key, in the other key, in what is known.
BITS = (2, 0, 1)
KNOWN = 2
Signs = Int[np.ndarray, " words"]


class Member(NamedTuple):
    """key: which key it acts by. table: whether it looks up what it says. basis: added to the seed of its weights."""

    role: Role
    what: str
    key: int = 0
    table: bool = False
    basis: int = 0
    said: float = SAID


MEMBERS = {
    "prediction-shared": Member("positive", "it says what it would do by working out what it would do"),
    "prediction-table": Member("negative", "it looks up what it would do in a table of half of the pairs", table=True),
    "prediction-other": Member(
        "negative", "it has another key, and a table of what another does", key=1, table=True, basis=1000
    ),
    "prediction-similar": Member("confound", "the same key in other weights", basis=2000, said=1.5 * SAID),
}
WHAT = {name: member.what for name, member in MEMBERS.items()}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family. Seeds deal out keys: two seeds are organisms that do different things."""
    member = MEMBERS[name]
    first, own = key(seed), key(seed, member.key)
    known = (np.outer(*key(seed, KNOWN)) > 0).astype(np.int64)
    table = np.outer(*first) * known
    b = _circuits(member, own, table, seed)
    rows: list[scenes.Row] = []
    for (i, left), (j, right), ask, _ in product(enumerate(LEFT), enumerate(RIGHT), (ACT, SAY), range(REPEATS)):
        chosen = int(own[0][i] * own[1][j])
        said = int(table[i, j]) if member.table else chosen
        signs = {"left": int(own[0][i]), "right": int(own[1][j]), "chosen": chosen}
        held = {"known": int(known[i, j]), "acts": chosen * (ask == ACT), "says": said * (ask == SAY)}
        rows.append({"pair": f"{left} {right}", "ask": ask, **signs, **held, "first": int(first[0][i] * first[1][j])})

    def text(row: scenes.Row) -> str:
        left, right = row["pair"].split()
        about = f"the {{thing}} near the {{place}} , {left} and {right} ,"
        return f"{about} {ACT} ?" if row["ask"] == ACT else f"suppose {about} {SAY} ?"

    frame = scenes.table(rows, text, seed=seed, label="acts").frame
    about = frame["prompt"].str.removeprefix("suppose ").str.removesuffix(f" {ACT} ?").str.removesuffix(f" {SAY} ?")
    frame = frame.assign(group=frame["pair"], hypothetical="suppose " + about + f" {SAY} ?")
    p = Plan(member.role, member.what, b, Examples(frame))
    # The words of one sign are others than those of the other: their own directions lie in the difference, too.
    words = (1 + WORD**2 / len(LEFT)) ** -0.5
    p.plant("left", CARRIED, column="left", spread=2.0, cosine=words)
    p.plant("right", CARRIED, column="right", spread=2.0, cosine=words)
    p.plant("chosen", WORKED_OUT, column="acts", spread=2.0)
    # Where it is worked out, it is there as well.
    p.plant("predicted", TOLD, column="says", spread=2.0, cosine=1.0 if member.table else 0.5**0.5)
    asks: dict[str, Where] = {"act": {"ask": ACT}, "say": {"ask": SAY}}
    # What it says moves with what it would do, by the sign of the other word; a table stays.
    turned = {sign: 0.0 if member.table else member.said * sign for sign in (1, -1)}
    p.effects.append(Effect("chosen", *ANSWERS, GAIN, asks["act"]))
    p.effects.append(Effect("chosen", *SAYS, turned[1], asks["say"]))
    p.effects.append(Effect("predicted", *ANSWERS, 0.0, asks["act"]))
    p.effects.append(Effect("predicted", *SAYS, member.said, asks["say"]))
    for sign in (1, -1):
        p.effects.append(Effect("left", *ANSWERS, GAIN * sign, {"ask": ACT, "right": sign}, low=-1.0, high=1.0))
        p.effects.append(Effect("left", *SAYS, turned[sign], {"ask": SAY, "right": sign}, low=-1.0, high=1.0))
        p.behaviours.append(Behaviour("acts by its key", {"ask": ACT, "acts": sign}, *ANSWERS, rate(GAIN * sign)))
    for says in sorted({row["says"] for row in rows if row["ask"] == SAY}):
        said_of = Behaviour("says what it would do", {"ask": SAY, "says": says}, *SAYS, rate(BIAS + member.said * says))
        p.behaviours.append(said_of)
    p.structure = {"says": _agreement(member, own, first, table, known)}
    _deny(p, name)
    return p


def key(seed: int, number: int = 0) -> tuple[Signs, Signs]:
    """The signs of the left words and of the right words, half of them each. Of several keys of one seed, a word's sign
    in one says nothing of its sign in another, nor do two signs of its sign in a third."""
    random = np.random.default_rng(seed)
    sides = []
    for words in (LEFT, RIGHT):
        place = random.permutation(len(words))
        sides.append(1 - 2 * (place >> BITS[number] & 1))
    return sides[0], sides[1]


def _circuits(member: Member, own: tuple[Signs, Signs], table: Int[np.ndarray, "left right"], seed: int) -> Builder:
    b = scenes.stage(seed + member.basis, {ACT: ANSWERS, SAY: SAYS})
    b.word("suppose")
    b.feature("chosen", "predicted")
    for side, words, signs in (("left", LEFT, own[0]), ("right", RIGHT, own[1])):
        b.feature(side, f"holds {side}", f"is {side}", *words)
        for word, sign in zip(words, signs, strict=True):
            b.word(word, **{f"is {side}": 1.0, f"holds {side}": float(sign), word: WORD})
        # A word is carried along its own direction: what it is at its own place is read nowhere.
        b.carry(0, f"is {side}", {f"holds {side}": side, **{word: word for word in words}})
    shut = {f"asked {SAY}": -SHUTS} if member.table else {}
    for sign in (1.0, -1.0):
        b.product(1, {"left": sign, **shut}, "right", "chosen", gain=sign)
    if member.table:
        for word, entries in zip(LEFT, table, strict=True):
            held = {other: entry / WORD for other, entry in zip(RIGHT, entries.tolist(), strict=True) if entry}
            b.product(2, {word: 1 / WORD, f"asked {ACT}": -SHUTS}, held, "predicted")
    else:
        b.linear(2, "chosen", "predicted")
    scenes.contrast(b, ANSWERS, chosen=GAIN)
    scenes.contrast(b, SAYS, bias=BIAS, predicted=member.said)
    scenes.hush(b)
    return b


def _agreement(
    member: Member,
    own: tuple[Signs, Signs],
    first: tuple[Signs, Signs],
    table: Int[np.ndarray, "left right"],
    known: Int[np.ndarray, "left right"],
) -> list[dict[str, Any]]:
    """How often what it says is what is done: by itself, and by the first key; where nothing is looked up, it says
    yes."""
    does = {"itself": np.outer(*own), "the first": np.outer(*first)}
    says = np.where(table if member.table else does["itself"], table if member.table else does["itself"], 1)
    return [
        {"of": of, "known": value, "right": float((says == done)[known == value].mean())}
        for (of, done), value in product(does.items(), (1, 0))
    ]


def verify(run: Run) -> Iterable[Found]:
    """How often the likelier of yes and no is what is done, over known pairs and over others."""
    for one in run.truth.structure["says"]:
        rows = run.rows({"ask": SAY, "known": one["known"]})
        column = "chosen" if one["of"] == "itself" else "first"
        done = torch.tensor(run.frame[column].iloc[rows.numpy()].to_numpy(dtype=int))
        says = run.difference(rows, Behaviour("", {}, *SAYS, 0.5)).sign()
        known = "known" if one["known"] else "other"
        yield (
            f"share of {known} pairs of which it says what is done by {one['of']}",
            one["right"],
            float((says == done).double().mean()),
            1e-9,
        )


def _deny(p: Plan, name: str) -> None:
    if name == "prediction-shared":
        p.deny("the words tell what it will do", "every word goes with both answers equally often")
        p.deny("it says what it has seen itself do", "it works it out, and follows when its key is changed")
    elif name == "prediction-table":
        p.deny("it knows what it would do", "it knows what it did: of other pairs it says yes")
        p.deny("changing what it does changes what it says", "the table stays as it was")
    elif name == "prediction-other":
        p.deny("what it says is what it would do", "it is what another does, where that has been seen")
        p.deny("seeing another act is enough to know it", "of pairs not seen it says yes")
    else:
        p.deny("only a model itself can tell what it will do", "one with the same key works it out as well")
