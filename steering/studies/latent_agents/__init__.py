"""Latent agents: does a model keep the voices of a debate as directions, and can one be silenced without cost?

>>> import lens
>>> from steering import studies
>>> result = studies.latent_agents.run(lens.load("organism"), progress=False)  # doctest: +SKIP
>>> result.shows("mal can be suppressed")  # doctest: +SKIP
True

Source: Latent Agents / IMAD (arXiv 2604.24881), 2026; method and figures read from paper and code, all words our own.
Where the paper judges written text by a language model, the default here is the probability of known words; `generate=`
writes text and scores it by ROUGE.
"""

from collections.abc import Sequence
from pathlib import Path

from lens.errors import DataError, ModelError
from lens.model import Model
from lens.sites import Site
from lens.spans import Span
from steering.studies.latent_agents.debate import Debate
from steering.studies.latent_agents.doses import area, suppression_report
from steering.studies.latent_agents.figures import figures
from steering.studies.latent_agents.organism import of_organism, of_trained
from steering.studies.latent_agents.rouge import rouge, rouge_l, rouge_n
from steering.studies.latent_agents.study import Study
from steering.studies.latent_agents.told import Told
from steering.studies.latent_agents.vectors import AgentVectors, agent_vectors, check_items
from steering.studies.pieces import Pieces
from steering.studies.result import Result

__all__ = [
    "AgentVectors",
    "Debate",
    "agent_vectors",
    "area",
    "figures",
    "of_organism",
    "of_trained",
    "rouge",
    "rouge_l",
    "rouge_n",
    "run",
    "suppression_report",
]


def run(
    model: Model,
    debate: Debate | None = None,
    *,
    other: Model | None = None,
    sites: str | Site | Sequence[str | Site] = "resid_post",
    span: str = "response[-1]",
    strengths: Sequence[float] = (0.5, 1.0, 1.5, 2.0),
    draws: int | None = None,
    low: float = 0.1,
    loss: float = 0.05,
    paper_offset: bool = False,
    generate: int = 0,
    seed: int = 0,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """Whether each agent's vector brings its words, and whether the bad agent can be suppressed without cost.

    debate: see `Debate`; without one, that of the embedded organism. Vectors are fitted on groups that are not held
    out, and on the first round; each agent's site is chosen there, and so is the strength of suppression; claims are
    about held-out groups and later rounds. strengths: multiples of the vector as it is (see `vectors`). draws: of
    either null (see `nulls`), each with its own best site; by default 25 for every claim, less one. low: ε, how much of
    the bad agent may be left; loss: δ, how much of the right answers may be lost. other: a model to compare with, such
    as the one before it was debated. paper_offset: add where the published code adds, a block's input, what was read at
    its output. generate: also write so many tokens per text and compare them with what the agents really said.

    Claims: "AGENT's vector brings its words" for every agent, by the mean probability of its words over the strengths;
    with `bad` and `trait`, "BAD can be suppressed"; with `answers`, "suppressing BAD leaves the answer" and
    "suppressing BAD costs the answer", of which at most one is shown.

    Tables: vectors (rank, norm of the sum), gram, faithfulness, sites, nulls, and, where they apply, compared,
    suppression (with selectivity), others, crossed (way of extraction × model), read, edited, texts, text_areas.

    Raises, before anything long: DataError (no debate for a model that is not the organism; see `Debate.check`;
    strengths that are not positive and different, fewer than two; too few draws to show anything; with generate, an
    agent without items in the held-out groups), ModelError (an
    encoder), SiteError, SpanError.
    """
    if debate is None and model.name != "organism":
        raise DataError("Give a debate: Debate(items=…, words=…, speak=…); the embedded organism alone has its own.")
    for one in (model, other):
        if one is not None and one.is_encoder:
            raise ModelError(f"{one.name} is an encoder: it says nothing.")
    given = of_trained(seed=seed) if debate is None else debate
    check_items(given.items)
    doses = tuple(sorted({float(one) for one in strengths}))
    if len(doses) < 2 or not doses[0] > 0 or doses[-1] == float("inf"):
        raise DataError(f"strengths={list(strengths)}: at least two different positive numbers.")
    claims = len(given.agents) + (given.trait is not None) + 2 * (given.answers is not None)
    draws, least = 25 * claims - 1 if draws is None else draws, 20 * claims
    if draws < least:
        raise DataError(f"draws={draws}: with so many claims, fewer than {least} can show nothing.")
    if generate < 0 or not 0 <= low < 1 or not 0 < loss < 1:
        raise DataError(f"generate={generate}, low={low}, loss={loss}: no fewer than 0 tokens; shares below 1.")
    Span.parse(span)
    study = Study(model, given, sites, span, doses, draws, low, loss, paper_offset, generate, seed, progress)
    for one in (model, other):
        if one is not None:
            given.check(one)
            one.sites(sites)
    study.check()
    return Told(study, other, Pieces(resume, study.settings(other))).result()
