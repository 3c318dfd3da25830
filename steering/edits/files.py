"""Edits on disk: one small safetensors file with the factors and rows of every delta, to be done again bit for bit."""

import hashlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lens import documents
from lens.errors import ArtifactError, ModelError, available
from lens.model import Model
from steering.edits.change import Plan
from steering.edits.delta import Delta
from steering.edits.in_force import Edit, start
from steering.edits.writers import check_weights

FORMAT = 1
_KEPT = ("along", "amount", "rows")


def save(edit: Edit, path: str | Path) -> Path:
    """Write an edit in force. Raises ModelError: it was undone, or a later edit is on top of it."""
    if not edit.active:
        raise ModelError(f"The edit {edit.name} was undone; save it while it is in force.")
    if edit.model.edits[-1] != edit.name:
        raise ModelError(
            f"Later edits are on top of {edit.name}: {', '.join(edit.model.edits[::-1])}. Save each before the next."
        )
    tensors: dict[str, Tensor] = {}
    places: dict[tuple[int, ...], str] = {}  # deltas share their directions, which are written once
    deltas = []
    for number, delta in enumerate(edit.plan.deltas):
        facts: dict[str, Any] = {"parameter": delta.parameter, "axis": delta.axis, "adds": delta.adds}
        for kind in _KEPT:
            tensor = getattr(delta, kind)
            if tensor is not None:
                key = places.setdefault((tensor.data_ptr(), *tensor.shape), f"{number}.{kind}")
                tensors[key], facts[kind] = tensor, key
        deltas.append(facts)
    record = {
        "format": FORMAT,
        "name": edit.name.partition("#")[0],
        "model": edit.model.name,
        "fingerprint": edit.made_on,
        "dtype": str(edit.model.dtype),
        "untie": edit.plan.untie,
        "exact": edit.exact,
        "note": edit.note,
        "details": edit.details,
        "deltas": deltas,
        "result": digest(edit.model, edit.plan),
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }
    return documents.write(path, tensors, edit=record)


def load(model: Model, path: str | Path, *, stack: bool, other_model: bool) -> Edit:
    """Do what `save` wrote again, and compare the outcome's hash with the one that was written."""
    record, deltas = documents.read(path, "edit", _made, what="edit", format=FORMAT)
    check_weights(model)
    if record["fingerprint"] != model.fingerprint and not other_model:
        raise ArtifactError(
            f"{path} edits {record['model']!r} (fingerprint {record['fingerprint']}); {model.name!r} has fingerprint "
            f"{model.fingerprint}. Pass other_model=True to use it there all the same."
        )
    for delta in deltas:
        _check_fits(model, delta, path)
    kept = Plan(deltas, record["untie"], record["exact"], record["note"], record["details"])

    def check() -> None:
        if not other_model and digest(model, kept) != record["result"]:
            raise ArtifactError(
                f"{path} was saved from other weights ({record['dtype']} there, {model.dtype} here), though the "
                "fingerprints agree; the edit was undone. Pass other_model=True to make it all the same."
            )

    return start(model, record["name"], replace(kept, check=check), stack=stack)


def digest(model: Model, plan: Plan) -> str:
    """A hash of every byte of the parameters that an edit changes, as they now are."""
    found = hashlib.blake2b(digest_size=16)
    for delta in plan.deltas:
        tensor = model.hf.get_parameter(delta.parameter).detach().cpu().contiguous()
        found.update(f"{delta.parameter}{tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _made(record: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[dict[str, Any], tuple[Delta, ...]]:
    deltas: list[dict[str, Any]] = [
        {name: tensors[fact] if name in _KEPT else fact for name, fact in one.items()} for one in record["deltas"]
    ]
    needed = ("name", "model", "fingerprint", "dtype", "untie", "exact", "note", "details", "result")
    return {name: record[name] for name in needed}, tuple(Delta(**one) for one in deltas)


def _check_fits(model: Model, delta: Delta, path: str | Path) -> None:
    modules = dict(model.hf.named_modules())
    if delta.module not in modules:
        raise ArtifactError(f"{path} edits {delta.module}; {model.name} has {available(list(modules)[1:], 4)}.")
    parameter = getattr(modules[delta.module], delta.leaf, None)
    if not (delta.fits(parameter) if parameter is not None else delta.along.shape[1] == model.d_model):
        found = list(parameter.shape) if parameter is not None else f"of width {model.d_model}"
        raise ArtifactError(f"{path}: the change of {delta.parameter} does not fit {model.name}, where it is {found}.")
