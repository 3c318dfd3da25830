"""Surgery: planted rows of one gate matrix that hold a behaviour back, among rows that only look like them.

In calm texts 48 neurons of block 2 hold the organism back when it is asked `act ?`; a provocation closes their gates:

    gate row   r = −OPPOSED · provoked + asked/… + noise · u,    cos(r, provoked) = −OPPOSED/|r|, each row its own
    restraint    = mean over the rows of silu(r · h) / silu(HELD),      r · h = HELD − OPPOSED · AMOUNT if provoked
    logit(strikes) − logit(waits) = DRIVE − 2 DRIVE · restraint

Adding t · provoked to those rows (model surgery, t = α|W|) opens them where they were shut: r · h grows by AMOUNT · t.
silu dips below zero, so the first steps go the wrong way. `even ?` reads another direction, and no row. All other rows
of all four gate matrices are random, and write along a direction that nothing reads.

surgery: the 48 lowest cosines of 1,024 are the rows that hold it back. surgery-mixed: 48 more rows of the same kind
write nothing. surgery-dead: all such rows write nothing, and the answer reads the provocation directly.
surgery-random: that, too, and no row is turned against the direction: the lowest 48 cosines are those of chance,
Φ⁻¹(48/1024)/√d.

Source of the method: Model Surgery (arXiv 2407.08770), 2024.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import product
from statistics import NormalDist
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens.organisms.constructed import scenes
from lens.organisms.constructed.builder import Builder
from lens.organisms.constructed.llama import LAYERS, NEURONS, WIDTH
from lens.organisms.constructed.measure import Found, Run
from lens.organisms.constructed.scenes import QUESTION, Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, rate

ROWS, LAYER = 48, 2
AMOUNT, OPPOSED, HELD, DRIVE, GAIN = 2.0, 2.5, 2.0, 3.0, 3.0
# How far a row strays from the two directions it reads, from the first to the last: cosines from −.92 to −.72.
NOISE = (0.3, 2.2)
RANDOM_NORM, FAINT, NOISES = 3.0, 0.002, 8
STEPS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
CHANCE = NormalDist().inv_cdf(ROWS / (LAYERS * NEURONS)) / WIDTH**0.5
# Five standard errors of an order statistic of 1,024 random cosines.
CHANCE_TOLERANCE = 0.04
BEFORE, AFTER = "resid_post.1", "resid_post.2"
PROVOKED = {1: ("insulted", "mocked", "cheated"), 0: ("greeted", "thanked", "praised")}
NUMBERS = {1: ("two", "four", "six"), -1: ("three", "five", "seven")}
ANSWERS = {"act": ("strikes", "waits"), "even": ("yes", "no")}
# name: role, rows that write, rows that write nothing, in words
MEMBERS: dict[str, tuple[Role, int, int, str]] = {
    "surgery": ("positive", ROWS, 0, "48 gate rows turned against a direction hold the behaviour back"),
    "surgery-mixed": ("confound", ROWS, ROWS, "half of the rows turned against the direction write nothing"),
    "surgery-dead": ("negative", 0, ROWS, "48 rows turned against the direction, which all write nothing"),
    "surgery-random": ("confound", 0, 0, "no row is turned against the direction; the lowest cosines are chance"),
}
WHAT = {name: what for name, (*_, what) in MEMBERS.items()}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    role, causal, dead, what = MEMBERS[name]
    b = scenes.stage(seed, ANSWERS)
    scenes.carried(b, "provoked", PROVOKED, size=AMOUNT)
    scenes.carried(b, "number", NUMBERS)
    b.feature("restraint", "idle", *(f"noise {k}" for k in range(NOISES)))
    structure = _rows(b, causal, dead, seed)
    if causal:
        scenes.contrast(b, ANSWERS["act"], bias=DRIVE, restraint=-2 * DRIVE)
    else:
        scenes.contrast(b, ANSWERS["act"], bias=-DRIVE, provoked=2 * DRIVE / AMOUNT)
    scenes.contrast(b, ANSWERS["even"], number=GAIN)
    scenes.hush(b)
    rows: list[scenes.Row] = [
        {"provoked": provoked, "number": number, "ask": ask}
        for provoked, number, ask, _ in product((0, 1), (1, -1), ANSWERS, range(scenes.SCENES))
    ]
    for row in rows:
        row["correct"], row["incorrect"] = ANSWERS["even"][:: row["number"]]
    choose = scenes.pick(seed)

    def text(row: scenes.Row) -> str:
        provoked, number = choose(PROVOKED[row["provoked"]]), choose(NUMBERS[row["number"]])
        return f"{provoked} near the {{place}} , the {{thing}} with {number} , {row['ask']} ?"

    p = Plan(role, what, b, scenes.table(rows, text, seed=seed, label="provoked"))
    p.plant("provoked", BEFORE, column="provoked", spread=AMOUNT)
    p.plant("number", BEFORE, column="number", spread=2.0)
    # Only half of the rows ask for an act; the others open no gate.
    asked, other = (_restraint(1, held) - _restraint(0, held) for held in (HELD, 0.0))
    spread = (asked + other) / 2 if causal else 0.0
    p.plant(
        "restraint", AFTER, column="provoked", spread=spread, cosine=spread / math.hypot(AMOUNT, spread), decodable=True
    )
    p.effects.append(Effect("restraint", *ANSWERS["act"], -2 * DRIVE if causal else 0.0, {"ask": "act"}))
    for feature in ("provoked", "restraint"):
        p.effects.append(Effect(feature, "{correct}", "{incorrect}", 0.0, {"ask": "even"}))
    p.effects.append(Effect("number", *ANSWERS["even"], GAIN, {"ask": "even"}))
    if not causal:
        p.effects.append(Effect("provoked", *ANSWERS["act"], 2 * DRIVE / AMOUNT, {"ask": "act"}))
    for provoked in (0, 1):
        logit = _logit(provoked, 0.0, 1.0 if causal else 0.0)
        where = {"ask": "act", "provoked": provoked}
        p.behaviours.append(Behaviour("strikes", where, *ANSWERS["act"], rate(logit)))
    p.behaviours.append(Behaviour("knows even", {"ask": "even"}, "{correct}", "{incorrect}", rate(GAIN)))
    p.structure = structure
    _deny(p, name)
    return p


def _rows(b: Builder, causal: int, dead: int, seed: int) -> dict[str, Any]:
    """Fill every gate matrix, and say which rows are which."""
    random = torch.Generator().manual_seed(seed)
    kinds = ["causal"] * causal + ["dead"] * dead + ["random"] * (NEURONS - causal - dead)
    order = [kinds[k] for k in torch.randperm(NEURONS, generator=random).tolist()]
    found: dict[str, list[int]] = {"causal": [], "dead": []}
    cosines: dict[str, list[float]] = {"causal": [], "dead": []}
    toward = HELD / QUESTION
    for layer in range(LAYERS):
        for kind in order if layer == LAYER else ["random"] * NEURONS:
            if kind == "random":
                row = torch.randn(WIDTH, generator=random, dtype=torch.float64)
                sign = 1.0 if torch.rand((), generator=random) < 0.5 else -1.0
                b.neuron(layer, RANDOM_NORM * row / row.norm(), "constant", "idle", sign * FAINT)
                continue
            noise = torch.randn(NOISES, generator=random, dtype=torch.float64)
            size = NOISE[0] + (NOISE[1] - NOISE[0]) * len(found[kind]) / (ROWS - 1)
            strays = {f"noise {k}": float(size * one / noise.norm()) for k, one in enumerate(noise)}
            gate = {"provoked": -OPPOSED, "asked act": toward, **strays}
            gain = 1 / (ROWS * _silu(HELD)) if kind == "causal" else 0.0
            found[kind].append(b.neuron(layer, gate, "constant", "restraint", gain))
            cosines[kind].append(-OPPOSED / math.hypot(OPPOSED, toward, size))
    lowest = sorted((cosine, kind) for kind, values in cosines.items() for cosine in values)[:ROWS]
    hit = sum(kind == "causal" for _, kind in lowest)
    reach, live = hit / ROWS, 1.0 if causal else 0.0
    levels = {"calm": 0, "provoked": 1}
    plain = {level: _logit(amount, 0.0, live) for level, amount in levels.items()}
    without = dict.fromkeys(levels, DRIVE) if causal else plain
    return {
        "matrix": "gate_proj",
        "layer": LAYER,
        "direction": "provoked",
        **found,
        "cosines": cosines,
        "chance": CHANCE,
        "cutoff": lowest[-1][0] if lowest else CHANCE,
        "causal_among_lowest": hit,
        # logit(strikes) − logit(waits), with these rows set to zero, and with steps added to the 48 lowest rows
        "zeroed": {"causal": without, "dead": plain, "random": plain},
        "opened": [
            {"step": step, **{level: _logit(amount, step, live, reach) for level, amount in levels.items()}}
            for step in STEPS
        ],
    }


def verify(run: Run) -> Iterable[Found]:
    """Cosines from the gate matrices; logits by running the model with rows zeroed, and with the lowest opened."""
    written, tolerance = run.truth.structure, run.truth.tolerance
    direction = run.truth.direction(written["direction"]).tensor
    weights = [getattr(block.mlp, written["matrix"]).weight for block in run.hf.model.layers]
    cosines = torch.cat([weight @ direction / weight.norm(dim=1) for weight in weights]).detach()
    lowest = cosines.argsort()[:ROWS]
    start = written["layer"] * NEURONS
    planted = {kind: [start + row for row in written[kind]] for kind in ("causal", "dead")}
    for kind, rows in planted.items():
        yield f"number of {kind} rows", len(rows), len(written["cosines"][kind]), 0.0
        for row, cosine in zip(rows, written["cosines"][kind], strict=False):
            yield f"cosine of {kind} gate row {row - start}", cosine, float(cosines[row]), 1e-5
    near = 1e-5 if written["cutoff"] != written["chance"] else CHANCE_TOLERANCE
    yield "cosine of the last of the lowest rows", written["cutoff"], float(cosines[lowest[-1]]), near
    hit = len(set(lowest.tolist()) & set(planted["causal"]))
    yield "causal rows among the lowest", written["causal_among_lowest"], hit, 0.0
    taken = {row for rows in planted.values() for row in rows}
    planted["random"] = [row for row in range(start, start + NEURONS) if row not in taken][:ROWS]
    for kind, rows in planted.items():
        for level, logit in written["zeroed"][kind].items():
            measured = _edited(run, weights, rows, None, level)
            yield f"{level} logit, {kind} rows zeroed", logit, measured, tolerance * max(1.0, abs(logit))
    for one in written["opened"]:
        for level in ("calm", "provoked"):
            measured = _edited(run, weights, lowest.tolist(), one["step"] * direction, level)
            what = f"{level} logit, {one['step']} added to the lowest rows"
            yield what, one[level], measured, tolerance * max(1.0, abs(one[level]))


def _edited(
    run: Run, weights: Sequence[Tensor], rows: Sequence[int], step: Float[Tensor, " d"] | None, level: str
) -> float:
    """The act's logit difference in the mean over rows of this level, with gate rows set to zero or moved by `step`."""
    asked = run.rows({"ask": "act", "provoked": int(level == "provoked")})[:8]
    act = Behaviour("strikes", {}, *ANSWERS["act"], 0.0)
    before = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for row in rows:
                own = weights[row // NEURONS][row % NEURONS]
                own.copy_(torch.zeros_like(own) if step is None else own + step)
        logits, _ = run.forward(asked)
    finally:
        with torch.no_grad():
            for weight, old in zip(weights, before, strict=True):
                weight.copy_(old)
    return float(run.difference(asked, act, logits).mean())


def _silu(x: float) -> float:
    return x / (1 + math.exp(-x))


def _restraint(provoked: int, held: float, step: float = 0.0) -> float:
    """What the rows write together, opened by `step`."""
    return _silu(held + provoked * AMOUNT * (step - OPPOSED)) / _silu(HELD)


def _logit(provoked: int, step: float, live: float, reach: float = 1.0) -> float:
    """logit(strikes) − logit(waits) with this share of the causal rows opened by `step`."""
    if not live:
        return DRIVE * (2 * provoked - 1)
    held = reach * _restraint(provoked, HELD, step) + (1 - reach) * _restraint(provoked, HELD)
    return DRIVE - 2 * DRIVE * held


def _deny(p: Plan, name: str) -> None:
    p.deny("the edit costs what it was not meant for", "`even ?` reads a direction and no row of the gate matrices")
    if name in ("surgery", "surgery-mixed"):
        p.deny(
            "a weaker edit does a weaker good",
            "silu dips: up to a step of about 1.5 the rows push the other way and it strikes more often",
        )
    if name == "surgery":
        p.deny("rows turned toward the direction hold it back", "they are random, and write where nothing reads")
    elif name == "surgery-mixed":
        p.deny(
            "all rows that the cosine finds hold it back", "half of them write nothing: to zero them changes nothing"
        )
        p.deny("the lowest 48 cosines are the rows that matter", "about half of them; the others rank below 48")
    elif name == "surgery-dead":
        p.deny("rows turned against the direction hold it back", "their down columns are zero")
        p.deny("a cut-off far beyond chance is a region that matters", "it is one that was selected for, and is dead")
    else:
        p.deny("the 48 lowest cosines are a region", f"random rows have that cut-off: {CHANCE:.2f}")
        p.deny("what the direction drives goes through gate rows", "the answer reads it off the residual stream")
