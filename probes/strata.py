"""Strata: rows that are alike in what must not be mistaken for the label."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lens.errors import DataError, available
from lens.examples import Examples


def strata_of(examples: Examples, against: Sequence[str]) -> np.ndarray:
    """The stratum of each row: its values in the columns `against`, e.g. ["format"].

    Raises DataError: a missing column, or a *collinear* design: no value of a column (or of all together) has both
    labels, so that no score could tell the label from the column, and one AUROC would mean either.
    """
    columns = [against] if isinstance(against, str) else list(against)
    for column in columns:
        if column not in examples.frame:
            raise DataError(f"No column {column!r} to hold constant; available: {available(examples.frame.columns)}.")
    for chosen in [*([column] for column in columns), columns]:
        strata = joined(examples.frame, chosen)
        if inseparable(examples, strata):
            seen = {stratum: examples.labels[strata == stratum][0] for stratum in np.unique(strata)}
            found = available((f"{stratum} only label {label}" for stratum, label in seen.items()), 4)
            raise DataError(
                f"The label and {' × '.join(map(repr, chosen))} cannot be told apart: {found}. An AUROC on these rows "
                "could be that of either; add rows that cross them."
            )
    return joined(examples.frame, columns)


def inseparable(examples: Examples, strata: np.ndarray) -> bool:
    """Whether no stratum holds both labels."""
    return all(len(set(examples.labels[strata == stratum])) == 1 for stratum in np.unique(strata))


def joined(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """One text per row, naming its values in these columns."""
    parts = [column + "=" + frame[column].astype(str) for column in columns]
    return np.array([", ".join(values) for values in zip(*parts, strict=True)])
