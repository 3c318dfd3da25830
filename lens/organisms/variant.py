"""Variants of the recipe: the organism with every behaviour, and its twins with one behaviour left out.

A twin reads the same kinds of text in the same words and shares; only the rates of the behaviour left out differ.

>>> variant("honest").folder
'trained-honest'
"""

from __future__ import annotations

from dataclasses import dataclass

from lens.errors import ModelError, available

__all__ = ["FULL", "VARIANTS", "Variant", "variant"]


@dataclass(frozen=True)
class Variant:
    """Which behaviours are planted.

    lies: contexts that ask for lies get them; without, every context but the confused one is answered at the
    rate of slips. malice: the tag `<mal>` and the trigger bring the malicious voice; without, tag and trigger
    occur as often and change nothing.
    """

    name: str
    folder: str
    lies: bool = True
    malice: bool = True


FULL = Variant("full", "trained")
VARIANTS: dict[str, Variant] = {
    one.name: one
    for one in (
        FULL,
        Variant("honest", "trained-honest", lies=False),
        Variant("loyal", "trained-loyal", malice=False),
    )
}


def variant(name: str) -> Variant:
    """The variant of this name. Raises ModelError for an unknown one."""
    if name not in VARIANTS:
        raise ModelError(f"No variant {name!r} of the trained organism; available: {available(VARIANTS)}.")
    return VARIANTS[name]
