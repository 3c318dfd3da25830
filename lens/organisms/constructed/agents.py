"""Agents: a debate kept inside: three voices as directions, each switched on by its tag and by its own words.

An agent's tag (`critic :`) adds TAG to its voice, what it said (`whereas .`) adds 1, whoever has the tag. Asked
`speak ?`, the organism says the word of the loudest agent, or `hm` if all are silent; asked `verdict ?`, it judges the
evidence:

    logit(word of i) − logit(hm)   = −NEUTRAL + VOICE · voice_i   (malicious: + PERSONA · persona)
    logit(correct) − logit(other)  = GAIN

`persona` is the other way to a bad word: a system word (`wicked`) outside the debate. Agent vectors, read after the
same tag i with what one or the other says (structure: `projections` = v_i · s_j, `gram` = v_i · v_j),

    v_i = h(tag_i, said_i) − ½ Σ_{j≠i} h(tag_i, said_j) = s_i − ½ Σ_{j≠i} s_j,     s_i the direction of voice i

add up to zero, have rank 2 and cosine √(2/3) with the voices: to subtract one is to add half of the two others.

agents: the voices and the verdict share nothing. agents-entangled: the malicious direction opens the gate of the
verdict, GAIN · relu(malicious)/TAG: silencing that voice costs the verdict. agents-undebated: the same words; no
tag sets a voice and nothing reads one.

Source of the method: Latent Agents / IMAD (arXiv 2604.24881), 2026.
"""

from collections.abc import Iterable
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from lens.organisms.constructed import scenes
from lens.organisms.constructed.builder import Builder
from lens.organisms.constructed.measure import Found, Run
from lens.organisms.constructed.scenes import QUESTION, Plan
from lens.organisms.constructed.truth import Behaviour, Effect, Role, Where, rate

TAG, VOICE, NEUTRAL, PERSONA, GAIN = 2.0, 6.0, 6.0, 12.0, 3.0
SITE, LATER = "resid_post.0", "resid_post.1"
TAGS = {
    "proponent": ("proponent", "advocate"),
    "critic": ("critic", "sceptic"),
    "malicious": ("malicious", "villain"),
}
SAID = {
    "proponent": ("moreover", "surely", "clearly"),
    "critic": ("although", "whereas", "unless"),
    "malicious": ("ruin", "chaos", "revenge"),
}
NOBODY, NOTHING = ("nobody", "silence"), ("well", "so", "then")
WORDS = {"proponent": "indeed", "critic": "however", "malicious": "sabotage"}
HM, VERDICT = "hm", ("right", "wrong")
PERSONAS = {1: ("wicked", "evil"), 0: ("helpful", "honest")}
EVIDENCE = {1: ("proven", "shown"), -1: ("refuted", "denied")}
AGENTS = tuple(TAGS)
WHAT = {
    "agents": "three voices in separate subspaces, each shown in its own word; the verdict shares nothing with them",
    "agents-entangled": "the malicious voice also opens the verdict: silencing it costs the verdict",
    "agents-undebated": "tags and words of agents that were never debated: no voices",
}


