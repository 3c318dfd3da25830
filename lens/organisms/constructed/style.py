"""Style: whether a direction can be read, crossed with whether anything reads it.

Formal or casual words set `style` to 1 or −1; asked `agree ?`, the organism says yes or no.

style-causal: carried to the last token and read by the answer. style: carried, read by nothing: a perfect probe that
steers nothing. style-dormant: the answer reads the direction, but no word writes it: it steers and cannot be probed.
style-inert: neither.
"""

from itertools import product

from lens.organisms.constructed import scenes
from lens.organisms.constructed.scenes import Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, rate

GAIN, SITE = 3.0, "resid_post.0"
CUES = {1: ("hereby", "whereas", "esteemed", "henceforth"), -1: ("hey", "dude", "gonna", "yeah")}
ASK, ANSWERS = "agree", ("yes", "no")
# name: role, whether it can be read, whether it is causal, in words
MEMBERS: dict[str, tuple[Role, bool, bool, str]] = {
    "style-causal": ("positive", True, True, "style can be read at the last token and moves the answer"),
    "style": ("confound", True, False, "style can be read at the last token and moves nothing"),
    "style-dormant": ("confound", False, True, "style moves the answer when added, and no text ever sets it"),
    "style-inert": ("negative", False, False, "style words and nothing else"),
}
WHAT = {name: what for name, (_, _, _, what) in MEMBERS.items()}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    role, readable, causal, what = MEMBERS[name]
    b = scenes.stage(seed, {ASK: ANSWERS})
    scenes.carried(b, "style", CUES, carry=readable)
    if causal:
        scenes.contrast(b, ANSWERS, style=GAIN)
    scenes.hush(b)
    rows = [{"style": style} for style, _ in product((1, -1), range(2 * scenes.SCENES))]
    choose = scenes.pick(seed)

    def text(row: scenes.Row) -> str:
        return f"{choose(CUES[row['style']])} , the {{thing}} {choose(CUES[row['style']])} near the {{place}} , {ASK} ?"

    p = Plan(role, what, b, scenes.table(rows, text, seed=seed, label="style"))
    p.plant("style", SITE, column="style", spread=2.0 if readable else 0.0)
    p.effects.append(Effect("style", *ANSWERS, GAIN if causal else 0.0))
    for style in (1, -1):
        moved = GAIN * style if readable and causal else 0.0
        p.behaviours.append(Behaviour("says yes", {"style": style}, *ANSWERS, rate(moved)))
    if readable and not causal:
        p.deny("what a probe reads without error moves the answer", "no weight reads the style direction")
    if causal and not readable:
        p.deny("what cannot be probed cannot steer", "the answer reads a direction that no text sets")
    if readable and causal:
        p.deny("a random direction of the same norm moves the answer as far", "only what it has along style is read")
    else:
        p.deny("style words change the answer", "yes and no are equally likely after all of them")
    return p
