"""Check the types of arguments when a method of the server is called. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType


def check_types(**arguments: tuple[object, type | UnionType]) -> None:
    """Refuse an argument that is not of the type next to it.

    Raises:
        TypeError: It is not.
    """
    for what, (given, kind) in arguments.items():
        if not isinstance(given, kind):
            expected = getattr(kind, "__name__", kind)
            raise TypeError(f"{what} must be of type {expected}, not {type(given).__name__}: {given!r:.100}")


def check_several(**arguments: object) -> None:
    """Refuse an argument that does not have several items, such as a list. Text is not taken for its characters.

    Raises:
        TypeError: It is text, or cannot be iterated over.
    """
    for what, given in arguments.items():
        if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
            raise TypeError(f"{what} must be a list or the like, not {type(given).__name__}: {given!r:.100}")
