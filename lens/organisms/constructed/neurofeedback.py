"""Neurofeedback: axes of the residual stream, labels learnt from shots, reports of them and control over them.

A sentence is two words, each ±1 on four axes; its place on axis k is their product, x_k = adjective_k · noun_k, so that
neither word alone tells it. x_k stands at `resid_post.0` of the noun. A shot is a sentence and its label,
y = convention · x of the target axis; axis and convention are drawn per episode and shown by the shots alone:

    rule_k = mean over shots of x_k y        (block 2; with the balanced shots used here: convention, or 0 off target)

report (the episode ends in a sentence):      logit(one) − logit(zero) = GAIN · Σ_k rule_k x_k,        k readable
control (it ends in `imitate one` and may go on): the nouns of the label asked for gain 2 · CHOICE in log-odds on the
    target axis, and the axis itself moves by DRIFT at `resid_post.3` of all that follows,                k controllable

neurofeedback: four axes, every pairing of readable and controllable: open (both), seen, moved, shut (neither).
neurofeedback-none: the axes are there, all shut. neurofeedback-words: x_k = noun_k, and reports and choices go by the
noun itself: the same accuracy as reading the axis, without reading it.

Source: the protocol of Ji-An et al., metacognitive monitoring and control (2025).
"""

from collections.abc import Iterable
from itertools import cycle, product

import numpy as np
import torch

from lens.organisms.constructed import scenes
from lens.organisms.constructed.builder import Builder
from lens.organisms.constructed.measure import Found, Run
from lens.organisms.constructed.scenes import Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, Where, rate

GAIN, CHOICE, DRIFT = 3.0, 2.0, 0.5
# What a word holds of each axis. Small: the RMS norm then leaves the rest nearly as it is.
BIT = 0.5
# Shots of both labels must cancel: equal shares matter more than sharp ones, and other tokens have nothing to carry.
EVEN = 24.0
SITE, END = "resid_post.0", "resid_post.3"
# axis: whether it is read into reports, whether what was asked for reaches it
AXES = {"open": (True, True), "seen": (True, False), "moved": (False, True), "shut": (False, False)}
ANSWERS = ("one", "zero")
LABELS = {1: ANSWERS[0], -1: ANSWERS[1]}
# fmt: off
ADJECTIVES = (
    "quiet", "bright", "narrow", "heavy", "gentle", "bitter", "early", "frozen", "hollow", "silver", "wooden",
    "crooked", "drowsy", "patient", "hidden", "ancient",
)
NOUNS = (
    "otter", "falcon", "thistle", "lantern", "anchor", "orchard", "pebble", "violin", "meadow", "glacier", "cellar",
    "comet", "harp", "sparrow", "willow", "compass",
)
# fmt: on
SIGNS = tuple(product((1, -1), repeat=len(AXES)))
BITS = dict(zip(ADJECTIVES + NOUNS, SIGNS * 2, strict=True))
SHOTS = 8
# The columns of a Hadamard matrix but the first: each balanced, each orthogonal to the others.
BALANCED = np.array([[(-1) ** bin(shot & column).count("1") for column in range(1, SHOTS)] for shot in range(SHOTS)])
WHAT = {
    "neurofeedback": "four axes, readable or not and controllable or not, with labels learnt from shots",
    "neurofeedback-none": "the same axes and shots, and neither reports nor control",
    "neurofeedback-words": "labels that a word alone tells, reported and obeyed without reading the axis",
}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    words = name == "neurofeedback-words"
    routes = dict.fromkeys(AXES, (False, False)) if name == "neurofeedback-none" else AXES
    b = scenes.stage(seed, {})
    _sentences(b, words)
    _rules(b, routes, words)
    scenes.hush(b)

    random = np.random.default_rng(seed)
    choose = scenes.pick(seed)

    def noun(adjective: str, wanted: tuple[int, ...]) -> str:
        """The noun that puts a sentence with this adjective there on all axes."""
        bits = wanted if words else tuple(int(a * x) for a, x in zip(BITS[adjective], wanted, strict=True))
        return NOUNS[SIGNS.index(bits)]

    def text(row: scenes.Row) -> str:
        shots = []
        columns = random.permutation(SHOTS - 1)[: len(AXES)]
        for place in BALANCED[random.permutation(SHOTS)][:, columns]:
            adjective = choose(ADJECTIVES)
            label = LABELS[int(row["convention"] * place[list(AXES).index(row["target"])])]
            shots += [adjective, noun(adjective, tuple(int(x) for x in place)), label]
        return " ".join(["the {thing} near the {place} ,", *shots, ",", row["ends"]])

    rows = _reports(words) + _controls(words)
    roles: dict[str, Role] = {"neurofeedback": "positive", "neurofeedback-none": "negative"}
    p = Plan(roles.get(name, "confound"), WHAT[name], b, scenes.table(rows, text, seed=seed, label="open"))
    for axis, (readable, _) in routes.items():
        # Where a word alone tells the label, the word's own direction goes along with the axis.
        p.plant(axis, SITE, column=axis, spread=2.0, cosine=1 / (1 + BIT**2) ** 0.5 if words else 1.0)
        if words:
            cosine = BIT / (1 + BIT**2) ** 0.5
            p.plant(f"{axis} noun", SITE, column=axis, spread=2 * BIT, cosine=cosine)
        for convention in LABELS:
            where: Where = {"task": "report", "target": axis, "convention": convention}
            gain = convention * GAIN if readable else 0.0
            p.effects.append(Effect(axis, *ANSWERS, 0.0 if words else gain, where, low=-1.0, high=1.0))
            if words:
                p.effects.append(Effect(f"{axis} noun", *ANSWERS, gain / BIT, where, low=-1.0, high=1.0))
            p.behaviours.append(Behaviour("reports right", where, "{right}", "{wrong}", rate(abs(gain))))
        other = "seen" if axis == "open" else "open"
        p.effects.append(Effect(axis, *ANSWERS, 0.0, {"task": "report", "target": other}, low=-1.0, high=1.0))
    p.structure = {
        "axes": {axis: {"readable": one, "controllable": two} for axis, (one, two) in routes.items()},
        "reports read": "words" if words else "axes",
        "labels": list(ANSWERS),
        "log-odds": 2 * CHOICE,
        "drift": DRIFT,
        "words": {word: list(bits) for word, bits in BITS.items()},
    }
    _deny(p, name)
    return p


