"""File names from strangers, made safe for any file system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

LONGEST_NAME_BYTES = 200
"""Of UTF-8; 255 is the common limit, less what our own endings and a mark against collisions need."""
NAMELESS = "file"
_FORBIDDEN = frozenset('/\\:*?"<>|')
_HIDDEN_KINDS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Control, format (bidi among them), surrogate, private, unassigned, line and paragraph separator."""
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)

_UNFINISHED = re.compile(r"\.(part(?:\.json)?)$", re.IGNORECASE)
"""What our own unfinished files, and the notes beside them, end in."""


def safe_name(told: str | None, mark: str = "", taken: Collection[str] = ()) -> str:
    """A plain file name made of what the service told: no path, nothing invisible, nothing a system reserves.

    Nor what an unfinished file is called. At most `LONGEST_NAME_BYTES` of UTF-8, with its ending kept where that fits.
    Where the name is among `taken` (the `name_key`s of others), `mark` goes before the ending, and then a number.
    """
    name = unicodedata.normalize("NFC", told or "")
    name = "".join("_" if c in _FORBIDDEN or unicodedata.category(c) in _HIDDEN_KINDS else c for c in name)
    name = name.strip(" .") or NAMELESS
    if name.partition(".")[0].rstrip(" ").casefold() in _RESERVED:
        name = f"_{name}"
    stem, ending = _parted(name)
    candidate, number = _fitted(stem, "", ending), 1
    mark = "".join(c for c in mark if c.isascii() and c.isalnum())[:16]
    while name_key(candidate) in taken:
        addition = " ".join(filter(None, (mark, str(number) if number > 1 or not mark else "")))
        candidate, number = _fitted(stem, f" ({addition})", ending), number + 1
    return candidate


def name_key(name: str) -> str:
    """What two names share when a file system may take them for one: case and composition do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def _parted(name: str) -> tuple[str, str]:
    stem, dot, ending = name.rpartition(".")
    if not stem or not ending.isalnum() or len(ending.encode()) > 16:
        return name, ""
    return stem, dot + ending


def _fitted(stem: str, addition: str, ending: str) -> str:
    """The stem cut, at a character's edge, to what the rest leaves."""
    room = LONGEST_NAME_BYTES - len(addition.encode()) - len(ending.encode())
    stem = stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") or "_"
    return _UNFINISHED.sub(r"_\1", stem + addition + ending)
