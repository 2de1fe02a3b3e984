"""A conversation's messages through the client: both orders, all bounds, under change, and what they weigh."""

import gc
import json
import tracemalloc
from datetime import UTC, datetime, timedelta

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
    """The requests for pages of messages."""
    return server.calls.matching("GET", "*/message")


async def test_walking_forward_loses_messages_and_this_does_not(client, server, room):
    """With only a lower bound the service gives the latest beyond it, not the next (protocol 5.15)."""
    sent = server.fill(room, 200)
    path = f"/site/{server.cloud_id}/conversation/{room}/message"
    naive, last = sent[:10], sent[9]
    while page := (await client.request("GET", path, params={"afterMessage": last, "limit": 75}))["messages"]:
        naive += [message["id"] for message in page]
        last = naive[-1]

    ours = await ids(client.conversation(room).history(after=sent[9], oldest_first=True))

    assert sent[:10] + sent[-75:] == naive
    assert sent[10:] == ours


async def test_a_few_messages_behind_a_deleted_one_cost_whole_pages_only(client, server, room):
    """Amid a burst of one time the walk begins it anew: not in steps as small as the number that is wanted."""
    sent = server.fill(room, 600, same_ts=True)[::-1]
    talk = client.conversation(room)
    async with talk.history().stream() as messages:
        async for message in messages:
            if message.id == sent[449]:
                break
    server.delete_message(room, sent[449])
    seen = len(pages_of(server))

    given = await ids(talk.history(max_items=2).resume(messages.bookmark))

    assert sent[450:452] == given
    assert len(pages_of(server)) - seen < 10


