"""The history of a conversation through the client: orders, bounds, changes, and memory."""

import copy
import gc
import json
import pickle
import tracemalloc
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from stride_async import Bookmark, DecodeError, NotFound, PaginationLoop, StaleBookmark
from stride_async.server import Choices, LocalServer
from tests.conftest import client_of

YEARS = 4 * 365 * 86_400 * 10**9
START = 1_400_000_000 * 10**9
ORDERS = pytest.mark.parametrize("oldest_first", [False, True])


@pytest.fixture
def room(server) -> str:
    return server.add_conversation("Talk")


async def ids(pager) -> list[str]:
    return [message.id async for message in pager]


def pages_of(server) -> list:
    """Return the requests for pages of messages."""
    return server.calls.matching("GET", "*/message")


async def test_history_is_complete_where_a_walk_forward_loses_messages(client, server, room):
    """With only a lower bound, the service returns the latest messages, not the next ones (protocol 5.15)."""
    sent = server.fill(room, 200)
    path = f"/site/{server.cloud_id}/conversation/{room}/message"
    naive, last = sent[:10], sent[9]
    while page := (await client.request("GET", path, params={"afterMessage": last, "limit": 75}))["messages"]:
        naive += [message["id"] for message in page]
        last = naive[-1]

    ours = await ids(client.conversation(room).history(after=sent[9], oldest_first=True))

    assert sent[:10] + sent[-75:] == naive
    assert sent[10:] == ours


async def test_resuming_after_a_deleted_message_requests_full_pages(client, server, room):
    """Within a burst of equal times, pages as small as the number of wanted messages would make many requests."""
    sent = server.fill(room, 600, same_ts=True)[::-1]
    here = client.conversation(room)
    async with here.history().stream() as messages:
        async for message in messages:
            if message.id == sent[449]:
                break
    server.delete_message(room, sent[449])
    seen = len(pages_of(server))

    returned = await ids(here.history(max_items=2).resume(messages.bookmark))

    assert sent[450:452] == returned
    assert len(pages_of(server)) - seen < 10


