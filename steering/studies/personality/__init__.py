"""Personality: what a model says of itself, whether it does so, and whether its state holds it.

>>> import lens
>>> from steering import studies
>>> model = lens.load("organism:selfreport-detached")  # doctest: +SKIP
>>> options = studies.personality.of_organism("selfreport-detached")
>>> result = studies.personality.run(model, **options)  # doctest: +SKIP
>>> result.shows("self-report and behaviour part: persona")  # doctest: +SKIP
True

Source: Serapio-García et al., Personality Traits in Large Language Models (2023), for option log-probabilities; Han et
al., The Personality Illusion (2025), for self-report beside behaviour, here with the state beside both and each with
its null; Gupta et al., Self-Assessment Tests are Unreliable (2024), for the comparison of administrations. Which test
and which bounds those papers used was not seen where a module says so.
"""

from collections.abc import Sequence
from pathlib import Path

from lens.errors import DataError
from lens.examples import Prompt
from lens.model import Model
from lens.sites import Site
from steering.studies.imbued import chats
from steering.studies.personality import tasks
from steering.studies.personality.answering import LEAST_MASS, administer
from steering.studies.personality.behaving import Behaviour
from steering.studies.personality.conditions import Condition, conditions_from_csv
from steering.studies.personality.figures import figures
from steering.studies.personality.inventory import Inventory
from steering.studies.personality.organism import TALK, for_traits, of_organism, steered_warmth
from steering.studies.personality.reliability import administrations, cronbach_alpha, reliability
from steering.studies.personality.study import Study
from steering.studies.personality.telling import Told
from steering.studies.pieces import Pieces
from steering.studies.result import Result

SCENES = 24

__all__ = [
    "Behaviour",
    "Condition",
    "Inventory",
    "administer",
    "administrations",
    "conditions_from_csv",
    "cronbach_alpha",
    "figures",
    "for_traits",
    "of_organism",
    "reliability",
    "run",
    "steered_warmth",
    "tasks",
]


def run(
    model: Model,
    inventory: Inventory | None = None,
    *,
    conditions: Sequence[Condition] | None = None,
    behaviours: Sequence[Behaviour] = (),
    contexts: Sequence[str] = ("",),
    scenes: Sequence[Prompt] | None = None,
    sites: str | Site | Sequence[str | Site] = "resid_post",
    random_draws: int = 20,
    least_mass: float = LEAST_MASS,
    margin: float = 0.1,
    seed: int = 0,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """What a model says of itself, whether it does so, and whether its state holds it, under conditions that are to
    bring about traits: words in the prompt, or steering.

    inventory: what is asked; `Inventory.load("mini_ipip")`, `.from_csv(path)`; without, of the embedded organism, its
    own questionnaire. conditions: by default, of the five traits, six pairs of words each. behaviours: at most one for
    a trait. contexts: texts that stand before an item where no condition does (by default none). scenes: prompts at
    whose end the state is read; by default those of the behaviours, or six questions. random_draws: directions of the
    same norm beside every steered one. least_mass: what has to be left on the options for an answer to count. margin:
    a shift below this share of the range is none.

    Claims, for every condition: "self-report follows NAME", "behaviour follows NAME", "state holds NAME", and
    "self-report and behaviour part: NAME", where one follows and the other stays within the margin. Of the model:
    "agrees with everything", "takes the option printed first". Shifts are shares of the range; of the state, of the
    distance between the wordings that the direction was fitted on.

    Tables: shifts (every condition on every trait), reliability, administrations, wordings, sites, random, answers.
    resume: a folder; a killed run goes on from there.

    Raises, before anything is asked: DataError (no inventory; a condition for a trait that nobody measures; prompts
    longer than the context; and what `Study.check` says), ModelError (an encoder), SiteError.
    """
    conditions = None if conditions is None else list(conditions)
    if inventory is None:
        if model.name != "organism":
            raise DataError(
                "Give an inventory: Inventory.load('mini_ipip'), Inventory.load('ipip_neo_120'), or "
                "Inventory.from_csv(path) with columns text, trait and key (1, or −1 where reverse-keyed)."
            )
        own = of_organism()
        inventory, behaviours = own["inventory"], behaviours or own["behaviours"]
        conditions = (
            [*own["conditions"], steered_warmth(model, progress=progress)] if conditions is None else conditions
        )
    if conditions is None:
        conditions = for_traits(inventory)
    if scenes is None:
        scenes = [prompt for one in behaviours for prompt in one.prompts]
        # So many say enough of a state, spread over all.
        scenes = scenes[:: -(-len(scenes) // SCENES) or 1]
        scenes = scenes or [[{"role": "user", "content": one}] if chats(model) else one for one in TALK]
    study = Study(
        model=model,
        inventory=inventory,
        conditions=conditions,
        behaviours=list(behaviours),
        contexts=list(contexts),
        scenes=list(scenes),
        sites=model.sites(sites),
        random_draws=random_draws,
        least_mass=least_mass,
        margin=margin,
        seed=seed,
        progress=progress,
    )
    study.check()
    return Told(study, Pieces(resume, study.settings())).result()
