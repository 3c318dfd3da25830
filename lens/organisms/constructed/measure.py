"""Measure: hold the truth of an organism against its weights."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.errors import ModelError
from lens.examples import Examples
from lens.organisms.constructed.llama import LAYERS, WIDTH
from lens.organisms.constructed.truth import Behaviour, Effect, Planted, Truth, Where
from lens.sites import Site
from lens.tokens import encode_all, pad

EFFECT_ROWS = 8
NORM_TOLERANCE = 1e-6
# The context differs by row and is not crossed with everything.
COSINE_TOLERANCE = 0.02


Found = tuple[str, float, float, float]
Verify = Callable[["Run"], Iterable[Found]]


def measure(truth: Truth, hf: Any, tokenizer: Any, examples: Examples, verify: Verify | None = None) -> pd.DataFrame:
    """Every number of the record beside the same number measured on the weights, by running the examples.

    Columns: what, written, measured (of all rows the one furthest off), error, tolerance. An effect's number is the
    change of the logit difference at an end of its range. verify: holds the record's `structure` against the weights;
    gives such rows, without the error.

    Raises ModelError where the model is of another shape than this record's.
    """
    run = Run(truth, hf, tokenizer, examples)
    found: list[Found] = []

    def near(what: str, written: float, measured: float) -> None:
        found.append((what, written, measured, truth.tolerance * max(1.0, abs(written))))

    for one in truth.directions:
        found.append((f"norm of {one.name}", 1.0, float(one.tensor.norm()), NORM_TOLERANCE))
        difference = run.class_difference(one)
        spread = float(difference @ one.tensor)
        near(f"spread of {one.name} at {one.site}", one.spread, spread)
        cosine = spread / max(float(difference.norm()), NORM_TOLERANCE)
        found.append((f"cosine of {one.name} with the difference of means", one.cosine, cosine, COSINE_TOLERANCE))
    for behaviour in truth.behaviours:
        rates = torch.sigmoid(run.difference(run.rows(behaviour.where), behaviour))
        what = f"rate: {behaviour.name} {behaviour.where}"
        found.append((what, behaviour.rate, _furthest(rates, behaviour.rate), truth.rate_tolerance))
    for effect in truth.effects:
        for strength in sorted({effect.low, effect.high} - {0.0}):
            what = f"effect of {strength} {effect.direction} on {effect.positive}/{effect.negative} {effect.where}"
            written = effect.gain * strength
            near(what, written, _furthest(run.changes(effect, strength), written))
    found += verify(run) if verify else []
    table = pd.DataFrame(found, columns=["what", "written", "measured", "tolerance"])
    table["error"] = (table["measured"] - table["written"]).abs()
    return table


def check(truth: Truth, hf: Any, tokenizer: Any, examples: Examples, verify: Verify | None = None) -> None:
    """Raises ModelError naming the first number that does not fit the weights, or weights other than these."""
    table = measure(truth, hf, tokenizer, examples, verify)
    wrong = table[~(table["error"] <= table["tolerance"])]
    if len(wrong):
        first = wrong.iloc[0]
        raise misfit(truth, f"{first['what']} is {first['measured']:.6f}, not {first['written']:.6f}")
    if digest(hf) != truth.weights:
        raise misfit(truth, "the weights have another digest")


def misfit(truth: Truth, what: str) -> ModelError:
    """The error for a record and a model that are not each other's."""
    return ModelError(f"Organism {truth.name!r}: the truth record does not fit the model: {what}.")


def _furthest(values: Tensor, target: float) -> float:
    return float(values[(values - target).abs().argmax()])


