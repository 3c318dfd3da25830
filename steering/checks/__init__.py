"""Check: prove on the user's own model that reading, steering and editing do what they say.

The properties are in `reading.py`, `running.py`, `generating.py` and `editing.py`; each is a function of a `Case`
(`case.py`: the model, the texts, the places compared, the tolerance). `offers.py` has the reasons why one may not
apply, `report.py` what comes out.
"""

from collections.abc import Callable, Sequence

from lens.model import Model
from steering.checks import case as cases
from steering.checks import editing, generating, reading, running
from steering.checks.case import Case, NotApplicable, Outcome
from steering.checks.report import CheckReport, Row

__all__ = ["PROPERTIES", "CheckReport", "check"]

Property = Callable[[Case], Outcome | NotApplicable]

PROPERTIES: tuple[tuple[str, str, Property], ...] = (
    ("padding left", "padded on the left = alone, at every site", reading.padding_left),
    ("padding right", "padded on the right = alone, at every site", reading.padding_right),
    ("batch order", "texts in reverse order and other batches = as given", reading.batch_order),
    (
        "hidden states",
        "resid_post = Hugging Face's hidden states; the last before the final norm",
        reading.hidden_states,
    ),
    ("writers", "embeddings + every attn_out and mlp_out so far = the stream", reading.writers),
    ("precision", "16 bits = 32 bits, up to rounding", reading.precision),
    ("hooks, exit", "after `with apply(...)`: as before, and no hook left", running.after_exit),
    ("hooks, exception", "after an exception in the block or in a forward pass: the same", running.after_exception),
    ("span", "an addition moves the tokens of its span by strength · unit, no others", running.span),
    ("cache", "generation with KV cache = without, at every step", generating.cache),
    ("cache, steered", "the same under an addition", generating.cache_steered),
    ("batched generation", "steered in one batch, a strength per row = one by one", generating.batched),
    ("ablation", "zero-ablation at every writer: the direction is gone after every block", editing.ablation),
    ("undo", "after an edit's undo: parameters, tying, configuration as before", editing.undo),
    ("edit", "orthogonalised weights: the direction is gone after every block", editing.removal),
    ("edit = ablation", "orthogonalised weights = zero-ablation at every writer", editing.edit_is_ablation),
    ("bridge", "TransformerLens bridge = original, at every site", editing.bridge),
    ("bridge, edited", "the same while the weights are edited", editing.bridge_after_edit),
)


def check(model: Model, *, texts: Sequence[str] | None = None, seed: int = 0) -> CheckReport:
    """Prove on this model, in seconds, what all results rest on.

        error = max over tokens of ‖got − wanted‖ / ‖wanted‖ ≤ tolerance,    at each place

    One row per property (PROPERTIES): pass, fail with the first place in the forward pass that differs, not
    applicable with the reason, or not tested with what went wrong. The tolerance follows from the model's dtype and
    size (`case.rounding`); `report.ok` says whether all that applies was tested and holds. The model is left as it was.

    texts: prompts to check on, of different lengths; by default random tokens of the vocabulary.

    Raises DataError: a text without tokens, or longer than the context.
    """
    chosen = list(texts) if texts is not None else cases.random_texts(model, seed)
    tokenised = list(model.rows(chosen))
    try:
        case = cases.make(model, chosen, tokenised, seed)
    except Exception as error:  # noqa: BLE001  a model that does not run at all: that is what the report must say
        rows = tuple(_untested(name, what, error) for name, what, _ in PROPERTIES)
    else:
        rows = tuple(_row(name, what, test, case) for name, what, test in PROPERTIES)
    return CheckReport(model.name, rows)


def _untested(name: str, what: str, error: Exception) -> Row:
    return Row(name, what, "not tested", float("nan"), float("nan"), f"{type(error).__name__}: {error!s:.400}")


def _row(name: str, what: str, test: Property, case: Case) -> Row:
    nan = float("nan")
    try:
        outcome = test(case)
    except Exception as error:  # noqa: BLE001  whatever went wrong, the other properties are still worth testing
        return _untested(name, what, error)
    if isinstance(outcome, NotApplicable):
        return Row(name, what, "not applicable", nan, nan, outcome.reason)
    if not outcome.errors:
        return Row(name, what, "not tested", nan, nan, "Nothing was compared.")
    above = {place: error for place, error in outcome.errors.items() if not error <= outcome.tolerance}
    first = next((f"{place} ({error:.1e})" for place, error in above.items()), "")
    largest = nan if any(error != error for error in above.values()) else max(outcome.errors.values())
    return Row(name, what, "fail" if above else "pass", largest, outcome.tolerance, outcome.why, first)
