"""Make text safe to show: replace or escape the characters that can change a terminal or hide what is written.

These are control characters (C0, DEL and C1), line and paragraph separators, lone surrogates, and invisible formatting
characters, such as those that reverse the order of the text. Only the joiners, which scripts and emoji need, stay.
"""

from __future__ import annotations

import json
import unicodedata

_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"


def is_unsafe(character: str) -> bool:
    """Return whether a character can change a terminal, or hide or reorder text."""
    return unicodedata.category(character) in _UNSAFE_CATEGORIES and character not in _JOINERS


def printable(text: str) -> str:
    """Return the text on one line, with unsafe characters replaced."""
    return printable_lines(text).replace("\n", " ").replace("\t", " ")


def printable_lines(text: str) -> str:
    """Return the text with unsafe characters replaced, except for line breaks and tabs."""
    if text.isprintable():
        return text
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if is_unsafe(character) and character not in "\n\t" else character
        for character in text.replace("\r\n", "\n")
    )


def json_for_terminal(line: str, *, only_ascii: bool) -> str:
    """Return a line of JSON with unsafe characters escaped as JSON escapes them, so that it has the same value.

    With `only_ascii`, all other characters that are not ASCII are escaped too.
    """
    if line.isprintable() and (line.isascii() or not only_ascii):
        return line
    return "".join(
        json.dumps(character)[1:-1] if is_unsafe(character) or (only_ascii and not character.isascii()) else character
        for character in line
    )
