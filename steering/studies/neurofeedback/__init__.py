"""Can a model report, and can it control, where its own activations lie on an axis that it knows by scores alone?

>>> import lens
>>> from steering import studies
>>> result = studies.neurofeedback.run(lens.load("organism:neurofeedback"))  # doctest: +SKIP
>>> result.shows("reports open")  # doctest: +SKIP
True

A model is shown sentences with labels: its own activations' scores on an axis. Reporting: it gives the label of the
next sentence. Control: it is asked to answer with a sentence of a label (explicit), or a given sentence stands in that
place (implicit), and what is measured is where its activations go. Labels are shown as they are and flipped.

Source: Ji-An, Xiong, Wilson, Mattar & Benna, Language Models Are Capable of Metacognitive Monitoring and Control of
Their Internal Activations (2025).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lens.examples import Examples
from lens.intervals import FEW_GROUPS
from lens.model import Model
from lens.sites import Site
from lens.tokens import render
from steering.studies.neurofeedback.axes import Asked, flat_axes
from steering.studies.neurofeedback.figures import figures
from steering.studies.neurofeedback.forms import Chat, Form, Shot
from steering.studies.neurofeedback.labels import Threshold
from steering.studies.neurofeedback.own import own
from steering.studies.neurofeedback.phases import Bench
from steering.studies.neurofeedback.plan import Plan, planned
from steering.studies.neurofeedback.tables import Gathered
from steering.studies.pieces import Pieces
from steering.studies.result import Result, settings_of

__all__ = ["Chat", "Form", "Shot", "figures", "own", "run"]


def run(
    model: Model,
    sentences: Examples | None = None,
    axes: Asked | None = None,
    *,
    shots: Sequence[int] | None = None,
    sites: str | Site | Sequence[str | Site] = "resid_post",
    episodes: int | None = None,
    form: Any = None,
    threshold: Threshold | None = None,
    labels: Model | None = None,
    temperature: float = 0.7,
    seed: int = 0,
    resume: str | Path | None = None,
    progress: bool = True,
) -> Result:
    """Which axes of its activations a model reports, and which it controls.

    sentences: a sentence in each prompt (a text), and a 0/1 label for the axis `logistic`; by default the organism's
    own, in its own words. axes: "logistic", "pc" (components 1, 2, 4, 8, 32, 128, 512, as far as there are so many),
    "pc3", "random", Directions, or a dictionary by name of a Direction each (or of several, at several sites). shots:
    how many examples stand before a report; by default 0 to 64, as far as the context goes. Control has the largest
    number. episodes: reports and experiments that count, for each axis; 100 unless told (40 on an organism's own
    sentences). form: how an episode is written (see `forms`); by default a chat. threshold: "median" (default), "zero",
    or an even number of levels. labels: another model, whose activations of the same sentences give axes and labels:
    what is told of them is no report of own activations (and there is no control). temperature: of replies.

    Axes are fitted on half of the sentences, by groups; each axis' site is chosen on a third of the others, for reports
    and for each kind of control; claims are tested on the rest. An axis is shown to be

        reported      where accuracy beats permuted labels, a bag of words that learns from the same labels, and one
                      that learns from all other sentences (otherwise the report is not privileged: the text gives it)
        controlled    where d > 0, beyond swaps of what was asked, and beyond random mixtures of principal components

    Tables: axes, sites, reporting, told, control, spread, cosines, space, dimension, replies.

    Raises, before anything long runs: DataError (an unknown axis or threshold, a component above the rank, labels of
    one kind, more shots than fit the context or the data), ModelError (an encoder; no chat template and no form; labels
    that are no tokens of their own), SiteError. ArtifactError: a Direction of another model; `resume` holds another
    run.
    """
    plan = planned(
        model,
        sentences,
        axes=axes,
        shots=shots,
        sites=sites,
        episodes=episodes,
        form=form,
        threshold=threshold,
        labels=labels,
        temperature=temperature,
        seed=seed,
        progress=progress,
    )
    settings = _settings(plan)
    pieces = Pieces(resume, settings)
    bench = Bench.of(plan)
    gathered = Gathered(plan)
    gathered.axes = bench.described()
    for number, name in enumerate(bench.axes):
        gathered.sites.append(pieces.table(f"sites-{number}", lambda name=name: bench.chosen(name)))  # type: ignore[misc]
        site = gathered.chosen(name, "reports")
        drawn = bench.tested(name, site)
        kept = pieces.table(
            f"reports-{number}",
            lambda name=name, site=site: _flat(bench.reported(name, site)),  # type: ignore[misc]
        )
        gathered.report(name, site, drawn, _square(kept, plan, drawn.index.shape[0]))
        for kind in plan.kinds:
            there = gathered.chosen(name, kind)
            gathered.control.append(
                pieces.table(
                    f"{kind}-{number}",
                    lambda name=name, kind=kind, there=there: pd.DataFrame([bench.controlled(name, there, kind)]),  # type: ignore[misc]
                )
            )
    drawn = bench.shuffled()
    kept = pieces.table("shuffled", lambda: _flat({"shuffled labels": bench.answers(drawn)}))
    gathered.null(drawn, _square(kept, plan, len(drawn.index))["shuffled labels"])
    tables = gathered.tables()
    return Result("neurofeedback", gathered.claims(), tables, settings, _notes(plan, tables["told"], gathered.control))


def _flat(p: dict[str, Float[np.ndarray, "*flips episodes places levels"]]) -> pd.DataFrame:
    """Probabilities as a table: one row per answer, in order."""
    parts = []
    for arm, values in p.items():
        flat = values.reshape(-1, values.shape[-1])
        parts.append(pd.DataFrame(flat, columns=[f"p{level}" for level in range(flat.shape[1])]).assign(arm=arm))
    return pd.concat(parts, ignore_index=True)


def _square(table: pd.DataFrame, plan: Plan, episodes: int) -> dict[str, Any]:
    """What `_flat` made a table of: [flips, episodes, places, levels], one flip for learners."""
    columns = [f"p{level}" for level in range(plan.levels)]
    return {
        str(arm): part[columns].to_numpy(dtype=float).reshape(-1, episodes, len(plan.places), plan.levels)
        for arm, part in table.groupby("arm", sort=False)
    }


def _settings(plan: Plan) -> dict[str, Any]:
    asked = plan.asked if isinstance(plan.asked, dict) else {}
    told = plan.form.report([(plan.sentences[0], 0), (plan.sentences[-1], 1)], plan.sentences[0])
    return settings_of(
        plan.model,
        sentences=plan.examples.hash(whole=True),
        n=len(plan.examples),
        axes=list(asked) or [one if isinstance(one, str) else repr(one) for one in flat_axes(plan.asked)],
        directions=_digest(plan.asked),
        shots=list(plan.shots),
        sites=[str(site) for site in plan.sites],
        episodes=plan.episodes,
        form=render(plan.model.tokenizer, told)[0],
        control=list(plan.kinds),
        threshold=plan.threshold,
        labels_of=plan.source.name,
        labels_fingerprint=plan.source.fingerprint,
        temperature=plan.temperature,
        seed=plan.seed,
    )


def _digest(asked: Asked) -> str:
    """What tells given Directions from others."""
    whole = hashlib.sha256()
    for one in flat_axes(asked):
        whole.update(one.encode() if isinstance(one, str) else str(one.site).encode() + one.vector.numpy().tobytes())
    return whole.hexdigest()[:16]


def _notes(plan: Plan, rows: pd.DataFrame, control: list[pd.DataFrame]) -> tuple[str, ...]:
    notes = []
    told = rows[rows["told"] & ~rows["privileged"]]["axis"].tolist()
    if told:
        notes.append(
            f"Not privileged: {', '.join(told)}. The labels are told better than chance, but not better than a bag of "
            "words tells them: the text gives them away."
        )
    if plan.source is not plan.model:
        notes.append(
            f"Labels are scores of the activations of {plan.source.name}: no report is one of own activations."
        )
    elif not plan.kinds:
        notes.append("The form is a plain function and asks for reports only: control was not measured.")
    groups = len(set(map(str, plan.examples.groups[plan.test])))
    if groups < FEW_GROUPS:
        notes.append(f"Only {groups} groups are tested: intervals are too narrow below {FEW_GROUPS}; go by p.")
    if plan.kinds:
        notes.append(
            "d is that of sums of two replies (labels as they are, and flipped), √2 times that of single replies."
        )
    missing = sum(int(one["missing"].sum()) for one in control)
    if missing:
        notes.append(f"{missing} experiments were left out, because a reply was empty.")
    return tuple(notes)
