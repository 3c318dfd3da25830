"""What `lens sweep` can be asked. Each question checks the table before a model is loaded, sweeps, and prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens.errors import DataError, available
from steering.commands.options import console, print_table

if TYPE_CHECKING:
    import pandas as pd

    from lens.activations import Activations
    from lens.examples import Examples

TEXTS = {
    "bag_of_words": "bag of words",
    "char_ngrams": "character n-grams",
    "length": "length",
    "punctuation": "punctuation",
}


@dataclass(frozen=True)
class Question:
    """A label of two classes, read from rows."""

    probes: list[str]
    folds: int
    permutations: int
    seed: int
    against: Sequence[str] = ()
    jobs: int | None = None
    resume: Path | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """Columns that are read instead of a label."""
        return ()

    def check(self, examples: "Examples") -> None:
        """Raises DataError: one class, groups that the folds need, a column of `against` that is no other question."""
        from probes.fit import two_labels
        from probes.folds import grouped_folds
        from probes.strata import strata_of

        grouped_folds(two_labels(examples), examples.groups, self.folds, self.seed, warned=True)
        if self.against:
            strata_of(examples, self.against)

    def sweep(self, acts: "Activations") -> "pd.DataFrame":
        import probes

        return probes.sweep(acts, self.probes, **self._settings(), **self._work())

    def show(self, table: "pd.DataFrame", title: str) -> None:
        """Intervals in one column; what is the same in every row below the table."""
        columns: dict[str, Any] = {"site": table["site"], "probe": table["probe"], "AUROC": interval(table, "auroc")}
        if "within" in table:
            columns["AUROC within"] = interval(table, "within")
        columns["p"] = table["p"]
        columns["random"] = below(table["random_high"])
        columns["matched"] = below(table["matched_high"])
        if "components" in table:
            columns["top PC"] = table["components"].round(2)
        columns["shuffled"] = table["shuffled"].round(2)
        told = "untold" in table and bool(table["untold"].notna().any())
        if told:
            columns["untold"] = interval(table, "untold")
        first = table.iloc[0]
        lines = [text_line(first)]
        if told:
            lines.append(
                f"untold: AUROC on the {first['untold_n']} rows whose text does not tell the label; the best text-only "
                f"classifier has {first['untold_text']:.2f} there."
            )
        elif "untold" in table:
            lines.append("The texts tell the label of nearly every row: too few are left to show more than text.")
        notes = "random, matched: 95 % of random directions are below (matched: with the variances of the activations)."
        if "components" in table:
            notes += " top PC: the best of ten principal components."
        shown(columns, title, lines, notes)

    def chosen(self, table: "pd.DataFrame") -> tuple[str, str, str]:
        """Site and probe of the best cell, and its figure in words."""
        import probes

        best = probes.best(table)
        return str(best.site), best.probe, f"out-of-fold AUROC {best.auroc:.3f}"

    def save(self, acts: "Activations", site: str, probe: str, path: Path) -> None:
        """Fit the best cell on all rows and save its direction."""
        import probes

        probes.fit(acts, site, probe).direction.save(path)

    def _settings(self) -> dict[str, Any]:
        return {"folds": self.folds, "permutations": self.permutations, "seed": self.seed}

    def _work(self) -> dict[str, Any]:
        return {"against": self.against, "jobs": self.jobs, "resume": self.resume}


class TokenQuestion(Question):
    """A label of two classes, read from every token."""

    def sweep(self, acts: "Activations") -> "pd.DataFrame":
        import probes

        return probes.sweep_tokens(acts, self.probes, **self._settings(), **self._work())

    def save(self, acts: "Activations", site: str, probe: str, path: Path) -> None:
        import probes

        probes.fit_tokens(acts, site, probe).direction.save(path)


@dataclass(frozen=True)
class ClassQuestion(Question):
    """Each value of a column against the rest, or several 0/1 columns."""

    columns: str | Sequence[str] = ""

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)

    def check(self, examples: "Examples") -> None:
        from probes.multiclass import check_classes

        check_classes(examples, self.columns, self.folds, self.seed)

    def sweep(self, acts: "Activations") -> "pd.DataFrame":
        import probes

        return probes.sweep_classes(acts, self.columns, self.probes, **self._settings())

    def show(self, table: "pd.DataFrame", title: str) -> None:
        columns = {
            "site": table["site"],
            "probe": table["probe"],
            "macro AUROC": interval(table, "auroc"),
            "p": table["p"],
            "accuracy": interval(table, "accuracy"),
            "random": below(table["random_high"]),
            "matched": below(table["matched_high"]),
            "shuffled": table["shuffled"].round(2),
        }
        notes = "macro AUROC: mean over classes, each against the rest; so are random, matched, shuffled and text only."
        majority = table["majority"].iloc[0]
        answers = f" The commonest answer alone is right in {majority:.2f} of the rows." if majority == majority else ""
        shown(columns, title, [text_line(table.iloc[0]) + answers], notes)

    def save(self, acts: "Activations", site: str, probe: str, path: Path) -> None:
        import probes

        for name, direction in probes.one_vs_rest(acts, site, self.columns, probe, permutations=0).directions.items():
            direction.save(path / f"{name}.safetensors")


@dataclass(frozen=True)
class LevelQuestion(Question):
    """The numbers in a column."""

    column: str = ""

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.column,)

    def check(self, examples: "Examples") -> None:
        from probes.graded import check_graded

        check_graded(examples, self.column, self.folds, self.seed)

    def sweep(self, acts: "Activations") -> "pd.DataFrame":
        import probes

        return probes.sweep_graded(acts, self.column, self.probes, **self._settings())

    def show(self, table: "pd.DataFrame", title: str) -> None:
        columns = {
            "site": table["site"],
            "probe": table["probe"],
            "Spearman ρ": interval(table, "spearman"),
            "p": table["p"],
            "R²": interval(table, "r2"),
            "random": below(table["random_high"]),
            "matched": below(table["matched_high"]),
            "shuffled": table["shuffled"].round(2),
        }
        notes = (
            "ρ: ranks of out-of-fold predictions and targets. R²: against the mean. random, matched: 97.5 % are below."
        )
        shown(columns, title, [text_line(table.iloc[0])], notes)

    def chosen(self, table: "pd.DataFrame") -> tuple[str, str, str]:
        row = table.sort_values(["low", "spearman"], ascending=False, kind="stable").iloc[0]
        return row["site"], row["probe"], f"out-of-fold Spearman ρ {row['spearman']:.3f}"

    def save(self, acts: "Activations", site: str, probe: str, path: Path) -> None:
        import probes

        probes.graded(acts, site, self.column, probe, permutations=0).direction.save(path)


def question(
    names: Sequence[str],
    classes: Sequence[str],
    level: str | None,
    **settings: Any,
) -> Question:
    """Which question probes and columns ask. Raises DataError: an unknown probe, probes of different kinds, or options
    that do not go together."""
    from probes.fit import PROBES
    from probes.graded import GRADED
    from probes.tokens.fit import TOKEN_PROBES

    probes = [name.strip() for joined in names for name in joined.split(",") if name.strip()]
    if classes and level is not None:
        raise DataError(f"One target at a time: --classes {classes[0]} or --level {level}.")
    if classes or level is not None:
        given = "--classes" if classes else "--level"
        unused = [name for name in ("against", "jobs", "resume") if settings.get(name)]
        if unused:
            raise DataError(f"--{unused[0]} is for a label of two classes; it does not go with {given}.")
        known: dict[str, Any] = PROBES if classes else GRADED
        _check_known(probes, known, f"{given} takes")
        if classes:
            columns = [name.strip() for joined in classes for name in joined.split(",")]
            target = columns[0] if len(columns) == 1 else columns
            return ClassQuestion(probes or ["logistic"], **settings, columns=target)
        return LevelQuestion(probes or ["ridge"], **settings, column=level or "")
    of_tokens = [name for name in probes if name in TOKEN_PROBES]
    if of_tokens and len(of_tokens) == len(probes):
        return TokenQuestion(probes, **settings)
    _check_known([name for name in probes if name not in TOKEN_PROBES], PROBES, "available")
    if of_tokens:
        others = [name for name in probes if name not in of_tokens]
        raise DataError(
            f"{of_tokens[0]} reads every token and {others[0]} a row of pooled ones: sweep them one by one."
        )
    return Question(probes or ["mean_difference", "logistic"], **settings)


def _check_known(names: Sequence[str], known: dict[str, Any], says: str) -> None:
    from probes.tokens.fit import TOKEN_PROBES

    unknown = [name for name in names if name not in known]
    if unknown:
        tokens = f"; of tokens: {available(TOKEN_PROBES)}" if says == "available" else ""
        raise DataError(f"Unknown probe {unknown[0]!r}; {says}: {available(known)}{tokens}.")


def interval(table: "pd.DataFrame", value: str) -> list[str]:
    low, high = (f"{value}_low", f"{value}_high") if f"{value}_low" in table else ("low", "high")
    three = zip(table[value], table[low], table[high], strict=True)
    return ["–" if middle != middle else f"{middle:.2f} ({bottom:.2f}–{top:.2f})" for middle, bottom, top in three]


def below(values: "pd.Series") -> list[str]:
    return [f"<{value:.2f}" for value in values]


def text_line(first: "pd.Series") -> str:
    text = ", ".join(f"{label} {first[column]:.2f}" for column, label in TEXTS.items())
    return f"Text only: {text}. {first['n']} rows in {first['groups']} groups."


def shown(columns: dict[str, Any], title: str, lines: Sequence[str], notes: str) -> None:
    import pandas as pd

    print_table(pd.DataFrame(columns), title)
    for line in lines:
        console().print(line, highlight=False)
    console().print(f"{notes} --out writes all columns.", highlight=False, style="dim")