@ORDERS
async def test_bursts_and_silences_are_listed_completely(client, server, room, oldest_first):
    """Thousands of messages have the same nanosecond, and then there are none for years. The calls at most double."""
    sent = [
        *server.fill(room, 3, ts=START),
        *server.fill(room, 2_500, same_ts=True, ts=START + YEARS),
        *server.fill(room, 3, ts=START + 2 * YEARS),
        *server.fill(room, 1_000, same_ts=True, ts=START + 3 * YEARS + 1),
    ]

    returned = await ids(client.conversation(room).history(oldest_first=oldest_first))

    assert sent[:: 1 if oldest_first else -1] == returned
    back = -(-len(sent) // 75) + 1
    assert len(pages_of(server)) <= (2 * back if oldest_first else back)


async def test_catching_up_oldest_first_makes_no_more_calls_than_newest_first(client, server, room):
    """Seventeen pages are held on the way back."""
    sent = server.fill(room, 200)
    for oldest_first in (False, True):
        server.calls.clear()
        returned = await ids(client.conversation(room).history(after=sent[29], oldest_first=oldest_first, page_size=10))

        assert sent[30:] == sorted(returned, key=sent.index)
        assert 18 == len(pages_of(server))


@ORDERS
async def test_a_year_of_messages_is_the_same_in_both_orders(meetup, oldest_first):
    """They are ordered by time to the nanosecond and then by id, whatever the order of the service is."""
    async with LocalServer(seed=meetup / "site.jsonl", rate_limit=None, choices=Choices(newest_first=True)) as server:
        truth = server.truth().conversations
        room = max(truth, key=lambda name: truth[name].messages)
        async with client_of(server) as client:
            messages = (
                await client.conversation(room).history(oldest_first=oldest_first, page_size=7).collect(limit=None)
            )

    assert truth[room].messages == len({message.id for message in messages})
    keys = [(message.ts, message.id) for message in messages]
    assert sorted(keys, reverse=not oldest_first) == keys


@ORDERS
async def test_every_kind_of_bound_is_exclusive(client, server, room, oldest_first):
    """Each kind of lower bound works with each kind of upper bound. A second holds a hundred messages."""
    sent = [server.add_message(room, f"{n}", ts=START + n * 10_000_000) for n in range(400)]
    here = client.conversation(room)
    low, high = await here.message(sent[99]), await here.message(sent[300])

    async with here.history(before=low).stream() as messages:
        await anext(messages)
        just_below = messages.bookmark
    async with here.history(after=high, oldest_first=True).stream() as messages:
        await anext(messages)
        just_above = messages.bookmark

    assert (low.ts, low.id) == low.key
    for after in (low.id, low, low.sent_at, low.key, (low.ts + 1, "")):
        for before in (high.id, high, high.sent_at, high.key, (high.ts, "")):
            window = here.history(after=after, before=before, oldest_first=oldest_first)
            assert sent[100:300][:: 1 if oldest_first else -1] == await ids(window)
    assert sent[:100] == sorted(await ids(here.history(before=sent[100], oldest_first=oldest_first)), key=sent.index)
    assert [] == await ids(here.history(after=low, before=low, oldest_first=oldest_first))
    window = here.history(after=just_below, before=just_above, oldest_first=oldest_first)
    assert sent[99:301][:: 1 if oldest_first else -1] == await ids(window)


async def test_a_bookmark_of_the_newest_message_is_a_lower_bound(client, server, room):
    """Unlike `resume`, this does not depend on the order of the bookmarked listing."""
    server.fill(room, 3, ts=START)
    here = client.conversation(room)
    async with here.history().stream() as messages:
        await anext(messages)
        newest = Bookmark.loads(messages.bookmark.dumps())
    new = server.fill(room, 2, ts=START + YEARS)

    assert new == await ids(here.history(after=newest, oldest_first=True))


async def test_a_bookmark_without_a_message_of_the_conversation_is_refused(client, server, room):
    """It is of another listing, or of one that has returned nothing yet."""
    here = client.conversation(room)
    async with client.conversation(server.add_conversation("Other")).history().stream() as messages:
        other = messages.bookmark
    async with here.history().stream() as messages:
        start = messages.bookmark

    with pytest.raises(StaleBookmark, match="before is a bookmark of another listing"):
        here.history(before=other)
    with pytest.raises(ValueError, match="after is a bookmark of the start of a listing"):
        here.history(after=start)


@ORDERS
async def test_a_datetime_divides_messages_of_the_same_microsecond(client, server, room, oldest_first):
    """A datetime has six fraction digits. A message with later nanoseconds is above it."""
    moment = datetime(2018, 2, 28, 12, 0, 0, 123456, tzinfo=UTC)
    ts = int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)) * 1000
    below, at, above = (server.add_message(room, "x", ts=ts + n) for n in (-1, 0, 1))
    here = client.conversation(room)

    assert [below] == await ids(here.history(before=moment, oldest_first=oldest_first))
    assert [above] == await ids(here.history(after=moment, oldest_first=oldest_first))
    shifted = moment.astimezone(datetime.strptime("+0530", "%z").tzinfo)
    assert {below, at, above} == set(await ids(here.history(after=shifted - timedelta(microseconds=1))))


@ORDERS
@pytest.mark.parametrize("status", [404, 400, 410])
async def test_a_deleted_anchor_is_replaced_for_every_possible_status(oldest_first, status):
    """The service refuses its id, so the walk continues by its time, even among messages of the very same time."""
    async with LocalServer(rate_limit=None, choices=Choices(unknown_boundary_status=status)) as server:
        room = server.add_conversation("Talk")
        sent = server.fill(room, 40, same_ts=True)
        # It is the oldest of the first two pages, and so the anchor of the third.
        server.faults.add(
            "GET", "*/message", after=2, times=1, do=lambda server: server.delete_message(room, sent[-10])
        )
        async with client_of(server, attempts=1) as client:
            returned = await ids(client.conversation(room).history(page_size=5, oldest_first=oldest_first))

    assert sent[:: 1 if oldest_first else -1] == returned


@ORDERS
async def test_deleted_messages_are_still_bounds_and_bookmarks(client, server, room, oldest_first):
    """A message and a bookmark have a time; an id alone is refused by the service."""
    sent = server.fill(room, 30)
    here = client.conversation(room)
    low, high = await here.message(sent[4]), await here.message(sent[25])
    async with here.history(after=low, before=high, oldest_first=oldest_first, page_size=4).stream() as messages:
        first = [(await anext(messages)).id for _ in range(7)]
        bookmark = messages.bookmark
    for gone in (low.id, high.id, first[-1]):
        server.delete_message(room, gone)

    rest = await ids(here.history(after=low, before=high, oldest_first=oldest_first).resume(bookmark))

    assert sent[5:25][:: 1 if oldest_first else -1] == first + rest
    with pytest.raises(NotFound):
        await ids(here.history(after=low.id, oldest_first=oldest_first))


