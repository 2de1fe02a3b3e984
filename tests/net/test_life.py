"""Closing a client and cancelling its calls leave nothing behind."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import Any

import aiohttp
import attrs
import pytest

from stride_async import ClientClosed, ClientCredentials, Settings, StaticToken, StrideClient, WrongLoop
from stride_async.server import LocalServer
from tests.conftest import client_of

from .cancelling import cancelled_often
from .peers import free_port

# A megabyte: several blocks.
DATA = bytes(range(256)) * 4_000
LIMIT = 50


@pytest.fixture(autouse=True)
async def complaints() -> AsyncIterator[None]:
    """Turn on the debug mode of the loop, and check that the loop reports nothing."""
    loop, reported = asyncio.get_running_loop(), []
    loop.set_debug(True)
    loop.slow_callback_duration = 60.0
    loop.set_exception_handler(lambda _, context: reported.append(context))

    yield

    assert [] == reported


def tasks_of_clients() -> list[asyncio.Task[Any]]:
    """Return the running tasks, except for this one and those of the server."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return [task for task in others if not task.get_coro().__qualname__.startswith("RequestHandler")]


async def quiet() -> None:
    """Wait until no task of a client is running."""
    async with asyncio.timeout(10):
        while tasks := tasks_of_clients():
            await asyncio.wait(tasks)


def left_behind(client: StrideClient) -> dict[str, object]:
    """Return what a client still holds although its calls have ended; it should be nothing."""
    pool, session = client._pool, client._session
    http = pool._http
    held = {
        "connections": len(http.connector._acquired) if http is not None and http.connector is not None else 0,
        "limit slots": sum(key._out for key in pool.throttle._limiters.values()),
        "waiters": sum(len(key._waiting) + len(key._waiting_background) for key in pool.throttle._limiters.values()),
        "timers": sum(key._timer is not None for key in pool.throttle._limiters.values()),
        "api slots": client.settings.concurrency - session._api.slots._value,
        "media slots": client.settings.media_concurrency - session.media_slots._value,
        "scopes": len(pool.timer),
        "bodies": len(pool._bodies),
    }
    return {name: count for name, count in held.items() if count}


@types.coroutine
def cut_short(call: Coroutine[Any, Any, object], step: int, *, as_it_wakes: bool) -> Any:
    """Await a call and cancel it at its n-th wait: during the wait, or at the moment it ends.

    Return the value of the call if it waits less often.
    """
    task = asyncio.current_task()
    assert task is not None
    hand = partial(call.send, None)  # Hands over what the wait ended with: a value or an error.
    count = 0
    while True:
        try:
            waited_for = hand()
        except StopIteration as done:
            return done.value
        count += 1
        if count == step:
            if as_it_wakes and waited_for is not None:
                # This callback runs before the one that wakes the task, which is added when the wait is yielded.
                waited_for.add_done_callback(lambda _: task.cancel())
            else:
                asyncio.get_running_loop().call_soon(task.cancel)
        try:
            yield waited_for
        except BaseException as error:  # noqa: BLE001  # Passed on to the call, whatever it is.
            hand = partial(call.throw, error)
        else:
            hand = partial(call.send, None)


@attrs.define
class Site:
    client: StrideClient
    server: LocalServer
    room: str
    message: str
    media: str
    folder: Any

    @property
    def handle(self):
        return self.client.conversation(self.room)


async def read_body(site):
    async with site.handle.open_media(site.media) as body:
        return [chunk async for chunk in body.chunks()]


CALLS = {
    "send": lambda site: site.handle.send("hello"),
    "history": lambda site: site.handle.history().collect(limit=None),
    "upload": lambda site: site.handle.upload(DATA, name="a.bin"),
    "download": lambda site: site.handle.download(site.media, site.folder / "a.bin"),
    "body": read_body,
}


@pytest.fixture(params=[False, True], ids=["waiting", "waking"])
def as_it_wakes(request):
    return request.param


async def cancelled(call: Coroutine[Any, Any, object], step: int, *, as_it_wakes: bool) -> bool:
    """Make a call and cancel it at its n-th wait; return False if it succeeded before that."""

    async def cut() -> None:
        await cut_short(call, step, as_it_wakes=as_it_wakes)

    try:
        await asyncio.create_task(cut())
    except asyncio.CancelledError:
        return True
    return False


