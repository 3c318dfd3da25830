"""Episodes: which sentences a model is shown with which labels, and what it then gives each label.

Labels of an episode are fair coins (dice), and a sentence is drawn from those that have the label: what goes by the
labels alone, such as repeating the most frequent one, is right exactly as often as chance. Every episode is shown
twice, as it is and flipped, y → k − 1 − y: what goes by the next sentence alone is right half the time, too.

One pass gives the answers at every score of an episode.
"""

from collections.abc import Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.errors import DataError, ModelError
from lens.model import Model
from lens.progress import bar
from lens.tokens import Row, batches, render
from steering.answers import AnswerIds
from steering.studies.neurofeedback.forms import Form, Shot


@dataclass(frozen=True, eq=False)
class Drawn:
    """Episodes: which sentence stands at each place, and its label. The last is the one to score without a shot."""

    index: Int[np.ndarray, "episodes places"]
    labels: Int[np.ndarray, "episodes places"]
    levels: int

    def flipped(self) -> "Drawn":
        return Drawn(self.index, self.levels - 1 - self.labels, self.levels)


def draw(
    labels: Int[np.ndarray, " n"], pool: Int[np.ndarray, " m"], *, levels: int, episodes: int, places: int, seed: int
) -> Drawn:
    """Episodes of sentences of the pool, none twice in one. labels: of all sentences."""
    random = np.random.default_rng(seed)
    held = [pool[labels[pool] == level] for level in range(levels)]
    index = np.empty((episodes, places), dtype=np.int64)
    for row in index:
        left = [random.permutation(one).tolist() for one in held]
        for place, level in enumerate(random.integers(levels, size=places)):
            # Where a label has run out, the most plentiful stands in.
            level = level if left[level] else max(range(levels), key=lambda one: len(left[one]))
            row[place] = left[level].pop()
    return Drawn(index, labels[index], levels)


def shots_of(sentences: Sequence[str], drawn: Drawn, episode: int) -> list[Shot]:
    """All places of one episode as shots."""
    pairs = zip(drawn.index[episode], drawn.labels[episode], strict=True)
    return [(sentences[one], int(label)) for one, label in pairs]


def answers(
    model: Model,
    form: Form,
    sentences: Sequence[str],
    drawn: Drawn,
    places: Sequence[int],
    tokens: "Tokens",
    *,
    batch_tokens: int = 8192,
    label: str = "Reporting",
    progress: bool = True,
) -> Float[np.ndarray, "episodes places levels"]:
    """log p(label | what stands before it), among the labels, of the sentence at each of the places (so many shots
    stand before it). Raises ModelError where a label is another token somewhere."""
    rows, owners, columns = [], [], []
    for episode in range(len(drawn.index)):
        shots = shots_of(sentences, drawn, episode)
        if tokens.nested:
            one = told(model, form, shots)
            tokens.check(model, form, one)
            rows.append(one.row)
            owners.append([(episode, number) for number in range(len(places))])
            columns.append([one.labels_at[place] - 1 for place in places])
        else:
            apart = model.rows([form.report(shots[:place], shots[place][0]) for place in places])
            rows += list(apart)
            owners += [[(episode, number)] for number in range(len(places))]
            columns += [[len(row) - 1] for row in apart]
    out = np.empty((len(drawn.index), len(places), drawn.levels))
    with bar(label, total=len(rows), shown=progress) as advance:
        for batch in batches(rows, tokens=batch_tokens, pad_id=model.pad_id):
            numbers = batch.rows.tolist()
            at = torch.tensor([columns[number] for number in numbers])
            with torch.no_grad(), _only_at(model, at) as picked:
                logits = model.forward(batch.to(model.device)).logits
            logits = logits if picked else _gather(logits, at)
            p = torch.log_softmax(logits[:, :, list(tokens.ids)].double(), dim=-1).cpu().numpy()
            for number, found in zip(numbers, p, strict=True):
                for owner, one_p in zip(owners[number], found, strict=True):
                    out[owner] = one_p
            advance(len(numbers))
    return out


@dataclass(frozen=True)
class Tokens:
    """The token of each label; and whether every sentence of an episode stands in it as it does when it is the last, so
    that one pass gives all answers (otherwise every answer has a prompt of its own)."""

    ids: tuple[int, ...]
    nested: bool

    @classmethod
    def of(cls, model: Model, form: Form, sentences: Sequence[str], levels: int) -> "Tokens":
        """Raises DataError: fewer label texts than levels. ModelError: labels that the tokenizer does not know, or does
        not tell apart."""
        if len(form.labels) < levels:
            raise DataError(f"{levels} levels need as many label texts; the form has {form.labels!r}.")
        shots = [(sentences[number % len(sentences)], number) for number in range(levels)]
        whole = [*shots, (sentences[0], 0)]
        nested = is_nested(model, form, whole)
        if nested:
            one = told(model, form, whole)
            ids = tuple(one.row.ids[column] for column in one.labels_at[:levels])
        else:
            prompt, answer_ids = form.report(shots, sentences[0]), AnswerIds()
            ids = tuple(answer_ids(model, prompt, label)[0] for label in form.labels[:levels])
        if len(set(ids)) < levels or model.tokenizer.unk_token_id in ids:
            raise ModelError(
                f"{model.name}: the labels {form.labels!r} are the tokens "
                f"{model.tokenizer.convert_ids_to_tokens(list(ids))}; each must be one of its own. Give a form with "
                "labels that this tokenizer knows."
            )
        return cls(ids, nested)

    def check(self, model: Model, form: Form, one: "Told") -> None:
        """Raises ModelError where a label of a shot is not its token."""
        for column, label in zip(one.labels_at, one.labels, strict=False):
            if one.row.ids[column] != self.ids[label]:
                names = model.tokenizer.convert_ids_to_tokens([one.row.ids[column], self.ids[label]])
                raise ModelError(
                    f"The label {form.labels[label]!r} is the token {names[0]!r} here, {names[1]!r} elsewhere."
                )


