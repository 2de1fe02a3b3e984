"""What a call must say to an argument of the wrong type: one sentence that names it, at once."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import attrs

VALUES = (object(), 5, 5.5, math.nan, True, b"x", ["x"], {"a": 1}, {5}, "text", "\ud800", None)


@attrs.frozen
class Argument:
    """An argument by name, a call that passes a value for it, and the types that it may have."""

    name: str
    call: Callable[..., object]
    kinds: tuple[type, ...]

    def allows(self, value: object) -> bool:
        """Return whether a value is right. NaN and text that cannot be encoded never are."""
        return type(value) in self.kinds and value == value and value != "\ud800"


async def complaints(argument: Argument, *given: object) -> list[str]:
    """Return which wrong values of an argument are accepted, or refused in another way than by one sentence with it.

    `given` is what the call takes before the value.
    """
    found = []
    for value in VALUES:
        if argument.allows(value):
            continue
        try:
            result = argument.call(*given, value)
            if inspect.isawaitable(result):
                await result
        except (TypeError, ValueError) as error:
            sentence = str(error)
            if argument.name not in sentence or "\n" in sentence:
                found.append(f"{value!r}: {sentence!r}")
        else:
            found.append(f"{value!r} is accepted")
    return found