@pytest.mark.parametrize("start", ["no token", "no connection", "ready"])
@pytest.mark.parametrize("name", CALLS)
async def test_a_call_can_be_cancelled_at_every_wait(server, tmp_path, name, start, as_it_wakes):
    """No task, connection or slot stays in use, and the next call succeeds."""
    room = server.add_conversation("general")
    message, media = server.add_message(room, "old"), server.add_media(room, "a.bin", DATA)
    settings = Settings(base_url=server.url, backoff=0.0, calls_per_minute=LIMIT, concurrency=1, media_concurrency=1)
    renewable = ClientCredentials(server.client_id, server.client_secret)
    credentials = dict.fromkeys(("no token", "ready"), renewable)
    credentials["no connection"] = StaticToken(server.room_token(room))
    step, cut = 0, True
    while cut:
        step += 1
        async with StrideClient(credentials[start], cloud_id=server.cloud_id, settings=settings) as client:
            site = Site(client, server, room, message, media, tmp_path)
            if start == "ready":
                await client.me()
            cut = await cancelled(CALLS[name](site), step, as_it_wakes=as_it_wakes)
            await quiet()
            assert {} == left_behind(client)

            await CALLS[name](site)
            await quiet()
            assert {} == left_behind(client)
    assert step > 1 + (start != "ready")


async def test_a_call_can_be_cancelled_at_every_wait_of_a_retry(server, as_it_wakes):
    """The waits are those of a failed attempt, of its backoff, and of the next attempt."""
    room = server.add_conversation("general")
    step, cut, seen = 0, True, set()
    while cut:
        step += 1
        server.calls.clear()
        fault = server.faults.add("GET", "*/conversation/*", status=503, times=1)
        other = server.faults.add("GET", "*/conversation/*", drop="before", times=1)
        async with client_of(server, calls_per_minute=LIMIT, concurrency=1, backoff=1e-6) as client:
            await client.me()
            cut = await cancelled(client.conversation(room).get(), step, as_it_wakes=as_it_wakes)
            await quiet()
            assert {} == left_behind(client)
        seen.add(len(server.calls.matching("GET", "*/conversation/*")))
        fault.remove()
        other.remove()
    assert {1, 2, 3} <= seen


async def test_waiting_for_a_token_can_be_cancelled_at_every_wait(server, as_it_wakes):
    """Another call that waits still gets the token, from the one token call that serves both."""
    step, cut = 0, True
    while cut:
        step += 1
        server.calls.clear()
        async with client_of(server, calls_per_minute=LIMIT) as client:
            first = cancelled(client.me(), step, as_it_wakes=as_it_wakes)
            cut, sites = await asyncio.gather(first, client.sites())
            await quiet()
            assert {} == left_behind(client)
        assert 1 == len(server.calls.matching("POST", "/oauth/token"))
        assert [server.cloud_id] == [site.id for site in sites]
    assert step > 2


async def test_the_queue_is_empty_after_all_callers_are_cancelled(server):
    """The limit of the conversation is reached, and ten more calls wait and are cancelled."""
    room = server.add_conversation("general")
    async with client_of(server, calls_per_minute=2) as client:
        handle = client.conversation(room)
        await asyncio.gather(handle.get(), handle.get())
        waiting = [asyncio.create_task(handle.get()) for _ in range(10)]
        await asyncio.sleep(0)
        assert {"waiters": 10, "timers": 1, "scopes": 10} == left_behind(client)

        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

        assert {} == left_behind(client)
        assert 2 == len(server.calls.matching("GET", "*/conversation/*"))


async def test_a_slot_assigned_to_a_caller_that_is_cancelled_goes_to_the_next(server, as_it_wakes):
    """Both happen at the same moment, and the slot is not lost."""
    room = server.add_conversation("general")
    async with client_of(server, calls_per_minute=1) as client:
        slot = await client._pool.throttle.take(room, 1)
        cancelling = asyncio.create_task(cancelled(client.conversation(room).get(), 1, as_it_wakes=as_it_wakes))
        await asyncio.sleep(0)  # It creates a task,
        await asyncio.sleep(0)  # which is now the first in the queue.
        next_one = asyncio.create_task(client.conversation(room).get())
        await asyncio.sleep(0)

        slot.give_back(counted=False)

        assert await cancelling
        async with asyncio.timeout(10):
            assert room == (await next_one).id
        assert {} == left_behind(client)


