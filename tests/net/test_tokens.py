"""One token for all calls: fetched once, renewed in the background, refused once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import pairwise

import attrs
import pytest

from stride_async import (
    AccessToken,
    AuthError,
    ClientCredentials,
    DeadlineExceeded,
    DecodeError,
    RateLimited,
    ServerError,
    Settings,
    StaticToken,
    StrideClient,
    TokenRefreshed,
    Unauthorized,
)
from stride_async._net.token import TokenSource
from stride_async.server import Choices, LocalServer
from tests.conftest import client_of
from tests.net.clock import run

TOKEN = ("POST", "/oauth/token")


def outcomes(results: list[object]) -> set[str]:
    return {type(result).__name__ for result in results}


class Script:
    """A source of tokens: what each fetch returns is scripted, and `times` records when it was called."""

    def __init__(self, *script: AccessToken | Exception, takes: float = 0.0) -> None:
        self.times: list[float] = []
        self._script = script
        self._takes = takes

    async def __call__(self) -> AccessToken:
        self.times.append(asyncio.get_running_loop().time())
        result = self._script[min(len(self.times), len(self._script)) - 1]
        await asyncio.sleep(self._takes)
        if isinstance(result, Exception):
            raise result
        return result

    token = __call__


async def test_all_calls_with_an_expired_token_fetch_one_new_token(client: StrideClient, server: LocalServer):
    """Each of 500 calls got a 401 or came later, and is retried at most once."""
    await client.me()
    await server.expire_tokens()
    server.calls.clear()

    await asyncio.gather(*(client.me() for _ in range(500)))

    assert 1 == len(server.calls.matching(*TOKEN))
    assert len(server.calls.matching("GET", "/me")) <= 500 + client.settings.concurrency


async def test_all_first_calls_of_a_client_fetch_one_token(client: StrideClient, server: LocalServer):
    """500 calls begin at once, and none is sent without a token."""
    await asyncio.gather(*(client.me() for _ in range(500)))

    assert 1 == len(server.calls.matching(*TOKEN))
    assert 500 == len(server.calls.matching("GET", "/me"))


@pytest.mark.parametrize("had_one", [True, False])
async def test_a_refused_renewal_is_raised_in_all_calls(client: StrideClient, server: LocalServer, had_one: bool):
    """500 calls that share 64 slots make one token call, and each raises an `AuthError` of its own."""
    if had_one:
        await client.me()
        await server.expire_tokens()
        server.calls.clear()
    server.faults.add(*TOKEN, status=401)

    errors = await asyncio.gather(*(client.me() for _ in range(500)), return_exceptions=True)

    assert {"AuthError"} == outcomes(errors)
    assert 1 == len(server.calls.matching(*TOKEN))
    assert 500 == len({id(error) for error in errors})
    assert (1 if had_one else 0) == max(len(error.attempts) - 1 for error in errors)


async def test_a_refusal_does_not_affect_later_calls(client: StrideClient, server: LocalServer):
    """The credentials may have been corrected, so the next call tries again."""
    server.faults.add(*TOKEN, status=403, times=1)
    with pytest.raises(AuthError, match="STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET"):
        await client.me()

    await client.me()

    assert 2 == len(server.calls.matching(*TOKEN))


async def test_a_refusal_is_raised_in_calls_that_wait_for_a_limit_slot(server: LocalServer):
    """They got their slots after the refusal but began before it."""
    room_id = server.add_conversation("general")
    server.faults.add(*TOKEN, status=401)

    async with client_of(server, calls_per_minute=3) as client:
        room = client.conversation(room_id)
        errors = await asyncio.gather(*(room.get() for _ in range(20)), return_exceptions=True)

    assert {"AuthError"} == outcomes(errors)
    assert 1 == len(server.calls)


async def test_a_cancelled_call_does_not_cancel_the_fetch_of_the_token(client: StrideClient, server: LocalServer):
    """The first call began the fetch, which continues for the others."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def held(_: LocalServer) -> None:
        arrived.set()
        await go.wait()

    server.faults.add(*TOKEN, do=held)
    first, *others = [asyncio.create_task(client.me()) for _ in range(10)]
    await arrived.wait()

    first.cancel()
    await asyncio.wait([first])
    go.set()
    await asyncio.gather(*others)

    assert first.cancelled()
    assert 1 == len(server.calls.matching(*TOKEN))


