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
from lens.spans import Span
from lens.tokens import Row, batches, count_selected
from steering.apply import apply
from steering.interventions import Intervention
from steering.measures import Measure, Outcome

LOOP_LENGTH, LOOP_REPEATS = 4, 3
COHERENCE_SD = 3.0
REFERENCE_TEXTS = 64


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
    coherent (see `coherent`; nan where the model is edited or already steered, so that nothing unsteered is left).
    Rows in the order given; per-row strengths follow their rows through batching.

    Raises SpanError where an intervention's span selects no token of a row, and as `steering.apply`.
    """
    encoded = model.rows(examples.prompts)
    for span in (Span.parse(change.span) for change in interventions):
        if measure.needs == "logits" or not span.reads_response:
            count_selected(encoded, span)
    rows = examples.frame.to_dict("records")
    if measure.needs == "text":
        return _text_effects(model, examples, measure, rows, interventions, other_model)
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
    if model.edits or "generate" in vars(model.hf):
        # Nothing unsteered is left to compare with: inside steering.apply, or with edited weights.
        return pd.DataFrame({"value": value, "coherence": np.nan, "text": [m.text for m in made]})
    floor = usual_floor(model, examples.prompts, max_new_tokens=measure.max_new_tokens)
    likely = sustained_log_probability(model, examples.prompts, made)
    sound = [coherent(one, score, floor) for one, score in zip(made, likely, strict=True)]
    return pd.DataFrame({"value": value, "coherence": np.array(sound, dtype=float), "text": [m.text for m in made]})


def coherent(made: Generation, log_probability: float, floor: float) -> bool:
    """Whether a text is coherent: not empty, no 4-gram occurring three times, and a sustained log-probability of
    at least `floor` (a text of one token has none, and passes)."""
    grams = Counter(zip(*(made.ids[start:] for start in range(LOOP_LENGTH)), strict=False))
    looping = any(count >= LOOP_REPEATS for count in grams.values())
    return bool(made.ids) and not looping and not log_probability < floor


def usual_floor(model: Model, prompts: Sequence[object], *, max_new_tokens: int, seed: int = 0) -> float:
    """Three standard deviations below the mean sustained log-probability of what the unsteered model says when
    it is sampled (temperature 1) on the same prompts, at least 64 texts."""
    distinct = list({str(prompt): prompt for prompt in prompts}.values())
    asked = (distinct * (REFERENCE_TEXTS // len(distinct) + 1))[: max(REFERENCE_TEXTS, len(distinct))]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = generate(
            model, asked, max_new_tokens=max_new_tokens, do_sample=True, temperature=1.0, top_k=0, top_p=1.0
        )
    usual = sustained_log_probability(model, asked, made)
    if np.isnan(usual).all():
        return -np.inf
    return float(np.nanmean(usual) - COHERENCE_SD * np.nanstd(usual))


def sustained_log_probability(
    model: Model, prompts: Sequence[object], made: Sequence[Generation], *, batch_tokens: int = 8192
) -> Float[np.ndarray, " n"]:
    """Mean log-probability of a continuation's tokens under the model as it now is, without the least likely one.

    One surprising word may be the very behaviour that was steered (a lie is improbable to an honest model);
    incoherent text stays improbable. nan where fewer than two tokens were made.
    """
    starts = model.rows(prompts)
    rows = [Row(s.ids + list(m.ids), len(s), s.has_bos) for s, m in zip(starts, made, strict=True)]
    out = np.full(len(rows), np.nan)
    for batch in batches(rows, tokens=batch_tokens, pad_id=model.pad_id):
        batch = batch.to(model.device)
        with torch.no_grad():
            logits = model.forward(batch).logits[:, :-1].float()
        chosen = torch.log_softmax(logits, dim=-1).gather(2, batch.ids[:, 1:, None])[..., 0]
        answer = (batch.index >= batch.prompt_length[:, None])[:, 1:]
        chosen = chosen.where(answer, 0.0)
        count = answer.sum(dim=1) - 1
        mean = (chosen.sum(dim=1) - chosen.amin(dim=1)) / count
        out[batch.rows.cpu().numpy()] = torch.where(count > 0, mean, torch.nan).cpu().numpy()
    return out
