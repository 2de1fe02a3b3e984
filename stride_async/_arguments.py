"""Check the types of arguments when a function is called, so that a wrong one is one sentence and no later surprise."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


def text(value: object, what: str) -> str:
    """Return an argument that must be text.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It cannot be encoded as UTF-8.
    """
    if not isinstance(value, str):
        raise TypeError(f"the {what} must be a str, not {type(value).__name__}: {value!r:.100}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the {what} {value!r:.100} cannot be encoded as UTF-8") from error
    return value


def optional_text(value: object, what: str) -> str | None:
    """Return an argument that must be text or None.

    Raises:
        TypeError: It is neither a `str` nor None.
        ValueError: It cannot be encoded as UTF-8.
    """
    return None if value is None else text(value, what)


def number(value: object, what: str, least: int, most: int | None = None) -> int:
    """Return an argument that must be a whole number of at least `least` and at most `most`.

    Raises:
        TypeError: It is not an `int`.
        ValueError: It is out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}: {value!r:.100}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{what} is {_shown(value)}; expected {least} {'or more' if most is None else f'to {most}'}")
    return value


def seconds(value: object, what: str) -> float:
    """Return an argument that must be a number of seconds, 0 or more.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative, not finite, or larger than any `float`.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{what} must be a number, not {type(value).__name__}: {value!r:.100}")
    if not 0 <= value <= sys.float_info.max:  # NaN is in no range.
        raise ValueError(f"{what} is {_shown(value)}; expected 0 or more seconds")
    return value


def between(low: float, high: float | None = None) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """Return a validator of a numeric option, which must be at least `low` and at most `high`.

    Without `high`, a `float` may also be infinite. An option that is annotated as a `float` may be an `int`. Whether it
    may be None is what its annotation says.

    Raises:
        TypeError: It is not a number, or has decimals where an `int` is expected.
        ValueError: It is out of range, or a whole number larger than any `float`.
    """
    limits = f"{low:g} or more" if high is None else f"{low:g} to {high:g}"

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is None and "None" in str(attribute.type):
            return
        only_int = "float" not in str(attribute.type)
        if isinstance(value, bool) or not isinstance(value, int if only_int else (int, float)):
            kind = "an int" if only_int else "a number"
            raise TypeError(f"{attribute.name} must be {kind}, not {type(value).__name__}: {value!r:.100}")
        too_large = not only_int and isinstance(value, int) and value > sys.float_info.max
        if too_large or not low <= value <= (math.inf if high is None else high):  # NaN is in no range.
            raise ValueError(f"{attribute.name} is {_shown(value)}; expected {limits}")

    return check


def _shown(value: float) -> str:
    """Return a number as short text. Python refuses to write an `int` of some thousand digits."""
    try:
        return f"{value!r:.100}"
    except ValueError:
        return "an int of thousands of digits"


def of_type(value: T, what: str, *kinds: type) -> T:
    """Return an argument that must be of one of the given types.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise TypeError(f"{what} must be of type {names}, not {type(value).__name__}: {value!r:.100}")
    return value


def path(value: object, what: str) -> Path:
    """Return an argument that must be a path.

    Raises:
        TypeError: It is neither a `str` nor an `os.PathLike` of one.
        ValueError: The system has no such path, because of a NUL or a character that it cannot encode.
    """
    found = value.__fspath__() if isinstance(value, os.PathLike) else value
    if not isinstance(found, str):
        raise TypeError(f"{what} must be a str or a path, not {type(value).__name__}: {value!r:.100}")
    try:
        encoded = os.fsencode(found)
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} {found!r:.100} cannot be encoded as a path") from error
    if b"\0" in encoded:
        raise ValueError(f"{what} {found!r:.100} contains a NUL character")
    return Path(found)


def function(value: T, what: str, *, required: bool = False) -> T:
    """Return an argument that must be a function or, unless it is required, None.

    Raises:
        TypeError: It cannot be called, or is async.
    """
    if not callable(value) and (required or value is not None):
        raise TypeError(f"{what} must be a function, not {type(value).__name__}: {value!r:.100}")
    # What it returns would never be awaited. An object may have an async `__call__`.
    if inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(type(value).__call__):
        raise TypeError(f"{what} must be a plain function, not async: {value!r:.100}")
    return value


def several(values: T, what: str) -> T:
    """Return an argument that must have several items, such as a list. Text is not taken for its characters.

    Raises:
        TypeError: It is text, or cannot be iterated over.
    """
    if isinstance(values, (str, bytes)) or not hasattr(type(values), "__iter__"):
        raise TypeError(f"{what} must be a list or the like, not {type(values).__name__}: {values!r:.100}")
    return values
