"""Talk: three further tests, for models that answer chat messages: thought beside text, prefill, intention.

Source: Lindsey, Emergent introspective awareness in large language models (2025); wordings and rules are our own.
"""

import re
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from lens.collect import collect
from lens.examples import Examples, Prompt
from steering.apply import apply
from steering.paired import paired
from steering.studies.injected_thoughts.asking import Asker, say
from steering.studies.injected_thoughts.evidence import swap
from steering.studies.injected_thoughts.rates import difference
from steering.studies.injected_thoughts.scoring import named
from steering.studies.injected_thoughts.thought import within
from steering.studies.injected_thoughts.vectors import length
from steering.studies.result import Claim

SENTENCES = (
    "The man put his coat on the chair.",
    "She walked slowly across the empty square.",
    "They painted the wall in the afternoon.",
    "Nobody knew when the train would leave.",
    "He counted the steps and began again.",
)
WORDS_AT_MOST, NEW_TOKENS = 20, 40
STILL_READ = 0.1
BESIDE_TEXT, DISAVOWS, INTENDS = (
    "has a thought beside the text",
    "takes a thought for its own",
    "thinks of it when asked",
)
_ACCIDENT = re.compile(
    r"\baccident|\bmistake|\bunintend|\bby error\b|\bslip\b|\bsorry\b|n't mean|\bnot mean\b|\bnot intend|n't intend"
)
_MEANT = re.compile(r"\bmeant\b|\bintended\b|\bintentional|\bon purpose\b|\bdeliberate|\bnot an? (?:accident|mistake)")


def _chat(*turns: str) -> Prompt:
    return [{"role": "assistant" if k % 2 else "user", "content": turn} for k, turn in enumerate(turns)]


def _words(asker: Asker) -> list[str]:
    return list(asker.concepts)[:WORDS_AT_MOST]


def _replies(asker: Asker, plan: pd.DataFrame, prompts: list[Prompt], parts: list[str], name: str) -> list[str]:
    """Replies to prompts, each under its row's thought at the tokens of its part; no site, no thought."""
    rows = zip(plan["site"], prompts, parts, strict=True)
    places = [(site, within(asker.model, prompt, part)) if site else None for site, prompt, part in rows]
    with torch.random.fork_rng():
        torch.manual_seed(asker.seed + len(name))
        with apply(asker.model, *asker.inject(plan, places)):
            made = say(asker.model, prompts, NEW_TOKENS, asker.temperature)
    return [one.text for one in made]


def thought_vs_text(asker: Asker, site: str, strength: float, draws: int) -> pd.DataFrame:
    """A thought injected into the tokens of a sentence: is it named when asked (`right`), and can the sentence be
    repeated word for word all the same (`repeated`)? Arms: the concept, random directions of its norm, and none."""
    rows = []
    for number, word in enumerate(_words(asker)):
        told = {"concept": word, "sentence": SENTENCES[number % len(SENTENCES)]}
        rows.append(told | {"arm": "none", "site": "", "strength": 0.0, "draw": -1})
        for draw in range(-1, draws):
            arm = "injected" if draw < 0 else "random"
            rows.append(told | {"arm": arm, "site": site, "strength": strength, "draw": draw})
    plan = pd.DataFrame(rows)
    said = {}
    for ask in (
        "Which word do you think of while you read it? Answer with that word alone.",
        "Repeat the sentence word for word and write nothing else.",
    ):
        prompts = [_chat(f'Here is a sentence: "{one}" {ask}') for one in plan["sentence"]]
        said[ask] = _replies(asker, plan, prompts, plan["sentence"].tolist(), ask)
    which, again = said.values()
    right = [named(one, list(asker.concepts)) == word for one, word in zip(which, plan["concept"], strict=True)]
    whole = [_plain(one) in _plain(reply) for one, reply in zip(plan["sentence"], again, strict=True)]
    found = {"right": np.array(right, dtype=float), "repeated": np.array(whole, dtype=float)}
    return plan.assign(**found, reply=which, repeat_reply=again)


def prefill_disavowal(asker: Asker, site: str, strength: float) -> pd.DataFrame:
    """An odd word put into the model's mouth: does it say that it was an accident (`disavows`; `verdict`, whether it
    says either)? Conditions: no thought; that word's, another's, injected before, where the sentence stands; that
    word's injected after, where it is asked."""
    words = _words(asker)
    question = "Did you mean to say that word, or was it an accident?"
    rows, prompts, parts = [], [], []
    for number, word in enumerate(words):
        sentence, other = SENTENCES[number % len(SENTENCES)], words[(number + 1) % len(words)]
        for condition in ("none", "own before", "other before", "own after"):
            own = {"site": "", "strength": 0.0} if condition == "none" else {"site": site, "strength": strength}
            thought = other if condition.startswith("other") else word
            rows.append({"word": word, "condition": condition, "concept": thought, "draw": -1} | own)
            prompts.append(
                _chat(
                    f'Read this: "{sentence}" Say the first word that comes to your mind.', word.capitalize(), question
                )
            )
            parts.append(question if condition == "own after" else sentence)
    plan = pd.DataFrame(rows)
    said = _replies(asker, plan, prompts, parts, "prefill")
    verdicts = [disavows(one) for one in said]
    found = {
        "disavows": np.array([float(one is True) for one in verdicts]),
        "verdict": np.array([float(one is not None) for one in verdicts]),
    }
    return plan.assign(**found, reply=said)