@ORDERS
@pytest.mark.parametrize("prefetch", [0, 2])
async def test_a_conversation_in_use_is_listed_without_loss_or_repetition(client, server, room, oldest_first, prefetch):
    """Between any two pages, messages are sent, edited and deleted, including the anchor."""
    sent = server.fill(room, 160)
    stay = set(sent)
    new = []

    def change(server):
        page = len(pages_of(server))
        new.append(server.add_message(room, f"new {page}"))
        new.append(server.add_message(room, f"late {page}", ts=f"2018-06-01T08:0{page % 3}:00.5Z"))
        server.edit_message(room, sent[-3 * page], "edited")
        for gone in {sent[-5 * page], sent[page]} & stay:
            server.delete_message(room, gone)
            stay.discard(gone)

    server.faults.add("GET", "*/message", do=change, after=1, times=30)

    async with (
        client.conversation(room).history(page_size=5, oldest_first=oldest_first).stream(prefetch=prefetch) as messages
    ):
        returned = [message async for message in messages]

    keys = [(message.ts, message.id) for message in returned]
    assert sorted(set(keys), reverse=not oldest_first) == keys
    assert stay <= {message.id for message in returned} <= {*sent, *new}
    assert not any(message.text.startswith("new") for message in returned)


async def test_the_upper_end_of_an_oldest_first_listing_is_fixed_by_its_first_call(client, server, room):
    """Messages that are sent while it runs belong to the next listing."""
    sent = server.fill(room, 200)
    server.faults.add("GET", "*/message", do=lambda server: server.add_message(room, "new"))

    async with client.conversation(room).history(oldest_first=True, page_size=5).stream() as messages:
        returned = [message.id async for message in messages]
        new = await ids(client.conversation(room).history(oldest_first=True).resume(messages.bookmark))

    assert sent == returned[:200]
    assert len(returned) <= 201
    assert len(new) > 40


@ORDERS
async def test_a_service_that_repeats_one_page_forever_is_detected(client, server, room, oldest_first):
    """The error has the bookmark after the last message returned."""
    server.fill(room, 5)
    path = f"/site/{server.cloud_id}/conversation/{room}/message"
    page = json.dumps(await client.request("GET", path))
    server.faults.add("GET", "*/message", status=200, body=page)

    with pytest.raises(PaginationLoop) as caught:
        await ids(client.conversation(room).history(oldest_first=oldest_first))

    assert bool(caught.value.bookmark.place) is not oldest_first


async def test_a_body_is_decoded_once_and_only_on_access(client, server, room):
    """A listing does not decode it, so a body that is not a document does no harm there."""
    server.fill(room, 1)
    malformed = {
        "id": "a",
        "sender": {"id": "u"},
        "ts": "2018-01-01T00:00:00Z",
        "text": "t",
        "body": {"type": "?"},
        "new": [1],
    }
    server.faults.add("GET", "*/message", status=200, body=json.dumps({"messages": [malformed]}), after=1, times=1)

    good, bad = await client.conversation(room).history(page_size=1).collect(limit=2)

    assert good.body is good.body
    assert "message 1" == good.body.to_text() == good.text
    assert malformed == json.loads(bad.raw)
    assert {"new": [1]} == bad.extra
    with pytest.raises(ValueError):
        _ = bad.body


@ORDERS
async def test_raw_is_what_the_service_sent(client, server, room, oldest_first):
    """It equals the bytes of the response."""
    server.fill(room, 3)
    server.add_message(room, "naïve 🎉", ts="2018-07-01T00:00:00.1Z")

    async for page in client.conversation(room).history(oldest_first=oldest_first).pages():
        joined = b",".join(sorted((message.raw for message in page.items), key=page.raw.index))
        assert b'{"messages":[' + joined + b"]}" == page.raw


async def each_of(pages):
    async for page in pages:
        for message in page.items:
            yield message


async def streamed(history, prefetch):
    async with history.stream(prefetch=prefetch) as messages:
        async for message in messages:
            yield message


async def collected(history):
    for message in await history.collect(limit=None):
        yield message


READING = {
    "items": aiter,
    "pages": lambda history: each_of(history.pages()),
    "stream": lambda history: streamed(history, 0),
    "prefetch": lambda history: streamed(history, 2),
    "collect": collected,
}


def bytes_held() -> int:
    """Return the bytes that this process has allocated in the client since tracing began."""
    gc.collect()
    snapshot = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(True, "*stride_async/[_d]*"), tracemalloc.Filter(True, "*aiohttp*")]
    )
    return sum(trace.size for trace in snapshot.statistics("filename"))


