"""Streams: fetching ahead, leaving early, and continuing after an error."""

import asyncio
import json
import os
import sys

import aiohttp
import pytest

from stride_async import (
    AttemptEnded,
    AttemptStarted,
    ClientClosed,
    ClientCredentials,
    PageFetched,
    ServerError,
    Settings,
    StrideClient,
)
from tests.conftest import client_of
from tests.net.cancelling import cancelled_often

PREFETCH = pytest.mark.parametrize("prefetch", [0, 1, 3])


@pytest.fixture
def room(server) -> str:
    """A conversation with 30 messages."""
    room = server.add_conversation("Talk")
    server.fill(room, 30)
    return room


def pages_requested(server) -> int:
    """Return how many pages of messages have been requested."""
    return len(server.calls.matching("GET", "*/message"))


def other_tasks() -> set:
    """Return the tasks other than the test itself and those that serve a connection."""
    return {
        task
        for task in asyncio.all_tasks() - {asyncio.current_task()}
        if "RequestHandler." not in repr(task.get_coro())
    }


class Gate:
    """Lets requests through one by one, and reports when each has arrived."""

    def __init__(self) -> None:
        self.came = asyncio.Semaphore(0)
        self.go = asyncio.Semaphore(0)

    async def __call__(self, _) -> None:
        self.came.release()
        await self.go.acquire()


class Fetched:
    """Receives events. `pages(n)` waits until n pages have been fetched."""

    def __init__(self) -> None:
        self.count = 0
        self._news = asyncio.Event()

    def __call__(self, event) -> None:
        if isinstance(event, PageFetched):
            self.count += 1
            self._news.set()

    async def pages(self, count) -> None:
        while self.count < count:
            self._news.clear()
            await self._news.wait()


async def settled(client, room) -> None:
    """Exchange a few messages with the server, so that any pending prefetch has been sent."""
    for _ in range(3):
        await client.conversation(room).get()


@PREFETCH
async def test_a_stream_returns_all_items_in_order(client, server, room, prefetch):
    """This holds for any number of prefetched pages. At the end it stays at the end."""
    expected = [message.id async for message in client.conversation(room).history()]

    async with client.conversation(room).history(page_size=4).stream(prefetch=prefetch) as messages:
        returned = [message.id async for message in messages]
        more = [message.id async for message in messages]

    assert (expected, []) == (returned, more)


@pytest.mark.parametrize("prefetch", [1, 2, 5])
async def test_at_most_prefetch_pages_are_fetched_ahead(server, room, prefetch):
    """The current page does not count. Taking the next one makes room for another."""
    fetched = Fetched()
    async with (
        client_of(server, on_event=fetched) as client,
        client.conversation(room).history(page_size=3).stream(prefetch=prefetch) as messages,
    ):
        await anext(messages)
        await fetched.pages(1 + prefetch)
        await settled(client, room)
        in_hand = pages_requested(server)
        for _ in range(3):
            await anext(messages)
        await fetched.pages(2 + prefetch)
        await settled(client, room)

        assert (1 + prefetch, 2 + prefetch) == (in_hand, pages_requested(server))


async def test_without_prefetch_nothing_is_fetched_ahead(client, server, room):
    """The next page is requested when all items of the current one have been returned."""
    async with client.conversation(room).history(page_size=3).stream() as messages:
        counts = []
        for _ in range(4):
            await anext(messages)
            await settled(client, room)
            counts.append(pages_requested(server))

    assert [1, 1, 1, 2] == counts


async def test_creating_or_entering_a_stream_sends_nothing(client, server, room):
    """Only taking the first item does."""
    async with client.conversation(room).history().stream(prefetch=2) as messages:
        await settled(client, room)

        assert 0 == pages_requested(server)
        assert (0, {}) == (messages.stats.requests, messages.bookmark.place)


async def test_the_next_page_is_fetched_while_this_one_is_processed(client, server, room):
    """Its request is sent before its first item is taken."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, after=1, times=1)
    async with client.conversation(room).history(page_size=3).stream(prefetch=1) as messages:
        await anext(messages)

        await gate.came.acquire()
        gate.go.release()
        rest = [message async for message in messages]

    assert 29 == len(rest)


@PREFETCH
@pytest.mark.parametrize("how", ["break", "exception", "cancel"])
async def test_leaving_a_stream_early_leaves_no_task_and_no_connection(server, room, prefetch, how):
    """A page was in flight at that time."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, after=1)
    async with aiohttp.ClientSession() as http:
        client = StrideClient(
            ClientCredentials(server.client_id, server.client_secret),
            cloud_id=server.cloud_id,
            settings=Settings(base_url=server.url, calls_per_minute=None),
            session=http,
        )
        before = other_tasks()

        async def consume():
            async with client.conversation(room).history(page_size=3).stream(prefetch=prefetch) as messages:
                async for _ in messages:
                    if how == "cancel":
                        continue
                    if prefetch:
                        await gate.came.acquire()
                    if how == "exception":
                        raise LookupError
                    break

        consumer = asyncio.create_task(consume())
        if how == "cancel":
            await gate.came.acquire()
            consumer.cancel()
        await asyncio.wait([consumer])
        tasks, busy = other_tasks() - before, list(http.connector._acquired)
        gate.go.release()
        await client.close()

    assert (set(), []) == (tasks, busy)
    assert consumer.cancelled() if how == "cancel" else (consumer.exception() is None) == (how == "break")


