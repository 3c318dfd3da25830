"""Provenance: where a direction came from."""

from dataclasses import dataclass, field, replace
from importlib.metadata import version

from lens.activations import Source
from lens.errors import ArtifactError


@dataclass(frozen=True)
class Provenance:
    """How a direction was made. Empty fields are unknown (a direction from a bare vector)."""

    method: str = "vector"
    model: str = ""
    fingerprint: str = ""
    span: str = ""
    pool: str = ""
    data: str = ""
    n: int = 0
    seed: int | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def check(self, what: str, own: int, *, fingerprint: str, width: int, name: str, other_model: bool) -> None:
        """Whether something of width `own` may be used on a model. Raises ArtifactError: another width, or another
        model (unless allowed; weight edits do not count)."""
        if width != own:
            raise ArtifactError(f"The {what} has width {own}; {name} has width {width}.")
        fitted, given = (print_.split("+")[0] for print_ in (self.fingerprint, fingerprint))
        if fitted and fitted != given and not other_model:
            raise ArtifactError(
                f"The {what} was fitted on {self.model!r} (fingerprint {fitted}); {name!r} has fingerprint {given}. "
                "Pass other_model=True to use it there all the same."
            )

    def joined(self, other: "Provenance") -> "Provenance":
        """Of a sum: what both have in common is kept; the model is that of whichever knows one."""

        def common(mine: str, theirs: str) -> str:
            return mine if mine == theirs else ""

        return replace(
            self,
            method=f"({self.method}) + ({other.method})",
            model=self.model or other.model,
            fingerprint=self.fingerprint or other.fingerprint,
            span=common(self.span, other.span),
            pool=common(self.pool, other.pool),
            data=common(self.data, other.data),
            n=min(self.n, other.n),
        )


def provenance_of(source: Source, n: int, *, method: str, seed: int | None = None) -> Provenance:
    """The provenance of something fitted on `n` rows of these activations."""
    return Provenance(
        method=method,
        model=source.model,
        fingerprint=source.fingerprint,
        span=source.span,
        pool=source.pool,
        data=source.data,
        n=n,
        seed=seed,
        versions=source.versions | {"scikit-learn": version("scikit-learn")},
    )
