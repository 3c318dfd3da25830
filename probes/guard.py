"""Guards: warnings where rows to be tested on are not new, or were read elsewhere than the probe."""

import warnings

import numpy as np

from lens.activations import Activations
from lens.errors import DataError, available
from probes.direction import Direction


def warn_reused(direction: Direction, acts: Activations, verb: str) -> None:
    """Warn where a direction meets the rows it was fitted on, or rows read at another span or pool."""
    known, source = direction.provenance, acts.source
    if known.data and known.data == source.data:
        warnings.warn(
            f"The direction is {verb} on the rows it was fitted on: what comes out is too good.", stacklevel=3
        )
    for name, own, given in (("span", known.span, source.span), ("pool", known.pool, source.pool)):
        if own and own != given:
            warnings.warn(
                f"The direction was fitted on {name} {own!r} and is {verb} on {name} {given!r}.", stacklevel=3
            )


def warn_shared_groups(train: Activations, test: Activations) -> None:
    """Warn where groups, or prompts, are in both training and test rows. Groups that only number rows are not named."""
    numbered = [np.array_equal(part.groups, np.arange(len(part))) for part in (train, test)]
    if not all(numbered):
        shared = sorted(set(train.groups.astype(str)) & set(test.groups.astype(str)))
        total = len(set(test.groups.astype(str)))
        if shared:
            warnings.warn(
                f"{len(shared)} of {total} test groups are in the training rows, too ({available(shared, 3)}): their "
                "rows are not new. Split by group; or, where only the names are alike, give groups other names.",
                stacklevel=3,
            )
    texts = [set(part.examples.texts(response=True)) for part in (train, test)]
    same = len(texts[0] & texts[1])
    if same and all(numbered):
        warnings.warn(f"{same} texts are in both training and test rows: they are not new.", stacklevel=3)


def check_rate(fpr: float) -> None:
    """Raises DataError unless a false-positive rate lies between 0 and 1."""
    if not 0 < fpr < 1:
        raise DataError(f"fpr={fpr}: a false-positive rate lies between 0 and 1.")
