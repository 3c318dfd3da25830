"""Edits: directions written out of the weights, with exact undo."""

import hashlib
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens.errors import ModelError
from lens.model import Model
from lens.sites import Site
from probes.direction import Direction


@dataclass(frozen=True, eq=False)
class Orthogonalize:
    """Weight orthogonalisation: no writer can put anything along `v` any more.

        W ← (I − v vᵀ) W      for embeddings, attention outputs and MLP outputs, their biases too

    The same as ablating `v` to zero at every writer (`Ablate(d, to="zero", sites=writers(model), span="all")`).

    Source: Arditi et al., Refusal in Language Models Is Mediated by a Single Direction (2024), §4.
    """

    direction: Direction

    @property
    def name(self) -> str:
        digest = hashlib.sha256(self.direction.vector.numpy().tobytes()).hexdigest()[:8]
        return f"orthogonalize:{digest}"


class Edit:
    """A weight edit in force. `undo()` restores every parameter bit for bit; as a context manager it does so at
    the end of the block. Edits are undone in reverse order."""

    def __init__(self, model: Model, change: Orthogonalize) -> None:
        again = sum(name.startswith(change.name) for name in model.edits)
        self.model, self.name = model, f"{change.name}#{again + 1}" if again else change.name
        self._saved: list[tuple[Tensor, Tensor]] = []
        self._tied: nn.Parameter | None = None
        self.active = False

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that were changed."""
        changed = {id(parameter) for parameter, _ in self._saved}
        return [name for name, parameter in self.model.hf.named_parameters() if id(parameter) in changed]

    def undo(self) -> None:
        """Restore the weights exactly. Raises ModelError if already undone, or if a later edit is in force."""
        if not self.active:
            raise ModelError(f"The edit {self.name} was already undone.")
        if self.model.edits[-1] != self.name:
            raise ModelError(f"Undo the later edits first: {', '.join(self.model.edits[::-1])}.")
        with torch.no_grad():
            for parameter, before in reversed(self._saved):
                parameter.copy_(before)
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

    def _remove(self, tensor: Tensor, vector: Float[Tensor, " d"], axis: int) -> None:
        """Project `vector` out of a parameter along its residual-stream axis."""
        self._saved.append((tensor, tensor.detach().clone()))
        wide, v = tensor.detach().double().movedim(axis, -1), vector.double().to(tensor.device)
        new = wide - (wide @ v)[..., None] * v
        tensor.copy_(new.movedim(-1, axis).to(tensor.dtype))


def edit(model: Model, change: Orthogonalize, *, other_model: bool = False) -> Edit:
    """Edit the model's weights in place; returns the edit, with `undo()`.

    Tied embeddings are untied first (`config.tie_word_embeddings` becomes False until undone). The result is
    verified on a few tokens: nothing along the direction may be left in the stream; otherwise the edit is undone.

    Raises ArtifactError: a direction of another model. ModelError: weights that cannot be edited (quantised), a
    norm between writer and stream (Gemma 2, OLMo 2), or writers this architecture does not name.
    """
    change.direction.check_model(model, other_model=other_model)
    check_editable(model)
    done = Edit(model, change)
    vector = change.direction.vector
    model.note_edit(done.name)
    done.active = True
    try:
        with torch.no_grad():
            _orthogonalize(done, vector)
        left = _left_over(model, vector)
    except BaseException:
        done.undo()
        raise
    if not left <= (1e-4 if model.dtype == torch.float32 else 3e-2):
        done.undo()
        raise ModelError(
            f"{type(model.hf).__name__}: after the edit a share {left:.1e} of the residual stream still lies along the "
            "direction, so something else writes to it; the edit was undone. Use Ablate at the sites instead."
        )
    return done


def _orthogonalize(done: Edit, vector: Float[Tensor, " d"]) -> None:
    model = done.model
    done._untie()
    for name in model.parts.embeddings:
        done._remove(model.hf.get_submodule(name).weight, vector, axis=-1)
    for block in model.blocks:
        for path in (model.parts.attn_writer, model.parts.mlp_writer):
            layer: Any = block.get_submodule(path or "")
            out_axis = 0 if isinstance(layer, nn.Linear) else 1
            done._remove(layer.weight, vector, axis=out_axis)
            if layer.bias is not None:
                done._remove(layer.bias, vector, axis=0)


def check_editable(model: Model) -> None:
    """What can be known about editability before any weight is touched. Raises ModelError: a norm between writer and
    stream, an embedding of another width, or no plain writing matrix."""
    family, parts = type(model.hf).__name__, model.parts
    if parts.attn_norm or parts.mlp_norm:
        raise ModelError(
            f"{family} normalises attention and MLP outputs before adding them, so orthogonal weights would not keep "
            "the direction out of the stream; use Ablate at attn_out and mlp_out instead."
        )
    if parts.embed_norm:
        raise ModelError(
            f"{family} normalises its embeddings ({parts.embed_norm}), which puts the direction back into the stream; "
            "use Ablate at the sites instead."
        )
    for name in parts.embeddings:
        width = model.hf.get_submodule(name).weight.shape[-1]
        if width != model.d_model:
            raise ModelError(f"{family}: {name} has width {width} and is projected to the stream's {model.d_model}.")
    for number, block in enumerate(model.blocks):
        for part, writer in (("attention", parts.attn_writer), ("MLP", parts.mlp_writer)):
            layer = dict(block.named_modules()).get(writer or "-")
            weight = getattr(layer, "weight", None)
            if weight is None or weight.ndim != 2 or not weight.is_floating_point():
                raise ModelError(
                    f"{family}: block {number} has no plain writing matrix for its {part} (found: {writer or 'none'}); "
                    "fused experts or quantised weights cannot be edited."
                )
            is_linear = isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"
            if not is_linear:
                raise ModelError(f"{family}: {writer} is a {type(layer).__name__}; nn.Linear or Conv1D can be edited.")


def _left_over(model: Model, vector: Tensor) -> float:
    """The largest share of the stream's norm that lies along `vector` after any block, on a few tokens."""
    seen: list[Tensor] = []

    def keep(h: Tensor) -> None:
        # The embedding of a padding token may be all zero.
        norm = h.float().norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)
        seen.append((h.float() @ vector.to(h.device)).abs() / norm)

    sites = [Site("resid_pre", 0), *(Site("resid_post", layer) for layer in range(model.n_layers))]
    handles = [model.attach(site, keep) for site in sites]
    ids = torch.tensor([[model.pad_id, *range(min(5, model.hf.config.vocab_size))]], device=model.device)
    try:
        with torch.no_grad():
            model.hf(input_ids=ids)
    finally:
        for handle in handles:
            handle.remove()
    return float(torch.cat([share.flatten() for share in seen]).max())
