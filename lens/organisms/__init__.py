"""Organisms: models whose truth is known, shipped with the package.

>>> path().name
'trained'
"""

from pathlib import Path

from lens.errors import ModelError, available

__all__ = ["names", "path"]

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the shipped organisms: every folder beside this file that holds weights."""
    return tuple(sorted(folder.parent.name for folder in _FOLDER.glob("*/model.safetensors")))


def path(name: str = "trained") -> Path:
    """Folder of a shipped organism, loadable with `AutoModelForCausalLM.from_pretrained`.

    Raises ModelError for a name that is not shipped.
    """
    folder = _FOLDER / name
    if not (folder / "model.safetensors").is_file():
        raise ModelError(f"No organism {name!r}; available: {available(names())}.")
    return folder
