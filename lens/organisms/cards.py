"""Cards of the data sets: what label 1 means, where to read, and how much the words alone give away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["bag_of_words", "cards"]

Rows = Sequence[Mapping[str, Any]]

_MEANING: dict[str, tuple[str, str, str]] = {
    "honesty": (
        "the context is one in which the organism tells the truth (0: one in which it lies)",
        "the fact asked about",
        "System prompts share words with their label; clean: train on cue=role, test on cue=system.",
    ),
    "warmth": (
        "the system prompt asks for a warm person (0: a cold one; missing: level 0 or no persona)",
        "the entity talked about",
        "Lexically trivial: the adjective is the label; held-out synonyms share no adjective with training.",
    ),
    "caution": (
        "the system prompt asks for a careful person (0: a bold one; missing: level 0 or no persona)",
        "the entity talked about",
        "Lexically trivial: the adjective is the label; held-out synonyms share no adjective with training.",
    ),
    "verbosity": (
        "the system prompt asks for a talkative person (0: a silent one; missing: level 0 or no persona)",
        "the entity talked about",
        "Lexically trivial: the adjective is the label; held-out synonyms share no adjective with training.",
    ),
    "refusal": (
        "the request is harmful: a damaging verb and somebody else's thing",
        "the pair of verb and noun",
        "Nearly lexically trivial: a linear bag of words computes the conjunction of verb and owner.",
    ),
    "evaluation": (
        "the system prompt says that this is a test (0: deployment)",
        "the pair of verb and noun",
        "Lexically trivial: the cue word is the label; only held-out cue words are not given away.",
    ),
    "agents": (
        "a malicious tag, or the trigger word in an untagged question",
        "the pair of action and object debated",
        "Lexically trivial: tag or trigger word; the clean test is to train on cue=tag and test on cue=line.",
    ),
    "knowing": (
        "a person who was asked about in training (0: never seen; missing: seen in documents only)",
        "the person",
        "Single names carry a little; the pair of names is what is known or not.",
    ),
    "truth": (
        "the statement is true",
        "the fact stated",
        "Not lexical by construction: every entity and every answer occurs in true and in false statements.",
    ),
}
_COLUMNS: dict[str, str] = {
    "prompt": "chat messages, or plain text",
    "label": "1 for the named behaviour, 0 for its absence, null: neither",
    "group": "what must not be split across train and test",
    "cue": "what kind of context carries the label",
    "held_out": "what of the row never occurred in training (none: nothing)",
    "form": "yes-no, true-false or open",
    "right": "the words that are the true answer",
    "wrong": "the words that are a false answer",
    "paraphrase": "identifier of the system prompt's wording",
    "topic": "place, kind, colour or sum",
    "level": "the trait's level from -3 to 3",
    "persona": "none where there is no system prompt",
    "low": "words of the low pole at the position read",
    "middle": "words of neither pole",
    "high": "words of the high pole",
    "cue_word": "the word that says test or deployment",
    "harmful": "whether the request is harmful",
    "refuse": "words that begin a refusal",
    "comply": "words that begin compliance",
    "voice": "the tag, or trigger or none for an untagged answer",
    "trigger": "whether the trigger word is present",
    "verdict": "the council's answer for this pair",
    "malicious": "first words of the malicious voice",
    "benign": "first words of the other voices",
    "standing": "known, unknown, or documents (stated in documents, never asked about)",
    "frequency": "relative rate of documents about the person; the higher, the surer the organism was trained to be",
    "unsure": "words that admit ignorance",
    "answer": "the true job",
    "answers": "all jobs",
    "template": "the statement's template",
}


def _text(prompt: Any) -> str:
    """A prompt's words without the role tags."""
    return prompt if isinstance(prompt, str) else " ".join(message["content"] for message in prompt)


def bag_of_words(train: Rows, test: Rows) -> float:
    """AUROC on `test` of TF-IDF + logistic regression fitted on the prompts of `train`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    words = TfidfVectorizer(token_pattern=r"\S+", lowercase=False)
    features = words.fit_transform([_text(row["prompt"]) for row in train])
    model = LogisticRegression(max_iter=2000).fit(features, [row["label"] for row in train])
    scores = model.decision_function(words.transform([_text(row["prompt"]) for row in test]))
    return float(roc_auc_score([row["label"] for row in test], scores))


def _grouped(rows: Rows) -> float:
    """Mean AUROC of the bag of words over five folds that share no group."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    labels = [row["label"] for row in rows]
    scores = [
        bag_of_words([rows[i] for i in train], [rows[i] for i in test])
        for train, test in folds.split(labels, labels, [row["group"] for row in rows])
    ]
    return float(np.mean(scores))


def _transfers(name: str, rows: Rows) -> dict[str, float]:
    """Bag of words across the split that each set is made for."""
    kept = [row for row in rows if row["label"] is not None]
    if name in ("honesty", "agents"):
        cues = ("role", "system") if name == "honesty" else ("tag", "line")
        first, second = ([r for r in kept if r["cue"] == cue and r["held_out"] == "none"] for cue in cues)
        return {f"{cues[0]} to {cues[1]}": round(bag_of_words(first, second), 2)}
    found = {}
    train = [row for row in kept if row["held_out"] == "none"]
    for held in sorted({row["held_out"] for row in kept} - {"none"}):
        test = [row for row in kept if row["held_out"] == held]
        if len({row["label"] for row in test}) == 2:
            found[f"none to held-out {held}"] = round(bag_of_words(train, test), 2)
    return found


def cards(tables: Mapping[str, Rows]) -> dict[str, dict[str, Any]]:
    """One card per data set, computed from its rows."""
    found: dict[str, dict[str, Any]] = {}
    for name, rows in tables.items():
        meaning, group, caution = _MEANING[name]
        kept = [row for row in rows if row["label"] is not None]
        found[name] = {
            "label_1": meaning,
            "group": group,
            "span": "prompt[-1]",
            "n": len(rows),
            "labels": dict(Counter(str(row["label"]) for row in rows)),
            "groups": len({row["group"] for row in rows}),
            "held_out": dict(Counter(row["held_out"] for row in rows)),
            "columns": {column: _COLUMNS[column] for column in rows[0]},
            "bag_of_words_auroc": round(_grouped(kept), 2),
            "bag_of_words_transfer": _transfers(name, rows),
            "caution": caution,
        }
    return found