class Run:
    """Runs the examples through a Hugging Face Llama, without the toolkit's own hooks: organisms are what tests
    those."""

    def __init__(self, truth: Truth, hf: Any, tokenizer: Any, examples: Examples) -> None:
        self.truth, self.hf, self.tokenizer, self.frame = truth, hf, tokenizer, examples.frame
        if getattr(hf.config, "hidden_size", 0) != WIDTH or getattr(hf.config, "num_hidden_layers", 0) != LAYERS:
            raise misfit(truth, f"it is no Llama of {LAYERS} blocks of width {WIDTH}")
        if any(len(one.vector) != WIDTH for one in truth.directions):
            raise misfit(truth, f"a direction's width is not {WIDTH}")
        rows = encode_all(tokenizer, examples.prompts, None, context=None)
        self.batch = pad(rows, range(len(rows)), pad_id=tokenizer.pad_token_id, padding_side="left")
        self.logits, self.states = self.forward(torch.arange(len(rows)), states=True)

    def forward(self, rows: Int[Tensor, " n"], *, states: bool = False) -> tuple[Tensor, list[Tensor]]:
        with torch.no_grad():
            out = self.hf(
                self.batch.ids[rows],
                attention_mask=self.batch.mask[rows],
                position_ids=self.batch.index[rows].clamp(min=0),
                output_hidden_states=states,
                use_cache=False,
                logits_to_keep=1,
            )
        return out.logits[:, -1].double(), [h[:, -1].float() for h in out.hidden_states or ()]

    def rows(self, where: Where) -> Int[Tensor, " n"]:
        keep = np.ones(len(self.frame), dtype=bool)
        for column, value in where.items():
            if column not in self.frame:
                raise misfit(self.truth, f"the examples have no column {column!r}")
            keep &= (self.frame[column] == value).to_numpy()
        if not keep.any():
            raise misfit(self.truth, f"no example has {where}")
        return torch.from_numpy(np.flatnonzero(keep))

    def class_difference(self, one: Planted) -> Float[Tensor, " d"]:
        """Mean state at the direction's site where its column is highest, minus that where it is lowest."""
        value = torch.tensor(self.frame[one.column].to_numpy(dtype=int))
        states = self.states[Site.parse(one.site, n_layers=LAYERS).layer + 1]
        return states[value == value.max()].mean(dim=0) - states[value == value.min()].mean(dim=0)

    def difference(
        self, rows: Int[Tensor, " n"], options: Behaviour | Effect, logits: Tensor | None = None
    ) -> Float[Tensor, " n"]:
        logits = self.logits[rows] if logits is None else logits
        high, low = (
            logits.gather(1, self._ids(option, rows)[:, None])[:, 0] for option in (options.positive, options.negative)
        )
        return high - low

    def changes(self, effect: Effect, strength: float) -> Float[Tensor, " n"]:
        """How adding this much of the direction changes the logit difference, on the first rows it holds for."""
        rows = self.rows(effect.where)[:EFFECT_ROWS]
        planted = self.truth.direction(effect.direction)
        logits = self.added(rows, planted.site, strength * planted.tensor)
        return self.difference(rows, effect, logits) - self.difference(rows, effect)

    def added(self, rows: Int[Tensor, " n"], site: str, step: Float[Tensor, "*n d"]) -> Float[Tensor, "n vocab"]:
        """The logits with `step` (one for all rows, or one per row) added after the site's block, at `prompt[-1]`."""
        handle = self.hf.model.layers[Site.parse(site, n_layers=LAYERS).layer].register_forward_hook(_adding(step))
        try:
            logits, _ = self.forward(rows)
        finally:
            handle.remove()
        return logits

    def _ids(self, option: str, rows: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        column = option[1:-1] if option.startswith("{") else ""
        words = self.frame[column].iloc[rows.numpy()].tolist() if column else [option] * len(rows)
        return torch.tensor(self.tokenizer.convert_tokens_to_ids(words))


def _adding(step: Float[Tensor, "*n d"]) -> Callable[..., Any]:
    def change(module: Any, args: Any, output: Any) -> Any:
        h = output[0] if isinstance(output, tuple) else output
        return torch.cat([h[:, :-1], h[:, -1:] + step.reshape(-1, 1, WIDTH)], dim=1)

    return change


def digest(hf: Any) -> str:
    """A short content hash of all parameters, by name."""
    state: Mapping[str, Tensor] = hf.state_dict()
    whole = hashlib.sha256()
    for name in sorted(state):
        whole.update(f"{name}{tuple(state[name].shape)}".encode())
        whole.update(state[name].detach().float().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]