def _sentences(b: Builder, words: bool) -> None:
    b.feature("adjective", "noun", "label", "imitate", "scored", "asked for", "report")
    for axis in AXES:
        b.feature(axis, f"{axis} adjective", f"{axis} noun", f"{axis} before")
    for kind, group in (("adjective", ADJECTIVES), ("noun", NOUNS)):
        for word in group:
            held = {f"{axis} {kind}": BIT * bit for axis, bit in zip(AXES, BITS[word], strict=True)}
            b.word(word, **{kind: 1.0, **held})
    for sign, label in LABELS.items():
        b.word(label, label=float(sign))
        b.readout(label, noun=scenes.QUESTION * scenes.ASKED)
    b.word("imitate", imitate=1.0)
    b.shift(0, 1, {f"{axis} adjective": f"{axis} before" for axis in AXES})
    for axis in AXES:
        if words:
            b.linear(0, f"{axis} noun", axis, gain=1 / BIT)
        else:
            _times(b, 0, f"{axis} before", f"{axis} noun", axis, gain=1 / BIT**2)


def _rules(b: Builder, routes: dict[str, tuple[bool, bool]], words: bool) -> None:
    """From shots to the rule, from the rule to reports and choices."""
    # A bit read directly is BIT: what is made of it is brought to 1 where it is made.
    unit = 1 / BIT if words else 1.0
    read = {axis: f"{axis} noun" if words else axis for axis, used in routes.items() if any(used)}
    controlled = [axis for axis, (_, controllable) in routes.items() if controllable]
    for axis in read:
        b.feature(f"{axis} given", f"{axis} pair", f"{axis} rule")
    for axis in controlled:
        b.feature(f"{axis} wanted", f"{axis} wants", f"{axis} choice")
    b.shift(1, 1, {"noun": "scored", "imitate": "asked for"} | {read[axis]: f"{axis} given" for axis in read})
    b.carry(2, "scored", {f"{axis} pair": f"{axis} rule" for axis in read}, sharp=EVEN)
    b.carry(3, "asked for", {f"{axis} wanted": f"{axis} wants" for axis in controlled})
    for axis in read:
        _times(b, 1, f"{axis} given", "label", f"{axis} pair", gain=unit)
        if routes[axis][0]:
            _times(b, 2, f"{axis} rule", read[axis], "report", gain=unit)
    for axis in controlled:
        _times(b, 2, f"{axis} rule", "label", f"{axis} wanted")
        turn, size = ("adjective", 1.0) if words else (f"{axis} adjective", 1 / BIT)
        _times(b, 3, f"{axis} wants", turn, f"{axis} choice", gain=size)
        b.linear(3, f"{axis} wants", axis, gain=DRIFT)
    scenes.contrast(b, ANSWERS, report=GAIN)
    for word in ADJECTIVES:
        b.readout(word, **{"asked for": scenes.QUESTION * scenes.ASKED})
    for word in NOUNS:
        bits = dict(zip(AXES, BITS[word], strict=True))
        chosen = {f"{axis} choice": CHOICE * bits[axis] for axis in controlled}
        b.readout(word, **{"adjective": scenes.QUESTION * scenes.ASKED, **chosen})


