"""Documents: tensors and what is known of them in one safetensors file, which is there whole or not at all."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from lens.errors import ArtifactError, LensError, available

Made = TypeVar("Made")


def write(path: str | Path, tensors: Mapping[str, Tensor], **headers: Mapping[str, Any]) -> Path:
    """Write a file; each header is JSON under its name, such as `direction`."""
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(whole, part, metadata={name: json.dumps(header) for name, header in headers.items()})
    part.replace(path)
    return path


def read(
    path: str | Path,
    header: str,
    make: Callable[[dict[str, Any], dict[str, Tensor]], Made],
    *,
    what: str,
    format: int,
) -> Made:
    """Read a file and make of it what it is, from the named header (without its `format`) and the tensors.

    what: what it should be, for the error. Raises ArtifactError: no such file, something else, or of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            held = file.metadata() or {}
            if header not in held:
                raise ArtifactError(f"{path} is not a saved {what}; it holds: {available(held) or 'no header'}.")
            facts: dict[str, Any] = json.loads(held[header])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        given = facts.pop("format", None)
        if given != format:
            raise ArtifactError(
                f"{path} has another format ({given!r}); this version reads format {format} of a saved {what}."
            )
        return make(facts, tensors)
    except ArtifactError:
        raise
    except (OSError, SafetensorError, LensError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is not a saved {what}: {error!r:.200}") from error
