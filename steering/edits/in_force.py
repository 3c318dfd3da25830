"""Edits in force: changes written into the weights, with exact undo."""

from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from lens.errors import ArtifactError, ModelError
from lens.model import Model
from steering.edits.change import Change, Plan
from steering.edits.delta import Delta
from steering.edits.table import change_table
from steering.edits.writers import check_weights

# On an edited module: the edits of it now in force, and whether each only adds.
MARK = "_edits_in_force"


class Edit:
    """A weight edit in force. `undo()` restores every parameter bit for bit; as a context manager it does so at
    the end of the block. Edits are undone in reverse order.

    exact, note: whether the edited model is what the intervention of the same name makes of it. details: what was
    chosen (rows of a surgery). `save` writes a small file that `Edit.load` does again, `export` a Hugging Face folder.
    """

    def __init__(self, model: Model, name: str, plan: Plan) -> None:
        again = sum(other.partition("#")[0] == name for other in model.edits)
        self.model, self.name, self.plan = model, f"{name}#{again + 1}" if again else name, plan
        self.made_on = model.fingerprint
        self.active = False
        self._saved: list[tuple[Delta, Tensor | None]] = []
        self._tied: nn.Parameter | None = None

    def __repr__(self) -> str:
        state = "in force" if self.active else "undone"
        return f"Edit({self.name} of {self.model.name!r}: {len(self.plan.deltas)} parameters, {state}. {self.note})"

    @property
    def exact(self) -> bool:
        return self.plan.exact

    @property
    def note(self) -> str:
        return self.plan.note

    @property
    def details(self) -> dict[str, Any]:
        return self.plan.details

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that were changed."""
        return [delta.parameter for delta in self.plan.deltas] if self.active else []

    def table(self) -> pd.DataFrame:
        """What changed, one row per parameter: `rows` of it, `of` so many, and `change`, ‖new − old‖ / ‖old‖ of all of
        it (inf where there was none). Empty once undone."""
        return change_table(self.model, self._saved)

    def undo(self) -> None:
        """Restore the weights exactly. Raises ModelError if already undone, or if a later edit is in force."""
        if not self.active:
            raise ModelError(f"The edit {self.name} was already undone.")
        if self.model.edits[-1] != self.name:
            raise ModelError(f"Undo the later edits first: {', '.join(self.model.edits[::-1])}.")
        with torch.no_grad():
            for delta, before in reversed(self._saved):
                _unmark(self.model, delta, self.name)
                if before is None:
                    setattr(_module(self.model, delta), delta.leaf, None)
                else:
                    delta.put(self.model.hf.get_parameter(delta.parameter), before)
        self._saved.clear()
        self._retie()
        self.active = False
        self.model.forget_edit(self.name)

    def __enter__(self) -> "Edit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.active:
            self.undo()

    def save(self, path: str | Path) -> Path:
        """Write the change as one small safetensors file: factors, rows and biases, not weights. See `Edit.load`."""
        from steering.edits.files import save

        return save(self, path)

    @classmethod
    def load(cls, model: Model, path: str | Path, *, stack: bool = False, other_model: bool = False) -> "Edit":
        """Do a saved edit again; the weights come out bit for bit as they were when it was saved.

        Raises ArtifactError: no saved edit, or one of another model or of the model with other edits (unless
        `other_model=True`, where only shapes must fit). ModelError as `steering.edit`.
        """
        from steering.edits.files import load

        return load(model, path, stack=stack, other_model=other_model)

    def export(self, folder: str | Path) -> Path:
        """Write the model, with this and all other edits in force, as a Hugging Face folder that loads by itself.

        Raises ModelError: already undone, or an added bias that the architecture's configuration has no switch for.
        """
        from steering.edits.export import export

        if not self.active:
            raise ModelError(f"The edit {self.name} was undone; there is nothing to export.")
        return export(self.model, folder)

    def _begin(self) -> None:
        model = self.model
        model.note_edit(self.name)
        self.active = True
        try:
            with torch.no_grad():
                if self.plan.untie:
                    self._untie()
                for delta in self.plan.deltas:
                    self._change(delta)
            self.plan.check()
        except BaseException:
            self.undo()
            raise

    def _change(self, delta: Delta) -> None:
        parameter = _parameter(self.model, delta)
        if parameter is None:
            module: Any = _module(self.model, delta)
            self._saved.append((delta, None))
            kept = module.weight
            empty = torch.zeros(delta.along.shape[1], dtype=kept.dtype, device=kept.device)
            parameter = nn.Parameter(empty, requires_grad=kept.requires_grad)
            setattr(module, delta.leaf, parameter)
        else:
            self._saved.append((delta, delta.part(parameter).clone()))
        _module(self.model, delta).__dict__.setdefault(MARK, {})[self.name] = delta.adds
        delta.apply(parameter)

    def _untie(self) -> None:
        """Give the unembedding its own copy: editing a tied embedding would change the logits' read-out too."""
        hf, parts = self.model.hf, self.model.parts
        if parts.unembed is None:
            return
        head, embedding = hf.get_submodule(parts.unembed), hf.get_submodule(parts.embeddings[0])
        if head.weight is embedding.weight:
            self._tied = embedding.weight
            head.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
            hf.config.tie_word_embeddings = False

    def _retie(self) -> None:
        if self._tied is not None:
            self.model.hf.get_submodule(self.model.parts.unembed or "").weight = self._tied
            self.model.hf.config.tie_word_embeddings = True
            self._tied = None


