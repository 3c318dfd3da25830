"""Rows of tokens with one planted, and unpooled activations that hold them."""

import warnings

import numpy as np
import pandas as pd
import torch

import lens

SITE = lens.Site("resid_post", 1)


def data(seed=0, n=80, longest=12, d=6, size=4.0, shortest=4):
    """Rows of noise, `shortest` to `longest` tokens long; in rows of label 1 one token is moved along the first axis.
    Coordinates are of very different size."""
    rng = np.random.default_rng(seed)
    y = np.tile([0, 1], n // 2)
    X = rng.standard_normal((n, longest, d))
    for row, count in enumerate(rng.integers(shortest, longest + 1, n)):
        X[row, rng.integers(count), 0] += size * y[row]
        X[row, count:] = np.nan
    return X * np.logspace(-1, 1, d) + 3, y


def activations(X, y, groups=None, *, pads=0.0):
    """`pads` stands where there is no token."""
    groups = np.arange(len(y)) // 2 if groups is None else groups
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = lens.Examples(pd.DataFrame({"prompt": f"the same {np.nanmean(X)}", "label": y, "group": groups}))
    there = ~np.isnan(X).all(axis=2)
    array = torch.from_numpy(np.where(there[..., None], X, pads)).float()
    norms = torch.from_numpy(np.nanmean(np.linalg.norm(X, axis=2), axis=1)).float()
    source = lens.activations.Source("planted", "planted", "prompt", "none", table.hash(), {})
    return lens.Activations({SITE: array}, {SITE: norms}, table, source, torch.from_numpy(there))
