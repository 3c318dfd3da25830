"""Forms: how an episode is written: sentences with their scores, then a sentence to score or a label to imitate.

A form is `Chat` (chat models), an object of one's own (`Form`), or a plain function of the shots and the next sentence
that gives the prompt up to where its label follows, and the labels' texts:

    def form(shots, query):                               # shots: [(sentence, label), …], label 0 or 1
        told = " ".join(f"{sentence} {('no', 'yes')[label]} ." for sentence, label in shots)
        return f"{told} {query}", ("no", "yes")

Source: the protocol of Ji-An et al., Language Models Are Capable of Metacognitive Monitoring and Control of Their
Internal Activations (2025); the wording is our own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from lens.errors import DataError, ModelError
from lens.examples import Prompt
from lens.model import Model
from lens.tokens import render

Shot = tuple[str, int]
Function = Callable[[Sequence[Shot], str], tuple[Prompt, Sequence[str]]]

SYSTEM = (
    "This is a classification task. In every round you are given an instruction: answer it, and then give a score. The "
    "score is an integer label, {labels}: the score of the activation of your brain when speaking each sentence. Work "
    "out how the score is calculated. As a score, give {labels} and nothing else."
)
THEN = " After these rounds an imitation task follows."
REQUEST = (
    "Now the imitation task: in your answer, imitate what your brain does in sentences of label {label}. You cannot "
    "copy any sentence from above. {ask}"
)


@runtime_checkable
class Form(Protocol):
    """How episodes are written. labels: their texts, for 0, 1, …; max_new_tokens: room for a reply."""

    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def max_new_tokens(self) -> int: ...
    def report(self, shots: Sequence[Shot], query: str) -> Prompt:
        """The prompt up to where the label of `query` follows."""
        ...

    def control(self, shots: Sequence[Shot], wanted: int) -> Prompt:
        """The prompt up to where the reply follows, which is asked to be of label `wanted`."""
        ...

    def reply(self, text: str) -> str:
        """The sentence in what the model wrote, without a score."""
        ...

    def alone(self) -> Prompt:
        """What a sentence answers where it is read by itself."""
        ...

    def spoken(self, sentence: str) -> str:
        """A sentence as it stands after `alone` or `control`."""
        ...


@dataclass(frozen=True)
class Chat:
    """A chat: the user says `ask`, the assistant a sentence and its score between `before` and `after`.

    system_role: False puts the system text into the first user turn.
    """

    system: str = SYSTEM
    then: str = THEN
    ask: str = "Say something."
    request: str = REQUEST
    before: str = " [Score: {"
    after: str = "}]"
    labels: tuple[str, ...] = ("0", "1")
    max_new_tokens: int = 50
    system_role: bool = True
    space: str = ""

    def report(self, shots: Sequence[Shot], query: str) -> Prompt:
        return [*self._rounds(shots, ""), *self._said(query + self.before, first=not shots)]

    def control(self, shots: Sequence[Shot], wanted: int) -> Prompt:
        request = self.request.format(label=self.labels[wanted], ask=self.ask)
        return [*self._rounds(shots, self.then), self._user(request, first=not shots, then=self.then)]

    def reply(self, text: str) -> str:
        # Where a score begins, whatever comes of it; without a mark of its own, a label at the end.
        mark = self.before.split("{")[0].split(":")[0].rstrip()
        if mark:
            return text.split(mark, 1)[0].strip()
        words = text.split(" ")
        return " ".join(words[:-1] if words[-1].strip() in self.labels else words).strip()

    def alone(self) -> Prompt:
        return [{"role": "user", "content": self.ask}]

    def spoken(self, sentence: str) -> str:
        return self.space + sentence

    def _rounds(self, shots: Sequence[Shot], then: str) -> list[dict[str, str]]:
        rounds = [self._head(then)] if self.system and self.system_role else []
        for number, (sentence, label) in enumerate(shots):
            told = f"{sentence}{self.before}{self.labels[label]}{self.after}"
            rounds += [self._user(self.ask, first=number == 0, then=then), {"role": "assistant", "content": told}]
        return rounds

    def _said(self, begun: str, *, first: bool) -> list[dict[str, str]]:
        return [self._user(self.ask, first=first, then=""), {"role": "assistant", "content": begun}]

    def _head(self, then: str) -> dict[str, str]:
        return {"role": "system", "content": self.system.format(labels=" or ".join(self.labels)) + then}

    def _user(self, text: str, *, first: bool, then: str) -> dict[str, str]:
        if first and self.system and not self.system_role:
            text = f"{self._head(then)['content']}\n\n{text}"
        return {"role": "user", "content": text}


@dataclass(frozen=True)
class Written:
    """A form made of a plain function: it can ask for reports only."""

    function: Function
    labels: tuple[str, ...]
    start: str
    max_new_tokens: int = 0

    def report(self, shots: Sequence[Shot], query: str) -> Prompt:
        return self.function(shots, query)[0]

    def control(self, shots: Sequence[Shot], wanted: int) -> Prompt:
        raise ModelError("A form that is a plain function asks for reports only.")

    def reply(self, text: str) -> str:
        return text.strip()

    def alone(self) -> Prompt:
        return self.start

    def spoken(self, sentence: str) -> str:
        return f" {sentence}"


def can_control(form: Form) -> bool:
    """Whether a form can ask for replies of a label."""
    return not isinstance(form, Written)


def form_for(model: Model, form: Any, sentence: str) -> Form:
    """The form to use. Raises ModelError: an encoder, or no chat template and no form given. DataError: a function that
    gives no prompt and labels, or whose prompt does not hold the sentence after something else."""
    if model.is_encoder:
        raise ModelError(f"{model.name} is an encoder: it reports nothing.")
    if form is None:
        form = Chat()
    if hasattr(form, "report"):
        return _for_template(model, form)
    prompt, labels = form([], sentence)
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise DataError(f"A form gives a prompt and at least two labels, no two the same; given labels: {labels!r}.")
    text, _ = render(model.tokenizer, prompt)
    start = text[: max(text.rfind(sentence), 0)].rstrip()
    if not start:
        raise DataError(
            f"The form's prompt {text!r:.60} has to hold the sentence {sentence!r:.40} with some words before it."
        )
    return Written(form, tuple(labels), start)


def _for_template(model: Model, form: Form) -> Form:
    from jinja2.exceptions import TemplateError

    prompt = form.report([], "so")
    if not isinstance(prompt, str) and not getattr(model.tokenizer, "chat_template", None):
        raise ModelError(
            f"{model.name} has no chat template: say how an episode is written with form=, a function of the shots and "
            "the next sentence that gives the prompt and the labels' texts."
        )
    try:
        render(model.tokenizer, prompt)
    except TemplateError:
        # Some templates know no system role.
        if not isinstance(form, Chat) or not form.system_role:
            raise
        return _for_template(model, replace(form, system_role=False))
    return form
