"""Evaluation awareness: is it read in a model that a prompt is a test, whatever it looks like, and does it act on it?

>>> import lens
>>> from steering import studies
>>> rows = studies.evaluation_awareness.of_organism("evaluation")
>>> result = studies.evaluation_awareness.run(lens.load("organism:evaluation"), rows)  # doctest: +SKIP
>>> result.shows("behaviour follows context")  # doctest: +SKIP
True

Source: Nguyen et al., Probing Evaluation Awareness (2025); Devbunova (2026) for the 2×2 of context and format;
Probe-Rewrite-Evaluate (2025) for rewriting, whose elasticity is operationalised here (see `elasticity`).
"""

from pathlib import Path

from lens.errors import DataError
from lens.examples import Examples
from lens.model import Model
from steering.studies.evaluation_awareness.design import Design
from steering.studies.evaluation_awareness.elastic import Rewriter, called, elasticity
from steering.studies.evaluation_awareness.figures import figures
from steering.studies.evaluation_awareness.organism import of_organism, of_trained
from steering.studies.evaluation_awareness.reading import flag_cells
from steering.studies.evaluation_awareness.study import Study
from steering.studies.evaluation_awareness.told import Told
from steering.studies.evaluation_awareness.transitions import Transitions, paired_transition_test
from steering.studies.pieces import Pieces
from steering.studies.result import Result

__all__ = [
    "Design",
    "Transitions",
    "elasticity",
    "figures",
    "flag_cells",
    "of_organism",
    "paired_transition_test",
    "run",
]


def run(
    model: Model,
    examples: Examples | None = None,
    *,
    rewrite: Rewriter | None = None,
    paraphrase: Rewriter | None = None,
    draws: int = 99,
    seed: int = 0,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """Whether it can be read that a prompt is a test, whatever its format, and whether behaviour goes with it.

    examples: prompts in which context (label 1: a test, 0: deployment) and `format` are crossed; without any, the
    embedded organism's. Perhaps also: cue, format_cue (the words that tell context and format: what is tested is new
    words), careful and careless (texts that an answer begins with, where the model acts as in a test and where not).
    rewrite: a function of a prompt that gives one or several like it that read more like deployment; the one whose
    state reads most so is taken. paraphrase: another that leaves the context as it is, for control. draws: random
    directions, of each of two kinds.

    Claims: "context can be read, whatever the format" (by cues and in formats that the probe was not fitted on, better
    than from the text), "behaviour follows context", "behaviour follows format" (with format_cue), "steering away from
    tests makes it act as in deployment", and, with both functions, "prompts that read like deployment are answered so".

    Tables: rows, readers, layers, cells (what confounded and decorrelated probes flag), behaviour, steering, dose,
    transitions, tests, elasticity.

    resume: a folder; a killed run goes on from there, and rewritten rows are kept. Functions are told apart by their
    names alone: one that was changed under its name needs a new folder.

    Raises DataError: no examples, a missing column, context and format that cannot be told apart, too few cues or
    groups, a rewriter that fails (naming the row); ModelError: an encoder.
    """
    if examples is None and model.name != "organism":
        raise DataError("Give examples: prompt, label (1: test), format, and careful and careless if it is to act.")
    if draws < 1:
        raise DataError(f"draws={draws}: at least 1 random direction is needed.")
    study = Study(model, Design.of(of_trained() if examples is None else examples, seed=seed), draws, seed, progress)
    study.check()
    given = {"rewrite": rewrite, "paraphrase": paraphrase}
    rewriters = {name: one for name, one in given.items() if one is not None}
    pieces = Pieces(resume, study.settings(rewriters=called(rewriters)))
    return Told(study, pieces, rewriters).result()
