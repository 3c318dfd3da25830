"""Answers: the tokens that a text is where it follows a prompt."""

from weakref import WeakKeyDictionary

from lens.examples import Prompt
from lens.model import Model
from lens.tokens import encode


class AnswerIds:
    """The ids of an answer after a prompt. They depend on how the prompt ends alone: remembered by its ending."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Model, dict[tuple[str, str], tuple[int, ...]]] = WeakKeyDictionary()

    def __call__(self, model: Model, prompt: Prompt, answer: str) -> tuple[int, ...]:
        known = self._known.setdefault(model, {})
        ending = prompt[-20:] if isinstance(prompt, str) else str(prompt[-1])
        if (ending, answer) not in known:
            encoded = encode(model.tokenizer, prompt, answer)
            known[ending, answer] = tuple(encoded.ids[encoded.prompt_length :])
        return known[ending, answer]
