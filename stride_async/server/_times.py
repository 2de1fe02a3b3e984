"""Times: nanoseconds since 1970 here, RFC 3339 text on the wire (protocol 1.3)."""

from __future__ import annotations

import re
from datetime import date

SECOND = 1_000_000_000  # nanoseconds
# 100-nanosecond ticks between 15 October 1582, where the time of version 1 UUIDs begins, and 1970.
UUID_EPOCH_TICKS = 0x01B21DD213814000

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()


def parse_ts(text: str) -> int:
    """Return the nanoseconds since 1970 of an RFC 3339 time.

    Any offset and up to nine fraction digits are accepted, and years 1 to 9999. A time before 1678 or after 2261 does
    not fit into 64 bits.

    Raises:
        ValueError: The text is not an RFC 3339 time.
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
        raise ValueError(f"the time {text!r} has an invalid date: {error}") from None
    if not in_range:
        raise ValueError(f"the time {text!r} has an invalid time of day or offset")
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second
    seconds += offset if sign == "-" else -offset
    return seconds * SECOND + int((fraction or "0").ljust(9, "0"))


def format_ts(ns: int) -> str:
    """Return the time as the service writes `ts`: in UTC, with 0 to 9 fraction digits and no trailing zeros.

    Raises:
        ValueError: The time is outside the years 1 to 9999.
    """
    seconds, fraction = divmod(ns, SECOND)
    days, second = divmod(seconds, 86_400)
    ordinal = _EPOCH_DAY + days
    if not date.min.toordinal() <= ordinal <= date.max.toordinal():
        raise ValueError(f"expected nanoseconds within the years 1 to 9999, found {ns}")
    text = f"{date.fromordinal(ordinal)}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{text}.{fraction:09}".rstrip("0") + "Z" if fraction else f"{text}Z"


def format_milliseconds(ns: int) -> str:
    """Return the time as conversations and users have it: in UTC, with three fraction digits."""
    fraction = ns % SECOND
    return f"{format_ts(ns - fraction)[:-1]}.{fraction // 1_000_000:03}Z"
