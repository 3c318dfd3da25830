"""What an episode's text alone gives: learners of labels that see its sentences and no model.

`by_words` is naive Bayes on the sentences shown so far, with add-one counts (McCallum & Nigam, 1998; the Bernoulli
model without the terms for absent words): `log P(label | sentence) = sum_w log (n(w, label) + 1) / (n(label) + 2)` over
the words that were seen before; one that was not would speak for the rarer label.

`by_classes` is told the class of every word, and that the labels follow one attribute. An attribute is possible while
every sentence has it and each label goes with one class of its own; of those, `P(attribute) ~ classes ^ sentences`, as
an attribute that is not meant agrees with the labels by chance only. No reader of the text can do much better.

A tie is half right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from lens.organisms.incontext.episodes import Episode
from lens.organisms.incontext.lexicon import ATTRIBUTES

__all__ = ["by_classes", "by_words"]

_CLASS = {
    word: (one.name, label) for one in ATTRIBUTES.values() for label, row in one.words("all").items() for word in row
}


def by_words(made: Episode) -> list[float]:
    """Whether each label of an episode is right (0, .5 or 1) by the words of the sentences before it."""
    seen = (Counter[str](), Counter[str]())
    count = [0, 0]
    found = []
    for shot in made.shots:
        words = set(shot.sentence)
        known = {word for word in words if seen[0][word] + seen[1][word]}
        score = [sum(math.log((seen[side][word] + 1) / (count[side] + 2)) for word in known) for side in (0, 1)]
        found.append(_hit(score, shot.side))
        seen[shot.side].update(words)
        count[shot.side] += 1
    return found


def by_classes(made: Episode) -> list[float]:
    """The same by a reader that is told the class of every word."""
    possible: dict[str, dict[int, str]] = {name: {} for name in ATTRIBUTES}
    found = []
    for number, shot in enumerate(made.shots):
        classes = dict(_CLASS[word] for word in shot.sentence if word in _CLASS)
        score = [0.0, 0.0]
        for name, of in possible.items():
            fits = [side for side in (0, 1) if name in classes and _agrees(of, side, classes[name])]
            for side in fits:
                score[side] += len(ATTRIBUTES[name].classes) ** number / len(fits)
        found.append(_hit(score, shot.side))
        possible = {
            name: {**of, shot.side: classes[name]}
            for name, of in possible.items()
            if name in classes and _agrees(of, shot.side, classes[name])
        }
    return found


def _agrees(of: Mapping[int, str], side: int, label: str) -> bool:
    """Whether a label may stand for a class: for no other so far, and no other label for it."""
    return of.get(side, label) == label and of.get(1 - side) != label


def _hit(score: Sequence[float], side: int) -> float:
    gap = score[side] - score[1 - side]
    return 0.5 if abs(gap) < 1e-12 else float(gap > 0)
