"""Tables as JSON and back, exactly: numbers to their last digit, missing ones as null, columns and their kinds."""

from typing import Any

import numpy as np
import pandas as pd


def json_of(table: pd.DataFrame) -> dict[str, Any]:
    """A table as plain JSON: columns, their kinds, and values."""
    columns = [str(name) for name in table.columns]
    kinds = {name: "number" if np.issubdtype(kind, np.floating) else "" for name, kind in _kinds(table).items()}
    values = {name: [_plain(value) for value in table[name]] for name in table.columns}
    return {"columns": columns, "floats": [name for name, kind in kinds.items() if kind], "values": values}


def frame_of(whole: dict[str, Any]) -> pd.DataFrame:
    """The table of which `json_of` made this."""
    table = pd.DataFrame({name: whole["values"][name] for name in whole["columns"]}, columns=whole["columns"])
    return table.astype(dict.fromkeys(whole["floats"], float))


def _kinds(table: pd.DataFrame) -> dict[str, Any]:
    return {str(name): kind if isinstance(kind, np.dtype) else np.dtype(object) for name, kind in table.dtypes.items()}


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and value != value:
        return None
    return value if value is None or isinstance(value, bool | int | float | str | list) else str(value)