def _module(model: Model, delta: Delta) -> nn.Module:
    return model.hf.get_submodule(delta.module)


def _parameter(model: Model, delta: Delta) -> Tensor | None:
    found: Tensor | None = getattr(_module(model, delta), delta.leaf)
    return found


def _unmark(model: Model, delta: Delta, name: str) -> None:
    kept = _module(model, delta).__dict__
    kept.get(MARK, {}).pop(name, None)
    if not kept.get(MARK, True):
        del kept[MARK]


def edit(model: Model, change: Change, *, stack: bool = False, other_model: bool = False) -> Edit:
    """Edit the model's weights in place; returns the edit, with `undo()`.

        steering.edit(model, steering.Orthogonalize(refusal))

    Tied embeddings are untied where the change concerns them (`config.tie_word_embeddings` becomes False until undone).
    What was done is measured on a few tokens, and undone where it is not what was asked for. After any error the model
    is as it was.

    Edits that overlap are refused unless `stack=True`, which makes the change on top of the weights as they now are:
    the very same edit again; or one of a module that is already edited, where either of the two projects, so that the
    second undoes part of the first (several directions at once: `Orthogonalize((a, b))`). Rows and biases that are only
    added to stack without being asked.

    Raises ArtifactError: a change made for another model (unless `other_model=True`). ModelError: weights that cannot
    be edited so (quantised, fused experts, a norm between writer and stream), or an overlap. SiteError: no such site.
    """
    if not isinstance(change, Change):
        raise ArtifactError(f"edit takes a change, such as Orthogonalize(direction); given: {type(change).__name__}.")
    change.check_model(model, other_model=other_model)
    check_weights(model)
    return start(model, change.name, change.plan(model), stack=stack)


def start(model: Model, name: str, plan: Plan, *, stack: bool) -> Edit:
    """Put a plan in force. Raises ModelError for an overlap, unless `stack`."""
    if not stack:
        if any(other.partition("#")[0] == name for other in model.edits):
            raise ModelError(f"The edit {name} is already in force; stack=True makes it once more.")
        for delta in plan.deltas:
            for other, adds in getattr(_module(model, delta), MARK, {}).items():
                if not (adds and delta.adds):
                    raise ModelError(
                        f"{delta.module} is already edited by {other}, and the two do not simply add up; undo that "
                        "one, make one edit of both, or pass stack=True to edit the weights as they now are."
                    )
    made = Edit(model, name, plan)
    made._begin()
    return made
