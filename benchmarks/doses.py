"""Dose-response: 11 strengths of 64 prompts in one go, against a loop over strengths.

python benchmarks/doses.py

The loop is the same measure under `steering.apply`, once per strength; "by hand" is the same loop with a hook of one's
own and no tool at all. What the ways find is compared before they are timed.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from by_hand import blocks
from material import mixed_lengths, texts, tokenizer
from material import model as random_model
from report import Row, Tables, arguments, write
from timing import cpu_seconds, interleave, ratio

import lens
import steering
from probes import Direction
from steering.dosing import Doses

STRENGTHS, PROMPTS = np.linspace(-1, 1, 11).tolist(), 64
# Of each shape: median length of the prompts, and which tokens are steered.
CELLS = {"llama-25M": ((20, "prompt[-1]"),), "gpt2-25M": ((20, "prompt[-1]"), (20, "all"))}
QUICK, ROUNDS = {"gpt2-2x64": ((10, "prompt[-1]"), (10, "all"))}, 3
OURS, LOOP, HAND = "in one go", "a loop over strengths", "the loop by hand"
TARGET = 4
MEASURE = steering.measures.option("w5", "w9")


class Ways:
    """The same dose-response, three ways; each gives `[strengths, prompts]`."""

    def __init__(self, shape: str, median: int, span: str, count: int) -> None:
        self.model, self.span = lens.wrap(random_model(shape), tokenizer()), span
        vector = torch.randn(self.model.d_model, generator=torch.Generator().manual_seed(0))
        self.direction = Direction.from_vector(vector, "resid_post.1", model=self.model, residual_norm=20.0)
        self.examples = lens.Examples.from_texts(texts(mixed_lengths(count, median=median)))

    def at_once(self) -> np.ndarray:
        doses = Doses(self.model, self.examples, MEASURE, STRENGTHS, "norm", self.span, progress=False)
        (tables,) = doses([self.direction])
        return np.stack([tables[strength]["value"] for strength in STRENGTHS])

    def loop(self) -> np.ndarray:
        changes = [steering.Add(self.direction, strength, span=self.span) for strength in STRENGTHS]
        tables = [steering.effects(self.model, self.examples, MEASURE, one, progress=False) for one in changes]
        return np.stack([table["value"] for table in tables])

    def by_hand(self) -> np.ndarray:
        hf, last_only = self.model.hf, self.span != "all"
        options = self.model.tokenizer(["w5", "w9"]).input_ids
        found = []
        for strength in STRENGTHS:
            added = strength * self.direction.residual_norm * self.direction.vector

            def hook(module, args, output, added=added):
                h = output[0] if isinstance(output, tuple) else output
                h = torch.cat([h[:, :-1], h[:, -1:] + added], dim=1) if last_only else h + added
                return (h, *output[1:]) if isinstance(output, tuple) else h

            handle = blocks(hf)[1].register_forward_hook(hook)
            rows = []
            with torch.no_grad():
                for text in self.examples.prompts:
                    logits = hf(**self.model.tokenizer(text, return_tensors="pt"), logits_to_keep=1).logits[0, -1]
                    rows.append(torch.softmax(logits[[ids[-1] for ids in options]], dim=-1)[0].item())
            handle.remove()
            found.append(rows)
        return np.array(found)


def run(*, quick: bool, only: str = "") -> Iterator[Tables]:
    torch.set_num_threads(1)
    verdicts = list[Row]()
    for shape, cells in (QUICK if quick else CELLS).items():
        if only not in shape:
            continue
        for median, span in cells:
            ways = Ways(shape, median, span, 8 if quick else PROMPTS)
            runs = {OURS: ways.at_once, LOOP: ways.loop, HAND: ways.by_hand}
            found = {name: way() for name, way in runs.items()}
            apart = {name: float(np.abs(values - found[HAND]).max()) for name, values in found.items()}
            timed = {name: partial(cpu_seconds, way) for name, way in runs.items()}
            seconds = interleave(timed, rounds=2 if quick else ROUNDS)
            lengths = [len(text.split()) for text in ways.examples.prompts]
            caption = (
                f"{shape}, {len(STRENGTHS)} strengths, {len(lengths)} prompts of {min(lengths)} to {max(lengths)} "
                f"tokens, steered at {span}"
            )
            verdicts.append(
                {
                    f"target: {TARGET} × faster than a loop": caption,
                    **{f"time of {name}": ratio(seconds[name], seconds[OURS]) for name in (LOOP, HAND)},
                }
            )
            yield {
                "Targets": verdicts,
                caption: [
                    {
                        "way": name,
                        "CPU s": float(np.median(taken)),
                        "× in one go": "1" if name == OURS else ratio(taken, seconds[OURS]),
                        "largest difference of a probability": apart[name],
                    }
                    for name, taken in seconds.items()
                ],
            }


def main() -> None:
    given = arguments("doses", __doc__.splitlines()[0])
    write("doses", run(quick=given.quick, only=given.only), given)


if __name__ == "__main__":
    main()
