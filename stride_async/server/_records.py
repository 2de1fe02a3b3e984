"""What a site is made of, as plain values.

A seed and the generator give these, the store keeps them. What the service answers travels along as compact JSON
text, its keys in the order given, so that nothing is lost between a seed and an answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import BinaryIO

from attrs import frozen

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SECOND = 1_000_000_000


@frozen
class Site:
    """The site itself; the first record of every stream of records."""

    cloud_id: str
    name: str


@frozen
class User:
    """A person: `json` is the SCIM user (protocol 4.7)."""

    id: str
    email: str
    json: str


@frozen
class Conversation:
    """A room: `json` is the conversation (protocol 4.1), `roster` the people in it, in join order, without the app."""

    id: str
    name: str
    type: str
    privacy: str
    archived: bool
    json: str
    roster: tuple[str, ...]


@frozen
class Message:
    """One message: `json` is the message (protocol 4.3), `ts` its time in nanoseconds since 1970."""

    conversation_id: str
    id: str
    sender_id: str
    ts: int
    json: str


@frozen
class Media:
    """A file of a conversation: `sha256` is of its `size` bytes, in hexadecimal; `open` gives them from the start."""

    conversation_id: str
    id: str
    name: str
    mime_type: str
    size: int
    sha256: str
    open: Callable[[], BinaryIO]


Record = Site | User | Conversation | Message | Media


def parse_ts(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time, with any offset and up to nine digits of a second.

    Years 1 to 9999 are taken; those before 1678 or after 2261 do not fit into 64 bits.

    Raises:
        ValueError: the text is no such time.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an RFC 3339 time such as 2018-02-27T08:54:23.197Z, found {text!r}")
    year, month, day, hour, minute, second = map(int, match.group(1, 2, 3, 4, 5, 6))
    fraction, sign, offset_hours, offset_minutes = match.group(7, 8, 9, 10)
    offset = int(offset_hours or 0) * 3600 + int(offset_minutes or 0) * 60
    in_range = (
        hour < 24 and minute < 60 and second < 60 and int(offset_hours or 0) < 24 and int(offset_minutes or 0) < 60
    )
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise ValueError(f"no such day in the time {text!r}: {error}") from None
    if not in_range:
        raise ValueError(f"no such time of day or offset in the time {text!r}")
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    seconds += offset if sign == "-" else -offset
    return seconds * _SECOND + int((fraction or "0").ljust(9, "0"))


def format_ts(ns: int) -> str:
    """The time as the service writes it: UTC, with as many digits of a second as are needed, none to nine.

    Raises:
        ValueError: the time lies outside the years 1 to 9999.
    """
    seconds, fraction = divmod(ns, _SECOND)
    days, second = divmod(seconds, 86_400)
    ordinal = _EPOCH_DAY + days
    if not date.min.toordinal() <= ordinal <= date.max.toordinal():
        raise ValueError(f"expected nanoseconds within the years 1 to 9999, found {ns}")
    text = f"{date.fromordinal(ordinal)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{text}.{fraction:09}".rstrip("0") + "Z" if fraction else f"{text}Z"