async def test_a_refused_token_is_renewed_and_the_call_retried_once(server: LocalServer):
    """There is no backoff before this retry."""
    events: list[object] = []
    async with client_of(server, backoff=20.0, on_event=events.append) as client:
        await client.me()
        await server.expire_tokens()

        await client.me()

    assert [200, 401, 200] == [call.status for call in server.calls.matching("GET", "/me")]
    assert 2 == len(server.calls.matching(*TOKEN))
    assert [TokenRefreshed(3600.0)] * 2 == [event for event in events if isinstance(event, TokenRefreshed)]


async def test_a_call_whose_renewed_token_is_refused_fails(client: StrideClient, server: LocalServer):
    """The error says so, and lists both attempts."""
    server.faults.add("GET", "/me", status=401)

    with pytest.raises(Unauthorized) as caught:
        await client.me()

    assert [401, 401] == [attempt.status for attempt in caught.value.attempts]
    assert "the renewed token was refused as well" == caught.value.rule
    assert 2 == len(server.calls.matching(*TOKEN))


async def test_a_late_401_does_not_discard_a_newer_token(client: StrideClient, server: LocalServer):
    """A call with the old token gets its response after another call has renewed the token."""
    await client.me()
    arrived, go = asyncio.Event(), asyncio.Event()

    async def held(_: LocalServer) -> None:
        arrived.set()
        await go.wait()

    server.faults.add("GET", "/me", do=held, status=401, times=1)
    slow = asyncio.create_task(client.me())
    await arrived.wait()
    await server.expire_tokens()
    await client.me()
    go.set()
    await slow

    assert 2 == len(server.calls.matching(*TOKEN))


async def test_the_error_of_a_refused_static_token_says_what_to_do(server: LocalServer):
    """The token cannot be renewed, so there is no retry and no token call."""
    room_id = server.add_conversation("general")
    settings = Settings(base_url=server.url, backoff=0.0)
    async with StrideClient(
        StaticToken(server.room_token(room_id)), cloud_id=server.cloud_id, settings=settings
    ) as bot:
        await bot.conversation(room_id).send("still good")
        await server.expire_tokens()

        with pytest.raises(Unauthorized, match="create a new one in the room's Apps sidebar") as caught:
            await bot.conversation(room_id).send("no more")

    assert (["POST"] * 2, "the token cannot be renewed") == ([call.method for call in server.calls], caught.value.rule)


async def test_a_token_call_that_hangs_is_bounded(server: LocalServer):
    """The timeout of its attempts ends it, and the next call tries again."""
    server.faults.add(*TOKEN, stall="headers", times=2)

    async with client_of(server, attempts=2, attempt_timeout=0.1) as client:
        errors = await asyncio.gather(*(client.me() for _ in range(5)), return_exceptions=True)
        await client.me()

    assert {"Ambiguous"} == outcomes(errors)
    assert 3 == len(server.calls.matching(*TOKEN))


async def test_a_deadline_ends_the_wait_for_a_token(server: LocalServer):
    """It ends only the wait of its own call."""
    go = asyncio.Event()
    server.faults.add(*TOKEN, do=lambda _: go.wait())
    async with client_of(server) as client:
        hasty = client.with_settings(attrs.evolve(client.settings, deadline=0.1))
        patient = asyncio.create_task(client.me())

        with pytest.raises(DeadlineExceeded):
            await hasty.me()
        go.set()
        await patient

    assert 1 == len(server.calls.matching(*TOKEN))


