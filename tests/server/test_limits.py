from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from stride_async.server import Choices
from stride_async.server._limits import RateLimit

from .calling import log_in


async def test_each_conversation_takes_a_hundred_calls_a_window(start):
    """The 101st answers 429 with the service's own body; other conversations are not concerned."""
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


async def test_the_reset_is_an_instant_within_the_window(start):
    """RFC 3339 in whole seconds, no earlier than the window's end by the answer's own Date."""
    api = await start(window=50.0, rate_limit=5)
    room = api.server.add_conversation("a")

    reply = await api.get(api.room(room))
    reset = datetime.strptime(reply.headers["X-RateLimit-Reset"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

    assert 50 <= (reset - parsedate_to_datetime(reply.headers["Date"])).total_seconds() <= 52


def test_a_window_that_ended_leaves_the_whole_limit():
    """Fixed windows: all at once, not one by one."""
    limit = RateLimit(2, window=-1.0)

    standings = [limit.count("app", "room") for _ in range(5)]

    assert [(True, 1)] * 5 == [(standing.allowed, standing.remaining) for standing in standings]


def test_ended_windows_are_forgotten():
    """Callers that come once do not fill the memory."""
    limit = RateLimit(2, window=-1.0)

    for number in range(25_000):
        limit.count("app", str(number))

    assert len(limit._windows) <= 10_000


async def test_apps_and_people_are_counted_apart(start):
    """Another app has its own hundred; a person's direct calls count by person; lists do not count."""
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
async def test_a_refused_call_can_say_when_to_come_back(start, form):
    """Retry-After in either form, within the window."""
    api = await start(rate_limit=0, window=100.0, choices=Choices(retry_after=form))

    header = (await api.get(api.room(api.server.add_conversation("a")))).headers["Retry-After"]
    wait = int(header) if form == "seconds" else parsedate_to_datetime(header).timestamp() - time.time()

    assert 90 < wait <= 101


async def test_headers_can_be_kept_to_refusals_and_lists_can_be_limited(start):
    """Both are unknown of the real service."""
    api = await start(choices=Choices(rate_headers_on_success=False, rate_limit_elsewhere=1))
    room = api.server.add_conversation("a")

    assert "X-RateLimit-Limit" not in (await api.get(api.room(room))).headers
    assert [200, 429] == [(await api.get("/me")).status for _ in range(2)]
