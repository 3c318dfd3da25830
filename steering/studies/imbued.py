"""Imbued: prompts with a text before them that is to change how a model answers, whatever its chat template takes."""

from lens.examples import Prompt
from lens.model import Model
from lens.tokens import render


def imbued(prompt: Prompt, text: str, *, system: bool = True) -> Prompt:
    """The prompt with a text before it: as its system message, or, of a plain text or where the chat template takes no
    system message, at the beginning of what is asked."""
    if not text:
        return prompt
    if isinstance(prompt, str):
        return f"{text} {prompt}"
    first = prompt[0]
    if first["role"] == "system" or not system:
        return [{**first, "content": f"{text} {first['content']}"}, *prompt[1:]]
    return [{"role": "system", "content": text}, *prompt]


def chats(model: Model) -> bool:
    """Whether questions are chat messages to this model."""
    return bool(getattr(model.tokenizer, "chat_template", None))


def takes_system(model: Model) -> bool:
    """Whether the chat template shows a system message: some refuse it, some drop it."""
    if not chats(model):
        return False
    from jinja2 import TemplateError

    try:
        shown = render(model.tokenizer, imbued([{"role": "user", "content": "asked"}], "told"))[0]
    except TemplateError:
        return False
    return "told" in shown
