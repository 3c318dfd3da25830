"""One family of errors: each names what was given and what was available."""

from collections.abc import Iterable


class LensError(Exception):
    """Base of every error this project raises on purpose; the command line turns it into exit code 2."""


class DataError(LensError, ValueError):
    """A table of examples cannot be used as it is. A ValueError too, as scikit-learn expects of its estimators."""


class SiteError(LensError):
    """A place in the residual stream does not exist in this model."""


class SpanError(LensError):
    """A token span cannot be read, or selects nothing."""


class ModelError(LensError):
    """A model cannot be loaded, or cannot do what was asked."""


class ArtifactError(LensError):
    """A saved object is damaged, or belongs to another model."""


def available(names: Iterable[object], limit: int = 12) -> str:
    """The tail of an error message: what could have been given instead."""
    shown = [str(name) for name in names]
    more = f", … ({len(shown)} in all)" if len(shown) > limit else ""
    return ", ".join(shown[:limit]) + more if shown else "none"