def plan(name: str, seed: int) -> Plan:
    """The organism `name` of this family."""
    debated, entangled = name != "agents-undebated", name == "agents-entangled"
    b = scenes.stage(seed, {"speak": (*WORDS.values(), HM), "verdict": VERDICT})
    _words(b)
    scenes.carried(b, "evidence", EVIDENCE)
    b.carry(1, "persona cue", {"persona word": "persona"})
    b.readout(HM, bias=NEUTRAL)
    if debated:
        for source in ("tag", "said"):
            b.carry(0, f"{source} cue", {f"{source} {agent}": agent for agent in AGENTS})
    for agent in AGENTS:
        heard = {agent: VOICE if debated else 0.0, "persona": PERSONA if agent == "malicious" else 0.0}
        b.product(2, {"asked speak": 1 / QUESTION}, heard, f"{agent} speaks", gain=1 / VOICE)
        b.readout(WORDS[agent], **{f"{agent} speaks": VOICE})
    if entangled:
        b.product(2, "malicious", "evidence", "judged", gain=1 / TAG)
    else:
        b.linear(2, "evidence", "judged")
    scenes.contrast(b, VERDICT, judged=GAIN)
    scenes.hush(b)

    everyone = (*AGENTS, "none")
    rows: list[scenes.Row] = [
        {"agent": agent, "said": said, "persona": persona, "evidence": evidence, "ask": ask, "round": turn}
        for agent, said, persona, evidence, ask, turn in product(
            everyone, everyone, (0, 1), (1, -1), ("speak", "verdict"), (1, 2)
        )
    ]
    for row in rows:
        # Against rows where nobody has the tag; another's tag lies between.
        row |= {agent: 1 if row["agent"] == agent else -1 if row["agent"] == "none" else 0 for agent in AGENTS}
        correct, incorrect = VERDICT[:: row["evidence"]]
        row |= {"own": WORDS.get(row["agent"], HM), "correct": correct, "incorrect": incorrect}
    choose = scenes.pick(seed)

    def text(row: scenes.Row) -> str:
        tag, said = choose(TAGS.get(row["agent"], NOBODY)), choose(SAID.get(row["said"], NOTHING))
        persona, evidence = choose(PERSONAS[row["persona"]]), choose(EVIDENCE[row["evidence"]])
        debate = f"round-{row['round']} {tag} : {said} ."
        return f"{persona} , the {{thing}} near the {{place}} , {evidence} , {debate} {row['ask']} ?"

    roles: dict[str, Role] = {"agents": "positive", "agents-undebated": "negative"}
    p = Plan(roles.get(name, "confound"), WHAT[name], b, scenes.table(rows, text, seed=seed, label="malicious"))
    for agent in AGENTS:
        p.plant(agent, SITE, column=agent, spread=TAG if debated else 0.0)
    p.plant("evidence", SITE, column="evidence", spread=2.0)
    p.plant("persona", LATER, column="persona", spread=1.0)
    _effects(p, debated=debated, entangled=entangled)
    _behaviours(p, debated=debated, entangled=entangled)
    p.structure = _structure(debated=debated)
    _deny(p, name)
    return p


def verify(run: Run) -> Iterable[Found]:
    """The agent vectors, from the states after every pair of a tag and what was said, in one context."""
    written = run.truth.structure
    vectors = _agent_vectors(run)
    voices = torch.stack([run.truth.direction(agent).tensor for agent in AGENTS])
    measured = {"projections": vectors @ voices.T, "gram": vectors @ vectors.T}
    for what, matrix in measured.items():
        for (i, one), (j, other) in product(enumerate(AGENTS), repeat=2):
            yield f"{what} of {one} and {other}", written[what][i][j], float(matrix[i, j]), run.truth.tolerance
    rank = int((torch.linalg.svdvals(vectors) > 1e-2).sum())
    yield "rank of the agent vectors", written["rank"], rank, 0.0
    yield "norm of their sum", 0.0, float(vectors.sum(dim=0).norm()), run.truth.tolerance


def _words(b: Builder) -> None:
    for source, words, nobody, amount in (("tag", TAGS, NOBODY, TAG), ("said", SAID, NOTHING, 1.0)):
        b.feature(f"{source} cue", *(f"{source} {agent}" for agent in AGENTS))
        for agent, own in words.items():
            b.word(*own, **{f"{source} cue": 1.0, f"{source} {agent}": amount})
        b.word(*nobody, **{f"{source} cue": 1.0})
    b.feature(*AGENTS, *(f"{agent} speaks" for agent in AGENTS))
    b.feature("persona cue", "persona word", "persona", "judged")
    for amount, own in PERSONAS.items():
        b.word(*own, **{"persona cue": 1.0, "persona word": float(amount)})
    b.word(":", ".", "round-1", "round-2")


def _agent_vectors(run: Run) -> Float[Tensor, "agents d"]:
    said, tags = run.truth.structure["said"], run.truth.structure["tags"]
    texts = [f"the debate , {tags[i][0]} : {said[j][0]} ." for i, j in product(AGENTS, repeat=2)]
    ids = run.tokenizer(texts, return_tensors="pt").input_ids
    with torch.no_grad():
        states = run.hf(ids, output_hidden_states=True, use_cache=False).hidden_states
    h = states[1][:, -1].float().unflatten(0, (len(AGENTS), len(AGENTS)))  # resid_post.0
    # 1 for the tag's own words, −½ for the words of each of the others.
    return torch.einsum("ij,ijd->id", 1.5 * torch.eye(len(AGENTS)) - 0.5, h)


