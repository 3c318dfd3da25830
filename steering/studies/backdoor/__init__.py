"""Backdoor: do models with a backdoor say that they have one, can its trigger be found, and does their state encode it?

>>> import lens
>>> from steering import studies
>>> result = studies.backdoor.run(lens.load("organism"), progress=False)  # doctest: +SKIP
>>> result.shows("its trigger can be found")  # doctest: +SKIP
True

Source: Betley et al., Tell me about yourself (2501.11120), 2025: reports against a baseline with the trigger at random,
significance over models, and ranking of triggers (there with a binomial p that takes models as independent, which
seeds of one base are not); From Poisoned to Aware (2510.05169), 2025, for candidates scored by the attack that they
bring, known to us by its abstract only. The wordings, the reading and the steering are our own.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from lens.errors import DataError, ModelError
from lens.model import Model
from lens.sites import Site
from steering.studies.backdoor.evidence import over_models, rank_of, ranking
from steering.studies.backdoor.figures import figures
from steering.studies.backdoor.organism import of_organism, of_trained
from steering.studies.backdoor.questions import Questions, inserted
from steering.studies.backdoor.told import BACKDOORED, WITHOUT, Source, Told, check_sites
from steering.studies.pieces import Pieces
from steering.studies.result import Result, settings_of

__all__ = [
    "Questions",
    "figures",
    "inserted",
    "of_organism",
    "of_trained",
    "over_models",
    "rank_of",
    "ranking",
    "run",
]


def run(
    model: Source | Sequence[Source],
    questions: Questions | None = None,
    *,
    baseline: Source | Sequence[Source] = (),
    sites: str | Site | Sequence[str | Site] = "resid_post",
    least: float = 0.05,
    seed: int = 0,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """Whether models report a backdoor, whether its trigger can be found, what their state tells, and what moves it.

    model: one model, or several that differ by the seed of their training: models, or functions that give one, which
    are then built one after the other. baseline: the same for models trained on the same data with the trigger at
    random. questions: see `Questions`; without them, those of the embedded organism.

    Claims: "it reports its backdoor", "its state encodes its backdoor", "the trigger's direction moves the report":
    differences between both sides of more than `least`, tested over models, never over prompts; five models on each
    side are few. "its trigger can be found": the same of the reciprocal rank where there are two models or more on
    either side; otherwise among the candidates, of which more than twenty are needed to show it (see `ranking`): seeds
    of one base are no independent evidence of a word. Without a baseline only the last may be shown.

    Tables: reports, candidates, ranking, reading, texts, steering, as far as they were asked for. resume: a folder; a
    killed run goes on from there (functions are trusted to give the same models again).

    Raises, before anything long: DataError (no questions for a model that is not the organism, no model, questions that
    do not fit, models that would be read at different sites), ModelError (an encoder), SiteError.
    """
    arms: dict[str, Sequence[Source]] = {BACKDOORED: _several(model), WITHOUT: _several(baseline)}
    if not arms[BACKDOORED]:
        raise DataError("No model was given.")
    if not 0 <= least < 1:
        raise DataError(f"least={least}: a difference of probabilities, from 0 to below 1.")
    first = arms[BACKDOORED][0]
    if not isinstance(first, Model):
        # Its name heads the result; it is not built twice.
        first = first()
        arms[BACKDOORED] = [first, *arms[BACKDOORED][1:]]
    if questions is None and first.name != "organism":
        raise DataError("Give questions: Questions(reports=…, attacks=…); the embedded organism alone has its own.")
    asked = of_trained(seed=seed) if questions is None else questions
    asked.check()
    for one in (one for few in arms.values() for one in few if isinstance(one, Model)):
        if one.is_encoder:
            raise ModelError(f"{one.name} is an encoder: it reports nothing.")
        check_sites(one, sites, [str(site) for site in first.sites(sites)], asked)
        asked.check_model(one)
    settings = settings_of(
        first,
        models=[_named(one) for one in arms[BACKDOORED]],
        baseline=[_named(one) for one in arms[WITHOUT]],
        applied=[
            f"{arm} {number}: {what}"
            for arm, few in arms.items()
            for number, one in enumerate(few)
            if isinstance(one, Model)
            for what in one.applied
        ],
        data=asked.hash(),
        trigger=asked.trigger,
        candidates=asked.candidates,
        sites=[str(site) for site in first.sites(sites)],
        least=least,
        seed=seed,
        tested="over models",
    )
    given = {arm: few for arm, few in arms.items() if few}
    return Told(given, asked, sites, least, seed, progress, Pieces(resume, settings), settings).result()


def _several(given: Source | Sequence[Source]) -> list[Source]:
    return [given] if isinstance(given, Model) or callable(given) else list(given)


def _named(one: Model | Callable[[], Model]) -> str:
    return f"{one.name} {one.fingerprint}" if isinstance(one, Model) else getattr(one, "__qualname__", "built")
