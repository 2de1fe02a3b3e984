"""Moments in their three forms: RFC 3339 text, aware datetimes, and nanoseconds since the epoch.

The service writes the time of a message with up to nine fraction digits (protocol 1.3). A `datetime` holds six, so
messages are ordered and bounded by nanoseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NANOSECONDS = 1_000_000_000  # in one second

_MICROSECOND = timedelta(microseconds=1)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
# The form that the service itself writes. Recognizing it by its punctuation is faster than matching the pattern, which
# shows on a page of messages: every third character from the fifth on, and the length with 0 to 9 fraction digits.
_USUAL_PUNCTUATION = frozenset({"--T::.", "--T::Z"})
_USUAL_LENGTHS = frozenset({20, *range(22, 31)})
_LENGTH_WITH_MICROSECONDS = len("2017-10-24T22:16:05.123456Z")
_USUAL_LENGTHS_OF_DATETIME = frozenset(length for length in _USUAL_LENGTHS if length <= _LENGTH_WITH_MICROSECONDS)
# The same form with zeros for all digits, and the value of the last fraction digit in nanoseconds, by length.
_TO_ZEROS = str.maketrans("123456789", "000000000")
_SHAPES = {20: "0000-00-00T00:00:00Z"} | {21 + n: f"0000-00-00T00:00:00.{'0' * n}Z" for n in range(1, 10)}
_SCALES = {20: 0} | {21 + n: 10 ** (9 - n) for n in range(1, 10)}


def to_nanoseconds(moment: datetime) -> int:
    """Return the nanoseconds from the epoch to an aware datetime."""
    return (moment - EPOCH) // _MICROSECOND * 1000


def to_datetime(ns: int) -> datetime:
    """Return nanoseconds since the epoch as a UTC datetime, rounded down to microseconds.

    Raises:
        ValueError: The moment is outside the years 1 to 9999.
    """
    try:
        return EPOCH + timedelta(microseconds=ns // 1000)
    except OverflowError:
        raise ValueError(f"{ns} ns since the epoch are outside the years 1 to 9999") from None


def parse_nanoseconds(text: str) -> int:
    """Return the nanoseconds since the epoch of an RFC 3339 instant with 0 to 9 fraction digits.

    Digits beyond the ninth are dropped.

    Raises:
        ValueError: The text is not an RFC 3339 instant, or in UTC it is outside the years 1 to 9999.
    """
    if text[4:20:3] not in _USUAL_PUNCTUATION or text[-1] != "Z" or len(text) not in _USUAL_LENGTHS:
        seconds_text, fraction, zone = _parts(text)
        since = _in_utc(seconds_text + zone) - EPOCH
        return (since.days * 86_400 + since.seconds) * NANOSECONDS + int(fraction[:9].ljust(9, "0"))
    since = datetime.fromisoformat(text) - EPOCH
    seconds = since.days * 86_400 + since.seconds
    if len(text) <= _LENGTH_WITH_MICROSECONDS:
        return (seconds * 1_000_000 + since.microseconds) * 1_000
    digits = text[20:-1]
    if not (digits.isdigit() and digits.isascii()):  # `fromisoformat` ignores what follows the sixth digit.
        raise ValueError(f"expected an RFC 3339 instant, found {text!r}")
    return seconds * NANOSECONDS + int(digits.ljust(9, "0"))


def parse_all_nanoseconds(texts: Sequence[str]) -> list[int]:
    """Return `parse_nanoseconds` of each text. If all have the usual form, it is checked for all of them at once.

    Raises:
        ValueError: One of them is not an RFC 3339 instant, or in UTC it is outside the years 1 to 9999.
    """
    lengths = [*map(len, texts)]
    # The digit for other lengths equals none of the zeros.
    if "".join(texts).translate(_TO_ZEROS) != "".join(map(_SHAPES.get, lengths, repeat("1"))):
        return list(map(parse_nanoseconds, texts))
    found, parse = [], datetime.fromisoformat  # To look the method up takes half as long as to call it.
    for text, length in zip(texts, lengths, strict=True):
        since = parse(text) - EPOCH
        fraction = int(text[20:-1] or 0) * _SCALES[length]
        found.append((since.days * 86_400 + since.seconds) * NANOSECONDS + fraction)
    return found


def parse_datetime(text: str) -> datetime:
    """Return an RFC 3339 instant as a UTC datetime; fraction digits beyond the sixth are dropped.

    Raises:
        ValueError: The text is not an RFC 3339 instant, or in UTC it is outside the years 1 to 9999.
    """
    if text[4:20:3] in _USUAL_PUNCTUATION and text[-1] == "Z" and len(text) in _USUAL_LENGTHS_OF_DATETIME:
        return datetime.fromisoformat(text)
    seconds_text, fraction, zone = _parts(text)
    return _in_utc(seconds_text + zone) + timedelta(microseconds=int(fraction[:6].ljust(6, "0")))


def format_nanoseconds(ns: int) -> str:
    """Return nanoseconds since the epoch as an RFC 3339 instant in UTC, without trailing zeros in the fraction."""
    seconds, nanos = divmod(ns, NANOSECONDS)
    text = (EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
    fraction = f"{nanos:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def _parts(text: str) -> tuple[str, str, str]:
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an RFC 3339 instant, found {text!r}")
    return match[1], match[2] or "0", match[3].upper()


def _in_utc(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        raise ValueError(f"expected an instant in the years 1 to 9999, found {text!r}") from None
