"""Questions for models that know nothing."""

import numpy as np
import pandas as pd

import lens


def asked(count: int, seed: int, *, chat: bool = False) -> lens.Examples:
    """Questions in the words of the tiny models, with answers at random."""
    rng = np.random.default_rng(seed)
    words = ["the", "quick", "brown", "fox", "she", "lied", "about", "money", "was", "that"]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(count)]
    answers = [rng.permutation([" yes", " no"]).tolist() for _ in texts]
    prompts = [[{"role": "user", "content": text}] for text in texts] if chat else texts
    frame = pd.DataFrame(
        {
            "prompt": prompts,
            "right": [few[0] for few in answers],
            "wrong": [few[1:] for few in answers],
            "group": range(count),
            "sure": [f"{text} that was" for text in texts],
        }
    )
    return lens.Examples(frame.drop(columns="sure") if chat else frame)