@pytest.mark.parametrize("upload", [True, False])
async def test_a_provider_that_hangs_is_bounded(server: LocalServer, upload: bool):
    """The deadline applies to it even for media, which have no deadline otherwise."""
    script = Script(AccessToken("never"), takes=3600.0)
    settings = Settings(base_url=server.url, deadline=0.1)
    async with StrideClient(script, cloud_id=server.cloud_id, settings=settings) as client:
        with pytest.raises(DeadlineExceeded):
            await (client.conversation("r").upload(b"x", name="x") if upload else client.me())

    assert 0 == len(server.calls)


async def test_the_limit_of_the_token_endpoint_is_waited_out(server: LocalServer):
    """Its reset is in epoch seconds; by its own `Date` the wait ends at once."""
    now = int(time.time())
    headers = {"X-RateLimit-Reset": str(now), "Date": format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True)}
    server.faults.add(*TOKEN, status=429, headers=headers, times=2)

    async with client_of(server) as client:
        await client.me()

    assert [429, 429, 200] == [call.status for call in server.calls.matching(*TOKEN)]


async def test_later_calls_respect_a_long_limit_of_the_token_endpoint(client: StrideClient, server: LocalServer):
    """Until it ends, nothing is sent, and each error has the remaining wait."""
    now = int(time.time())
    headers = {
        "X-RateLimit-Reset": str(now + 600),
        "Date": format_datetime(datetime.fromtimestamp(now, UTC), usegmt=True),
    }
    server.faults.add(*TOKEN, status=429, headers=headers)

    first, *others = [await _error(client.me) for _ in range(3)]

    assert {"RateLimited"} == outcomes([first, *others])
    assert 600.0 == first.retry_after
    assert all(599 < error.retry_after < 600 for error in others)
    assert 1 == len(server.calls)


async def _error(call: Callable[[], object]) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await call()  # type: ignore[misc]  # any call of the client
    return caught.value


async def test_a_failed_token_call_is_retried(client: StrideClient, server: LocalServer):
    """It may be repeated, however it failed."""
    server.faults.add(*TOKEN, status=503, times=1)
    server.faults.add(*TOKEN, drop="after", times=1)
    server.faults.add(*TOKEN, cut_after=10, times=1)

    await client.me()

    assert 4 == len(server.calls.matching(*TOKEN))
    assert 1 == len(server.calls.matching("GET", "/me"))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 503}, ServerError),
        ({"status": 200, "body": "<html>"}, DecodeError),
        ({"status": 200, "body": "{}"}, DecodeError),
    ],
)
async def test_a_token_call_that_fails_is_not_a_refusal(client: StrideClient, server: LocalServer, fault, kind):
    """The error is that of the token call, with its attempts; the call itself was not sent."""
    server.faults.add(*TOKEN, **fault)

    with pytest.raises(kind, match="POST /oauth/token") as caught:
        await client.conversation("r").send("x")

    assert not caught.value.maybe_processed
    assert len(server.calls) == len(caught.value.attempts)
    assert {"/oauth/token"} == {call.path for call in server.calls}


async def test_the_token_endpoint_may_be_at_another_url(server: LocalServer):
    """`token_url` is used as it is, including its path, and the service itself gets no token call."""
    async with LocalServer() as other:
        settings = Settings(base_url=server.url, token_url=f"{other.url}/oauth/token", attempts=1)
        credentials = ClientCredentials(other.client_id, other.client_secret)
        async with StrideClient(credentials, cloud_id="c", settings=settings) as client:
            with pytest.raises(Unauthorized):  # This server does not know the tokens of the other.
                await client.me()

        assert {"POST /oauth/token"} == {f"{call.method} {call.path}" for call in other.calls}
        assert {"GET /me"} == {f"{call.method} {call.path}" for call in server.calls}


class Mine(Exception):
    """An error of a token provider."""


