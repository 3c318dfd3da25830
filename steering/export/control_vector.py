"""llama.cpp's control vectors: GGUF files of vectors that are added to the output of blocks, at every token."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lens.errors import ArtifactError, SiteError
from lens.model import Model
from lens.sites import Site
from probes.provenance import Provenance
from steering.export.additions import after_block, origin, put, read_as, summed
from steering.interventions import Add, Intervention

ARCHITECTURE = "controlvector"
READER = "llama.cpp"
_NAME = re.compile(r"direction\.(\d+)")


def gguf(path: str | Path, *additions: Intervention, model: Model | None = None) -> Path:
    """Write additions as a control vector for llama.cpp (`--control-vector FILE`).

        h_k ← h_k + direction.k        h_k: output of block k (0-based), k = 1 … n_layers − 1, every token

    so that `resid_post.k` and `resid_pre.k+1` are `direction.k`; additions at one place are summed, as llama.cpp sums
    files. Tensors are float32, one-dimensional, with strength and unit in them: unscaled, the file steers as
    `steering.apply(model, *additions)` does here. llama.cpp reads no metadata; the model's name and fingerprint are
    kept for `read_gguf`.

    model: checks that the additions fit it, and that it has these blocks (llama.cpp passes over a block too many).

    Raises ArtifactError and SpanError as `steering.export.additions.summed`; the package `gguf` is missing. SiteError:
    the output of block 0, which llama.cpp refuses; the embeddings; a site inside a block.

    Source: llama.cpp, `common_control_vector_load_one` (common/common.cpp) and `llama_adapter_cvec` (2025).
    """

    def place(site: Site) -> int:
        block = after_block(site, READER)
        if block < 1:
            what = "the embeddings" if block < 0 else "the output of block 0"
            raise SiteError(
                f"{site} is {what}; {READER} steers the outputs of block 1 and later: the first is resid_post.1, or "
                "resid_pre.2."
            )
        return block

    steps = summed(additions, place, reader=READER, model=model)
    known = origin(additions)
    hint = model.hf.config.model_type if model is not None else known.model

    def write(part: Path) -> None:
        writer = _library().GGUFWriter(str(part), ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", hint)
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", len(steps))
        writer.add_string("behaviorlens.model", known.model)
        writer.add_string("behaviorlens.fingerprint", known.fingerprint)
        for block, step in sorted(steps.items()):
            writer.add_tensor(f"direction.{block}", step.numpy().astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    return put(path, write)


def read_gguf(path: str | Path, model: Model | None = None) -> list[Add]:
    """The additions of a control vector, at `resid_post.k`; `steering.apply(model, *read_gguf(path))` steers with it.

    Raises ArtifactError: no such file, no control vector, one that llama.cpp would refuse (`direction.0`, another name,
    not float32 or not one-dimensional), or one of another model. SiteError: a block that the model lacks.
    """
    reader = _opened(path)
    vectors = {}
    for tensor in reader.tensors:
        name = _NAME.fullmatch(tensor.name)
        if name is None or int(name[1]) == 0:
            raise ArtifactError(f"{path}: {READER} refuses the tensor {tensor.name!r}; available: direction.1 and on.")
        if tensor.tensor_type.name != "F32" or tensor.data.ndim != 1:
            raise ArtifactError(
                f"{path}: {tensor.name} is {tensor.tensor_type.name} of shape {list(tensor.data.shape)}; {READER} "
                "reads F32 of one dimension."
            )
        vectors[Site("resid_post", int(name[1]))] = torch.from_numpy(np.array(tensor.data))
    known = Provenance(model=_text(reader, "behaviorlens.model"), fingerprint=_text(reader, "behaviorlens.fingerprint"))
    return read_as(vectors, method="control vector", known=known, model=model)


def _opened(path: str | Path) -> Any:
    if not Path(path).is_file():
        raise ArtifactError(f"No file {str(path)!r}.")
    try:
        return _library().GGUFReader(str(path))
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise ArtifactError(f"{path} is no GGUF file: {error!s:.200}") from error


def _text(reader: Any, key: str) -> str:
    field = reader.get_field(key)
    return "" if field is None else str(field.contents())


def _library() -> Any:
    try:
        import gguf as library
    except ImportError as error:
        raise ArtifactError("GGUF files need the package gguf: pip install 'behaviorlens[export]'.") from error
    return library