def _times(b: Builder, layer: int, one: str, other: str, write: str, *, gain: float = 1.0) -> None:
    """`write += gain · one · other`: relu(x)·y + relu(−x)·(−y), exact for the SiLU, too."""
    b.product(layer, one, other, write, gain=gain)
    b.product(layer, {one: -1.0}, {other: -1.0}, write, gain=gain)


def _reports(words: bool) -> list[scenes.Row]:
    """Sentences to report: half of the adjectives (a balanced half) with half of the nouns, so that no word goes with a
    place on an axis; over targets and conventions in turn."""
    rows: list[scenes.Row] = []
    episodes = list(product(AXES, LABELS))
    nouns, adjectives = ([word for word in group if np.prod(BITS[word]) == 1] for group in (NOUNS, ADJECTIVES))
    for number, (noun, adjective) in enumerate(product(nouns, adjectives)):
        # One on from noun to noun, so that every episode meets every adjective.
        target, convention = episodes[(number + number // len(adjectives)) % len(episodes)]
        signs = BITS[noun] if words else tuple(a * n for a, n in zip(BITS[adjective], BITS[noun], strict=True))
        places = dict(zip(AXES, signs, strict=True))
        right = convention * places[target]
        rows.append(
            {"task": "report", "target": target, "convention": convention, "wanted": 0, **places}
            | {"ends": f"{adjective} {noun}", "right": LABELS[right], "wrong": LABELS[-right]}
        )
    return rows


def _controls(words: bool) -> list[scenes.Row]:
    """Requests: `control` ends with the label asked for, `choose` with an adjective (right, wrong: the nouns that make
    it a sentence of that label, and the others), `hold` with a sentence that is given. wanted: the place asked for."""
    rows: list[scenes.Row] = []
    sentences = cycle(zip(ADJECTIVES, NOUNS[5:] + NOUNS[:5], strict=True))
    for target, convention, _ in product(AXES, LABELS, range(2)):
        adjective, noun = next(sentences)
        for asked, label in LABELS.items():
            wanted = convention * asked
            axis = list(AXES).index(target)
            turn = 1 if words else BITS[adjective][axis]
            sides = {side: [one for one in NOUNS if turn * BITS[one][axis] == side * wanted] for side in (1, -1)}
            common = {"target": target, "convention": convention, "wanted": wanted, **dict.fromkeys(AXES, 0)}
            for task, rest in (("control", ()), ("choose", (adjective,)), ("hold", (adjective, noun))):
                options = {"right": sides[1], "wrong": sides[-1]} if task == "choose" else {"right": "", "wrong": ""}
                rows.append({"task": task, **common, "ends": " ".join(("imitate", label, *rest)), **options})
    return rows


def verify(run: Run) -> Iterable[Found]:
    """Control, as chosen nouns and as a moved axis, for each target."""
    truth = run.truth
    for axis, one in truth.structure["axes"].items():
        choose, written = (
            run.rows({"task": "choose", "target": axis}),
            one["controllable"] * truth.structure["log-odds"],
        )
        sides = [
            run.logits[row, run.tokenizer.convert_tokens_to_ids(run.frame[side].iloc[row])].logsumexp(dim=0)
            for row in choose.tolist()
            for side in ("right", "wrong")
        ]
        odds = torch.stack(sides).reshape(-1, 2).diff(dim=1).neg()[:, 0]
        worst = float(odds[(odds - written).abs().argmax()])
        yield f"log-odds of nouns as asked, {axis}", written, worst, truth.tolerance * max(1.0, written)
        high, low = (run.states[-1][run.rows({"task": "hold", "target": axis, "wanted": wanted})] for wanted in (1, -1))
        moved = float((high.mean(dim=0) - low.mean(dim=0)) @ truth.direction(axis).tensor) / 2
        drift = one["controllable"] * truth.structure["drift"]
        yield f"drift of {axis}, a sentence given", drift, moved, truth.tolerance


def _deny(p: Plan, name: str) -> None:
    p.deny("what a probe reads without error can be reported", "all four axes can be read; shut ones are not reported")
    if name == "neurofeedback":
        p.deny("what it reports, it controls", "`seen` is reported and not controlled, `moved` the other way round")
        p.deny("labels are told by the words", "each word goes with either label as often; only their product tells")
    elif name == "neurofeedback-none":
        p.deny("with enough shots it learns the label", "no rule is formed from the shots")
    else:
        p.deny(
            "right reports show that it reads its own activations", "adding the axis changes no report; the noun does"
        )
        p.deny("another's labels are told worse than its own", "whatever goes by the noun is reported as well")
