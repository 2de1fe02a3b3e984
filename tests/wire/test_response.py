"""What an answer states of waiting, read by its own clock; and errors of any body."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from stride_async import ApiError
from stride_async._wire.request import Response
from stride_async._wire.response import LONGEST_ERROR_BODY, error_of, stated_wait

NOON = datetime(2018, 6, 8, 12, 0, 0, tzinfo=UTC)
DATE = format_datetime(NOON, usegmt=True)


def stated(status: int = 429, /, **headers: str) -> float | None:
    """The wait that headers state, with a `Date` of noon unless another is given."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return stated_wait(status, CIMultiDict({"Date": DATE, **named}))


def http_date(seconds: float) -> str:
    """An HTTP date so many seconds after noon."""
    return format_datetime(NOON + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.25", 0.25),
        ("31536000", 31536000.0),
        (http_date(42), 42.0),
        ("Friday, 08-Jun-18 12:00:42 GMT", 42.0),
        ("Fri Jun  8 12:00:42 2018", 42.0),
        ("Fri, 08 Jun 2018 14:00:42 +0200", 42.0),
        (http_date(-3600), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_in_any_of_its_forms(text, seconds):
    """A past date means now."""
    assert seconds == stated(Retry_After=text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2018-06-08T12:00:42Z", 42.0),
        ("2018-06-08t12:00:42z", 42.0),
        ("2018-06-08T14:00:42+02:00", 42.0),
        ("2018-06-08T12:00:42", 42.0),
        ("2018-06-08T12:00:42.500000000Z", 42.5),
        ("2018-06-08T11:59:59Z", 0.0),
        ("2019-06-08T12:00:00Z", 365 * 86400.0),
        (str(int(NOON.timestamp()) + 42), 42.0),
        ("1516115847", 0.0),
    ],
)
def test_a_reset_is_an_instant_or_epoch_seconds(text, seconds):
    """The API tells it one way, the token endpoint the other (protocol 3.4)."""
    assert seconds == stated(X_RateLimit_Reset=text)


@pytest.mark.parametrize("off", [-86400, -3600, 3600, 86400])
def test_instants_are_measured_by_the_clock_of_the_answer(off):
    """Whatever the time is here, or there: only the two of the same answer are compared."""
    date = http_date(off)
    reset = (NOON + timedelta(seconds=off + 30)).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert 30.0 == stated(Date=date, X_RateLimit_Reset=reset)
    assert 30.0 == stated(Date=date, Retry_After=http_date(off + 30))


def test_an_instant_without_a_date_beside_it_states_nothing():
    """There is no clock to measure it by; seconds need none."""
    assert stated_wait(429, CIMultiDict({"Retry-After": http_date(42)})) is None
    assert 42.0 == stated_wait(429, CIMultiDict({"Retry-After": "42"}))


def test_retry_after_comes_first_unless_it_cannot_be_read():
    """The reset is what remains."""
    reset = "2018-06-08T12:00:42Z"

    assert 7.0 == stated(Retry_After="7", X_RateLimit_Reset=reset)
    assert 42.0 == stated(Retry_After="soon", X_RateLimit_Reset=reset)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_the_end_of_the_window_is_no_wait_where_the_limit_was_not_reached(status):
    """It stands on every answer of a conversation, and a server that stumbled may be asked again long before."""
    assert stated(status, X_RateLimit_Reset="2018-06-08T12:00:42Z") is None
    assert 7.0 == stated(status, Retry_After="7")


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 413, 501])
def test_an_answer_that_is_not_repeated_states_no_wait(status):
    """Whatever its headers say."""
    assert stated(status, Retry_After="7", X_RateLimit_Reset="2018-06-08T12:00:42Z") is None


@pytest.mark.parametrize("header", ["Retry-After", "X-RateLimit-Reset"])
@pytest.mark.parametrize(
    "text",
    ["", "soon", "-7", "7s", "1e3", "nan", "inf", "٧", "9" * 400, "9" * 5000, "Fri, 99 Foo 2018", "T", "0000-00-00"],
)
def test_what_cannot_be_read_states_nothing(header, text):
    """The plain backoff is waited then."""
    assert stated_wait(429, CIMultiDict({"Date": DATE, header: text})) is None


FRAGMENTS = st.text(st.sampled_from("0123456789-+:.,TZ GMTFriJun/tz٣ "), max_size=40)


@given(st.sampled_from([429, 503]), st.one_of(FRAGMENTS, st.text()), st.one_of(FRAGMENTS, st.text()), st.text())
@example(429, "Fri, 08 Jun 9999 23:59:59 -2359", "", "Fri, 08 Jun 0001 00:00:00 +2359")
@example(429, "", "0001-01-01T00:00:00+23:59", DATE)
def test_no_header_text_raises_or_gives_a_time_that_is_none(status, after, reset, date):
    """A finite number of seconds from 0 on, or nothing."""
    seconds = stated_wait(status, CIMultiDict({"Retry-After": after, "X-RateLimit-Reset": reset, "Date": date}))

    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


@given(FRAGMENTS, FRAGMENTS)
def test_no_instant_beside_a_good_date_raises_either(after, reset):
    """The same where the clock of the answer can be read."""
    seconds = stated(Retry_After=after, X_RateLimit_Reset=reset)

    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


@given(st.integers(400, 599), st.binary(max_size=400), st.integers(0, 3))
def test_any_bytes_make_an_error(status, body, tenfold):
    """Its words are short, its body is bounded."""
    error = error_of("GET /me", Response(status, CIMultiDict(), body * 10**tenfold))

    assert isinstance(error, ApiError)
    assert len(str(error)) < 400
    assert (body * 10**tenfold)[:LONGEST_ERROR_BODY] == error.body
