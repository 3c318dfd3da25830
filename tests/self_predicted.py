"""Self-prediction without models: evidence as the study gathers it, from arrays whose truth is known."""

import numpy as np
import pandas as pd

from steering.studies.result import judged
from steering.studies.self_prediction.comparing import MODELS, claims
from steering.studies.self_prediction.reading import folds_of, read, read_texts
from steering.studies.self_prediction.tabling import Evidence, Target

SIGNAL = 1.2
NO_TEXT = pd.DataFrame({"target": [], "site": [], "chosen": [], "row": [], "predicted": []})


def evidence(seed, holds, *, groups=30, width=4, sites=2, texts=True):
    """holds[model]: whose answers its activations hold (with much noise). Texts and what is said are random. Without
    texts there is less to be beaten: a stricter test of false positives."""
    rng = np.random.default_rng(seed)
    names = np.arange(groups).astype(str)
    codes = {model: rng.permutation(np.arange(groups) % 2) for model in MODELS}
    arrays = {}
    for model in MODELS:
        arrays[model] = {f"site {number}": rng.standard_normal((groups, width)) for number in range(sites)}
        for array in arrays[model].values():
            for place, target in enumerate(MODELS):
                array[:, place] += SIGNAL * (2 * codes[target] - 1) * (target in holds[model])
    words = [" ".join(rng.choice(list("abcdefgh"), 4)) for _ in range(groups)]
    targets = {model: Target(["no", "yes"], codes[model], folds_of(codes[model], names, 3, seed)) for model in MODELS}

    def each(make):
        return pd.concat([make(one).assign(target=model) for model, one in targets.items()], ignore_index=True)

    return Evidence(
        targets=targets,
        groups=names,
        activations={model: each(lambda one, m=model: read(arrays[m], one.codes, one.plan, 2)) for model in MODELS},
        texts=each(lambda one: read_texts(words, one.codes, one.plan, 2, "logistic")) if texts else NO_TEXT,
        said={model: rng.dirichlet([1, 1], groups) for model in MODELS},
        answers={},
        seed=seed,
    )


def judged_of(found):
    made, _ = claims(found.read_right, found.plain_right, found.said_right, found.groups, found.seed)
    return judged(made)
