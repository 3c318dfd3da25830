"""This project: `lens.collect`, with its own batches."""

from typing import Any

import torch
from by_hand import Pool
from torch import Tensor

import lens


def load(folder: str) -> Any:
    return lens.load(folder)


def collect(model: Any, texts: list[str], layers: list[int], pool: Pool, batch: int) -> Tensor:
    sites = [lens.Site("resid_post", layer) for layer in layers]
    span = "prompt[-1]" if pool == "last" else "prompt"
    acts = lens.collect(model, texts, sites=sites, span=span, progress=False)
    return torch.stack([acts[site] for site in sites])
