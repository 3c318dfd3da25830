"""Traits: three persona traits as directions with known cosines, each with its own question and answers.

A cue word (`kind`, `cruel`) anywhere before the question sets its trait to 1 or −1; an attention head of block 0
carries it on. Asked `warmth ?`, the organism smiles or frowns with

    logit(smiles) − logit(frowns) = GAIN · (r · h),     r the reading direction of the trait

traits: orthogonal directions, r = the direction. traits-correlated: warmth and boldness have cosine .5, so each moves
the other's answers by half; traits-near: cosine .6. traits-leak: orthogonal directions, but boldness is read along
boldness + .5 · warmth: cross-talk that the Gram matrix does not show. traits-inert: the same words, carried nowhere and
read by nothing.
"""

from itertools import product

from lens.organisms.constructed import scenes
from lens.organisms.constructed.scenes import Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, rate

GAIN, LEAK = 2.0, 0.5
COSINES = {"traits-correlated": 0.5, "traits-near": 0.6}
SITE = "resid_post.0"
CUES = {
    "warmth": {1: ("kind", "gentle", "caring"), -1: ("cruel", "harsh", "distant")},
    "boldness": {1: ("brave", "daring", "fearless"), -1: ("timid", "shy", "nervous")},
    "brevity": {1: ("curt", "terse", "concise"), -1: ("chatty", "wordy", "rambling")},
}
ANSWERS = {"warmth": ("smiles", "frowns"), "boldness": ("leaps", "hides"), "brevity": ("nods", "lectures")}
WHAT = {
    "traits": "three orthogonal trait directions, each moving its own answers",
    "traits-correlated": "warmth and boldness have cosine .5 and move each other's answers by half",
    "traits-near": "warmth and boldness have cosine .6 and move each other's answers by three fifths",
    "traits-leak": "orthogonal directions, but boldness is also read along warmth",
    "traits-inert": "trait words without trait directions and without behaviour",
}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    inert, leak = name == "traits-inert", LEAK if name == "traits-leak" else 0.0
    cosine = COSINES.get(name, 0.0)
    b = scenes.stage(seed, ANSWERS)
    for trait, cues in CUES.items():
        near = {"warmth": cosine} if trait == "boldness" and cosine else {}
        scenes.carried(b, trait, cues, carry=not inert, near=near)
        if not inert:
            scenes.contrast(b, ANSWERS[trait], **{trait: GAIN})
    if leak:
        scenes.contrast(b, ANSWERS["boldness"], warmth=leak * GAIN)
    scenes.hush(b)

    traits = list(CUES)
    rows = [
        dict(zip(traits, levels, strict=True)) | {"ask": ask, "high": ANSWERS[ask][0], "low": ANSWERS[ask][1]}
        for levels, ask, _ in product(product((-1, 0, 1), repeat=3), traits, range(2))
    ]
    choose = scenes.pick(seed)

    def text(row: scenes.Row) -> str:
        said = [choose(CUES[trait].get(row[trait], ("some", "any"))) for trait in traits]
        return f"the {{thing}} near the {{place}} , {' '.join(said)} , {row['ask']} ?"

    roles: dict[str, Role] = {"traits": "positive", "traits-inert": "negative"}
    p = Plan(roles.get(name, "confound"), WHAT[name], b, scenes.table(rows, text, seed=seed, label="warmth"))
    # How much of each trait (column) the reading of another (row) takes in.
    reads = {one: {other: float(one == other) for other in traits} for one in traits}
    reads["boldness"]["warmth"] = leak or cosine
    reads["warmth"]["boldness"] = cosine
    for trait in traits:
        p.plant(trait, SITE, column=trait, spread=0.0 if inert else 2.0)
        for ask in traits:
            gain = 0.0 if inert else GAIN * reads[ask][trait]
            p.effects.append(Effect(trait, *ANSWERS[ask], gain, where={"ask": ask}))
    for ask, levels in product(traits, product((-1, 0, 1), repeat=3)):
        where = dict(zip(traits, levels, strict=True))
        logit = 0.0 if inert else GAIN * sum(reads[ask][trait] * level for trait, level in where.items())
        p.behaviours.append(Behaviour(f"{ANSWERS[ask][0]}, asked", {"ask": ask, **where}, *ANSWERS[ask], rate(logit)))
    _deny(p, name)
    return p


def _deny(p: Plan, name: str) -> None:
    if name == "traits-inert":
        p.deny("a trait can be read at the last prompt token", "its word is not carried there")
        p.deny("a trait word changes the answers", "all answers are given at rate .5")
        p.deny("the difference of means at the trait word steers", "nothing reads it")
        return
    p.deny("brevity moves the answers about warmth or boldness", "its direction is orthogonal to what they read")
    if name == "traits":
        p.deny("warmth moves the answers about boldness", "orthogonal, and read apart")
    elif name in COSINES:
        cosine = COSINES[name]
        p.deny("warmth moves its own answers only", f"boldness's, too, by GAIN · cosine: {GAIN * cosine:g} per unit")
        p.deny(
            "projecting warmth out of boldness leaves boldness as strong",
            f"GAIN · (1 − cosine²) is left: {GAIN * (1 - cosine**2):g} per unit, not {GAIN:g}",
        )
    else:
        p.deny("directions at right angles have no cross-talk", "warmth moves the answers about boldness by 1 per unit")
        p.deny("boldness moves the answers about warmth too", "the leak goes one way")
