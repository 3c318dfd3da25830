"""EleutherAI's lm-evaluation-harness: benchmarks on a steered model, `lm_eval --model steered`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lens.errors import ArtifactError, SiteError, available
from lens.model import Model
from lens.sites import Site
from probes.direction import Direction
from steering.export.additions import check_plain, origin, put, read_as, sites_of, summed
from steering.export.tensors import loaded
from steering.interventions import Add, Clamp, Intervention

READER = "lm-evaluation-harness"
WRITTEN = ("resid_post", "attn_out", "mlp_out")


def lm_eval(path: str | Path, model: Model, *interventions: Intervention) -> Path:
    """Write additions and clamps for `lm_eval --model steered --model_args pretrained=…,steer_path=FILE.pt`.

        {hookpoint: {"action": "add", "steering_vector": Σ strength · unit · v, "steering_coefficient": 1}}
        {hookpoint: {"action": "clamp", "steering_vector": v, "steering_coefficient": value}}      v · h = value

    at every token of the module's output. Hookpoints are module paths inside `hf.base_model` (`layers.12`, `h.12`,
    `layers.12.self_attn`): `resid_post.k` and `resid_pre.k+1` are block k, `attn_out` and `mlp_out` the module whose
    output goes into the stream. Additions at one module are summed. A `Clamp` needs low = high and strength 1. The
    harness's csv names features of sparse autoencoders and can hold no vector.

    The first harnesses with this model (2025) add the last vector of a file at all of its hookpoints; 0.4.13 does not.

    Raises ArtifactError and SpanError as `steering.export.additions.summed`; a clamp to a range or beside something
    else at the same module; a path that does not end in .pt, by which the harness knows the format. SiteError: a site
    that is no module's output.

    Source: lm-evaluation-harness 0.4.13, `lm_eval/models/hf_steered.py` (2026).
    """
    path = Path(path)
    if path.suffix not in (".pt", ".pth"):
        raise ArtifactError(f"{READER} takes its vectors from a file that ends in .pt or .pth; given: {path.name!r}.")
    if not interventions:
        raise ArtifactError("Nothing to export: give interventions, for example steering.Add(direction, span='all').")
    names = {site: name for name, site in _hookpoints(model)}

    def place(site: Site) -> str:
        output = Site("resid_post", site.layer - 1) if site.kind == "resid_pre" and site.layer else site
        if output not in names:
            raise SiteError(
                f"{site} is no module's output in {type(model.hf).__name__}; available: {available(WRITTEN)}."
            )
        return names[output]

    clamps = [one for one in interventions if isinstance(one, Clamp)]
    additions = [one for one in interventions if not isinstance(one, Clamp)]
    origin(interventions)
    steps = summed(additions, place, reader=READER, model=model) if additions else {}
    config = {hookpoint: _entry("add", step, 1.0) for hookpoint, step in steps.items()}
    for clamp in clamps:
        _check_clamp(clamp, model)
        for site in sites_of(clamp, model):
            hookpoint = place(site)
            if hookpoint in config:
                raise ArtifactError(f"{READER} does one thing at a module; given: two at {hookpoint!r}, one a Clamp.")
            config[hookpoint] = _entry("clamp", clamp.direction.vector, clamp.low)
    return put(path, lambda part: torch.save(config, part))


def read_lm_eval(path: str | Path, model: Model) -> list[Intervention]:
    """The interventions of such a file, as the harness would run them on this model: additions, then clamps.

    Raises ArtifactError: no such file, or not of this format; the steering of a single head; a hookpoint that is no
    site of ours.
    """
    config = loaded(path)
    if not isinstance(config, Mapping) or not all(isinstance(one, Mapping) for one in config.values()):
        raise ArtifactError(f"{path} is no {{hookpoint: {{action, steering_vector, …}}}}.")
    sites, vectors, clamps = dict(_hookpoints(model)), {}, []
    for hookpoint, one in config.items():
        if hookpoint not in sites or one.get("head_index") is not None:
            raise ArtifactError(
                f"{path}: hookpoint {hookpoint!r}, head {one.get('head_index')}; available in {model.name}: "
                f"{available(sites)}, whole."
            )
        vector, amount = one["steering_vector"].float(), float(one.get("steering_coefficient", 1.0))
        if one["action"] == "add":
            vectors[sites[hookpoint]] = amount * vector
        elif one["action"] == "clamp":
            direction, bias = Direction.from_vector(vector, sites[hookpoint], model=model), one.get("bias")
            value = amount if bias is None else amount + float(direction.project(bias))
            clamps.append(Clamp(direction, span="all", low=value, high=value))
        else:
            raise ArtifactError(f"{path}: unknown action {one['action']!r}; available: add, clamp.")
    added: list[Add] = read_as(vectors, method="harness vector", model=model) if vectors else []
    return [*added, *clamps]


def _entry(action: str, vector: Float[Tensor, " d"], coefficient: float) -> dict[str, Any]:
    return {
        "action": action,
        "steering_vector": vector.clone(),
        "steering_coefficient": coefficient,
        "bias": None,
        "head_index": None,
    }


def _check_clamp(clamp: Clamp, model: Model) -> None:
    check_plain(clamp, reader=READER, every_token=True)
    clamp.check_model(model)
    if clamp.low != clamp.high or clamp.strength != 1.0:
        given = f"low={clamp.low}, high={clamp.high}, strength={clamp.strength}"
        raise ArtifactError(f"{READER} clamps to one value, wholly; given: {given}.")


def _hookpoints(model: Model) -> Iterator[tuple[str, Site]]:
    """Modules by their names in the harness, each with the site that is its output."""
    paths = {id(module): name for name, module in model.hf.base_model.named_modules()}
    parts = model.parts
    inside = {"resid_post": "", "attn_out": parts.attn_norm or parts.attn, "mlp_out": parts.mlp_norm or parts.mlp}
    for kind, name in inside.items():
        if name is not None:
            for layer, block in enumerate(model.blocks):
                yield paths[id(block.get_submodule(name))], Site(kind, layer)
