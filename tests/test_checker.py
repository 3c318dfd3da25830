"""Annotations are checked in every function that is made, also in one made again from the same code."""

import pytest
from checker import checked
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor, ones


def scaled_by(factor):
    @jaxtyped(typechecker=checked)
    def scaled(h: Float[Tensor, "rows d"], times: int = 1) -> Float[Tensor, " d"]:
        return (factor * times * h).sum(dim=0) if factor else h

    return scaled


def test_each_of_several_is_its_own_function_and_checked():
    made = [scaled_by(factor) for factor in range(4)]
    assert [one(ones(2, 3)).tolist() for one in made[1:]] == [[2.0] * 3, [4.0] * 3, [6.0] * 3]
    for one in made[1:]:
        for wrong in ((ones(2),), (ones(2, 3), "twice")):
            with pytest.raises(TypeCheckError, match="parameters of"):
                one(*wrong)
    for one in (made[0], scaled_by(0)):
        with pytest.raises(TypeCheckError, match="return value of"):
            one(ones(2, 3))


def test_an_int_is_a_float():
    @jaxtyped(typechecker=checked)
    def half(x: float) -> float:
        return x / 2

    assert half(3) == 1.5
    with pytest.raises(TypeCheckError):
        half("3")
