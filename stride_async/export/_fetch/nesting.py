"""How deeply values may be nested to be stored. Pure."""

from __future__ import annotations

MOST_NESTED = 100
"""Levels. Every machine can decode and compare values of that depth, wherever they stand in a file."""


def is_too_nested(value: object) -> bool:
    """Return whether a JSON value has more levels than can be stored."""
    level = [value]
    for _ in range(MOST_NESTED):
        if not level:
            return False
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = [part for parts in inner for part in parts]
    return bool(level)
