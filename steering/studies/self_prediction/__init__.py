"""Does a model know what it would answer better than another model that is asked the same, and does it say so?

Each question is asked twice: as it is, and as a hypothetical about a property of the answer ("would your answer begin
with a vowel?"). The same probe, in the same grouped folds, is to tell the answer's property from the activations at the
end of the hypothetical prompt: of the model itself, of another model, or from the text alone; in both directions. Where
the hypothetical is answered, the spoken prediction is held against the same.

>>> import lens
>>> from lens.organisms import constructed
>>> from steering import studies
>>> a, b = (lens.load(f"organism:prediction-{name}") for name in ("shared", "other"))  # doctest: +SKIP
>>> asked = constructed.build("prediction-shared").examples.where(ask="act", known=0)  # doctest: +SKIP
>>> result = studies.self_prediction.run(a, b, asked, options=["amber", "coral"], property="vowel")  # doctest: +SKIP
>>> result.shows("A predicts itself better than B does")  # doctest: +SKIP
True

Source: Binder et al., Looking Inward: Language Models Can Learn About Themselves by Introspection (2024). A deviation:
a linear probe on frozen models in place of finetuning on hypotheticals, so that nothing is learnt but where to look.
Song et al., Language Models Fail to Introspect About Their Knowledge of Language (2025): models that are alike predict
each other; how alike the two answer stands beside every gap.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from lens.errors import DataError
from lens.examples import Examples
from lens.model import Model
from lens.sites import Site
from probes.base import Probe
from probes.fit import name_of
from probes.folds import warn_few
from steering.studies.pieces import Pieces
from steering.studies.result import Result, judged, settings_of
from steering.studies.self_prediction.answering import (
    PROPERTIES,
    Property,
    check_questions,
    check_said,
    options_of,
    property_of,
)
from steering.studies.self_prediction.changing import follows
from steering.studies.self_prediction.figures import figures
from steering.studies.self_prediction.reading import check_folds, check_probe
from steering.studies.self_prediction.study import Study

__all__ = ["PROPERTIES", "figures", "follows", "run"]


def run(
    model: Model,
    other: Model,
    questions: Examples,
    *,
    property: str | Property = "answer",
    options: Sequence[str] | str | None = None,
    spoken: Mapping[str, str] | None = None,
    probe: str | Probe = "logistic",
    sites: str | Site | Sequence[str | Site] = "resid_post",
    folds: int = 5,
    samples: int = 0,
    max_new_tokens: int = 16,
    seed: int = 0,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """Whether `model` (A) and `other` (B) predict themselves better than each other, and whether they say so.

    questions: rows with `prompt`, the question itself, and `hypothetical`, a prompt about the answer to it; `group`:
    what must not be split across folds. Ask about questions that nobody was trained on: a memory of one's own answers
    looks like insight. property: what of the answer is predicted: a name of `PROPERTIES`, or a function of the answer
    that gives a text (None where an answer does not have it). options: the answers there are, a list or the column that
    holds a list for each row; the answer is the likeliest. Without, it is generated greedily. spoken: what is said in
    answer to a hypothetical for a value of the property (by default the value itself). samples: so many answers at
    temperature 1 say how often a generated answer has which value (of options, that is known exactly).

    Claims: "A predicts itself better than B does", "B predicts itself better than A does": by activations, above text
    and mode, and after correction for one model's being the better reader of both. "A says what it would answer", "B
    says what it would answer": above text and mode.

    Tables: accuracy (who predicts whom, with cross-entropy), layers, gaps (with the correction and its parts), spoken
    (with calibration and the mode and distribution baselines), similarity, confusion, answers. resume: a folder; a
    killed run goes on from there.

    Raises, before anything is asked: DataError (no column `hypothetical`, an unknown property, options that do not
    differ in it, fewer groups than folds, a probe without probabilities, a prompt longer than the context), ModelError
    (an encoder), SiteError. DataError after the questions are answered: a model whose answers all have one value of the
    property, or none.
    """
    found, each = property_of(property), options_of(questions, options)
    for one in (model, other):
        check_questions(one, questions, sites)
    check_probe(probe)
    check_said(found, each, spoken or {})
    check_folds(questions.groups, folds)
    if samples < 0 or max_new_tokens < 1:
        raise DataError(f"samples={samples}, max_new_tokens={max_new_tokens}: at least 0 samples and 1 token.")
    warn_few(questions.groups)
    columns = ["hypothetical", *([options] if isinstance(options, str) else [])]
    settings = settings_of(
        model,
        other=other.name,
        other_fingerprint=other.fingerprint,
        applied=[*model.applied, *other.applied],
        data=questions.hash(),
        hypotheticals=_digest(questions, columns),
        n=len(questions),
        property=property if isinstance(property, str) else getattr(property, "__qualname__", repr(property)),
        options=list(options) if options is not None and not isinstance(options, str) else options,
        spoken=dict(spoken) if spoken else None,
        probe=name_of(probe),
        sites=[[str(site) for site in one.sites(sites)] for one in (model, other)],
        folds=folds,
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    study = Study(
        models={"A": model, "B": other},
        questions=questions,
        property=found,
        options=each,
        spoken=dict(spoken or {}),
        probe=probe,
        sites=sites,
        folds=folds,
        samples=samples,
        max_new_tokens=max_new_tokens,
        seed=seed,
        pieces=Pieces(resume, settings),
        progress=progress,
    )
    claims, tables, notes = study.run()
    return Result("self_prediction", judged(claims), tables, settings, notes)


def _digest(questions: Examples, columns: Sequence[str]) -> str:
    whole = hashlib.sha256()
    for part in questions.json_lines(columns):
        whole.update(part)
    return whole.hexdigest()[:16]
