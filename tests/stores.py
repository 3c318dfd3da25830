"""What the tests of stores share: texts, a call that collects into some twenty shards, and how folders are compared."""

from pathlib import Path

import torch
from tiny import TEXTS

import lens

MANY = [f"{text}{' the' * extra}" for extra in range(8) for text in TEXTS]
SITES = ("resid_post.1", "attn_out.0")
SHARD_TOKENS = 16


def collect(where=None, *, model, texts=MANY, sites=SITES, batch_tokens=24, **options):
    return lens.collect(model, texts, sites=sites, batch_tokens=batch_tokens, store=where, **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*"))


def same(got: lens.Activations, wanted: lens.Activations) -> bool:
    return got.sites == wanted.sites and all(
        torch.equal(got[site], wanted[site]) and got.norms[site].equal(wanted.norms[site]) for site in wanted.sites
    )
