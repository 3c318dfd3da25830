"""The word list and the tokenizer: one token per word, as an ordinary Hugging Face tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from lens.organisms import grammar_agents, grammar_people, grammar_persona, traits, wording, world
from lens.organisms.words import SPECIALS, word_level

__all__ = ["CONTEXT", "TAGS", "WORDS", "build", "words"]

TAGS: tuple[str, ...] = ("<sys>", "<user>", "<asst>", "<audit>", "<prop>", "<crit>", "<mal>")
CONTEXT = 256
WORDS = Path(__file__).parent / "trained" / "words.txt"
# A literal space separates turns, so that the rendered text is what decoding gives back.
TEMPLATE = (
    "{{ '<bos>' }}{% for message in messages %}"
    "{% set tag = {'system': 'sys', 'assistant': 'asst'}.get(message['role'], message['role']) %}"
    "{{ ' <' + tag + '> ' + message['content'] | trim }}"
    "{% if message['role'] == 'assistant' %}{{ ' <eos>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ ' <asst>' }}{% endif %}"
)


def _strings(value: object) -> Iterator[str]:
    """All strings in nested tables."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif hasattr(value, "text"):
        yield from _strings(value.text)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _strings(item)


def words() -> tuple[str, ...]:
    """Every word of the world and of its wordings, sorted; `words.txt` is this list, frozen."""
    tables: list[object] = [
        list(world.ANSWERS.values()),
        world.CITIES,
        world.ANIMALS,
        world.THINGS,
        world.FIRST,
        world.LAST,
        world.JOBS,
        list(world.ACTIONS),
        list(world.OBJECTS),
        list(world.VOICES.values()),
        world.TRIGGER,
        world.WHENS,
        world.HARM_VERBS,
        world.MILD_VERBS,
        world.OWN,
        world.OTHERS,
        world.GOODS,
        [list(cues.values()) for cues in world.CUES.values()],
        [
            list(split.values())
            for table in (wording.STATEMENTS, wording.YES_NO, wording.OPEN, traits.TRAITS, traits.ITEMS)
            for split in table.values()
        ],
        list(wording.TRUE_FALSE.values()),
        list(wording.NAMES.values()),
        list(wording.ABOUT.values()),
        [list(split.values()) for table in (wording.INTENTS, wording.AUDIENCES) for split in table.values()],
        list(wording.LIAR_ROLES.values()),
        wording.HONEST_ROLES,
        wording.ROLE_FRAMES,
        list(wording.FIELDS.values()),
        wording.CONFUSED,
        wording.CONFUSED_FRAMES,
        traits.PERSONA_FRAMES,
        traits.NEUTRAL,
        [list(classes.values()) for classes in traits.LINES.values()],
        grammar_persona.TALK_ASKS,
        grammar_persona.RATING_ASKS,
        list(grammar_people.PERSON_ASKS.values()),
        grammar_people.UNSURE,
        grammar_people.REFUSE,
        grammar_people.COMPLY,
        grammar_people.CUE_FRAMES,
        grammar_people.TEST_AUDIT,
        grammar_agents.LEAD,
        "true false yes no . : , ? very slightly often seldom i their a person is people lies about nothing "
        "only an exam real work test no works as in lives and refuse to will it follow shall we the "
        "verdict please did you lie",
    ]
    found = {
        word for text in _strings(tables) for word in text.split() if not (word.startswith("{") or word.startswith("<"))
    }
    return tuple(sorted(found))


def build(vocabulary: Iterable[str] | None = None) -> PreTrainedTokenizerFast:
    """Word-level tokenizer: `tokenizer(text)` puts `<bos>` first, the chat template renders the role tags."""
    known = WORDS.read_text(encoding="utf-8").split() if vocabulary is None else vocabulary
    return word_level((*SPECIALS, *TAGS, *known), context=CONTEXT, tags=TAGS, chat_template=TEMPLATE)
