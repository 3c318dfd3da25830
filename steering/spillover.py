"""Spillover: steer one direction, read all the others."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from lens.collect import collect
from lens.errors import DataError, SiteError, SpanError, available
from lens.examples import Examples
from lens.intervals import FEW_GROUPS
from lens.model import Model
from lens.spans import Span
from lens.tokens import span_bounds
from probes.direction import Direction
from probes.metrics import adjust
from steering.apply import apply
from steering.dosing import Doses
from steering.interventions import DEFAULT_SPAN, Add, Unit
from steering.measures import Measure
from steering.paired import paired

LEVEL = 0.05


def spillover(
    model: Model,
    directions: Mapping[str, Direction],
    examples: Examples | Mapping[str, Examples],
    measures: Mapping[str, Measure] | None = None,
    *,
    probes: Mapping[str, Direction] | None = None,
    strength: float | Mapping[str, float] = 1.0,
    unit: Unit = "norm",
    span: str = DEFAULT_SPAN,
    read: str = "prompt[-1]",
    random_draws: int = 19,
    seed: int = 0,
    batch_tokens: int = 8192,
    other_model: bool = False,
    progress: bool = True,
) -> pd.DataFrame:
    """Add each direction in turn and read every measure and every probe: what else did it move?

        change(A → B) = mean over rows of B(row with strength_A · A) − B(row unsteered)

    Rows unsteered, steered, and steered along random directions of the same norm are of one run, in the same batches.

    directions: what is steered, by name. strength: one for all, or one each. measures: what is read from answers.
    probes: what is read from activations at `read`: the projection on the direction at its own site, in `unit`, as
    strengths are; at the site that is steered this is strength · cosine, the Gram matrix of the directions. examples:
    the rows to read on, the same for all or those of each measure and probe by its name.

    One row per pair (steered, read): kind (measure or probe); before, after, change; low, high: cluster-bootstrap 95 %
    interval over groups; p: sign flips over groups; p_holm: adjusted over the whole table; random_low, random_high:
    the range of the mean change by random directions; clear: p_holm < .05 (something changed), and by more than by any
    random direction, either way (more than any push changes; by chance 1 time in draws + 1); coherence and kl of the
    steered rows, as in `dose_response`; n, missing: rows with both values, and without; reason: why there is no value.
    A probe at a site before the steered one cannot see it: its row is nan, with that reason.

    Raises, before anything runs: DataError (nothing to steer or to read, a name without its strength or its rows),
    ArtifactError (a direction of another model, or without this unit), SiteError (a probe inside a block), SpanError
    (only tokens after the read ones are steered). Warns below 20 groups.

    Source: the Δ within a run of Personality as a Probe for LLM Evaluation (2025).
    """
    measures, probes = dict(measures or {}), dict(probes or {})
    names = list(dict.fromkeys([*measures, *probes]))
    if not directions or not names:
        raise DataError("Spillover needs directions to steer, and measures or probes to read.")
    strengths = {name: float(one) for name, one in _each("strength", strength, list(directions)).items()}
    tables = _each("table of examples", examples, names)
    run = _Run(model, unit, span, read, batch_tokens, other_model, progress, seed)
    for name, one in directions.items():
        Add(one, strengths[name], span=span, unit=unit).check_model(model, other_model=other_model)
    for name, one in probes.items():
        run.check_probe(name, one, tables[name])
    few = {name: groups for name in names if (groups := len(set(tables[name].groups))) < FEW_GROUPS}
    if few:
        warnings.warn(
            f"Read on few groups: {few}; bootstrap intervals are too narrow below {FEW_GROUPS}, go by p.", stacklevel=2
        )
    rows = []
    for name, one in directions.items():
        arms = [one, *(one.random_like(seed + draw) for draw in range(random_draws))]
        told = {"steered": name, "strength": strengths[name], "unit": unit, "site": str(one.site)}
        for what, measure in measures.items():
            found = run.measured(arms, strengths[name], measure, tables[what])
            rows.append(told | {"read": what, "kind": "measure"} | found)
        for shared, own in _sharing(probes, tables):
            read_there = run.probed(arms, strengths[name], own, shared)
            rows += [told | {"read": what, "kind": "probe"} | found for what, found in read_there.items()]
    table = pd.DataFrame(rows)
    table["p_holm"] = adjust(table["p"].to_numpy(dtype=float), "holm")
    pushed = table[["random_low", "random_high"]].abs().max(axis=1)
    table["clear"] = (table["p_holm"] < LEVEL) & ~(table["change"].abs() <= pushed)
    first = ["steered", "read", "kind", "before", "after", "change", "low", "high", "p", "p_holm"]
    first += ["random_low", "random_high", "clear", "coherence", "kl", "n", "missing", "groups"]
    return table[[*first, "strength", "unit", "site", "reason"]]


@dataclass(frozen=True)
class _Run:
    """The rows of a table unsteered, and the same rows under every arm: the direction, then random ones like it."""

    model: Model
    unit: Unit
    span: str
    read: str
    batch_tokens: int
    other_model: bool
    progress: bool
    seed: int

    def measured(
        self, arms: Sequence[Direction], strength: float, measure: Measure, examples: Examples
    ) -> dict[str, object]:
        run = Doses(
            self.model,
            examples,
            measure,
            strengths=sorted({0.0, strength}),
            unit=self.unit,
            span=self.span,
            batch_tokens=self.batch_tokens,
            other_model=self.other_model,
            progress=self.progress,
        )
        own, *null = run(arms)
        value = np.stack([own[0.0]["value"], *(table[strength]["value"] for table in (own, *null))])
        reason = "every answer is missing" if np.isnan(value[1] - value[0]).all() else ""
        steered = {name: float(own[strength][name].mean()) for name in ("coherence", "kl")}
        return self._summary(value, examples) | steered | {"reason": reason}

    def probed(
        self, arms: Sequence[Direction], strength: float, probes: Mapping[str, Direction], examples: Examples
    ) -> dict[str, dict[str, object]]:
        steered, n = arms[0].site, len(examples)
        found = {}
        for name, one in probes.items():
            if one.site.depth < steered.depth:
                reason = f"{one.site} comes before {steered}"
                found[name] = self._summary(np.full((2, n), np.nan), examples) | {"reason": reason}
        reached = {name: one for name, one in probes.items() if name not in found}
        if reached:
            sites = sorted({one.site for one in reached.values()})
            with apply(self.model, *self._changes(arms, strength, n), other_model=self.other_model):
                acts = collect(
                    self.model,
                    examples.select(np.tile(np.arange(n), len(arms) + 1)),
                    sites=sites,
                    span=self.read,
                    batch_tokens=self.batch_tokens,
                    progress=self.progress,
                )
            for name, one in reached.items():
                value = one.project(acts[one.site]).double().numpy().reshape(-1, n) / self.unit_of(one)
                found[name] = self._summary(value, examples) | {"reason": ""}
        return {name: found[name] | {"coherence": np.nan, "kl": np.nan} for name in probes}

    def unit_of(self, probe: Direction) -> float:
        """What strength 1 along a probe does to its projection. Raises ArtifactError where the unit is unknown."""
        return float(probe.project(Add(probe, unit=self.unit)(torch.zeros(len(probe.vector)))))

    def check_probe(self, name: str, probe: Direction, examples: Examples) -> None:
        probe.check_model(self.model, other_model=self.other_model)
        if probe.site.in_bridge:
            raise SiteError(f"Probe {name!r} reads {probe.site}, which is run apart from what is steered.")
        self.unit_of(probe)
        encoded = self.model.rows(examples.prompts, examples.responses)
        first, _ = span_bounds(encoded, Span.parse(self.span))
        _, end = span_bounds(encoded, Span.parse(self.read))
        if bool((first >= end).any()):
            raise SpanError(f"Steering {self.span!r} begins after {self.read!r}, which probe {name!r} reads.")

    def _changes(self, arms: Sequence[Direction], strength: float, n: int) -> list[Add]:
        own = torch.eye(len(arms) + 1)[1:].repeat_interleave(n, dim=1)
        return [Add(arm, strength * rows, span=self.span, unit=self.unit) for arm, rows in zip(arms, own, strict=True)]

    def _summary(self, value: Float[np.ndarray, "arms n"], examples: Examples) -> dict[str, object]:
        change = value[1:] - value[0]
        known = ~np.isnan(change[0])
        null = [float(np.nanmean(one)) for one in change[1:] if not np.isnan(one).all()]
        return {
            **paired(change[0], examples.groups, seed=self.seed),
            "before": float(value[0, known].mean()) if known.any() else np.nan,
            "after": float(value[1, known].mean()) if known.any() else np.nan,
            "random_low": min(null, default=np.nan),
            "random_high": max(null, default=np.nan),
            "groups": len(set(examples.groups)),
        }


def _sharing(
    probes: Mapping[str, Direction], tables: Mapping[str, Examples]
) -> list[tuple[Examples, dict[str, Direction]]]:
    """Probes by the rows they are read on: each table is run once."""
    found: dict[int, tuple[Examples, dict[str, Direction]]] = {}
    for name, one in probes.items():
        found.setdefault(id(tables[name]), (tables[name], {}))[1][name] = one
    return list(found.values())


def _each(what: str, given: Any, names: Sequence[str]) -> dict[str, Any]:
    """One value for every name. Raises DataError where one is missing or for nobody."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(names, given)
    if set(given) != set(names):
        raise DataError(f"One {what} for each of {available(names)} is needed; given: {available(given)}.")
    return dict(given)
