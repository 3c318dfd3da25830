"""Effects: what a model does on rows of examples, as numbers, with or without interventions."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from lens.examples import Examples
from lens.generation import Generation, generate
from lens.model import Model
from lens.progress import bar
from lens.tokens import Row, batches
from steering.apply import apply
from steering.interventions import Intervention
from steering.measures import Measure, Outcome

LOOP_LENGTH, LOOP_REPEATS = 4, 3
COHERENCE_SD = 3.0


def effects(
    model: Model,
    examples: Examples,
    measure: Measure,
    *interventions: Intervention,
    batch_tokens: int = 8192,
    other_model: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure every row under the interventions: columns `value`, `coherence` and, for text measures, `text`.

    value: the measure (nan = missing). coherence: the measure's own share per row, or 1/0 for whether a text is
    coherent (see `coherent`). Rows in the order given; per-row strengths follow their rows through batching.
    """
    rows = examples.frame.to_dict("records")
    if measure.needs == "text":
        return _text_effects(model, examples, measure, rows, interventions, other_model)
    encoded = model.rows(examples.prompts)
    value, coherence = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    plan = batches(encoded, tokens=batch_tokens, pad_id=model.pad_id, padding_side="left")
    with (
        apply(model, *interventions, other_model=other_model),
        bar(f"Measuring {measure.name}", total=len(rows), shown=progress) as advance,
    ):
        for batch in plan:
            logits = model.next_token_logits(batch.to(model.device))
            chosen = batch.rows.numpy()
            outcome = Outcome(model, [rows[number] for number in chosen], logits=logits)
            value[chosen] = measure(outcome)
            if measure.coherence is not None:
                coherence[chosen] = measure.coherence(outcome)
            advance(len(chosen))
    return pd.DataFrame({"value": value, "coherence": coherence})


def _text_effects(
    model: Model,
    examples: Examples,
    measure: Measure,
    rows: list[dict[str, object]],
    interventions: Sequence[Intervention],
    other_model: bool,
) -> pd.DataFrame:
    with apply(model, *interventions, other_model=other_model):
        made = generate(model, examples.prompts, max_new_tokens=measure.max_new_tokens)
    value = measure(Outcome(model, rows, texts=made))
    reference = generate(model, _distinct(examples.prompts), max_new_tokens=measure.max_new_tokens)
    usual = log_probability(model, _distinct(examples.prompts), reference)
    likely = log_probability(model, examples.prompts, made)
    floor = np.nanmean(usual) - COHERENCE_SD * np.nanstd(usual)
    sound = [coherent(one, score, floor) for one, score in zip(made, likely, strict=True)]
    return pd.DataFrame({"value": value, "coherence": np.array(sound, dtype=float), "text": [m.text for m in made]})


def _distinct(prompts: Sequence[object]) -> list[object]:
    return list({str(prompt): prompt for prompt in prompts}.values())


def coherent(made: Generation, log_probability: float, floor: float) -> bool:
    """Whether a text is coherent: not empty, no 4-gram occurring three times, and a mean log-probability under
    the unsteered model of at least `floor` (three standard deviations below the unsteered texts' mean)."""
    grams = Counter(zip(*(made.ids[start:] for start in range(LOOP_LENGTH)), strict=False))
    looping = any(count >= LOOP_REPEATS for count in grams.values())
    return bool(made.ids) and not looping and log_probability >= floor


def log_probability(
    model: Model, prompts: Sequence[object], made: Sequence[Generation], *, batch_tokens: int = 8192
) -> Float[np.ndarray, " n"]:
    """Mean log-probability per token of continuations, under the model as it now is; nan for empty ones."""
    starts = model.rows(prompts)
    rows = [Row(s.ids + list(m.ids), len(s), s.has_bos) for s, m in zip(starts, made, strict=True)]
    out = np.full(len(rows), np.nan)
    for batch in batches(rows, tokens=batch_tokens, pad_id=model.pad_id):
        batch = batch.to(model.device)
        with torch.no_grad():
            logits = model.forward(batch).logits[:, :-1].float()
        chosen = torch.log_softmax(logits, dim=-1).gather(2, batch.ids[:, 1:, None])[..., 0]
        answer = (batch.index >= batch.prompt_length[:, None])[:, 1:]
        count = answer.sum(dim=1)
        mean = (chosen * answer).sum(dim=1) / count
        out[batch.rows.cpu().numpy()] = torch.where(count > 0, mean, torch.nan).cpu().numpy()
    return out
