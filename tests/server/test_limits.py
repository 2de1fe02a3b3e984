from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from stride_async.server import Choices
from stride_async.server._limits import RateLimit

from .calling import log_in


async def test_each_conversation_accepts_a_hundred_calls_in_a_window(start):
    """The next call gets a 429 with the body of the service; other conversations are not affected."""
    api = await start(window=3600.0)
    room, other = (api.server.add_conversation(name) for name in ("a", "b"))

    taken = [(await api.get(api.room(room))).status for _ in range(100)]
    refused = await api.get(f"{api.room(room)}/message")
    free = await api.get(api.room(other))

    assert {200} == set(taken)
    assert 429 == refused.status
    assert {"code": 429, "message": "request has been rate limited"} == refused.json
    assert ["100", "0"] == [refused.headers[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining")]
    assert "Retry-After" not in refused.headers
    assert (200, "99") == (free.status, free.headers["X-RateLimit-Remaining"])


async def test_the_reset_is_the_end_of_the_window(start):
    """It is an RFC 3339 time in whole seconds; the `Date` header of the response has the current time."""
    api = await start(window=50.0, rate_limit=5)
    room = api.server.add_conversation("a")

    reply = await api.get(api.room(room))
    reset = datetime.strptime(reply.headers["X-RateLimit-Reset"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

    assert 50 <= (reset - parsedate_to_datetime(reply.headers["Date"])).total_seconds() <= 52


def test_the_full_limit_is_back_after_a_window():
    """The windows are fixed, not sliding."""
    limit = RateLimit(2, window=-1.0)

    standings = [limit.count("app", "room") for _ in range(5)]

    assert [(True, 1)] * 5 == [(standing.allowed, standing.remaining) for standing in standings]


def test_windows_that_have_ended_are_forgotten():
    """Callers that call only once do not fill the memory."""
    limit = RateLimit(2, window=-1.0)

    for number in range(25_000):
        limit.count("app", str(number))

    assert len(limit._windows) <= 10_000


async def test_each_app_and_each_person_has_a_limit_of_its_own(start):
    """Calls for a direct conversation count by person, and calls outside conversations do not count."""
    api = await start(rate_limit=1)
    room, ann, bob = api.server.add_conversation("a"), api.server.add_user("Ann"), api.server.add_user("Bob")
    other = await log_in(api.http, api.server, *api.server.add_app())

    statuses = [
        (await caller.get(path)).status
        for caller, path in [
            (api, api.room(room)),
            (api, api.room(room)),
            (other, api.room(room)),
            (api, f"{api.site}/user/{ann}"),
            (api, f"{api.site}/user/{ann}"),
            (api, f"{api.site}/user/{bob}"),
            (api, api.site),
            (api, api.site),
            (api, "/me"),
        ]
    ]

    assert [200, 429, 200, 200, 429, 200, 200, 200, 200] == statuses


@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_a_429_can_have_a_retry_after_header(start, form):
    """The header has seconds or a date, within the window."""
    api = await start(rate_limit=0, window=100.0, choices=Choices(retry_after=form))

    header = (await api.get(api.room(api.server.add_conversation("a")))).headers["Retry-After"]
    wait = int(header) if form == "seconds" else parsedate_to_datetime(header).timestamp() - time.time()

    assert 90 < wait <= 101


async def test_rate_limit_headers_can_be_left_out_and_other_calls_can_be_limited(start):
    """Both are unknown of the service."""
    api = await start(choices=Choices(rate_headers_on_success=False, rate_limit_elsewhere=1))
    room = api.server.add_conversation("a")

    assert "X-RateLimit-Limit" not in (await api.get(api.room(room))).headers
    assert [200, 429] == [(await api.get("/me")).status for _ in range(2)]