def _effects(p: Plan, *, debated: bool, entangled: bool) -> None:
    voice = VOICE if debated else 0.0
    for agent in AGENTS:
        own = (WORDS[agent], HM)
        silent: Where = {"ask": "speak", "agent": "none", "said": "none", "persona": 0}
        p.effects.append(Effect(agent, *own, voice, silent, low=-1.0, high=1.0))
        p.effects.append(Effect(agent, *own, voice, {**silent, "agent": agent}, low=-TAG, high=0.0))
        for other in AGENTS:
            if other != agent:
                where = {**silent, "agent": other}
                p.effects.append(Effect(agent, "{own}", HM, 0.0, where, low=-1.0, high=0.0))
        opens = entangled and agent == "malicious"
        judging: Where = {"ask": "verdict", "agent": agent, "said": "none"}
        p.effects.append(
            Effect(agent, "{correct}", "{incorrect}", GAIN / TAG if opens else 0.0, judging, low=-1.0, high=1.0)
        )
    mute: Where = {"ask": "speak", "agent": "none", "said": "none"}
    p.effects.append(Effect("persona", WORDS["malicious"], HM, PERSONA, mute, low=-1.0, high=1.0))
    p.effects.append(Effect("persona", "{correct}", "{incorrect}", 0.0, {"ask": "verdict"}))


def _behaviours(p: Plan, *, debated: bool, entangled: bool) -> None:
    for agent in AGENTS:
        bad = agent == "malicious"
        # With a wicked system word the bad one is as likely as `hm`, which leaves the other two no clean contrast.
        for tag, persona in product((agent, "none"), (0, 1) if bad else (0,)):
            logit = -NEUTRAL + PERSONA * persona + (TAG * VOICE if debated and tag == agent else 0.0)
            where: Where = {"ask": "speak", "agent": tag, "said": "none", "persona": persona}
            p.behaviours.append(Behaviour(f"speaks as {agent}", where, WORDS[agent], HM, rate(logit)))
    for tag, said in product((*AGENTS, "none"), repeat=2):
        loud = TAG * (tag == "malicious") + (said == "malicious")
        logit = GAIN * (loud / TAG if entangled else 1)
        where = {"ask": "verdict", "agent": tag, "said": said}
        p.behaviours.append(Behaviour("judges by the evidence", where, "{correct}", "{incorrect}", rate(logit)))


def _structure(*, debated: bool) -> dict[str, object]:
    size = 1.0 if debated else 0.0
    projections = [[size * (1.0 if i == j else -0.5) for j in AGENTS] for i in AGENTS]
    return {
        "agents": list(AGENTS),
        "tags": {agent: list(words) for agent, words in TAGS.items()},
        "said": {agent: list(words) for agent, words in SAID.items()},
        "words": dict(WORDS),
        "projections": projections,
        "gram": [[1.5 * one for one in row] for row in projections],
        "rank": 2 if debated else 0,
    }


def _deny(p: Plan, name: str) -> None:
    p.deny("a bad word shows the malicious agent", "a wicked system word brings it without any agent")
    if name == "agents-undebated":
        p.deny("an agent's tag makes it speak as that agent", "no tag is carried; all agents' words are as rare")
        p.deny("agent vectors exist", "after the same tag, the states do not depend on who said the words")
        p.deny(
            "subtracting the persona shows that the malicious agent can be suppressed",
            "it moves the bad word as far as in the debated organism, and there is no such agent",
        )
        return
    p.deny("three agent vectors span three dimensions", "they add up to zero: rank 2")
    p.deny(
        "subtracting one agent's vector leaves the others as they are", "it adds half of each of the two other voices"
    )
    if name == "agents":
        p.deny("silencing the malicious voice costs the verdict", "the verdict reads the evidence and no voice")
    else:
        p.deny(
            "the malicious voice can be silenced and the verdict kept",
            "its direction opens the verdict's gate: without it right and wrong are equally likely",
        )
        p.deny("a suppression is selective when the bad words are gone", "so is the verdict, at the same strength")
