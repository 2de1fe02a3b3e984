"""How names, days and numbers appear on the pages. Pure."""

from __future__ import annotations

import re
import unicodedata

import attrs

from stride_async.export.formats._names import digest_of

_TONES = 12  # colors of avatars in `assets/pages.css`
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"
_PLAIN_ANCHOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,79}")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@attrs.frozen
class Face:
    """A person, as the pages show one."""

    name: str
    initials: str
    tone: int
    """The number of the avatar's color."""


def face(id: str, name: str) -> Face:
    """Return how the pages show a person with this name."""
    name = shown(name) or shown(id)
    return Face(name, initials(name), tone(id))


def shown(text: str) -> str:
    """Return a name on one line. Characters that are invisible or change the direction become their code."""
    if text.isprintable():
        return text.strip()
    characters = [
        f"[U+{ord(character):04X}]"
        if unicodedata.category(character) in _UNSAFE and character not in _JOINERS
        else character
        for character in " ".join(text.split())
    ]
    return "".join(characters)


def initials(name: str) -> str:
    """Return the first letters of the first and the last word of a name."""
    words = [letters for word in re.split(r"[\s_.-]+", name) if (letters := "".join(filter(str.isalnum, word)))]
    if not words:
        return "?"
    last = words[-1].lstrip("0") or "0"
    return (words[0][0] + (last[0] if len(words) > 1 else "")).upper()


def tone(id: str) -> int:
    """Return the number of the color that something always has."""
    return int(digest_of(id)[:4], 16) % _TONES


def folder_of(conversation_id: str) -> str:
    """Return the name of a conversation's folder."""
    return digest_of(conversation_id)[:16]


def anchor_of(message_id: str) -> str:
    """Return the id of a message on its page."""
    return f"m-{message_id if _PLAIN_ANCHOR.fullmatch(message_id) else digest_of(message_id)[:16]}"


def long_day(day: str) -> str:
    """Return a day such as `2018-03-01` as `1 March 2018`."""
    year, month, number = day.split("-")
    return f"{int(number)} {_MONTHS[int(month) - 1]} {int(year)}"


def weekday(days: int) -> str:
    """Return the name of a weekday from the number of days since the epoch, which was a Thursday."""
    return _WEEKDAYS[(days + 3) % 7]


def month_name(month: str) -> str:
    """Return `March` for `2018-03`."""
    return _MONTHS[int(month[5:7]) - 1]


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun, such as `1 message` or `1,234 messages`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def size(number: int) -> str:
    """Return a size in bytes for people, such as `1.2 MB`."""
    if number < 1000:
        return counted(number, "byte")
    scaled = number / 1000
    for unit in ("kB", "MB", "GB"):
        if scaled < 999.5 or unit == "GB":
            break
        scaled /= 1000
    return f"{scaled:.1f} {unit}" if scaled < 9.95 else f"{scaled:,.0f} {unit}"
