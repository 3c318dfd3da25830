"""Self-knowledge: what a model knows, whether its state tells so before it answers, and whether it says so.

>>> import lens
>>> from steering import studies
>>> result = studies.self_knowledge.run(lens.load("organism"), progress=False)  # doctest: +SKIP
>>> result.shows("P(IK) can be read")  # doctest: +SKIP
True

Source: Kadavath et al., Language Models (Mostly) Know What They Know (2022), with a linear probe on a frozen model in
place of a trained value head; Yang et al. (2024) for revision; Burns (2025) for DCS.
"""

from pathlib import Path

from lens.errors import DataError, ModelError
from lens.examples import Examples
from lens.model import Model
from steering.studies.pieces import Pieces
from steering.studies.result import Result
from steering.studies.self_knowledge.abstention import abstention_rates, boundary_probe, dcs
from steering.studies.self_knowledge.calibration import calibration, temperature_fit
from steering.studies.self_knowledge.figures import figures
from steering.studies.self_knowledge.questions import Questions, of_organism
from steering.studies.self_knowledge.revision import revision
from steering.studies.self_knowledge.stated import p_true, verbalised
from steering.studies.self_knowledge.study import Study
from steering.studies.self_knowledge.told import Told

__all__ = [
    "Questions",
    "abstention_rates",
    "boundary_probe",
    "calibration",
    "dcs",
    "figures",
    "of_organism",
    "p_true",
    "revision",
    "run",
    "temperature_fit",
    "verbalised",
]


def run(
    model: Model,
    questions: Examples | None = None,
    *,
    other: Model | None = None,
    folds: int = 5,
    C: float = 1.0,
    shots: int | None = None,
    again: bool = True,
    seed: int = 0,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """What a model knows, whether that can be read from its state, and whether it says so.

    questions: rows as `Questions` has them; without any, the persons that the embedded organism knows. What a model
    knows of a question is P(right) among its answers, and a question is known where that is above a half.

    Claims: "P(IK) can be read", where the question ends, on new groups and better than from the text. "it says what it
    knows". With a column `topic`, "P(IK) carries over to new topics"; with a column `context`, that each context
    changes what it says, against `plain`; with `other`, a model that is asked the same, "its own state tells more than
    another model's"; with `shots`, P(True) after so many examples: "it tells right answers from wrong ones".

    Tables: knowledge, layers, texts, calibration, curve, temperature, revision (CL, CS, RSS; with `again`), and, where
    they apply, dcs, contexts, topics, models, p_true. resume: a folder; a killed run goes on from there.

    Raises DataError: no questions, a missing column, all questions known or none, fewer groups than folds; ModelError:
    an encoder.
    """
    if questions is None and model.name != "organism":
        raise DataError(
            "Give questions: Examples with a prompt, the right answer and a list of wrong ones in each row."
        )
    for one in (model, other):
        if one is not None and one.is_encoder:
            raise ModelError(f"{one.name} is an encoder: it answers nothing.")
    asked = of_organism() if questions is None else Questions.of(questions)
    study = Study(model, other, asked, folds, C, shots, again, seed, progress)
    study.check()
    return Told(study, Pieces(resume, study.settings())).result()