def longest(model: Model, form: Form, sentences: Sequence[str], most: int, *, control: bool) -> int:
    """The largest number of shots, at most `most`, for which any episode fits the context: −1 where none does."""
    if model.context is None:
        return most
    lengths = model.rows([form.spoken(sentence) for sentence in sentences]).lengths.numpy()
    ranked = [sentences[one] for one in np.argsort(-lengths, kind="stable")[: most + 1]]
    room, context = max(form.max_new_tokens, int(lengths.max())) if control else 0, model.context

    def fits(count: int) -> bool:
        shots = [(sentence, number % 2) for number, sentence in enumerate(ranked[1 : count + 1])]
        texts = [form.report(shots, ranked[0])] + ([form.control(shots, 1)] if control else [])
        sizes = [len(_ids(model, text)[0]) for text in texts]
        return sizes[0] <= context and (not control or sizes[1] + room <= context)

    low, high = -1, min(most, len(ranked) - 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@dataclass(frozen=True)
class Told:
    """An episode as ids: labels_at[i], the column of the label after i shots (of the last, one past the end); labels:
    those of the shots."""

    row: Row
    labels_at: list[int]
    labels: list[int]


def told(model: Model, form: Form, shots: Sequence[Shot]) -> Told:
    """The last of the shots is the one to score. Raises ModelError where a label has no token of its own."""
    prompt = form.report(shots[:-1], shots[-1][0])
    text, _ = render(model.tokenizer, prompt)
    ids, offsets = _ids(model, prompt)
    columns, at = [], 0
    for number in range(len(shots) - 1):
        found = _label_at(form, shots, number, text, at)
        if found is None:
            raise ModelError(
                f"Shot {number} does not stand in the episode as it does when it is the last: {text!r:.200}"
            )
        at = found
        column = next((k for k, (start, end) in enumerate(offsets) if end > max(at, start)), len(ids))
        if column == len(ids) or text[offsets[column][0] : at].strip():
            raise ModelError(
                f"The tokenizer joins the label with what stands before it ({text[at - 5 : at + 5]!r}); give a form "
                "whose labels are tokens of their own."
            )
        columns.append(column)
    bos = ids[0] in {model.tokenizer.bos_token_id} - {None}
    return Told(Row(ids, len(ids), bos), [*columns, len(ids)], [label for _, label in shots[:-1]])


def is_nested(model: Model, form: Form, shots: Sequence[Shot]) -> bool:
    """Whether every sentence of an episode stands in it as it does when it is the last."""
    text, _ = render(model.tokenizer, form.report(shots[:-1], shots[-1][0]))
    at: int | None = 0
    for number in range(len(shots) - 1):
        at = None if at is None else _label_at(form, shots, number, text, at)
    return at is not None


def _label_at(form: Form, shots: Sequence[Shot], number: int, text: str, start: int) -> int | None:
    """The character at which the label of a shot begins (or the space before it)."""
    begun = form.report(shots[:number], shots[number][0])
    if isinstance(begun, str):
        return len(begun) if text.startswith(begun) else None
    tail = begun[-1]["content"].strip()
    found = text.find(tail, start)
    return None if found < 0 else found + len(tail)


def _ids(model: Model, prompt: Any) -> tuple[list[int], list[tuple[int, int]]]:
    if not getattr(model.tokenizer, "is_fast", False):
        raise ModelError("This tokenizer does not say which characters its tokens come from, so labels are not found.")
    text, special = render(model.tokenizer, prompt)
    made = model.tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)
    return list(made["input_ids"]), list(made["offset_mapping"])


@contextmanager
def _only_at(model: Model, at: Int[Tensor, "batch places"]) -> Any:
    """Inside, logits are computed in these columns alone, where the model has a module that makes them of states."""
    head = model.hf.get_output_embeddings()
    if head is None:
        with nullcontext():
            yield False
        return

    def pick(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_gather(args[0], at), *args[1:])

    handle = head.register_forward_pre_hook(pick)
    try:
        yield True
    finally:
        handle.remove()


def _gather(values: Tensor, at: Int[Tensor, "batch places"]) -> Tensor:
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, at.to(values.device)]
