"""Check arguments where they enter, so that a wrong one is one sentence and nothing is sent. Pure."""

from __future__ import annotations


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


def number(value: object, what: str, least: int, most: int | None = None) -> int:
    """Return an argument that must be a whole number of at least `least` and at most `most`.

    Raises:
        TypeError: It is not an `int`.
        ValueError: It is out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}: {value!r:.100}")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{what} is {value}; expected {least} {'or more' if most is None else f'to {most}'}")
    return value
