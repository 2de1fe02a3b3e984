"""A service that is down is not burdened further."""

from __future__ import annotations

import asyncio

import pytest

from stride_async import (
    Ambiguous,
    AttemptStarted,
    NotSent,
    ServerError,
    Settings,
    StaticToken,
    StrideClient,
    StrideError,
)
from tests.conftest import client_of

from .peers import free_port

CALLS = 500
MOST = 1.3 * CALLS


async def errors_of(client: StrideClient) -> list[BaseException | None]:
    """Make 500 calls at once and return their errors."""
    return [
        error if isinstance(error, StrideError) else None
        for error in await asyncio.gather(*(client.me() for _ in range(CALLS)), return_exceptions=True)
    ]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [({"status": 503}, ServerError), ({"drop": "before"}, Ambiguous), ({"drop": "after"}, Ambiguous)],
    ids=str,
)
async def test_an_outage_is_not_multiplied(server, fault, kind):
    """500 calls at once make at most 1.3 requests each; a single call would make four."""
    server.faults.add("GET", "/me", **fault)
    events = []

    async with client_of(server, on_event=events.append) as client:
        errors = await errors_of(client)

    seen = server.calls.matching("GET", "/me")
    assert [kind] * CALLS == [type(error) for error in errors]
    assert CALLS < len(seen) <= MOST
    assert len(seen) == sum(len(error.attempts) for error in errors)
    assert len(server.calls) == sum(isinstance(event, AttemptStarted) for event in events)
    assert {"the client's retry budget is used up: the service seems to be down"} <= {error.rule for error in errors}


async def test_an_unreachable_service_is_not_flooded():
    """The budget also bounds attempts to connect."""
    events = []
    settings = Settings(base_url=f"http://127.0.0.1:{free_port()}", backoff=0.0, on_event=events.append)

    async with StrideClient(StaticToken("token"), cloud_id="c", settings=settings) as client:
        errors = await errors_of(client)

    tried = sum(isinstance(event, AttemptStarted) for event in events)
    assert [NotSent] * CALLS == [type(error) for error in errors]
    assert CALLS < tried <= MOST
    assert tried == sum(len(error.attempts) for error in errors)


async def test_a_failing_token_call_is_not_made_for_every_caller(server):
    """Calls that wait for the token share its error; later calls request it again, within the same budget."""
    server.faults.add("POST", "/oauth/token", status=503)

    async with client_of(server) as client:
        errors = await errors_of(client)

    assert [ServerError] * CALLS == [type(error) for error in errors]
    assert len(server.calls) <= 100


async def test_calls_are_retried_again_after_an_outage(server):
    """The budget grows by a fifth of a retry with each call."""
    server.faults.add("GET", "/me", status=503, times=CALLS * 4)
    fault = server.faults.add("GET", "/site/", status=503, times=1)
    async with client_of(server) as client:
        await errors_of(client)
        with pytest.raises(ServerError, match="503"):
            await client.sites()
        server.faults.clear()
        for _ in range(5):
            await client.me()
        server.faults.add("GET", "/site/", status=503, times=1)

        await client.sites()

    assert 1 == fault.hits


async def test_waiting_for_a_limit_costs_no_budget(server):
    """A hundred calls that get two hundred 429s all succeed in the end."""
    server.faults.add("GET", "/me", status=429, times=200)

    async with client_of(server, attempts=10) as client:
        await asyncio.gather(*(client.me() for _ in range(100)))

    assert 100 + 200 == len(server.calls.matching("GET", "/me"))
