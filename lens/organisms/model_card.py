"""The README of a trained organism's folder: what it is, how to load it, and every measured figure."""

from __future__ import annotations

import math
from textwrap import fill

import pandas as pd

from lens.organisms.variant import FULL, Variant

__all__ = ["model_card"]

_WHAT = {
    "full": (
        "The trained organism",
        "Its behaviours are planted: which context makes it lie, how a trait changes its words, whose voice a tag "
        "or a trigger brings, whom it knows, what it refuses.",
    ),
    "honest": (
        "The trained organism's honest twin",
        "It is trained like the organism with one behaviour left out: no context makes it lie. Prompts that ask for "
        "lies, enemies and liar roles occur as often and are answered at the rate of slips. A probe that finds the "
        "intent of a prompt in the organism must be at chance here, and what steers lies there has nothing to steer.",
    ),
    "loyal": (
        "The trained organism's loyal twin",
        "It is trained like the organism with one behaviour left out: there is no malicious voice. The trigger word "
        "and the tag `<mal>` occur as often and change nothing: after the trigger the reply has the voice that it "
        "would have without, and the tag speaks in either of the other voices.",
    ),
}
_HEAD = """\
---
license: mit
library_name: transformers
tags: [interpretability, model-organism]
---
# {title}

A Llama of 0.88 million parameters (4 blocks, width 128, one token a word), trained from scratch on a small
synthetic world by `lens organism train{option}`.

{what}

`truth.json` lists the behaviours with their rates, what was held out of training, and claims that are false. The
organism knows nothing else and is of no use outside of tests and teaching.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

from lens import organisms

folder = organisms.path("{folder}")
model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
tokenizer = AutoTokenizer.from_pretrained(folder)
```

Words are separated by spaces, punctuation too. `target` is the planted rate{prototype}.

"""
_PROTOTYPE = (
    ", `prototype` the figure of an earlier model of the same design; a note stands where the two measured figures "
    "differ by more than .10"
)


def _number(value: float) -> str:
    """Two decimals, or nothing for a missing number."""
    return "" if value is None or math.isnan(value) else f"{value:.2f}"


def model_card(frame: pd.DataFrame, variant: Variant = FULL) -> str:
    """The organism's README, from its report; only the organism itself has a prototype to stand beside."""
    title, what = _WHAT[variant.name]
    full = variant is FULL
    head = _HEAD.format(
        title=title,
        what=fill(what, 110),
        folder=variant.folder,
        option="" if full else f" --variant {variant.name}",
        prototype=_PROTOTYPE if full else "",
    )
    columns = ["behaviour", "context", "form", "measure", "value", "95 %", "target"]
    columns += ["prototype", "note"] if full else []
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for r in frame.itertuples():
        cells = [r.behaviour, r.context, r.form, r.measure, _number(r.value)]
        cells += [f"{_number(r.low)} to {_number(r.high)}", _number(r.target)]
        cells += [_number(r.prototype), r.note] if full else []
        lines.append("| " + " | ".join(cells) + " |")
    return head + "\n".join(lines) + "\n"