@ORDERS
async def test_bursts_and_silences_come_whole(client, server, room, oldest_first):
    """Thousands of messages of one nanosecond, then nothing for years; at most twice the calls."""
    sent = [
        *server.fill(room, 3, ts=START),
        *server.fill(room, 2_500, same_ts=True, ts=START + YEARS),
        *server.fill(room, 3, ts=START + 2 * YEARS),
        *server.fill(room, 1_000, same_ts=True, ts=START + 3 * YEARS + 1),
    ]

    given = await ids(client.conversation(room).history(oldest_first=oldest_first))

    assert sent[:: 1 if oldest_first else -1] == given
    back = -(-len(sent) // 75) + 1
    assert len(pages_of(server)) <= (2 * back if oldest_first else back)


async def test_catching_up_oldest_first_costs_no_more_than_newest_first(client, server, room):
    """Seventeen pages are held on the way back."""
    sent = server.fill(room, 200)
    for oldest_first in (False, True):
        server.calls.clear()
        given = await ids(client.conversation(room).history(after=sent[29], oldest_first=oldest_first, page_size=10))

        assert sent[30:] == sorted(given, key=sent.index)
        assert 18 == len(pages_of(server))


@ORDERS
async def test_a_year_of_talk_is_the_same_in_both_orders(meetup, oldest_first):
    """Order is by time to the nanosecond, then by id; made here, whatever the service's is."""
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
async def test_all_kinds_of_bounds_are_excluded(client, server, room, oldest_first):
    """Each kind of lower bound works with each kind of upper bound; a second holds a hundred messages."""
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


async def test_a_bookmark_of_the_newest_message_bounds_the_next_catch_up(client, server, room):
    """Unlike `resume`, the bound does not depend on the order in which the bookmarked listing ran."""
    server.fill(room, 3, ts=START)
    here = client.conversation(room)
    async with here.history().stream() as messages:
        await anext(messages)
        newest = Bookmark.loads(messages.bookmark.dumps())
    new = server.fill(room, 2, ts=START + YEARS)

    assert new == await ids(here.history(after=newest, oldest_first=True))


async def test_a_bookmark_that_names_no_message_of_the_conversation_is_no_bound(client, server, room):
    """That is another listing's bookmark, or the one of a listing that returned nothing yet."""
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
async def test_a_moment_between_nanoseconds_parts_the_messages(client, server, room, oldest_first):
    """A datetime holds six digits; a message of the same microsecond and later nanoseconds lies above it."""
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
async def test_a_deleted_anchor_is_passed_whatever_the_service_answers(oldest_first, status):
    """Its id is refused; by time the walk goes on, through a burst of the very same time too."""
    async with LocalServer(rate_limit=None, choices=Choices(unknown_boundary_status=status)) as server:
        room = server.add_conversation("Talk")
        sent = server.fill(room, 40, same_ts=True)
        # The next page is asked for before the oldest of the first two.
        server.faults.add(
            "GET", "*/message", after=2, times=1, do=lambda server: server.delete_message(room, sent[-10])
        )
        async with client_of(server, attempts=1) as client:
            given = await ids(client.conversation(room).history(page_size=5, oldest_first=oldest_first))

    assert sent[:: 1 if oldest_first else -1] == given


@ORDERS
async def test_deleted_bounds_and_bookmarks(client, server, room, oldest_first):
    """A message still bounds by its time; an id alone is refused by the service."""
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
async def test_a_room_in_use_loses_nothing_and_repeats_nothing(client, server, room, oldest_first, prefetch):
    """Between any two pages somebody writes, edits and deletes, the message stood on included."""
    sent = server.fill(room, 160)
    stay = set(sent)
    new = []

    def happens(server):
        page = len(pages_of(server))
        new.append(server.add_message(room, f"new {page}"))
        new.append(server.add_message(room, f"late {page}", ts=f"2018-06-01T08:0{page % 3}:00.5Z"))
        server.edit_message(room, sent[-3 * page], "edited")
        for gone in {sent[-5 * page], sent[page]} & stay:
            server.delete_message(room, gone)
            stay.discard(gone)

    server.faults.add("GET", "*/message", do=happens, after=1, times=30)

    async with (
        client.conversation(room).history(page_size=5, oldest_first=oldest_first).stream(prefetch=prefetch) as messages
    ):
        given = [message async for message in messages]

    keys = [(message.ts, message.id) for message in given]
    assert sorted(set(keys), reverse=not oldest_first) == keys
    assert stay <= {message.id for message in given} <= {*sent, *new}
    assert not any(message.text.startswith("new") for message in given)


async def test_the_upper_end_is_fixed_by_the_first_call(client, server, room):
    """Of an oldest-first listing: what is written while it runs is for the next."""
    sent = server.fill(room, 200)
    server.faults.add("GET", "*/message", do=lambda server: server.add_message(room, "new"))

    async with client.conversation(room).history(oldest_first=True, page_size=5).stream() as messages:
        given = [message.id async for message in messages]
        new = await ids(client.conversation(room).history(oldest_first=True).resume(messages.bookmark))

    assert sent == given[:200]
    assert len(given) <= 201
    assert len(new) > 40


@ORDERS
async def test_a_service_that_gives_the_same_page_for_ever_is_found_out(client, server, room, oldest_first):
    """With the place, behind what was given."""
    server.fill(room, 5)
    path = f"/site/{server.cloud_id}/conversation/{room}/message"
    page = json.dumps(await client.request("GET", path))
    server.faults.add("GET", "*/message", status=200, body=page)

    with pytest.raises(PaginationLoop) as caught:
        await ids(client.conversation(room).history(oldest_first=oldest_first))

    assert bool(caught.value.bookmark.place) is not oldest_first


async def test_a_body_is_decoded_when_looked_at_and_once(client, server, room):
    """A listing never pays for it: one that is no document troubles only who looks."""
    server.fill(room, 1)
    odd = {
        "id": "a",
        "sender": {"id": "u"},
        "ts": "2018-01-01T00:00:00Z",
        "text": "t",
        "body": {"type": "?"},
        "new": [1],
    }
    server.faults.add("GET", "*/message", status=200, body=json.dumps({"messages": [odd]}), after=1, times=1)

    good, bad = await client.conversation(room).history(page_size=1).collect(limit=2)

    assert good.body is good.body
    assert "message 1" == good.body.to_text() == good.text
    assert odd == json.loads(bad.raw)
    assert {"new": [1]} == bad.extra
    with pytest.raises(ValueError):
        _ = bad.body


@ORDERS
async def test_raw_is_what_the_service_sent(client, server, room, oldest_first):
    """Byte for byte, as it stands in the answer."""
    server.fill(room, 3)
    server.add_message(room, "naïve 🎉", ts="2018-07-01T00:00:00.1Z")

    async for page in client.conversation(room).history(oldest_first=oldest_first).pages():
        joined = b",".join(sorted((message.raw for message in page.items), key=page.raw.index))
        assert b'{"messages":[' + joined + b"]}" == page.raw


async def test_a_message_keeps_no_page_alive(client, server, room):
    """One kept of each of twenty big pages weighs what it weighs, and has no dict of its own."""
    for n in range(20):
        server.fill(room, 1, ts=START + n * 10**9)
        for k in range(9):
            server.add_message(room, "x" * 10_000, ts=START + n * 10**9 + 1 + k)
    kept = []
    tracemalloc.start()
    async for page in client.conversation(room).history(page_size=10).pages():
        kept.append(page.items[-1])
    del page
    gc.collect()
    held = tracemalloc.take_snapshot().filter_traces(
        [tracemalloc.Filter(True, "*stride_async/_*"), tracemalloc.Filter(True, "*aiohttp*")]
    )
    tracemalloc.stop()

    weight = sum(trace.size for trace in held.statistics("filename"))
    assert 20 == len(kept)
    assert all(len(message.raw) < 400 for message in kept)
    assert weight < 200_000, "one page alone is 180 kB"
    assert not hasattr(kept[0], "__dict__")


@ORDERS
async def test_a_malformed_message_is_told_with_its_path_and_the_listing_goes_on(client, server, room, oldest_first):
    """Each once, pages of nothing else included, though oldest-first asks for pages twice."""
    sent = server.fill(room, 200)
    bad = sent[40:52] + sent[100:101] + sent[190:]
    for damaged in bad:
        message = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message/{damaged}")
        broken = json.dumps({**message, "sender": {}}).encode()
        server._world.store.messages.change(
            server._world.store.messages.find(server._conversation(room).number, damaged), broken
        )
    told = []
    here = client.conversation(room)

    with pytest.raises(DecodeError, match=r"missing required field `id` @ \$.messages\[\d\].sender"):
        await ids(here.history(page_size=5, oldest_first=oldest_first))
    async with here.history(page_size=5, oldest_first=oldest_first).stream(on_undecodable=told.append) as messages:
        given = [message.id async for message in messages]

    assert [name for name in sent if name not in bad][:: 1 if oldest_first else -1] == given
    assert sorted(bad) == sorted(json.loads(error.raw)["id"] for error in told)
    assert len(bad) == messages.stats.undecodable


@pytest.mark.parametrize(
    "choices",
    [{"newest_first": True}, {"history_key": "values"}, {"chunked_json": True}, {"deleted_vanish": False}],
    ids=lambda choices: next(iter(choices)),
)
@ORDERS
async def test_open_choices_of_the_service_make_no_difference(choices, oldest_first):
    """Whatever the protocol leaves open, the messages are the same."""
    async with LocalServer(rate_limit=None, choices=Choices(**choices)) as server, client_of(server) as client:
        room = server.add_conversation("Talk")
        sent = server.fill(room, 100, same_ts=True)

        given = await ids(client.conversation(room).history(oldest_first=oldest_first, page_size=9))

        assert sent[:: 1 if oldest_first else -1] == given
