"""Fixtures: one tiny model per family for the whole session. A test that changes a model makes its own."""

# ruff: noqa: E402

import functools
import os
import warnings

# The models are so small that threads would only wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

# Every annotation of the packages is checked at run time. Here rather than as pytest's --jaxtyping-packages, which
# cannot be given a configured checker for three packages.
install_import_hook(["lens", "probes", "steering"], "checker.checked")

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import transformers
from hypothesis import HealthCheck, settings

import lens

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
settings.register_profile(
    "light",
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("light")


@functools.cache
def _model(family: str) -> lens.Model:
    return lens.wrap(*(tiny.encoder() if family == "bert" else tiny.hugging_face(family)), name=family)


@pytest.fixture(scope="session")
def models():
    """`models("llama")`: the session's model of a family; not to be changed."""
    return _model


@pytest.fixture(params=tiny.FAMILIES)
def model(request) -> lens.Model:
    """Every main family in turn."""
    return _model(request.param)


@pytest.fixture
def llama() -> lens.Model:
    return _model("llama")


@pytest.fixture
def gpt2() -> lens.Model:
    return _model("gpt2")


@pytest.fixture
def examples() -> lens.Examples:
    return lens.Examples.from_texts(tiny.TEXTS)


@pytest.fixture(scope="session")
def planted():
    """`planted(signal={layer: size}, ...)`: activations whose truth is known (see `_planted`)."""
    return _planted


def _planted(
    *,
    signal: dict[int, float] | None = None,
    groups: int = 30,
    per_group: int = 4,
    width: int = 16,
    layers: int = 3,
    seed: int = 0,
    texts: list[str] | None = None,
    fingerprint: str = "planted",
) -> lens.Activations:
    """Gaussian noise of unit variance, with label 1 shifted by `signal[layer]` along the first coordinate of that
    layer. Labels alternate within each group. Texts say nothing about the labels unless given."""
    rng = np.random.default_rng(seed)
    n = groups * per_group
    labels = np.tile([0, 1], n // 2)
    arrays = {}
    for layer in range(layers):
        noise = rng.standard_normal((n, width))
        noise[:, 0] += labels * (signal or {}).get(layer, 0.0)
        arrays[lens.Site("resid_post", layer)] = torch.from_numpy(noise).float()
    words = texts if texts is not None else [f"word{k}" for k in rng.integers(0, 5, n)]
    frame = pd.DataFrame({"prompt": words, "label": labels, "group": np.repeat(np.arange(groups), per_group)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = lens.Examples(frame)
    norms = {site: array.norm(dim=1) for site, array in arrays.items()}
    source = lens.activations.Source("planted", fingerprint, "prompt[-1]", "mean", table.hash(), {})
    return lens.Activations(arrays, norms, table, source)
