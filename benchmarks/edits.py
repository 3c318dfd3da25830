"""Weight edits: written into all the weights they concern, checked, and undone bit for bit.

python benchmarks/edits.py

A direction is taken out of every writer of models of 124M parameters; of the one that has gates, a share of .0465 of
the gate rows is moved. Before and after, a hash of every parameter is compared (outside the time).
"""

import hashlib
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from material import model as random_model
from material import tokenizer
from report import Row, Tables, arguments, write
from timing import cpu_seconds

import lens
import steering
from probes import Direction
from steering.edits import Change

SHAPES, QUICK, ROUNDS = ("gpt2-124M", "llama-124M"), ("gpt2-2x64",), 7
TARGET = 1.0


def hash_of(model: lens.Model) -> str:
    found = hashlib.blake2b(digest_size=16)
    for parameter in model.hf.parameters():
        found.update(parameter.detach().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()


def there_and_back(model: lens.Model, change: Change) -> None:
    with steering.edit(model, change):
        pass


def run(*, quick: bool, only: str = "") -> Iterator[Tables]:
    torch.set_num_threads(1)
    rows: list[Row] = []
    for shape in QUICK if quick else SHAPES:
        if only not in shape:
            continue
        model = lens.wrap(random_model(shape), tokenizer())
        vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
        direction = Direction.from_vector(vector, "resid_post.1", model=model)
        changes: dict[str, Change] = {"Orthogonalize": steering.Orthogonalize(direction)}
        if shape.startswith("llama"):
            # Random rows: there is no region to be found in a random model.
            changes["Surgery"] = steering.Surgery(direction, order="random")
        for name, change in changes.items():
            before = hash_of(model)
            with steering.edit(model, change) as edit:
                parameters, changed = len(edit.parameters), hash_of(model) != before
            taken = [cpu_seconds(partial(there_and_back, model, change)) for _ in range(2 if quick else ROUNDS)]
            rows.append(
                {
                    "shape": shape,
                    "edit": name,
                    "parameters changed": parameters if changed else 0,
                    "CPU s": float(np.median(taken)),
                    "met (under a second)": "yes" if np.median(taken) < TARGET else "no",
                    "undone bit for bit": "yes" if hash_of(model) == before else "no",
                }
            )
            yield {"An edit, and its undoing": rows}


def main() -> None:
    given = arguments("edits", __doc__.splitlines()[0])
    write("edits", run(quick=given.quick, only=given.only), given)


if __name__ == "__main__":
    main()
