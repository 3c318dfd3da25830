"""Own: sentences, axes and words of the organisms that come with the package, so that a study runs on them as they are.

The trained organism states facts (its own label: true or not); the one that learns labels in context tells of happy and
unhappy people. The constructed ones (`organism:neurofeedback…`) say two
words, which lie on four planted axes; their own label is the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lens import data
from lens.errors import DataError
from lens.examples import Examples, Prompt
from lens.model import Model
from lens.organisms import names
from lens.organisms.constructed import build, neurofeedback
from lens.organisms.incontext.forms import Digits, sentences
from lens.sites import Site
from probes.direction import Direction
from steering.studies.neurofeedback.forms import Chat, Form, Shot

TRAINED = Chat(
    system="work out which it is : {labels} . only answer {labels} .",
    then="",
    ask="speak .",
    request="now follow {label} .",
    before=" ",
    after="",
    max_new_tokens=8,
    space=" ",
)


@dataclass(frozen=True)
class TwoWords:
    """The words of the constructed organisms: `the … near the … , adjective noun label … adjective noun`."""

    scene: str = "the ribbon near the chapel ,"
    labels: tuple[str, ...] = ("zero", "one")
    max_new_tokens: int = 3

    def report(self, shots: Sequence[Shot], query: str) -> Prompt:
        return f"{self._told(shots)} {query}"

    def control(self, shots: Sequence[Shot], wanted: int) -> Prompt:
        return f"{self._told(shots)} , imitate {self.labels[wanted]}"

    def reply(self, text: str) -> str:
        words = [word for word in text.split() if word not in self.labels]
        return " ".join(words[:2])

    def alone(self) -> Prompt:
        return self.scene

    def spoken(self, sentence: str) -> str:
        return f" {sentence}"

    def _told(self, shots: Sequence[Shot]) -> str:
        return " ".join([self.scene, *(f"{sentence} {self.labels[label]}" for sentence, label in shots)])


@dataclass(frozen=True)
class Own:
    """What a model has of its own, and a size of run that takes a minute or two. None: the study's usual."""

    sentences: Examples
    form: Form
    axes: Mapping[str, Sequence[Direction]] | None = None
    threshold: str = "median"
    shots: tuple[int, ...] | None = None
    episodes: int = 100


def own(model: Model) -> Own:
    """What the organism has. Raises DataError for any other model."""
    member = model.name.removeprefix("organism:")
    if member in neurofeedback.WHAT:
        return _planted(model, member)
    if member == "trained-incontext":
        return Own(sentences("feeling", ("happy", "unhappy"), 300), Digits(), shots=(0, 2, 4, 8, 12), episodes=60)
    if model.name == "organism" or member in names():
        return Own(data.load("truth"), TRAINED, shots=(0, 2, 4, 8), episodes=40)
    raise DataError(
        f"{model.name} has no sentences of its own: give sentences=, Examples with a sentence in each prompt, and a "
        "label."
    )


def _planted(model: Model, member: str) -> Own:
    bits, axes = neurofeedback.BITS, list(neurofeedback.AXES)
    rows = []
    for adjective in neurofeedback.ADJECTIVES:
        for noun in neurofeedback.NOUNS:
            turn = 1 if member == "neurofeedback-words" else bits[adjective][0]
            rows.append({"prompt": f"{adjective} {noun}", "label": int(turn * bits[noun][0] > 0)})
    truth = build(member).truth
    planted = {}
    for name in axes:
        one = Direction.from_vector(truth.direction(name).vector, truth.direction(name).site, model=model)
        planted[name] = [one.at(Site("resid_post", layer)) for layer in range(model.n_layers)]
    return Own(Examples(pd.DataFrame(rows)), TwoWords(), planted, "zero", shots=(0, 2, 4, 8, 16), episodes=40)
