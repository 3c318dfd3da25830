"""Holding: whether the state of a model keeps apart wordings of more and of less of a trait that it was not fitted on.

    direction of wording w   c = mean state of the other high wordings − that of the other low ones
    score                    (h_w − midpoint of those means) · c / |c|²
    shift                    mean score of high wordings − that of low ones

1 where a new wording lies as far out as those it was fitted on, 0 where it may lie on either side. The layer is the one
where the shift is largest beside its standard error; p permutes labels over all wordings (as `chance`), fits anew, and
chooses its own layer.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from lens.collect import collect
from lens.examples import Examples, Prompt
from lens.model import Model
from lens.sites import Site
from probes.metrics import p_value
from steering.apply import apply
from steering.interventions import Intervention
from steering.studies.imbued import imbued, takes_system
from steering.studies.personality.chance import ROUNDING

PERMUTATIONS = 999
SAFE = 1e-12


def states(
    model: Model,
    scenes: Sequence[Prompt],
    texts: Sequence[str],
    sites: Sequence[Site],
    *interventions: Intervention,
    progress: bool = True,
) -> Float[np.ndarray, "sites texts scenes d"]:
    """The state where each scene ends, after each text."""
    system = takes_system(model)
    prompts = [imbued(scene, text, system=system) for text in texts for scene in scenes]
    rows = Examples(pd.DataFrame({"prompt": prompts, "group": np.arange(len(prompts))}))
    with apply(model, *interventions):
        acts = collect(model, rows, sites=list(sites), span="prompt[-1]", progress=progress)
    return (
        torch.stack([acts[site].double().unflatten(0, (len(texts), len(scenes))) for site in acts.sites]).cpu().numpy()
    )


def products(held: Float[np.ndarray, "sites w d"], conditions: np.ndarray) -> Float[np.ndarray, "sites w w"]:
    """Inner products of the wordings' states, each less the mean of its condition, in its root mean square."""
    _, member = np.unique(conditions.astype(str), return_inverse=True)
    share = (member[:, None] == member[None]) / np.bincount(member)[member]
    centred = held - np.einsum("wv,svd->swd", share, held)
    length = np.sqrt(np.einsum("wv,sv->sw", share, (centred**2).sum(axis=2)))
    centred = centred / np.maximum(length, SAFE)[..., None]
    return np.asarray(centred @ centred.transpose(0, 2, 1))


def scores(K: Float[np.ndarray, "w w"], labels: Int[np.ndarray, "draws w"]) -> Float[np.ndarray, "draws w"]:
    """Each wording's score along the direction of the others of its condition; nan for those of label 0."""
    out = np.full(labels.shape, np.nan)
    own = np.diag(K)[None]
    for side in (1, -1):
        near, far = (labels == side).astype(float), (labels == -side).astype(float)
        n, m = near.sum(axis=1, keepdims=True) - 1, far.sum(axis=1, keepdims=True)
        to_near, to_far = near @ K, far @ K
        near_near = (to_near * near).sum(axis=1, keepdims=True) - 2 * to_near + own
        near_far = (to_near * far).sum(axis=1, keepdims=True) - to_far
        far_far = (to_far * far).sum(axis=1, keepdims=True)
        along = (to_near - own) / n - to_far / m
        middle = (near_near / n**2 - far_far / m**2) / 2
        length = near_near / n**2 - 2 * near_far / (n * m) + far_far / m**2
        out = np.where(near == 1, side * (along - middle) / np.maximum(length, SAFE), out)
    return out


def shifts(
    found: Float[np.ndarray, "draws w"], labels: Int[np.ndarray, "draws w"]
) -> tuple[Float[np.ndarray, " draws"], Float[np.ndarray, " draws"]]:
    """Mean score of high wordings less that of low ones, and that over its standard error."""
    gap, error = np.zeros(len(labels)), np.zeros(len(labels))
    for side in (1, -1):
        mine = np.where(labels == side, found, np.nan)
        n = (labels == side).sum(axis=1)
        gap, error = gap + side * np.nanmean(mine, axis=1), error + np.nanvar(mine, axis=1, ddof=1) / n
    return gap, gap / np.sqrt(error + ROUNDING * np.nanvar(found, axis=1))


def held(
    K: Float[np.ndarray, "sites w w"], labels: Int[np.ndarray, " w"], *, draws: int = PERMUTATIONS, seed: int = 0
) -> tuple[Float[np.ndarray, " sites"], int, float]:
    """The shift at every site, the place of the clearest, and its p."""
    own = [shifts(scores(each, labels[None]), labels[None]) for each in K]
    clear = np.array([t[0] for _, t in own])
    null = np.random.default_rng(seed).permuted(np.tile(labels, (draws, 1)), axis=1)
    best = np.max([shifts(scores(each, null), null)[1] for each in K], axis=0)
    return np.array([gap[0] for gap, _ in own]), int(clear.argmax()), p_value(best, float(clear.max()))


def direction(held: Float[np.ndarray, "sites w d"], labels: Int[np.ndarray, " w"]) -> Float[np.ndarray, "sites d"]:
    """c / |c|², of all wordings: projecting a difference on it counts it in differences of wordings."""
    apart = held[:, labels == 1].mean(axis=1) - held[:, labels == -1].mean(axis=1)
    return np.asarray(apart / np.maximum((apart**2).sum(axis=1, keepdims=True), SAFE))
