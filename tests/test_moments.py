"""Moments as text, as nanoseconds and as datetimes."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async._moments import (
    EPOCH,
    format_nanoseconds,
    parse_datetime,
    parse_nanoseconds,
    to_datetime,
    to_nanoseconds,
)

SECONDS = st.integers(min_value=-62_000_000_000, max_value=250_000_000_000)


@given(SECONDS, st.integers(0, 999_999_999))
def test_a_formatted_instant_parses_to_the_same_nanosecond(seconds, nanos):
    """From the year 1 to the year 9999, to the last of nine digits."""
    ns = seconds * 10**9 + nanos

    assert ns == parse_nanoseconds(format_nanoseconds(ns))


@given(SECONDS, st.text("0123456789", max_size=12), st.sampled_from("Tt "), st.integers(-23 * 60, 23 * 60))
def test_every_form_of_an_instant_parses_to_the_same_nanosecond(seconds, digits, between, offset):
    """Any zone, any number of fraction digits (those after the ninth are dropped), the letters in either case."""
    at = (EPOCH + timedelta(seconds=seconds)).astimezone(timezone(timedelta(minutes=offset)))
    whole, zone = at.isoformat()[:19].replace("T", between), at.isoformat()[19:]
    fraction = f".{digits}" if digits else ""

    ns = seconds * 10**9 + int(digits[:9].ljust(9, "0"))
    assert ns == parse_nanoseconds(f"{whole}{fraction}{zone}")
    assert ns // 1000 * 1000 == to_nanoseconds(parse_datetime(f"{whole}{fraction}{zone}"))
    if offset == 0:
        assert ns == parse_nanoseconds(f"{whole}{fraction}Z") == parse_nanoseconds(f"{whole}{fraction}z")


@given(SECONDS, st.integers(0, 999_999_999))
def test_a_datetime_keeps_the_microseconds_of_a_moment(seconds, nanos):
    """Rounding down holds before 1970 too."""
    ns = seconds * 10**9 + nanos

    assert ns // 1000 * 1000 == to_nanoseconds(to_datetime(ns))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2018-03-28",
        "2018-03-28T03:34:50",
        "2018-03-28T03:34:50.Z",
        "2018-03-28T03:34:50.1_3Z",
        "2018-03-28T03:34:50.٣Z",
        "2018-03-28T03:34:50.1Z ",
        "2018-03-28T03:34:50.1234567_Z",
        "2018-03-28T03:34:50.12345678٣Z",
        "2018-03-28T03:34:50.123456_89Z",
        "2018-03-28T03:34:60Z",
        "2018-02-30T03:34:50Z",
        "2018-03-28T03:34:50+25:00",
        "20180328T033450Z",
        "2018-W13-3T03:34:50Z",
        "1522208090",
    ],
)
def test_text_that_is_not_an_instant_is_refused(text):
    """That includes forms that `datetime.fromisoformat` accepts."""
    with pytest.raises(ValueError):
        parse_nanoseconds(text)
