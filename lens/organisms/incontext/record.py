"""The truth record of the in-context organism: what is planted, held out, false and measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lens.organisms.incontext.lexicon import ATTRIBUTES, HELD_ATTRIBUTE, SYMBOLS

__all__ = ["FOLDER", "is_incontext", "record", "remember"]

FOLDER = "trained-incontext"
FALSE_CLAIMS: tuple[dict[str, str], ...] = (
    {
        "claim": "a label has a meaning of its own",
        "truth": "two digits are drawn for every episode; before the first examples either label is as likely",
    },
    {
        "claim": "to report a label the model must look at more than the text",
        "truth": "a reader that is told the class of every word reports as well from the text alone",
    },
    {
        "claim": "digits may follow any attribute",
        "truth": "digits that follow size, which none did in training, are not reported, though its classes are told",
    },
)


def record(log: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `truth.json` for a training log, without what is measured."""
    return {
        "name": FOLDER,
        "variant": log["variant"],
        "seed": log["seed"],
        "steps": log["steps"],
        "tokens": log["tokens"],
        "parameters": log["parameters"],
        "sha256": {"model.safetensors": log["sha256"]},
        "recipe": log["recipe"],
        "planted": {
            "reporting": {
                "what": "the label of a sentence, by the class of one of its words, after a few labelled sentences",
                "text": "<bos> <ex> SENTENCE <score> LABEL <ex> SENTENCE <score>",
            },
            "control": {
                "what": "a sentence with a word of the class that a label stands for",
                "text": "<bos> <ex> SENTENCE <score> LABEL <want> LABEL",
            },
            "labels": "two of the digits, drawn for every episode",
            "digits": list(SYMBOLS),
            "attributes": {
                name: {label: list(row) for label, row in one.train.items()}
                for name, one in ATTRIBUTES.items()
                if name != HELD_ATTRIBUTE
            },
        },
        "held_out": {
            "what": "their classes are told in definitions and as labels by name; no digit ever depends on them",
            "words": {
                name: {label: list(row) for label, row in one.held.items()}
                for name, one in ATTRIBUTES.items()
                if name != HELD_ATTRIBUTE
            },
            "attribute": {
                HELD_ATTRIBUTE: {label: list(row) for label, row in ATTRIBUTES[HELD_ATTRIBUTE].train.items()}
            },
        },
        "false_claims": list(FALSE_CLAIMS),
    }


def is_incontext(folder: Path) -> bool:
    """Whether a folder's `truth.json` says that it holds this organism."""
    file = folder / "truth.json"
    return file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("variant") == "incontext"


def remember(folder: Path, table: pd.DataFrame) -> dict[str, Any]:
    """Put the figures of a report into the folder's `truth.json`; returns the whole record."""
    file = folder / "truth.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    rows = table.round({"value": 3, "low": 3, "high": 3}).to_dict("records")
    told["measured"] = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    part = file.with_name(file.name + ".part")
    part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    part.replace(file)
    return told
