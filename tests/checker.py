"""Run-time checks of annotations by beartype. A function inside a function is made again at every call of the outer
one; what beartype generates for it is the same each time, takes longer than most of them run, and so is kept."""

import types
from collections.abc import Callable
from typing import Any

import beartype

# An int is a float, as for any type checker (PEP 484).
CONF = beartype.BeartypeConf(is_pep484_tower=True)
_kept: dict[Any, Any] = {}


def checked(thing: Any) -> Any:
    """As `beartype.beartype`."""
    if not isinstance(thing, types.FunctionType) or "<locals>" not in thing.__qualname__:
        return beartype.beartype(conf=CONF)(thing)
    # Code objects are equal where their content is; the annotations decide what is generated.
    key = thing.__module__, thing.__qualname__, thing.__code__, repr(thing.__annotations__)
    if key not in _kept:
        _kept[key] = beartype.beartype(conf=CONF)(thing)
        return _kept[key]
    return _again(_kept[key], thing)


def _again(made: Any, function: Callable[..., Any]) -> Any:
    """What was made for one function, around another of the same code."""
    if "__beartype_func" not in (getattr(made, "__kwdefaults__", None) or {}):
        return beartype.beartype(conf=CONF)(function)
    copy = types.FunctionType(made.__code__, made.__globals__, made.__name__, made.__defaults__, made.__closure__)
    copy.__dict__.update(made.__dict__)
    copy.__dict__["__wrapped__"] = function
    copy.__kwdefaults__ = {**made.__kwdefaults__, "__beartype_func": function}
    copy.__qualname__, copy.__module__, copy.__doc__ = function.__qualname__, function.__module__, function.__doc__
    copy.__annotations__ = function.__annotations__
    return copy
