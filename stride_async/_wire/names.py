"""File names that the service provides, made safe for any file system. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

LONGEST_NAME_BYTES = 200
"""Of UTF-8. The usual limit is 255; the rest is for our own extensions."""
NAMELESS = "file"
_FORBIDDEN = frozenset('/\\:*?"<>|')
# Unicode categories: control, format (such as bidi marks), surrogate, private use, unassigned, line and paragraph
# separator.
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)

# The extensions of our own unfinished downloads, and of the file with their state.
_UNFINISHED = re.compile(r"\.(part(?:\.json)?)$", re.IGNORECASE)


def safe_name(
    name: str | None, mark: str = "", used: Collection[str] = (), *, longest: int = LONGEST_NAME_BYTES
) -> str:
    """Return a plain file name for a name from the service.

    It is not a path, has no invisible characters, and is neither reserved by an operating system nor the name of an
    unfinished download. It has at most `longest` bytes of UTF-8, with the extension preserved if possible.
    `used` contains the `name_key` of other files. If the name is among them, `mark` is added before the extension, and
    a number if that does not suffice.
    """
    name = unicodedata.normalize("NFC", name or "")
    name = "".join("_" if c in _FORBIDDEN or unicodedata.category(c) in _INVISIBLE_CATEGORIES else c for c in name)
    name = name.strip(" .") or NAMELESS
    if name.partition(".")[0].rstrip(" ").casefold() in _RESERVED:
        name = f"_{name}"
    stem, extension = _split(name)
    candidate, number = _fitted(stem, "", extension, longest), 1
    mark = "".join(c for c in mark if c.isascii() and c.isalnum())[:16]
    while name_key(candidate) in used:
        addition = " ".join(filter(None, (mark, str(number) if number > 1 or not mark else "")))
        candidate, number = _fitted(stem, f" ({addition})", extension, longest), number + 1
    return candidate


def name_key(name: str) -> str:
    """Return a key that two names share if a file system may regard them as equal, by case or Unicode composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not stem or not extension.isalnum() or len(extension.encode()) > 16:
        return name, ""
    return stem, dot + extension


def _fitted(stem: str, addition: str, extension: str, longest: int) -> str:
    """Return the parts of a name joined, with the stem cut at a character so that all fits."""
    room = longest - len(addition.encode()) - len(extension.encode())
    stem = stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") or "_"
    return _UNFINISHED.sub(r"_\1", stem + addition + extension)