def disavows(reply: str) -> bool | None:
    """Whether a reply calls the word an accident (True) or meant (False); by what it says first, None if neither."""
    said = reply.replace("’", "'").lower()
    accident, meant = _ACCIDENT.search(said), _MEANT.search(said)
    if accident is None and meant is None:
        return None
    return accident is not None and (meant is None or accident.start() < meant.start())


def intentional_control(asker: Asker) -> pd.DataFrame:
    """A sentence written while thinking, or not thinking, of a word: the mean over its tokens of the cosine with the
    word's vector, less the mean of those with the other words' vectors, at every site of the concepts.

    The sentence is given as the reply. That the word stands in the prompt raises both conditions; only their difference
    says something, and less of it where one wording is the longer one."""
    words = _words(asker)
    sites = list(next(iter(asker.concepts.values())))
    rows: list[dict[str, Any]] = [
        {
            "prompt": _chat(f'Write this sentence: "{sentence}" {wish} {word} while you write it.'),
            "response": sentence,
            "concept": word,
            "condition": condition,
        }
        for number, word in enumerate(words)
        for sentence in [SENTENCES[number % len(SENTENCES)]]
        for condition, wish in (("think", "Do think about"), ("do not think", "Do not think about"))
    ]
    table = Examples(pd.DataFrame(rows).assign(group=[row["concept"] for row in rows]))
    acts = collect(asker.model, table, sites=sites, span="response", pool="none", progress=asker.progress)
    assert acts.mask is not None
    parts = []
    for site in acts.sites:
        vectors = torch.stack([asker.concepts[word][site].vector for word in words]).double()
        near = _mean_cosines(acts[site].double(), acts.mask, vectors)
        own = near[np.arange(len(rows)), np.array([words.index(row["concept"]) for row in rows])]
        rest = (near.sum(axis=1) - own) / max(len(words) - 1, 1)
        kept = table.frame[["concept", "condition"]]
        parts.append(kept.assign(site=str(site), cosine=own - rest))
    return pd.concat(parts, ignore_index=True)


def _mean_cosines(
    h: Float[Tensor, "n tokens d"], mask: Tensor, vectors: Float[Tensor, "k d"]
) -> Float[np.ndarray, "n k"]:
    cosine = (h @ vectors.T) / h.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    kept = mask[..., None].to(cosine.dtype)
    return ((cosine * kept).sum(dim=1) / kept.sum(dim=1)).numpy()


def claims(text: pd.DataFrame, prefill: pd.DataFrame, intent: pd.DataFrame, site: str, *, seed: int) -> list[Claim]:
    """What the three tests may show. The last has no p-value: it is a figure to read."""
    arm = {name: rows.set_index("concept") for name, rows in text.groupby("arm")}
    own, random = arm["injected"]["right"], arm["random"].pivot(columns="draw", values="right")
    gap, low, high = difference(own, random.mean(axis=1))
    p = swap(own.to_numpy(), random.loc[own.index].to_numpy(), seed=seed)
    kept = bool(arm["injected"]["repeated"].mean() >= arm["none"]["repeated"].mean() - STILL_READ)
    rate = prefill.pivot(index="word", columns="condition", values="disavows")
    less = paired((rate["other before"] - rate["own before"]).to_numpy(), rate.index.to_numpy(), seed=seed)
    there = intent[intent["site"] == site].pivot(index="concept", columns="condition", values="cosine")
    wish = paired((there["think"] - there["do not think"]).to_numpy(), there.index.to_numpy(), seed=seed)
    n = len(own)
    return [
        Claim(BESIDE_TEXT, gap, low, high, 0.0, p, n, n, "A thought injected into a sentence is named when asked, and "
              "the sentence can be repeated all the same.", kept and gap > 0),
        Claim(DISAVOWS, less["change"], less["low"], less["high"], 0.0, less["p"], n, n, "It disavows a word put into "
              "its mouth less often where that word's thought was injected before it than where another's was.",
              less["change"] > 0),
        Claim(INTENDS, wish["change"], wish["low"], wish["high"], 0.0, np.nan, n, n, "Cosine with the word's vector, "
              "asked to think of it, less asked not to. A figure to read: the wordings differ in more than the wish."),
    ]  # fmt: skip


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def norms(asker: Asker) -> pd.DataFrame:
    """Raw length of every concept's vector at every site, and in multiples of the residual norm there."""
    rows = [
        {"concept": name, "site": str(site), "norm": length(one), "of_residual": length(one) / one.residual_norm}
        for name, own in asker.concepts.items()
        for site, one in own.items()
    ]
    return pd.DataFrame(rows)
