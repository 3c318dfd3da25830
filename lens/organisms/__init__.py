"""Organisms: models whose truth is known, shipped with the package.

>>> path().name
'trained'
"""

from pathlib import Path

__all__ = ["names", "path"]

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Names of the shipped organisms: every folder beside this file that holds weights."""
    return tuple(sorted(folder.parent.name for folder in _FOLDER.glob("*/model.safetensors")))


def path(name: str = "trained") -> Path:
    """Folder of a shipped organism, loadable with `AutoModelForCausalLM.from_pretrained`.

    Raises ValueError for a name that is not shipped.
    """
    folder = _FOLDER / name
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"no organism {name!r} is shipped; there are {', '.join(names()) or 'none'}")
    return folder
