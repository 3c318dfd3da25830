"""Injected thoughts: does a model notice a concept that is put into its activations, and can it say which one?

>>> import lens
>>> from steering import studies
>>> result = studies.injected_thoughts.run(lens.load("Qwen/Qwen3-0.6B"))  # doctest: +SKIP
>>> result.shows("detects injected thoughts")  # doctest: +SKIP

Source: Lindsey, Emergent introspective awareness in large language models (2025). Words, prompts and scoring rules are
our own; where the paper has a language model judge replies, give one as `score=`.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lens.errors import DataError, ModelError, available
from lens.examples import Prompt
from lens.model import Model
from lens.sites import Site
from probes.direction import Direction
from steering.studies.injected_thoughts import trials as trial_plans
from steering.studies.injected_thoughts.asking import Asker
from steering.studies.injected_thoughts.organism import of_organism
from steering.studies.injected_thoughts.pictures import figures
from steering.studies.injected_thoughts.psychometric import Psychometric, psychometric_fit
from steering.studies.injected_thoughts.questions import TELL, Questions, published
from steering.studies.injected_thoughts.scoring import Judge, Score, score_reply
from steering.studies.injected_thoughts.study import Study
from steering.studies.injected_thoughts.vectors import (
    FEWEST_WORDS,
    Concepts,
    concept_vectors,
    given,
    spelled,
    usual_sites,
)
from steering.studies.injected_thoughts.words import BASELINE, WORDS
from steering.studies.pieces import Pieces
from steering.studies.result import Result, judged

__all__ = [
    "BASELINE",
    "WORDS",
    "Psychometric",
    "Questions",
    "Score",
    "concept_vectors",
    "figures",
    "of_organism",
    "psychometric_fit",
    "run",
    "score_reply",
]


def run(
    model: Model,
    *,
    concepts: Sequence[str] | Mapping[str, Direction | Mapping[Site, Direction]] = WORDS,
    baseline: Sequence[str] = BASELINE,
    sites: str | Site | Sequence[str | Site] | None = None,
    strengths: Sequence[float] = (1, 2, 4, 8),
    trials: int = 50,
    asked: Questions | None = None,
    score: str | Judge = "rules",
    temperature: float = 1.0,
    random_draws: int = 10,
    seed: int = 0,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """Inject concepts into a model's activations and ask whether it notices a thought, and which.

    concepts: words, whose vectors are made here (see `concept_vectors`, beside `baseline` words), or directions by
    name. sites: where, by default four depths, or the directions' own. strengths: multiples of the raw vector. trials:
    in each cell of site and strength, every concept equally often. asked: what is asked; by default the published
    experiment in our own words, as chat messages. score: `rules` (see `score_reply`), or a judge, `judge(reply, word)`
    that gives a `Score` or a mapping with its fields; where it fails (a ValueError, TypeError, LookupError, OSError, …)
    or says something else, the reply is missing, and counted. temperature: 0 is greedy, where the same question has the
    same answer. random_draws: random directions of the same norm for each concept.

    The site and strength with the most true positives above false ones are chosen on one half of the concepts (of the
    rounds, if there are fewer than eight), and claims are about the other half.

    Raises, before anything long: ModelError (an encoder; no chat template and no questions of your own), DataError
    (too few concepts, trials, wordings; a strength that is no positive number; a prompt too long), SiteError,
    ArtifactError (a direction of another model; `resume` holds another run).
    """
    if model.is_encoder:
        raise ModelError(f"{model.name} is an encoder: it says nothing of what it notices.")
    asked = published(model) if asked is None else asked
    asked.check(model)
    judge = _judge(score)
    doses = sorted({float(one) for one in strengths})
    if not doses or not all(math.isfinite(one) and one > 0 for one in doses):
        raise DataError(f"Strengths are positive multiples of the vector; given: {available(strengths)}.")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise DataError(f"temperature={temperature}: 0 (greedy) or a positive number.")
    if random_draws < 1:
        raise DataError(f"random_draws={random_draws}: at least one random direction stands beside each concept.")
    where = None if sites is None else model.sites(sites)
    deterministic = temperature == 0 or asked.by == "options"
    names, left_out = _names(model, concepts, asked.tell or TELL)
    base = trial_plans.design(names, trials, len(asked.trial), deterministic=deterministic, seed=seed)
    asker = Asker(
        model,
        asked,
        _vectors(model, concepts, names, baseline, where, asked, progress),
        judge,
        temperature,
        seed,
        progress=progress,
    )
    talks = bool(getattr(model.tokenizer, "chat_template", None)) and asked.by == "text"
    study = Study(asker, base, doses, random_draws, talks)
    settings = study.settings()
    claims, tables, notes = study.run(Pieces(resume, settings))
    if left_out:
        notes = (*notes, f"Left out, as the tokenizer cannot spell them: {available(left_out, 60)}.")
    return Result("injected_thoughts", judged(claims), tables, settings, notes)


def _judge(score: str | Judge) -> Judge | None:
    if score == "rules":
        return None
    if not callable(score):
        raise DataError(f"score={score!r}: 'rules', or a function judge(reply, word).")
    return score


def _names(model: Model, concepts: Any, tell: Prompt) -> tuple[list[str], list[str]]:
    """The concepts that can be used, and those that cannot."""
    if isinstance(concepts, str):
        raise DataError(f"Concepts are a list of words, or directions by name; given: {concepts!r}.")
    if isinstance(concepts, Mapping):
        return list(concepts), []
    words = list(dict.fromkeys(concepts))
    known = spelled(model, words, tell)
    if len(known) < min(FEWEST_WORDS, len(words)) or len(known) < 2:
        raise DataError(
            f"The tokenizer of {model.name} can spell {len(known)} of the {len(words)} words ({available(known)}); "
            "give concepts=[…] that it knows, at least two."
        )
    return known, [word for word in words if word not in known]


def _vectors(
    model: Model,
    concepts: Any,
    names: list[str],
    baseline: Sequence[str],
    where: list[Site] | None,
    asked: Questions,
    progress: bool,
) -> Concepts:
    if isinstance(concepts, Mapping):
        return given(concepts, model, where)
    places = usual_sites(model) if where is None else where
    tell = asked.tell or TELL
    known = spelled(model, [word for word in baseline if word not in names], tell)
    return concept_vectors(model, names, known, places, tell=tell, progress=progress)
