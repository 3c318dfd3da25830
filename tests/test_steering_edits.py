"""The facts on which edits of the weights are reported are none that a direction was fitted or chosen on."""

import importlib.util
from pathlib import Path

import lens
from steering.demo.behaviours import Parts

FILE = Path(__file__).parents[1] / "docs" / "steering_edits.py"


def test_reported_facts_are_of_no_other_part():
    spec = importlib.util.spec_from_file_location("steering_edits", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for seed in range(3):
        parts = Parts.of(lens.data.load("honesty"), seed=seed)
        chosen_on, told = module.questions(seed=seed)
        fitted = set(parts.train.groups) | set(parts.validation.groups)
        assert set(told["facts"].frame["cue"]) == set(chosen_on.frame["cue"]) == {"none"}
        assert not set(told["facts"].groups) & fitted and set(told["facts"].groups) <= set(parts.test.groups)
        assert not set(chosen_on.groups) & (set(parts.train.groups) | set(parts.test.groups))
