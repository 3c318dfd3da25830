"""What the tests of Model Surgery on the organisms share: the fitted probe, the operation, and its two measures."""

import functools

import numpy as np
from built import made

import lens
import probes
import steering
from lens.organisms.constructed.surgery import ROWS
from steering import Surgery

STRIKES = steering.measures.option("strikes", "waits")
EVEN = steering.measures.option("{correct}", "{incorrect}")
STEP = 3.0  # alpha · ‖w‖ at which all planted gates stand open


@functools.cache
def fitted(name, seed=None, method="mean_difference"):
    """A probe at the input of the planted block; with a seed, fitted on shuffled labels."""
    organism, model = made(name)
    examples = organism.examples.where(ask="act")
    if seed is not None:
        shuffled = np.random.default_rng(seed).permutation(examples.frame["label"])
        examples = lens.Examples(examples.frame.assign(label=shuffled))
    acts = lens.collect(model, examples, sites=["resid_post.1"], progress=False)
    return probes.fit(acts, "resid_post.1", method)


def probe(name, seed=None):
    """The direction of `fitted`."""
    return fitted(name, seed).direction


def operate(name, seed=None, **settings):
    """Surgery by the fitted probe, so strong that the planted gates open."""
    found = probe(name, seed)
    return Surgery(found, rows=ROWS, alpha=STEP / found.norm, **settings)
