"""Check the arguments when a method of the server is called. Pure."""

from __future__ import annotations

import inspect
import math
import os
import sys
from collections.abc import Callable, Iterable
from types import UnionType
from typing import Any, get_args

from attrs import Attribute


def check_types(**arguments: tuple[object, type | UnionType]) -> None:
    """Refuse an argument that is not of the type next to it. A bool is not taken for a number.

    Raises:
        TypeError: It is not.
    """
    for what, (given, kind) in arguments.items():
        kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
        if not isinstance(given, kind) or (isinstance(given, bool) and not {bool, object} & set(kinds)):
            raise _wrong(what, given, getattr(kind, "__name__", str(kind)))


def check_texts(**arguments: object) -> None:
    """Refuse an argument that is not text, or cannot be encoded.

    Raises:
        TypeError: It is not a `str`.
        ValueError: It contains half a surrogate pair.
    """
    for what, given in arguments.items():
        if not isinstance(given, str):
            raise _wrong(what, given, "str")
        try:
            given.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{what} {given!r:.100} cannot be encoded as UTF-8") from error


def check_optional_texts(**arguments: object) -> None:
    """Refuse an argument that is neither None nor text that can be encoded.

    Raises:
        TypeError, ValueError: As `check_texts`.
    """
    check_texts(**{what: given for what, given in arguments.items() if given is not None})


def check_paths(**arguments: object) -> None:
    """Refuse an argument that is neither None nor a path.

    Raises:
        TypeError: It is neither a `str` nor an `os.PathLike` of one.
        ValueError: The system has no such path, because of a NUL or a character that it cannot encode.
    """
    for what, given in arguments.items():
        path = given.__fspath__() if isinstance(given, os.PathLike) else given
        if path is None:
            continue
        if not isinstance(path, str):
            raise _wrong(what, given, "str or PathLike")
        try:
            encoded = os.fsencode(path)
        except UnicodeEncodeError as error:
            raise ValueError(f"{what} {path!r:.100} cannot be encoded as a path") from error
        if b"\0" in encoded:
            raise ValueError(f"{what} {path!r:.100} contains a NUL character")


def check_counts(**arguments: object) -> None:
    """Refuse an argument that is not a whole number of 0 or more.

    Raises:
        TypeError: It is not an `int`.
        ValueError: It is negative, or more than can be counted.
    """
    for what, given in arguments.items():
        if not isinstance(given, int) or isinstance(given, bool):
            raise _wrong(what, given, "int")
        if not 0 <= given <= sys.maxsize:
            raise ValueError(f"{what} is {given!r:.100}; expected 0 to {sys.maxsize}")


def check_seconds(**arguments: object) -> None:
    """Refuse an argument that is not a number of seconds, 0 or more.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative or not finite.
    """
    for what, given in arguments.items():
        if not isinstance(given, (int, float)) or isinstance(given, bool):
            raise _wrong(what, given, "float")
        if not 0 <= given <= sys.float_info.max:
            raise ValueError(f"{what} is {given!r:.100}; expected 0 or more seconds")


def check_several(**arguments: object) -> None:
    """Refuse an argument that does not have several items, such as a list. Text is not taken for its characters.

    Raises:
        TypeError: It is text, or cannot be iterated over.
    """
    for what, given in arguments.items():
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise TypeError(f"{what} must be a list or the like, not {type(given).__name__}: {given!r:.100}")


def check_functions(**arguments: object) -> None:
    """Refuse an argument that cannot be called, or is async: what it returns would never be awaited.

    Raises:
        TypeError: It is neither a function nor an object with a plain `__call__`.
    """
    for what, given in arguments.items():
        if not callable(given):
            raise TypeError(f"{what} must be a function, not {type(given).__name__}: {given!r:.100}")
        if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__):
            raise TypeError(f"{what} must be a plain function, not async: {given!r:.100}")


def texts_in(what: str, given: Iterable[str]) -> tuple[str, ...]:
    """Return the items of an argument that must be several texts.

    Raises:
        TypeError: It does not have several items, or one of them is not a `str`.
        ValueError: One of them cannot be encoded.
    """
    check_several(**{what: given})
    texts = tuple(given)
    for each in texts:
        check_texts(**{f"an item of {what}": each})
    return texts


def option_of(*kinds: type) -> Callable[[Any, Attribute[Any], Any], None]:
    """Return a validator of an option that must be of one of the types. A bool is not taken for a number."""
    expected = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)

    def check(_: object, option: Attribute[Any], given: object) -> None:
        if not isinstance(given, kinds) or (isinstance(given, bool) and bool not in kinds):
            raise _wrong(option.name, given, expected)
        if isinstance(given, float) and math.isnan(given):
            raise ValueError(f"{option.name} is nan; expected a number")

    return check


def _wrong(what: str, given: object, expected: str) -> TypeError:
    return TypeError(f"{what} must be of type {expected}, not {type(given).__name__}: {given!r:.100}")
