"""Streams: fetching ahead, leaving early, going on after an error; what is left behind, which is nothing."""

import asyncio
import json
import os
import sys

import aiohttp
import pytest

from stride_async import ClientClosed, ClientCredentials, ServerError, Settings, StrideClient
from stride_async._events import AttemptEnded, AttemptStarted, PageFetched
from tests.conftest import client_of

PREFETCH = pytest.mark.parametrize("prefetch", [0, 1, 3])


@pytest.fixture
def room(server) -> str:
    """Holds 30 messages."""
    room = server.add_conversation("Talk")
    server.fill(room, 30)
    return room


def asked(server) -> int:
    """Pages of messages asked for so far."""
    return len(server.calls.matching("GET", "*/message"))


def left_behind() -> set:
    """Tasks beside the test itself and those that serve a connection."""
    return {
        task
        for task in asyncio.all_tasks() - {asyncio.current_task()}
        if "RequestHandler." not in repr(task.get_coro())
    }


class Gate:
    """Lets requests through one by one and says when each has come."""

    def __init__(self) -> None:
        self.came = asyncio.Semaphore(0)
        self.go = asyncio.Semaphore(0)

    async def __call__(self, _) -> None:
        self.came.release()
        await self.go.acquire()


class Fetched:
    """Receives events; `pages(n)` waits until n pages were fetched."""

    def __init__(self) -> None:
        self.count = 0
        self._more = asyncio.Condition()
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
    """A few exchanges with the server later: whoever was to ask by itself has done so."""
    for _ in range(3):
        await client.conversation(room).get()


@PREFETCH
async def test_a_stream_gives_all_items_in_order(client, server, room, prefetch):
    """However many pages are fetched ahead, and again None at the end for whoever asks again."""
    whole = [message.id async for message in client.conversation(room).history()]

    async with client.conversation(room).history(page_size=4).stream(prefetch=prefetch) as messages:
        given = [message.id async for message in messages]
        more = [message.id async for message in messages]

    assert (whole, []) == (given, more)


@pytest.mark.parametrize("prefetch", [1, 2, 5])
async def test_no_more_pages_are_fetched_ahead_than_was_said(server, room, prefetch):
    """The page in hand is not counted; taking the next makes room for one more."""
    fetched = Fetched()
    async with (
        client_of(server, on_event=fetched) as client,
        client.conversation(room).history(page_size=3).stream(prefetch=prefetch) as messages,
    ):
        await anext(messages)
        await fetched.pages(1 + prefetch)
        await settled(client, room)
        in_hand = asked(server)
        for _ in range(3):
            await anext(messages)
        await fetched.pages(2 + prefetch)
        await settled(client, room)

        assert (1 + prefetch, 2 + prefetch) == (in_hand, asked(server))


async def test_without_prefetch_nothing_is_fetched_ahead(client, server, room):
    """The next page is asked for when the items of this one are used up."""
    async with client.conversation(room).history(page_size=3).stream() as messages:
        counts = []
        for _ in range(4):
            await anext(messages)
            await settled(client, room)
            counts.append(asked(server))

    assert [1, 1, 1, 2] == counts


async def test_making_or_entering_a_stream_sends_nothing(client, server, room):
    """The first item is what asks."""
    async with client.conversation(room).history().stream(prefetch=2) as messages:
        await settled(client, room)

        assert 0 == asked(server)
        assert (0, {}) == (messages.stats.requests, messages.bookmark.place)


async def test_the_next_page_is_fetched_while_this_one_is_worked_on(client, server, room):
    """It is on its way before it is asked for."""
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
async def test_leaving_early_leaves_nothing_behind(server, room, prefetch, how):
    """No task and no connection in use, though a page was on its way."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, after=1)
    async with aiohttp.ClientSession() as http:
        client = StrideClient(
            ClientCredentials(server.client_id, server.client_secret),
            cloud_id=server.cloud_id,
            settings=Settings(base_url=server.url, calls_per_minute=None),
            session=http,
        )
        before = left_behind()

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
        tasks, busy = left_behind() - before, list(http.connector._acquired)
        gate.go.release()
        await client.close()

    assert (set(), []) == (tasks, busy)
    assert consumer.cancelled() if how == "cancel" else (consumer.exception() is None) == (how == "break")


LEAVE_EARLY = """
import asyncio, gc, json, sys
from stride_async import ClientCredentials, Settings, StrideClient
from stride_async.server import LocalServer

async def main():
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


