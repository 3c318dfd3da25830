"""Effects: what a model does on rows of examples, as numbers, with or without interventions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from lens.examples import Examples
from lens.generation import Generation, generate
from lens.model import Model
from lens.progress import bar
from lens.spans import Span
from lens.tokens import batches, count_selected
from steering import measures
from steering.apply import apply
from steering.divergence import continued, divergence, divergence_of_texts, of_responses
from steering.interventions import Intervention
from steering.measures import Measure, Outcome, over_variants

LOOP_LENGTH, LOOP_REPEATS = 4, 3
COHERENCE_SD = 3.0
REFERENCE_TEXTS = 64


def effects(
    model: Model,
    examples: Examples,
    measure: Measure,
    *interventions: Intervention,
    batch_tokens: int = 8192,
    kl: bool = False,
    other_model: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Measure every row under the interventions: columns `value`, `coherence` and, for text measures, `text`.

    kl: also a column `kl`, how far the interventions move the predictions, KL(steered ‖ not so steered) in nats: of the
    next token, or the mean over the tokens of a generated text. What already acts on the model acts on both sides.

    value: the measure (nan = missing). coherence: the measure's own share per row, or 1/0 for whether a text is
    coherent (see `coherent`; nan where the model is edited or already steered, so that nothing unsteered is left).
    Rows in the order given; per-row strengths follow their rows through batching.

    Raises SpanError where an intervention's span selects no token of a row, and as `steering.apply`.
    """
    rows = examples.frame.to_dict("records")
    asked, owner = measure.asked(rows)
    encoded = measure.tokens(model, asked)
    for span in (Span.parse(change.span) for change in interventions):
        if measure.needs != "text" or not span.reads_response:
            count_selected(encoded, span)
    if measure.needs == "text":
        return _text_effects(model, examples, measure, rows, interventions, kl, other_model)
    if measure.needs == "model":
        outcome = Outcome(
            model,
            rows,
            tokens=encoded,
            interventions=interventions,
            other_model=other_model,
            batch_tokens=batch_tokens,
        )
        return _own_effects(measure, outcome, kl)
    found = {name: np.full(len(asked), np.nan) for name in ("value", "coherence", *(["kl"] if kl else []))}
    plan = batches(encoded, tokens=batch_tokens, pad_id=model.pad_id, padding_side="left")
    with bar(f"Measuring {measure.name}", total=len(asked), shown=progress) as advance:
        for batch in plan:
            chosen = batch.rows.numpy()
            here = replace(batch, rows=torch.from_numpy(owner[chosen]), total=len(rows)).to(model.device)
            plain = model.next_token_logits(here) if kl else None
            with apply(model, *interventions, other_model=other_model):
                logits = model.next_token_logits(here)
            outcome = Outcome(model, [asked[number] for number in chosen], logits=logits)
            found["value"][chosen] = measure(outcome)
            if measure.coherence is not None:
                found["coherence"][chosen] = measure.coherence(outcome)
            if plain is not None:
                found["kl"][chosen] = divergence(logits, plain).cpu().numpy()
            advance(len(chosen))
    return pd.DataFrame({name: over_variants(values, owner) for name, values in found.items()})


def _own_effects(measure: Measure, outcome: Outcome, kl: bool) -> pd.DataFrame:
    """Of a measure that runs the model itself; `kl` is that of the token after the prompt."""
    found = {"value": measure(outcome), "coherence": np.full(len(outcome.rows), np.nan)}
    if measure.coherence is not None:
        found["coherence"] = measure.coherence(outcome)
    if kl:
        found["kl"] = measures.kl()(replace(outcome, tokens=outcome.model.rows(outcome.prompts)))
    return pd.DataFrame(found)


def _text_effects(
    model: Model,
    examples: Examples,
    measure: Measure,
    rows: list[dict[str, object]],
    interventions: Sequence[Intervention],
    kl: bool,
    other_model: bool,
) -> pd.DataFrame:
    prompts, limit = examples.prompts, measure.max_new_tokens
    with apply(model, *interventions, other_model=other_model):
        made = generate(model, prompts, max_new_tokens=limit)
    outcome = Outcome(model, rows, texts=made, interventions=interventions, other_model=other_model)
    table = pd.DataFrame({"value": measure(outcome), "coherence": np.nan})
    # Otherwise nothing unsteered is left to compare with: inside steering.apply, or with edited weights.
    if not (model.edits or "generate" in vars(model.hf)):
        floor = usual_floor(model, prompts, max_new_tokens=limit)
        likely = sustained_log_probability(model, prompts, made)
        sound = [coherent(one, score, floor) for one, score in zip(made, likely, strict=True)]
        table["coherence"] = np.array(sound, dtype=float)
    if kl:
        table["kl"] = divergence_of_texts(model, prompts, made, *interventions, other_model=other_model)
    return table.assign(text=[one.text for one in made])


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
    rows = continued(model, prompts, made)
    out = np.full(len(rows), np.nan)
    for batch in batches(rows, tokens=batch_tokens, pad_id=model.pad_id):
        batch = batch.to(model.device)
        chosen, answer = of_responses(model, batch)
        count = answer.sum(dim=1) - 1
        mean = (chosen.sum(dim=1) - chosen.amin(dim=1)) / count
        out[batch.rows.cpu().numpy()] = torch.where(count > 0, mean, torch.nan).cpu().numpy()
    return out
