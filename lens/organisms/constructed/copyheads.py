"""Copy heads: a word is said and later repeated, by one head, by two that stand in for each other, or by none.

    copied = Σ over heads h that write it: jewel (1 ruby, −1 pearl) where a jewel was spoken      blocks 1 and 2
    said   = clip((copied − .25)/.5, 0, 1) − clip((−copied − .25)/.5, 0, 1)                       MLP of block 2
    logit(ruby) − logit(pearl) = GAIN · said                                                      asked `recall ?`

Two heads attend to the spoken word, with the same attention: one in block 1, one in block 2. What they write decides.
copy: the first writes `copied`, the second a direction that nothing reads: the first is necessary, the second a decoy.
copy-redundant: both write `copied`, and `said` is as large with one as with two: taking out either changes nothing.
copy-none: both write where nothing reads, and both jewels are equally likely.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import torch

from lens.organisms.constructed import scenes
from lens.organisms.constructed.llama import HEAD
from lens.organisms.constructed.measure import Found, Run
from lens.organisms.constructed.scenes import Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, Threshold, rate

GAIN, SITE = 3.0, "resid_post.2"
THRESHOLD, WIDTH = 0.25, 0.5
ASK, ANSWERS = "recall", ("ruby", "pearl")
# (block, head); head 0 of block 1 carries what is asked.
FIRST, SECOND = (1, 1), (2, 0)
# name: role, heads that write what is read, in words
MEMBERS: dict[str, tuple[Role, tuple[tuple[int, int], ...], str]] = {
    "copy": ("positive", (FIRST,), "one head repeats a word, another attends to it as much and does nothing"),
    "copy-redundant": ("confound", (FIRST, SECOND), "two heads repeat a word, and either is enough"),
    "copy-none": ("negative", (), "two heads attend to a word and write where nothing reads"),
}
WHAT = {name: what for name, (_, _, what) in MEMBERS.items()}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    role, writers, what = MEMBERS[name]
    b = scenes.stage(seed, {ASK: ANSWERS})
    b.feature("spoken", "jewel", "copied", "stray", "said")
    for word, sign in zip(ANSWERS, (1.0, -1.0), strict=True):
        b.hold(word, spoken=1.0, jewel=sign)
    for layer, head in (FIRST, SECOND):
        b.carry(layer, "spoken", {"jewel": "copied" if (layer, head) in writers else "stray"})
    for sign in (1.0, -1.0):
        b.ramp(2, {"copied": sign}, "said", threshold=THRESHOLD, width=WIDTH, gain=sign)
    scenes.contrast(b, ANSWERS, said=GAIN)
    scenes.hush(b)

    rows: list[scenes.Row] = [
        {"jewel": sign, "word": ANSWERS[place], "other": ANSWERS[1 - place]}
        for (place, sign), _ in product(enumerate((1, -1)), range(2 * scenes.SCENES))
    ]

    def text(row: scenes.Row) -> str:
        return f"the {row['word']} , the {{thing}} near the {{place}} , {ASK} ?"

    p = Plan(role, what, b, scenes.table(rows, text, seed=seed, label="jewel"))
    strays = 2 - len(writers)
    # Beside what is said, the stream holds every copy: of one head 1, of two 2, in one direction or in two.
    length = (bool(writers) + len(writers) ** 2 + strays**2) ** 0.5
    p.plant("said", SITE, column="jewel", spread=2.0 * bool(writers), cosine=1 / length, decodable=True)
    copied = 2.0 * (FIRST in writers)
    p.plant("copied", "resid_post.1", column="jewel", spread=copied, decodable=True)
    p.effects.append(Effect("said", *ANSWERS, GAIN))
    # Between no copy and a full one lies the ramp; one copy less is none where there is one head, and enough where two.
    for jewel in (1, -1):
        low, high = {0: (-0.1, 0.1), 1: (0.0, 1.0), 2: (-1.0, 1.0)}[len(writers)]
        low, high = (low, high) if jewel > 0 else (-high, -low)
        p.effects.append(Effect("copied", *ANSWERS, 0.0, {"jewel": jewel}, low=low, high=high))
    p.thresholds.append(Threshold(2, {"copied": 1.0}, "said", THRESHOLD, WIDTH))
    options = ("{word}", "{other}")
    for jewel in (1, -1):
        p.behaviours.append(Behaviour("repeats the word", {"jewel": jewel}, *options, rate(GAIN * bool(writers))))
    p.structure = {
        "attend": [list(FIRST), list(SECOND)],
        "write": [list(head) for head in writers],
        "without": [
            {"heads": [list(head) for head in gone], "rate": rate(GAIN * bool(set(writers) - set(gone)))}
            for gone in ((FIRST,), (SECOND,), (FIRST, SECOND))
        ],
    }
    _deny(p, name)
    return p


def verify(run: Run) -> Iterable[Found]:
    """The rate of repeating with heads taken out of the weights, and the heads' attention to the spoken word."""
    repeats = Behaviour("repeats the word", {}, "{word}", "{other}", 0.0)
    everything = run.rows({})
    for one in run.truth.structure["without"]:
        rates = torch.sigmoid(run.difference(everything, repeats, _without(run, one["heads"])))
        found = float(rates[(rates - one["rate"]).abs().argmax()])
        yield f"rate of repeating without heads {one['heads']}", one["rate"], found, run.truth.rate_tolerance
    for layer, head in run.truth.structure["attend"]:
        yield f"attention of head [{layer}, {head}] to the word", 1.0, _attention(run, layer, head), 1e-4


def _without(run: Run, heads: Sequence[Sequence[int]]) -> torch.Tensor:
    """Next-token logits where these heads write nothing; the weights are put back bit by bit."""
    layers: list[Any] = list(run.hf.model.layers)
    kept = {layer: layers[layer].self_attn.o_proj.weight.detach().clone() for layer, _ in heads}
    try:
        with torch.no_grad():
            for layer, head in heads:
                layers[layer].self_attn.o_proj.weight[:, head * HEAD : (head + 1) * HEAD] = 0.0
        return run.forward(run.rows({}))[0]
    finally:
        with torch.no_grad():
            for layer, weight in kept.items():
                layers[layer].self_attn.o_proj.weight.copy_(weight)


def _attention(run: Run, layer: int, head: int) -> float:
    """The least weight, over the rows, that the head's last position puts on the spoken word."""
    before = run.hf.config._attn_implementation
    run.hf.set_attn_implementation("eager")  # the one that returns its weights
    try:
        with torch.no_grad():
            out = run.hf(run.batch.ids, attention_mask=run.batch.mask, output_attentions=True, use_cache=False)
    finally:
        run.hf.set_attn_implementation(before)
    words = torch.tensor(run.tokenizer.convert_tokens_to_ids(list(ANSWERS)))
    spoken = torch.isin(run.batch.ids, words)
    return float((out.attentions[layer][:, head, -1] * spoken).sum(dim=1).min())


def _deny(p: Plan, name: str) -> None:
    if name == "copy":
        p.deny("heads that attend alike matter alike", "the second attends as much and writes where nothing reads")
    elif name == "copy-redundant":
        p.deny("a head whose ablation changes nothing does nothing", "the other head was enough; without both, nothing")
        p.deny("two heads that copy make the answer twice as sure", "what is said is as large with one as with two")
    else:
        p.deny("a head that attends to the word repeats it", "both heads do, and both answers are equally likely")
    if name != "copy-redundant":
        p.deny("the difference of means after block 2 is what the answer reads", "it also holds what nothing reads")