@pytest.mark.parametrize("own_session", [False, True], ids=["ours", "theirs"])
async def test_closing_a_client_ends_calls_of_all_kinds(server, tmp_path, own_session):
    """Each raises `ClientClosed`, whether it waits for a slot, a token or a response, or reads a body."""
    room, arrivals = server.add_conversation("general"), [asyncio.Event() for _ in range(3)]
    requested, reading, writing = ((lambda _, event=event: event.set()) for event in arrivals)
    media = server.add_media(room, "a.bin", DATA)
    server.faults.add("GET", "/me", stall="headers", do=requested)
    server.faults.add("GET", "/site/", stall="body")
    server.faults.add("GET", "*/message", delay=60.0)
    server.faults.add("GET", "*/media/*", stall="body", do=reading)
    server.faults.add("POST", "*/media", stall="headers", do=writing)
    server.faults.add("GET", "*/conversation/*", status=429, headers={"Retry-After": "60"})
    settings = Settings(base_url=server.url, calls_per_minute=5, concurrency=60, deadline=None)
    theirs = aiohttp.ClientSession() if own_session else None
    credentials = ClientCredentials(server.client_id, server.client_secret)
    client = StrideClient(credentials, cloud_id=server.cloud_id, settings=settings, session=theirs)
    derived = client.with_settings(attrs.evolve(settings, priority="background"))
    handle, other = client.conversation(room), derived.conversation(room)
    calls = [
        call
        for number in range(20)
        for call in (
            client.me(),
            client.sites(),
            derived.me(),
            client.user(f"u{number}").conversation(),
            handle.history().collect(limit=None),
            other.history().first(),
            client.conversation(server.add_conversation("other")).upload(DATA, name="a"),
            client.conversation(server.add_conversation("other")).get(),
            handle.download(media, tmp_path / f"{number}.bin"),
            read_body(Site(derived, server, room, "", media, tmp_path)),
        )
    ]
    tasks = [asyncio.create_task(call) for call in calls]
    for event in arrivals:
        await event.wait()

    await client.close()
    async with asyncio.timeout(10):
        errors = await asyncio.gather(*tasks, return_exceptions=True)
    await quiet()

    assert {ClientClosed} == {type(error) for error in errors}
    assert 200 == len(errors)
    assert {} == left_behind(client) | left_behind(derived)
    assert [] == list(tmp_path.glob("*.bin"))
    with pytest.raises(ClientClosed):
        await derived.me()
    if theirs is not None:
        assert not theirs.closed
        await theirs.close()


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_a_client_whose_closing_is_cancelled_is_closed(server, times):
    """Its connections are closed even if the caller is cancelled on every turn, while it waits for the token call."""
    arrived = asyncio.Event()
    server.faults.add("POST", "/oauth/token", stall="headers", do=lambda _: arrived.set())
    client = client_of(server)
    calling = asyncio.create_task(client.me())
    await arrived.wait()

    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    await cancelled_often(closing, times)
    [error] = await asyncio.gather(calling, return_exceptions=True)
    await quiet()

    assert ClientClosed is type(error)
    assert client._pool._http.closed
    assert {} == left_behind(client)


async def test_a_message_in_flight_when_the_client_closes_may_have_been_sent(server):
    """The service has received it, and the error says so."""
    room, arrived = server.add_conversation("general"), asyncio.Event()
    server.faults.add("POST", "*/message", stall="headers", do=lambda _: arrived.set())
    client = client_of(server)
    sending = asyncio.create_task(client.conversation(room).send("hello"))
    await arrived.wait()

    await client.close()
    with pytest.raises(ClientClosed) as caught:
        await sending

    assert (True, False, 1) == (
        caught.value.maybe_processed,
        caught.value.retryable,
        len(caught.value.attempts),
    )


async def test_closing_a_client_ends_a_body_on_a_session_it_was_given(server):
    """The session stays open, but a closed client does not read from it."""
    room = server.add_conversation("general")
    media = server.add_media(room, "a.bin", DATA)
    server.faults.add("GET", "*/media/*", stall="body", cut_after=1_000)
    async with aiohttp.ClientSession() as theirs:
        client = StrideClient(
            ClientCredentials(server.client_id, server.client_secret),
            cloud_id=server.cloud_id,
            settings=Settings(base_url=server.url, backoff=0.0),
            session=theirs,
        )
        with pytest.raises(ClientClosed):
            async with client.conversation(room).open_media(media) as body:
                async for _ in body.chunks():
                    await client.close()

        assert {} == left_behind(client)
        async with theirs.get(f"{server.url}/me") as response:
            assert 401 == response.status


async def test_a_closed_session_that_was_given_to_the_client_is_named(server):
    """The error is not one of aiohttp's."""
    async with aiohttp.ClientSession() as theirs:
        client = StrideClient(
            StaticToken("t"), cloud_id=server.cloud_id, settings=Settings(base_url=server.url), session=theirs
        )
    with pytest.raises(ClientClosed, match="the session that was given"):
        await client.me()

    await client.close()
    assert 0 == len(server.calls)


def test_a_client_can_only_be_closed_on_its_own_event_loop():
    """On another loop, closing raises and changes nothing."""
    settings = Settings(base_url=f"http://127.0.0.1:{free_port()}", attempts=1)
    client = StrideClient(StaticToken("t"), cloud_id="c", settings=settings)

    async def used():
        await asyncio.gather(client.me(), return_exceptions=True)

    async def closed_elsewhere():
        with pytest.raises(WrongLoop):
            await client.close()

    async def closed():
        await client.close()
        with pytest.raises(ClientClosed):
            await client.me()

    with asyncio.Runner() as one, asyncio.Runner() as another:
        one.run(used())
        another.run(closed_elsewhere())
        assert client._pool._http is not None
        assert not client._pool._http.closed
        one.run(closed())
        assert client._pool._http.closed
