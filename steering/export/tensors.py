"""Vectors alone: safetensors by site, and the tensor of all layers that persona-vectors code reads.

Neither says which tokens are steered; that is up to who reads them, and additions may have any span.
"""

import json
from pathlib import Path
from typing import Any

import torch

from lens import documents
from lens.errors import ArtifactError, SiteError
from lens.model import Model
from lens.sites import Site
from probes.provenance import Provenance
from steering.export.additions import after_block, origin, put, read_as, summed
from steering.interventions import DEFAULT_SPAN, Add, Intervention

PERSONA = "persona-vectors code"


def safetensors(path: str | Path, *additions: Intervention, model: Model | None = None) -> Path:
    """Write additions as one float32 vector `[d]` per site, named as the site is: `resid_post.12`, `attn_out.3`.

    Strength and unit are in the vectors; those of one site are summed. Model and fingerprint are in the metadata.

    Raises ArtifactError as `steering.export.additions.summed`.
    """
    steps = summed(additions, str, reader="A file of vectors", model=model, every_token=False)
    known = origin(additions)
    return documents.write(path, steps, origin={"model": known.model, "fingerprint": known.fingerprint})


def read_safetensors(path: str | Path, model: Model | None = None, *, span: str = DEFAULT_SPAN) -> list[Add]:
    """The additions of such a file, or of any that names its vectors as our sites are named.

    Raises ArtifactError: no such file, or no vectors `[d]`. SiteError: a name that is no site. As `read_gguf` for a
    model.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("origin", "{}"))
            vectors = {Site.parse(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise ArtifactError(f"{path} is no file of vectors: {error!s:.200}") from error
    known = Provenance(model=facts.get("model", ""), fingerprint=facts.get("fingerprint", ""))
    return read_as(vectors, method="file of vectors", known=known, model=model, span=span)


def persona_vectors(
    path: str | Path, *additions: Intervention, model: Model | None = None, n_layers: int | None = None
) -> Path:
    """Write additions as one tensor `[n_layers + 1, d]`, float32, as persona-vectors code extracts and steers with.

        row k + 1: what is added to the output of block k (0-based); all other rows, and row 0, are zero

    Rows are numbered as Hugging Face's `hidden_states`: row k + 1 is `resid_post.k` and `resid_pre.k+1`, and that code
    steers `layer=k + 1` at block k. Row 0 would be the embeddings; that code, given `layer=0`, steers the last block,
    so `resid_pre.0` is refused. The last row was extracted behind the final norm there; here it is before it, where
    steering acts. Strength and unit are in the vectors: `coef=1` steers as the additions do.

    n_layers: number of blocks, where no model is given. Read with `torch.load(path, weights_only=True)`.

    Raises ArtifactError as `steering.export.additions.summed`; neither n_layers nor a model. SiteError: the embeddings,
    a site inside a block, or a block too many.

    Source: Chen et al., Persona Vectors (2025); `generate_vec.py`, `activation_steer.py` and `eval/eval_persona.py` of
    their code, read in a copy of it.
    """
    layers = model.n_layers if model is not None else n_layers
    if layers is None:
        raise ArtifactError("How many blocks has the model? Give model= or n_layers=.")

    def place(site: Site) -> int:
        row = after_block(site, PERSONA) + 1
        if not 1 <= row <= layers:
            raise SiteError(f"{site} is row {row} of {layers + 1}; {PERSONA} steers with rows 1 to {layers}.")
        return row

    steps = summed(additions, place, reader=PERSONA, model=model, every_token=False)
    table = torch.zeros(layers + 1, len(next(iter(steps.values()))))
    for row, step in steps.items():
        table[row] = step
    return put(path, lambda part: torch.save(table, part))


def read_persona_vectors(path: str | Path, model: Model | None = None, *, span: str = DEFAULT_SPAN) -> list[Add]:
    """The additions of such a file, one for every row from 1 on that is not zero, at `resid_post.row−1`.

    A file that was extracted holds a vector for every layer, each meant to be used alone: pick one of the list. The
    default span is what that code calls `response`.

    Raises ArtifactError: no such file, no tensor `[layers, d]`, or one of another number of layers or width than the
    model's.
    """
    table = loaded(path)
    if not isinstance(table, torch.Tensor) or table.ndim != 2:
        raise ArtifactError(f"{path} holds no tensor [n_layers + 1, d].")
    if model is not None and table.shape != (model.n_layers + 1, model.d_model):
        raise ArtifactError(
            f"{path} has the shape {list(table.shape)}; {model.name} needs {[model.n_layers + 1, model.d_model]}."
        )
    rows = [row for row in range(1, len(table)) if bool(table[row].any())]
    vectors = {Site("resid_post", row - 1): table[row] for row in rows}
    return read_as(vectors, method="persona vector", model=model, span=span)


def loaded(path: str | Path) -> Any:
    """What `torch.save` wrote, if it is tensors and plain containers. Raises ArtifactError."""
    from pickle import UnpicklingError

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read as tensors: {error!s:.200}") from error
