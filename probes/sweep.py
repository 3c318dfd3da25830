"""Sweep: every layer, grouped folds, intervals and controls in one table."""

import hashlib
import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from lens.activations import Activations
from lens.errors import DataError, available
from lens.sites import Site
from probes.base import Probe, families
from probes.cell import Design, Task, columns, key_of, measure_cells, measure_site, run
from probes.controls import CIRCULAR
from probes.direction import Direction
from probes.fit import check_labels, make, name_of
from probes.folds import grouped_folds, permuted_folds
from probes.strata import strata_of
from probes.text_evidence import check_level
from probes.verdict import Judge


def sweep(
    acts: Activations | Sequence[Activations],
    probes: "str | Probe | Sequence[str | Probe]" = ("mean_difference", "logistic"),
    *,
    folds: int = 5,
    permutations: int = 20,
    random_draws: int = 100,
    others: Mapping[str, Direction] | None = None,
    against: Sequence[str] = (),
    text_evidence: float | None = 0.75,
    jobs: int | None = None,
    resume: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Cross-validate probes at every collected site; groups are never split across folds.

    acts: several read the same rows at other spans or pools. others: directions of other traits, each at its own site.
    against: columns that must not be mistaken for the label, e.g. ["format"]. jobs: processes (joblib's; None takes
    those of `joblib.parallel_config`, which may be a Ray cluster once `ray.util.joblib.register_ray()` was called).
    resume: a folder that keeps finished cells; a killed sweep goes on from there.

    One row per span, site and probe:
    auroc, low, high: out-of-fold AUROC with its cluster-bootstrap 95 % interval over groups. accuracy: at threshold 0.
    within, within_low, within_high (with `against`): of pairs of rows that are alike in these columns.
    p: permutation p-value against the *best* cell of each permuted sweep, so that choosing the best is paid for; it
    cannot fall below 1 / (permutations + 1). p_cell: against the same cell alone, for `probes.adjust`.
    Controls, as AUROC in the same folds (see `probes.controls`): random_direction, random_high and matched_direction,
    matched_high: mean and 95th percentile over directions drawn at random, without and with the covariance within the
    classes; resemblance: of the probe with what the matched ones favour. components: best of the first ten principal
    components. others: best of other traits' directions. shuffled: mean of the same probe on permuted labels.
    control_task: of the same probe on random labels of groups that it has seen; selectivity: auroc less that.
    bag_of_words, char_ngrams, length, punctuation: what the text alone gives (see `lens.text_only`): a probe that is
    no better than the best of them has shown nothing about the model. untold, untold_low, untold_high: AUROC on the
    `untold_n` rows whose text tells the label with less certainty than `text_evidence`; untold_text: the best text-only
    classifier's there (see `probes.text_evidence`).

    Raises DataError: one class, too few groups for the folds, a label and a column of `against` that cannot be told
    apart. Warns below 20 groups, where the interval is too narrow, where a site is constant, and where matched
    directions resemble a probe.
    """
    parts = [acts] if isinstance(acts, Activations) else list(acts)
    chosen = [probes] if isinstance(probes, str | Probe) else list(probes)
    labels, groups = _same_rows(parts)
    if text_evidence is not None:
        check_level(text_evidence)
    kin = families([make(probe) for probe in chosen])
    strata = strata_of(parts[0].examples, against) if against else None
    plan = grouped_folds(labels, groups, folds, seed)
    permuted = permuted_folds(labels, groups, plan, folds, permutations, seed)
    design = Design(labels, groups, plan, permuted, folds, seed)
    places = [(part, site) for part in parts for site in part.sites]
    _warn_constant(places)
    setting = (parts[0].source.data, folds, permutations, random_draws, seed)
    tasks: list[Task] = []
    for part, site in places:
        X = part.numpy(site).astype(np.float64)
        content = hashlib.sha256(X.tobytes()).hexdigest()
        vectors = columns([one.vector.numpy() for one in (others or {}).values() if one.site == site], X.shape[1])
        key = key_of("site", content, setting, vectors.tolist())
        tasks.append((key, partial(measure_site, X, random_draws, vectors, design)))
        for members in kin:
            family = [chosen[number] for number in members]
            key = key_of("cells", content, setting, [name_of(probe) for probe in family])
            tasks.append((key, partial(measure_cells, X, family, design)))
    found = run(tasks, jobs=jobs, folder=Path(resume) if resume is not None else None, progress=progress)
    per_place = []
    for start in range(0, len(found), 1 + len(kin)):
        cells = [cell for part in found[start + 1 : start + 1 + len(kin)] for cell in part["cells"]]
        per_place.append((found[start], dict(zip(itertools.chain(*kin), cells, strict=True))))
    null = [cells[number]["null"] for _, cells in per_place for number in range(len(chosen))]
    judge = Judge.of(parts[0], design, null, strata, text_evidence)
    rows = []
    for number, (place, member) in enumerate(itertools.product(range(len(places)), range(len(chosen)))):
        part, site = places[place]
        shared, known = per_place[place]
        row = {"span": part.source.span, "site": str(site), "probe": name_of(chosen[member])}
        rows.append(row | judge.row(number, known[member], shared))
    table = pd.DataFrame(rows)
    warn_circular(table, max(CIRCULAR, 2 / parts[0].width ** 0.5))
    return table


def _same_rows(parts: Sequence[Activations]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and groups that all activations share."""
    if not parts:
        raise DataError("Nothing to sweep: no activations were given.")
    read = [(part.source.span, part.source.pool) for part in parts]
    if len(set(read)) < len(read):
        raise DataError(f"Several activations differ in span or pool; given: {available(map(' '.join, read))}.")
    labels = [check_labels(part) for part in parts]
    if any(part.examples.hash() != parts[0].examples.hash() for part in parts):
        raise DataError("Activations that are swept together are read from the same rows; these are from several sets.")
    return labels[0], parts[0].groups


def _warn_constant(places: Sequence[tuple[Activations, Site]]) -> None:
    still = [str(site) for part, site in places if bool((part[site] == part[site][0]).all())]
    if still:
        warnings.warn(
            f"All rows are equal at {available(still)}: there is nothing to read (does the span hold the same token in "
            "every text?).",
            stacklevel=3,
        )


def warn_circular(table: pd.DataFrame, limit: float) -> None:
    """limit: above what two unrelated directions of this width have by chance."""
    alike = table["resemblance"] > limit
    if alike.any():
        worst = table.loc[table["resemblance"].idxmax()]
        warnings.warn(
            f"The largest direction within the classes has cosine {worst['resemblance']:.2f} with {worst['probe']} at "
            f"{worst['site']} (above {limit:.2f} in {int(alike.sum())} of {len(table)} cells): matched directions are "
            "partial copies of the probe there, and matched_high is a strict bound rather than chance.",
            stacklevel=3,
        )


@dataclass(frozen=True)
class Best:
    """The cell chosen from a sweep."""

    site: Site
    probe: str
    auroc: float
    span: str = ""


def best(table: pd.DataFrame) -> Best:
    """The cell with the highest lower bound; ties go to the higher AUROC, then to the earlier row."""
    if len(table) == 0:
        raise DataError("The sweep table is empty: there is nothing to choose from.")
    row = table.sort_values(["low", "auroc"], ascending=False, kind="stable").iloc[0]
    return Best(Site.parse(row["site"]), row["probe"], float(row["auroc"]), str(row.get("span", "")))