@pytest.mark.parametrize("accessed", ["id", "body", "raw"])
@pytest.mark.parametrize("way", READING)
async def test_a_message_does_not_keep_its_page_in_memory(client, server, room, way, accessed):
    """One message of each of ten large pages takes only its own memory, while the listing goes on and afterwards."""
    for n in range(10):
        server.fill(room, 1, ts=START + n * 10**9)
        for k in range(4):
            server.add_message(room, "x" * 45_000, ts=START + n * 10**9 + 1 + k)
    kept, seen, during = [], 0, 0
    tracemalloc.start()
    async for message in READING[way](client.conversation(room).history(page_size=5)):
        seen += 1
        if message.text[0] != "x":
            kept.append(message)
            getattr(message, accessed)
            during = bytes_held() if len(kept) == 10 else 0
    del message
    afterwards = bytes_held()
    tracemalloc.stop()

    assert (10, 50) == (len(kept), seen)
    assert all(len(message.raw) < 400 for message in kept)
    assert afterwards < 150_000, "one page alone is 360 kB"
    assert way == "collect" or during < 1_500_000, "only the two pages read last may be there, with their texts"
    assert not hasattr(kept[0], "__dict__")


async def test_a_message_of_a_listing_that_is_left_early_does_not_keep_its_page(client, server, room):
    """It has its own bytes when the loop has ended, however it ends."""
    server.fill(room, 1, ts=START)
    for k in range(4):
        server.add_message(room, "x" * 45_000, ts=START + 1 + k)
    pager = client.conversation(room).history()
    tracemalloc.start()

    async with aclosing(aiter(pager)) as messages:
        first = [message async for message in messages if message.text[0] != "x"]
    second = []
    async with pager.stream(prefetch=1) as messages:
        async for message in messages:
            if message.text[0] != "x":
                second.append(message)
                break
    del message, messages
    held = bytes_held()
    tracemalloc.stop()

    assert first == second
    assert held < 150_000, "the page is 360 kB"


async def test_messages_can_be_pickled_and_copied(client, server, room):
    """A copy has the same bytes, although the message itself may still refer to its page."""
    server.fill(room, 3)

    async for message in client.conversation(room).history():
        again = pickle.loads(pickle.dumps(message))
        changed = attrs.evolve(message, text="changed")

        assert again == message == copy.copy(message) == copy.deepcopy(message) == changed
        assert (message.key, message.text, message.body) == (again.key, again.text, again.body)
        assert (changed.text, changed.body) == ("changed", message.body)


@ORDERS
async def test_a_malformed_message_is_reported_and_the_listing_continues(client, server, room, oldest_first):
    """Each is reported once with its path, even in a page of nothing else, and although pages are requested twice."""
    sent = server.fill(room, 200)
    bad = sent[40:52] + sent[100:101] + sent[190:]
    for damaged in bad:
        message = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message/{damaged}")
        broken = json.dumps({**message, "sender": {}}).encode()
        server._world.store.messages.change(
            server._world.store.messages.find(server._conversation(room).number, damaged), broken
        )
    reported = []
    here = client.conversation(room)

    with pytest.raises(DecodeError, match=r"missing required field `id` @ \$.messages\[\d\].sender"):
        await ids(here.history(page_size=5, oldest_first=oldest_first))
    async with here.history(page_size=5, oldest_first=oldest_first).stream(on_undecodable=reported.append) as messages:
        returned = [message.id async for message in messages]

    assert [name for name in sent if name not in bad][:: 1 if oldest_first else -1] == returned
    assert sorted(bad) == sorted(json.loads(error.raw)["id"] for error in reported)
    assert len(bad) == messages.stats.undecodable


@pytest.mark.parametrize(
    "choices",
    [{"newest_first": True}, {"history_key": "values"}, {"chunked_json": True}, {"deleted_vanish": False}],
    ids=lambda choices: next(iter(choices)),
)
@ORDERS
async def test_what_the_protocol_leaves_open_makes_no_difference(choices, oldest_first):
    """The messages are the same for every reading."""
    async with LocalServer(rate_limit=None, choices=Choices(**choices)) as server, client_of(server) as client:
        room = server.add_conversation("Talk")
        sent = server.fill(room, 100, same_ts=True)

        returned = await ids(client.conversation(room).history(oldest_first=oldest_first, page_size=9))

        assert sent[:: 1 if oldest_first else -1] == returned
