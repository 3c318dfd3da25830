"""This project: `lens.collect`, with its own batches."""

from typing import Any

import torch
from by_hand import Pool, greedy
from torch import Tensor

import lens
import steering
from lens.generation import generate as continue_texts
from probes import Direction


def load(folder: str) -> Any:
    return lens.load(folder)


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    sites = [lens.Site("resid_post", layer) for layer in layers]
    span = "prompt[-1]" if pool == "last" else "prompt"
    acts = lens.collect(model, texts, sites=sites, span=span, progress=False)
    return torch.stack([acts[site] for site in sites])


def generate(model: Any, texts: list[str], vector: list[float], layer: int, new: int) -> Tensor:
    direction = Direction.from_vector(vector, lens.Site("resid_post", layer))
    with steering.apply(model, steering.Add(direction, direction.norm, unit="raw", span="all")):
        made = continue_texts(model, texts, **greedy(new))
    return torch.tensor([one.ids for one in made])
