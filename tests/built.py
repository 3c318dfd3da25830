"""Constructed organisms for tests, each built once a process, whichever file asks. Undo what you do to one."""

import functools

import lens
from lens.organisms import constructed


def made(name, norm="rms"):
    """The organism, with its truth and examples, and its model."""
    return _made(name, norm)


@functools.cache
def _made(name, norm):
    organism = constructed.build(name, norm=norm)
    return organism, lens.wrap(organism.hf, organism.tokenizer, name=name)