async def test_nothing_is_warned_of_in_debug_mode():
    """Leaving, raising, running out of time and closing the client, with every warning an error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-W", "error", "-c", LEAVE_EARLY,
        env={**os.environ, "PYTHONASYNCIODEBUG": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()

    assert (0, b"done\n", b"") == (process.returncode, out, errors)


@PREFETCH
async def test_the_same_stream_goes_on_after_errors(server, room, prefetch):
    """Any number of them, anywhere; the walk is never driven by two at once."""
    under_way, most = 0, 0

    def count(event):
        nonlocal under_way, most
        if isinstance(event, AttemptStarted | AttemptEnded) and event.path.endswith("/message"):
            under_way += 1 if isinstance(event, AttemptStarted) else -1
            most = max(most, under_way)

    server.faults.add("GET", "*/message", status=500, probability=0.4, seed=3)
    async with client_of(server, attempts=1, on_event=count) as client:
        given, places = [], []
        async with client.conversation(room).history(page_size=2).stream(prefetch=prefetch) as messages:
            while len(given) < 30:
                try:
                    given.append(await anext(messages))
                except ServerError as error:
                    last = {"ts": given[-1].ts, "id": given[-1].id} if given else {}
                    places.append((last, error.bookmark.place, messages.bookmark.place))

    assert sorted(((m.ts, m.id) for m in given), reverse=True) == [(m.ts, m.id) for m in given]
    assert 30 == len({m.id for m in given})
    assert len(places) > 3
    assert all(last == told == known for last, told, known in places)
    assert 1 == most


async def test_an_error_ahead_waits_its_turn(server, room):
    """The pages before it are given first, and the bookmark is true meanwhile."""
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
async def test_what_a_callback_raises_reaches_the_reader(client, server, room, prefetch):
    """Its own error, not a silence; the stream can go on."""
    bad = {"messages": [{"id": "x", "ts": "2018-06-01T08:00:10Z"}]}
    server.faults.add("GET", "*/message", status=200, body=json.dumps(bad), after=1, times=1)

    def refuse(error):
        raise LookupError(error.path)

    async with (
        client.conversation(room).history(page_size=3).stream(prefetch=prefetch, on_undecodable=refuse) as messages
    ):
        given = [(await anext(messages)).id for _ in range(3)]
        with pytest.raises(LookupError, match=r"\$.messages\[0\]"):
            await anext(messages)
        given += [message.id async for message in messages]

    assert 30 == len(set(given)) == len(given)


@PREFETCH
async def test_a_reader_cancelled_while_it_waits_loses_no_item(client, server, room, prefetch):
    """The page it waited for is given to who asks next."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, after=1, times=1)
    async with client.conversation(room).history(page_size=3).stream(prefetch=prefetch) as messages:
        given = [(await anext(messages)).id for _ in range(3)]
        waiting = asyncio.create_task(anext(messages))
        await gate.came.acquire()
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.go.release()
        given += [message.id async for message in messages]

    assert waiting.cancelled()
    assert 30 == len(set(given)) == len(given)
    # Without a task of its own the fetch was cancelled with the reader, and done again.
    assert (12 if prefetch == 0 else 11) <= asked(server) <= 12


async def test_a_reader_that_runs_out_of_time_loses_no_item(client, server, room):
    """Again and again, at whatever moment."""
    given = []
    async with client.conversation(room).history(page_size=1).stream(prefetch=2) as messages:
        patience = 0.0
        while len(given) < 30:
            try:
                async with asyncio.timeout(patience):
                    given.append((await anext(messages)).id)
            except TimeoutError:
                patience += 0.0002
            else:
                patience = 0.0

    assert 30 == len(set(given))


@PREFETCH
async def test_a_stream_is_read_by_one_task_at_a_time(client, server, room, prefetch):
    """Two that wait for the same page would each drive the listing."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, times=1)
    async with client.conversation(room).history(page_size=3).stream(prefetch=prefetch) as messages:
        waiting = asyncio.create_task(anext(messages))
        await gate.came.acquire()
        with pytest.raises(RuntimeError, match="by only one task at a time"):
            await anext(messages)
        gate.go.release()
        given = [await waiting, *[message async for message in messages]]

    assert 30 == len(given)


async def test_a_stream_is_entered_once_and_read_inside(client, room):
    """Its bookmark stays good outside."""
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
    """With the error of a closed client and the place; no task stays."""
    gate = Gate()
    server.faults.add("GET", "*/message", do=gate, after=1)
    client = client_of(server)
    before = left_behind()
    async with client.conversation(room).history(page_size=3).stream(prefetch=2) as messages:
        given = [await anext(messages)]
        await gate.came.acquire()
        await client.close()
        with pytest.raises(ClientClosed) as caught:
            while True:
                given.append(await anext(messages))
    gate.go.release()

    assert caught.value.bookmark.place["id"] == given[-1].id
    assert 3 == len(given)
    assert set() == left_behind() - before


async def test_max_items_bounds_what_is_fetched_ahead(client, server, room):
    """No page is asked for beyond it, and none larger than what is still wanted."""
    async with client.conversation(room).history(page_size=3, max_items=5).stream(prefetch=9) as messages:
        given = [message async for message in messages]
        await settled(client, room)

    assert 5 == len(given)
    assert ["3", "2"] == [dict(call.query)["limit"] for call in server.calls.matching("GET", "*/message")]