LEAVE_EARLY = """
import asyncio, gc, json, sys
from stride_async import ClientCredentials, Settings, StrideClient
from stride_async.server import LocalServer

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60.0
    async with LocalServer(rate_limit=None) as server:
        room = server.add_conversation("Talk")
        server.fill(room, 100)
        settings = Settings(base_url=server.url, calls_per_minute=None)
        credentials = ClientCredentials(server.client_id, server.client_secret)
        async with StrideClient(credentials, cloud_id=server.cloud_id, settings=settings) as client:
            pager = client.conversation(room).history(page_size=3)
            async for _ in pager:
                break
            for prefetch in (0, 2):
                async with pager.stream(prefetch=prefetch) as messages:
                    await anext(messages)
                try:
                    async with pager.stream(prefetch=prefetch) as messages:
                        async for _ in messages:
                            raise LookupError
                except LookupError:
                    pass

                async def read():
                    async with pager.stream(prefetch=prefetch) as messages:
                        async for _ in messages:
                            pass

                task = asyncio.create_task(read())
                server.faults.add("GET", "*/message", do=lambda _: task.cancel(), after=3, times=1)
                await asyncio.wait([task])
                assert task.cancelled()
            stream = pager.stream(prefetch=2)
            await stream.__aenter__()
            await anext(stream)
            await client.close()
            await stream.__aexit__(None, None, None)

asyncio.run(main(), debug=True)
gc.collect()
print("done")
"""


async def test_there_are_no_warnings_in_debug_mode():
    """Every warning is an error while streams are left early, fail, time out, and while the client is closed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-W", "error", "-c", LEAVE_EARLY,
        env={**os.environ, "PYTHONASYNCIODEBUG": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()

    assert (0, b"done\n", b"") == (process.returncode, out, errors)


@PREFETCH
async def test_a_stream_continues_after_errors(server, room, prefetch):
    """There may be any number of them, anywhere, and only one page is requested at a time."""
    under_way, most = 0, 0

    def count(event):
        nonlocal under_way, most
        if isinstance(event, AttemptStarted | AttemptEnded) and event.path.endswith("/message"):
            under_way += 1 if isinstance(event, AttemptStarted) else -1
            most = max(most, under_way)

    server.faults.add("GET", "*/message", status=500, probability=0.4, seed=3)
    async with client_of(server, attempts=1, on_event=count) as client:
        returned, positions = [], []
        async with client.conversation(room).history(page_size=2).stream(prefetch=prefetch) as messages:
            while len(returned) < 30:
                try:
                    returned.append(await anext(messages))
                except ServerError as error:
                    last = {"ts": returned[-1].ts, "id": returned[-1].id} if returned else {}
                    positions.append((last, error.bookmark.place, messages.bookmark.place))

    assert sorted(((m.ts, m.id) for m in returned), reverse=True) == [(m.ts, m.id) for m in returned]
    assert 30 == len({m.id for m in returned})
    assert len(positions) > 3
    assert all(last == reported == known for last, reported, known in positions)
    assert 1 == most


async def test_an_error_while_fetching_ahead_is_raised_in_order(server, room):
    """The pages before it are returned first, and the bookmark is correct meanwhile."""
    server.faults.add("GET", "*/message", status=500, after=2, times=1)
    fetched = Fetched()
    async with (
        client_of(server, attempts=1, on_event=fetched) as client,
        client.conversation(room).history(page_size=3).stream(prefetch=5) as messages,
    ):
        first = await anext(messages)
        await fetched.pages(2)
        await settled(client, room)
        assert messages.bookmark.place["id"] == first.id

        more = [await anext(messages) for _ in range(5)]
        with pytest.raises(ServerError) as caught:
            await anext(messages)

        assert caught.value.bookmark.place["id"] == more[-1].id
        assert 24 == len([message async for message in messages])


@PREFETCH
async def test_an_exception_of_the_callback_reaches_the_reader(client, server, room, prefetch):
    """It is raised unchanged, and the stream can continue."""
    bad = {"messages": [{"id": "x", "ts": "2018-06-01T08:00:10Z"}]}
    server.faults.add("GET", "*/message", status=200, body=json.dumps(bad), after=1, times=1)

    def refuse(error):
        raise LookupError(error.path)

    async with (
        client.conversation(room).history(page_size=3).stream(prefetch=prefetch, on_undecodable=refuse) as messages
    ):
        returned = [(await anext(messages)).id for _ in range(3)]
        with pytest.raises(LookupError, match=r"\$.messages\[0\]"):
            await anext(messages)
        returned += [message.id async for message in messages]

    assert 30 == len(set(returned)) == len(returned)


@PREFETCH
async def test_a_reader_cancelled_while_it_waits_loses_no_item(client, server, room, prefetch):
    """The page is returned to the next reader."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, after=1, times=1)
    async with client.conversation(room).history(page_size=3).stream(prefetch=prefetch) as messages:
        returned = [(await anext(messages)).id for _ in range(3)]
        waiting = asyncio.create_task(anext(messages))
        await gate.came.acquire()
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.go.release()
        returned += [message.id async for message in messages]

    assert waiting.cancelled()
    assert 30 == len(set(returned)) == len(returned)
    # Without prefetch, the request was cancelled with the reader, and repeated by the next one.
    assert (12 if prefetch == 0 else 11) <= pages_requested(server) <= 12