@pytest.fixture
async def providing(server: LocalServer) -> AsyncIterator[Callable[..., StrideClient]]:
    """A function that returns a client whose tokens come from a script."""
    clients = []

    def client(script: Script, **options: object) -> StrideClient:
        settings = Settings(base_url=server.url, backoff=0.0, **options)  # type: ignore[arg-type]  # any option
        clients.append(StrideClient(script, cloud_id=server.cloud_id, settings=settings))
        return clients[-1]

    yield client
    for client in clients:
        await client.close()


async def good_token(server: LocalServer) -> AccessToken:
    """Return a token that the server accepts."""
    async with client_of(server) as client:
        await client.me()
    return AccessToken(server.calls.matching("GET", "/me")[-1].headers["Authorization"].removeprefix("Bearer "))


async def test_a_provider_is_called_once_for_all_calls_and_again_after_a_refusal(providing, server: LocalServer):
    """The service does not know the first token."""
    script = Script(AccessToken("unknown"), await good_token(server))
    client = providing(script)

    await asyncio.gather(*(client.me() for _ in range(100)))

    assert 2 == len(script.times)


@pytest.mark.parametrize("error", [Mine("no smart card"), TimeoutError("the vault is slow"), OSError(5, "disk")])
async def test_an_error_of_a_provider_is_raised_unchanged(providing, server: LocalServer, error):
    """It is not wrapped, not retried, and not mistaken for a timeout of the client."""
    client = providing(Script(error, await good_token(server)))
    server.calls.clear()

    with pytest.raises(type(error)) as caught:
        await client.me()
    await client.me()

    assert error is caught.value
    assert 1 == len(server.calls)


def test_a_token_is_renewed_in_the_background_before_it_expires():
    """No call waits while the old token is valid, and there is one renewal at a time."""
    old, new = AccessToken("old", 1000.0), AccessToken("new", 1000.0)
    script = Script(old, new, takes=5.0)

    async def main() -> list[tuple[float, str]]:
        loop, source, got = asyncio.get_running_loop(), TokenSource(script, renewable=True), []
        for _ in range(220):
            token = await source.get(0)
            got.append((loop.time(), token.value))
            await asyncio.sleep(5)
        return got

    got = run(main())
    waited = [after[0] - before[0] for before, after in pairwise(got)]

    assert 2 == len(script.times)
    assert 1000 - 120 <= script.times[1] - got[0][0] <= 1000 - 60 + 5
    assert {5.0} == set(waited)
    assert {"old", "new"} == {value for _, value in got}


def test_clients_that_got_tokens_together_do_not_renew_them_together():
    """Many clients that one deployment started do not all renew at once an hour later."""

    async def one() -> float:
        script = Script(AccessToken("t", 3600.0))
        source = TokenSource(script, renewable=True)
        await source.get(0)
        await asyncio.sleep(3470)
        while len(script.times) < 2:
            await source.get(0)
            await asyncio.sleep(1)
        return script.times[1] - script.times[0]

    async def main() -> list[float]:
        return await asyncio.gather(*(one() for _ in range(200)))

    moments = run(main())

    assert 3480 <= min(moments)
    assert max(moments) <= 3541
    assert len(set(moments)) > 30


def test_a_failed_background_renewal_has_no_effect():
    """The old token is used until it expires; then another is fetched."""
    script = Script(AccessToken("old", 1000.0), AuthError("no"), AccessToken("new", 1000.0))

    async def main() -> list[str]:
        source = TokenSource(script, renewable=True)
        got = []
        for _ in range(25):
            got.append((await source.get(0)).value)
            await asyncio.sleep(50)
        return got

    got = run(main())

    assert ["old"] * 20 + ["new"] * 5 == got
    assert 3 == len(script.times)


async def test_a_token_that_expires_after_a_second_is_renewed_in_time(server: LocalServer):
    """No call gets a 401, however soon the tokens expire."""
    async with LocalServer(choices=Choices(token_seconds=1)) as hasty, client_of(hasty) as client:
        while len(hasty.calls.matching(*TOKEN)) < 3:
            await client.me()

        assert {200} == {call.status for call in hasty.calls}
        assert hasty.calls[-1].time - hasty.calls[0].time > 1.0
