"""What an edit changed, as a table."""

from collections.abc import Sequence

import pandas as pd
from torch import Tensor

from lens.model import Model
from steering.edits.delta import Delta


def change_table(model: Model, saved: Sequence[tuple[Delta, Tensor | None]]) -> pd.DataFrame:
    """One row per parameter: how many `rows` changed `of` how many, and `change`, ‖new − old‖ / ‖old‖ of the whole
    parameter (inf where there was none before). `saved`: what each delta changed, as it was."""
    found = []
    for delta, before in saved:
        parameter: Tensor = getattr(model.hf.get_submodule(delta.module), delta.leaf)
        new, total = delta.part(parameter).double(), parameter.numel() // delta.along.shape[1]
        moved, change = len(new) if delta.rows is not None else total, float("inf")
        if before is not None:
            old = before.double()
            rest = parameter.detach().double().square().sum() - new.square().sum()
            change = float((new - old).norm() / (rest + old.square().sum()).sqrt())
        found.append({"parameter": delta.parameter, "rows": moved, "of": total, "change": change})
    return pd.DataFrame(found, columns=["parameter", "rows", "of", "change"])