async def test_a_reader_that_times_out_loses_no_item(client, server, room):
    """It times out many times, at different moments."""
    returned = []
    async with client.conversation(room).history(page_size=1).stream(prefetch=2) as messages:
        patience = 0.0
        while len(returned) < 30:
            try:
                async with asyncio.timeout(patience):
                    returned.append((await anext(messages)).id)
            except TimeoutError:
                patience += 0.0002
            else:
                patience = 0.0

    assert 30 == len(set(returned))


@PREFETCH
async def test_a_stream_can_be_iterated_by_only_one_task_at_a_time(client, server, room, prefetch):
    """Two readers would both request the same page."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, times=1)
    async with client.conversation(room).history(page_size=3).stream(prefetch=prefetch) as messages:
        waiting = asyncio.create_task(anext(messages))
        await gate.came.acquire()
        with pytest.raises(RuntimeError, match="by only one task at a time"):
            await anext(messages)
        gate.go.release()
        returned = [await waiting, *[message async for message in messages]]

    assert 30 == len(returned)


async def test_a_stream_can_be_entered_once_and_iterated_only_inside(client, room):
    """Its bookmark stays valid outside."""
    stream = client.conversation(room).history().stream()
    with pytest.raises(RuntimeError, match="inside its `async with`"):
        await anext(stream)
    async with stream:
        first = await anext(stream)
    with pytest.raises(RuntimeError, match="inside its `async with`"):
        await anext(stream)
    with pytest.raises(RuntimeError, match="entered only once"):
        await stream.__aenter__()

    rest = await client.conversation(room).history().resume(stream.bookmark).collect(limit=None)

    assert 29 == len(rest)
    assert first.id not in {message.id for message in rest}


async def test_closing_the_client_ends_a_stream_that_fetches_ahead(server, room):
    """The error is `ClientClosed` with a bookmark, and no task remains."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, after=1)
    client = client_of(server)
    before = other_tasks()
    async with client.conversation(room).history(page_size=3).stream(prefetch=2) as messages:
        returned = [await anext(messages)]
        await gate.came.acquire()
        await client.close()
        with pytest.raises(ClientClosed) as caught:
            while True:
                returned.append(await anext(messages))
    gate.go.release()

    assert caught.value.bookmark.place["id"] == returned[-1].id
    assert 3 == len(returned)
    assert set() == other_tasks() - before


async def test_max_items_limits_what_is_fetched_ahead(client, server, room):
    """No page beyond it is requested, and none that is larger than what is still wanted."""
    async with client.conversation(room).history(page_size=3, max_items=5).stream(prefetch=9) as messages:
        returned = [message async for message in messages]
        await settled(client, room)

    assert 5 == len(returned)
    assert ["3", "2"] == [dict(call.query)["limit"] for call in server.calls.matching("GET", "*/message")]


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_a_stream_that_is_cancelled_often_ends_with_its_task(client, server, room, times):
    """The prefetch does not outlive the `async with`, although the consumer is cancelled while it waits for that."""
    arrived = asyncio.Event()
    server.faults.add("GET", "*/message", stall="headers", do=lambda _: arrived.set())

    async def consume() -> None:
        async with client.conversation(room).history().stream(prefetch=1) as messages:
            async for _ in messages:
                pass

    task = asyncio.create_task(consume())
    await arrived.wait()
    await cancelled_often(task, times)

    assert task.cancelled()
    assert [] == [other for other in asyncio.all_tasks() if other.get_name() == "stride_async prefetch"]
