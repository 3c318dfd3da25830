"""Interventions declared as data, for the engines that TransformerLens drives from outside (vLLM, Inspect)."""

import json
import re
from pathlib import Path
from typing import Any

import torch

from lens.errors import ArtifactError, SiteError
from lens.model import Model
from lens.sites import Site
from steering.export.additions import after_block, put, read_as, summed
from steering.interventions import Add, Intervention

READER = "TransformerLens's vLLM source"
_HOOK = re.compile(r"blocks\.(\d+)\.hook_out")


def transformer_lens(path: str | Path, *additions: Intervention, model: Model | None = None) -> Path:
    """Write additions as JSON for the `intervene=` of a TransformerLens remote bridge.

        {"blocks.k.hook_out": {"op": "add", "value": [d numbers]}, …}        output of block k, every token

    so that `resid_post.k` and `resid_pre.k+1` are `blocks.k.hook_out`; additions at one place are summed. Of its four
    operations (suppress, scale, add, set) only `add` is an intervention of ours. Its hooks inside a block lie before a
    norm on the block's output where there is one (Gemma 2), ours behind it, and are not written.

        intervene = json.loads(Path("spec.json").read_text())        # bridge.run_with_cache(…, intervene=intervene)

    Raises ArtifactError and SpanError as `steering.export.additions.summed`. SiteError: the embeddings, or a site
    inside a block.

    Source: TransformerLens 4.3, `model_bridge/sources/vllm/intervention_specs.py` (2026).
    """

    def place(site: Site) -> int:
        block = after_block(site, READER)
        if block < 0:
            raise SiteError(f"{site} is the embeddings, which some models scale; available: resid_post.0 and on.")
        return block

    steps = summed(additions, place, reader=READER, model=model)
    spec = {f"blocks.{k}.hook_out": {"op": "add", "value": step.tolist()} for k, step in sorted(steps.items())}
    return put(path, lambda part: part.write_text(json.dumps(spec) + "\n", encoding="utf-8"))


def read_transformer_lens(path: str | Path, model: Model | None = None) -> list[Add]:
    """The additions of such a file, at `resid_post.k`.

    Raises ArtifactError: no such file, no such spec, another operation than `add`, or single positions. As `read_gguf`
    for a model.
    """
    try:
        spec: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        declared = [(_HOOK.fullmatch(hook), hook, dict(one)) for hook, one in spec.items()]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} is no spec of interventions: {error!s:.200}") from error
    vectors = {}
    for name, hook, one in declared:
        if name is None or one.get("op") != "add" or one.get("pos") is not None:
            said = {key: value for key, value in one.items() if key != "value"}
            raise ArtifactError(
                f"{path}: {hook} with {said}; read here: blocks.LAYER.hook_out, op 'add', every position."
            )
        vectors[Site("resid_post", int(name[1]))] = torch.as_tensor(one["value"], dtype=torch.float32)
    return read_as(vectors, method="declared addition", model=model)
