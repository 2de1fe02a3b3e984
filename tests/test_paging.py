"""Every listing through the client: items, pages, bookmarks, and what goes wrong."""

import asyncio
import inspect
import json
import re
import sys
import textwrap
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from datetime import UTC, datetime

import pytest

from stride_async import (
    Bookmark,
    DecodeError,
    Pager,
    PaginationLoop,
    ServerError,
    StaleBookmark,
    StrideError,
    TooManyEmptyPages,
)
from stride_async._events import PageFetched, Waiting
from tests.conftest import client_of

COUNT = 7
KINDS = ["conversations", "roster", "modules", "history", "oldest first"]


@pytest.fixture
async def room(server) -> str:
    """One of seven conversations, with seven people, modules and messages, two of them of one time."""
    people = [server.add_user(f"Person {n}") for n in range(COUNT)]
    room = server.add_conversation("Room 0", roster=people)
    for n in range(1, COUNT):
        server.add_conversation(f"Room {n}")
    async with client_of(server) as client:
        for n in range(COUNT):
            await client.conversation(room).put_module("chat:bot", f"bot-{n}", {"n": n})
    server.fill(room, 2, same_ts=True)
    server.fill(room, COUNT - 2, ts="2018-06-02T08:00:00.123456789Z")
    return room


def pager_of(client, room, kind, **options):
    """One of the five kinds of listing."""
    here = client.conversation(room)
    match kind:
        case "conversations":
            return client.conversations(**options)
        case "roster":
            return here.roster(**options)
        case "modules":
            return here.modules("chat:bot", **options)
        case _:
            return here.history(oldest_first=kind == "oldest first", **options)


def name(item) -> str:
    """What tells the items of a listing apart."""
    return item if isinstance(item, str) else getattr(item, "id", None) or item.key


async def test_the_examples_in_the_docstring_of_a_pager_run(client, server, capsys):
    """They show the four ways to use it: items, pages, a stream, and a bookmark or a list."""
    here = client.conversation(server.add_conversation("Talk"))
    for text in ("begin", "stop", "end"):
        server.add_message(here.id, text)
    examples = re.findall(r"(?:^    .*\n?)+", inspect.getdoc(Pager) or "", re.MULTILINE)
    scope = {"room": here, "Bookmark": Bookmark}

    printed = []
    for example in examples:
        code = compile(textwrap.dedent(example), "Pager", "exec", flags=PyCF_ALLOW_TOP_LEVEL_AWAIT)
        await eval(code, scope)
        printed.append(capsys.readouterr().out.split())

    assert ["end", "stop", "begin"] == printed[0]
    assert "3" == printed[1][0]
    assert ["begin", "stop"] == printed[2]
    assert ["end"] == [message.text for message in scope["rest"]]
    assert "end" == scope["newest"].text
    assert ["end", "stop", "begin"] == [message.text for message in scope["latest"]]


async def names(pager) -> list[str]:
    return [name(item) async for item in pager]


async def read_into(given, items) -> None:
    """Item by item, so that what came before an error is kept."""
    async for item in items:
        given += [name(item)]


def listed(server) -> list:
    """The requests for pages."""
    return [call for call in server.calls if call.method == "GET"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_listing_is_whole_whatever_the_page_size(client, room, kind):
    """Nobody twice, nobody missing, always in one order."""
    whole = await names(pager_of(client, room, kind))

    assert COUNT == len(set(whole)) == len(whole)
    for size in range(1, COUNT + 2):
        assert whole == await names(pager_of(client, room, kind, page_size=size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "other"), [(1, 75), (2, 3), (3, 2), (3, 3), (75, 1)])
async def test_a_cut_anywhere_is_resumed_with_any_page_size(client, room, kind, size, other):
    """The bookmark is true after every single item, as text."""
    whole = await names(pager_of(client, room, kind))

    for count in range(COUNT + 1):
        async with pager_of(client, room, kind, page_size=size).stream() as items:
            before = [name(await anext(items)) for _ in range(count)]
            text = items.bookmark.dumps()
        after = await names(pager_of(client, room, kind, page_size=other).resume(Bookmark.loads(text)))
        assert whole == before + after


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefetch", [0, 1, 3])
async def test_a_failed_page_takes_no_place_away(server, room, kind, prefetch):
    """After the error the stream itself goes on, and so does a new listing from the error's bookmark."""
    async with client_of(server, attempts=1, page_size=2) as client:
        whole = await names(pager_of(client, room, kind))
        for after in range(len(listed(server))):
            given = []
            fault = server.faults.add("GET", "/site/*", status=500, after=after, times=1)
            async with pager_of(client, room, kind).stream(prefetch=prefetch) as items:
                with pytest.raises(ServerError) as caught:
                    await read_into(given, items)
                there = await names(pager_of(client, room, kind, page_size=5).resume(caught.value.bookmark))
                here = []
                await read_into(here, items)

            assert whole == given + here == given + there
            assert 1 == fault.hits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["items", "pages", "collect"])
async def test_every_way_through_a_listing_tells_where_an_error_came(server, room, kind, way):
    """Behind the last item given; a listing that was to be collected has given none."""
    async with client_of(server, attempts=1, page_size=2) as client:
        whole = await names(pager_of(client, room, kind))
        server.faults.add("GET", "/site/*", status=500, after=len(listed(server)) - 2, times=1)
        pager, given = pager_of(client, room, kind), []

        with pytest.raises(ServerError) as caught:
            match way:
                case "items":
                    await read_into(given, pager)
                case "pages":
                    async for page in pager.pages():
                        given += [name(item) for item in page.items]
                case _:
                    await pager.collect(limit=None)
        rest = await names(pager_of(client, room, kind).resume(caught.value.bookmark))

    assert whole == given + rest


OTHER_PROCESS = """
import asyncio, json, os, sys
from stride_async import Bookmark, Settings, StrideClient

async def main():
    async with StrideClient.from_env(settings=Settings(os.environ["STRIDE_BASE_URL"])) as client:
        room = client.conversation(sys.argv[1])
        pagers = [client.conversations(), room.roster(), room.modules("chat:bot"), room.history(),
                  room.history(oldest_first=True)]
        rest = []
        for pager, text in zip(pagers, json.load(sys.stdin), strict=True):
            items = await pager.resume(Bookmark.loads(text)).collect(limit=None)
            rest.append([i if isinstance(i, str) else getattr(i, "id", None) or i.key for i in items])
        print(json.dumps(rest))

asyncio.run(main())
"""


async def test_a_bookmark_is_good_in_another_process(client, server, room):
    """Of every kind of listing; the text is all that travels."""
    texts, wanted = [], []
    for count, kind in enumerate(KINDS, 1):
        wanted.append((await names(pager_of(client, room, kind)))[count:])
        async with pager_of(client, room, kind, page_size=2).stream() as items:
            for _ in range(count):
                await anext(items)
            texts.append(items.bookmark.dumps())
    environment = {
        "STRIDE_CLIENT_ID": server.client_id,
        "STRIDE_CLIENT_SECRET": server.client_secret,
        "STRIDE_CLOUD_ID": server.cloud_id,
        "STRIDE_BASE_URL": server.url,
    }

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER_PROCESS.replace("Settings(", "Settings(base_url="), room,
        env=environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate(json.dumps(texts).encode())

    assert (0, b"") == (process.returncode, errors)
    assert wanted == json.loads(out)


async def test_iterating_twice_starts_twice(client, server, room):
    """A pager has not begun; making one sends nothing."""
    pager = client.conversation(room).roster(page_size=4)
    before = len(listed(server))

    assert before == len(listed(server))
    assert await names(pager) == await names(pager)
    assert before + 4 == len(listed(server))


@pytest.mark.parametrize("kind", KINDS)
async def test_first_and_collect_ask_for_no_more_than_they_need(client, server, room, kind):
    """The first item, so many, none at all, or all."""
    pager = pager_of(client, room, kind)
    whole = await names(pager)
    server.calls.clear()

    assert [] == await pager.collect(limit=0)
    assert [] == listed(server)
    assert whole[0] == name(await pager.first())
    assert whole[:3] == [name(item) for item in await pager.collect(limit=3)]
    assert kind == "oldest first" or ["1", "3"] == [dict(call.query)["limit"] for call in listed(server)]
    assert whole == [name(item) for item in await pager.collect(limit=None)]
    assert whole == [name(item) for item in await pager.collect(limit=999)]


async def test_first_of_an_empty_listing_is_none(client, server):
    """Whichever order."""
    room = client.conversation(server.add_conversation("Silence"))

    assert [None, None, None] == [
        await room.history().first(),
        await room.history(oldest_first=True).first(),
        await room.modules("chat:glance").first(),
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_max_items_counts_from_where_a_listing_resumes(client, room, kind):
    """And bounds collect, pages and streams alike."""
    whole = await names(pager_of(client, room, kind))
    pager = pager_of(client, room, kind, page_size=2, max_items=3)
    async with pager.stream(prefetch=2) as items:
        first = [name(item) async for item in items]
        rest = pager.resume(items.bookmark)

    assert whole[:3] == first
    assert whole[3:6] == await names(rest) == [name(item) for item in await rest.collect(limit=5)]
    assert whole[3:5] == [name(item) for item in await rest.collect(limit=2)]
    assert whole[3:6] == [name(item) async for page in rest.pages() for item in page.items]
    assert [] == await names(pager_of(client, room, kind, max_items=0))


@pytest.mark.parametrize("kind", KINDS)
async def test_pages_have_bookmarks_and_the_service_own_bytes(client, room, kind):
    """Each page's bookmark stands behind its last item; its raw answer holds its items."""
    whole = await names(pager_of(client, room, kind))
    given = []

    async for page in pager_of(client, room, kind, page_size=3).pages():
        given += [name(item) for item in page.items]
        assert whole == given + await names(pager_of(client, room, kind).resume(page.bookmark))
        assert all(name(item) in page.raw.decode() for item in page.items)

    assert whole == given


async def test_the_page_size_of_the_settings_is_used_where_none_is_given(server, room):
    """And the service's own maximum where the settings say nothing."""
    for options, asked in (({}, "75"), ({"page_size": 4}, "4")):
        async with client_of(server, **options) as client:
            await client.conversations().collect(limit=None)

            assert asked == dict(listed(server)[-1].query)["limit"]


@pytest.mark.parametrize("kind", KINDS)
async def test_stats_tell_what_a_stream_has_cost(server, room, kind):
    """Retries and waits as the events tell them, one by one."""
    events = []
    server.faults.add("GET", "/site/*", status=503, after=1, times=2)
    async with client_of(server, page_size=3, backoff=0.001, on_event=events.append) as client:
        server.calls.clear()
        async with pager_of(client, room, kind).stream() as items:
            async for _ in items:
                pass
            stats = items.stats

    waits = [event.seconds for event in events if isinstance(event, Waiting)]
    fetched = [event for event in events if isinstance(event, PageFetched)]
    assert (COUNT, 2, 2) == (stats.items, stats.retries, len(waits))
    assert sum(waits) == pytest.approx(stats.seconds_waited)
    assert len(listed(server)) == stats.requests
    assert len(fetched) == stats.pages
    assert sum(not event.items for event in fetched) == stats.empty_pages
    assert {"history": 4, "oldest first": 3}.get(kind, 3) == stats.pages
    assert {"history": 1}.get(kind, 0) == stats.empty_pages
    assert COUNT == sum(event.items for event in fetched)


async def test_a_listing_says_what_it_lists(client):
    """Of its filters, those that are set."""
    words = repr(client.conversation("c").history(after="m", oldest_first=True))

    assert "Pager(kind='history', path=" in words
    assert "after='m', order='oldest first')" in words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"page_size": 0}, "page_size is 0; expected 1 to 75"),
        ({"page_size": 76}, "page_size is 76; expected 1 to 75"),
        ({"max_items": -1}, "max_items is -1; expected 0 or more"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_sizes_that_cannot_be_are_refused_at_once(client, server, kind, options, words):
    """Before anything is sent."""
    with pytest.raises(ValueError, match=words):
        pager_of(client, "c", kind, **options)

    assert 0 == len(server.calls)


async def test_other_numbers_that_cannot_be_are_refused_at_once(client, server):
    """A limit below none, a prefetch below none, bounds the wrong way round."""
    pager = client.conversations()

    with pytest.raises(ValueError, match="limit is -1"):
        await pager.collect(limit=-1)
    with pytest.raises(ValueError, match="prefetch is -1"):
        pager.stream(prefetch=-1)
    with pytest.raises(ValueError, match="is later than"):
        client.conversation("c").history(
            after=datetime(2018, 2, 1, tzinfo=UTC), before=datetime(2018, 1, 1, tzinfo=UTC)
        )
    assert 0 == len(server.calls)


async def test_a_bookmark_of_another_listing_is_refused_before_anything_is_sent(client, server):
    """Says what differs; page size and bound of items are no part of it."""
    room = client.conversation("c")
    pagers = [
        client.conversations(),
        client.conversations(query="x"),
        client.conversations(include_archived=True),
        client.conversations(sort="desc"),
        room.roster(),
        room.modules("chat:bot"),
        room.modules("chat:glance"),
        room.history(),
        room.history(oldest_first=True),
        room.history(after="m"),
        room.history(before="m"),
        room.history(before=datetime(2018, 1, 1, tzinfo=UTC)),
        client.conversation("d").history(),
    ]
    bookmarks = [pager.stream().bookmark for pager in pagers]

    for pager in pagers:
        for other, bookmark in zip(pagers, bookmarks, strict=True):
            if pager is other:
                pager.resume(bookmark)
            else:
                with pytest.raises(StaleBookmark, match="of another listing"):
                    pager.resume(bookmark)
    client.conversations(page_size=3, max_items=5).resume(bookmarks[0])

    assert 0 == len(server.calls)


async def test_a_bookmark_knows_neither_server_nor_secret(client, server, room):
    """A listing may be resumed at another address of the same site."""
    async with client.conversations(page_size=2).stream() as items:
        await anext(items)
        text = items.bookmark.dumps()

    assert server.url.partition("//")[2] not in text
    assert server.client_secret not in text
    assert server.cloud_id in text


async def test_a_cycle_of_cursors_ends_with_the_place(client, server, room):
    """What came before was given; resuming from there works once the service has come to itself."""
    first = f'{{"values":[{{"id":"{room}"}}],"cursor":"A"}}'
    server.faults.add("GET", "*/conversation", status=200, body=first, times=1)
    server.faults.add("GET", "*/conversation", status=200, body='{"values":[{"id":"x"}],"cursor":"B"}', times=1)
    server.faults.add("GET", "*/conversation", status=200, body='{"values":[{"id":"y"}],"cursor":"A"}', times=1)
    given = []

    with pytest.raises(PaginationLoop) as caught:
        given.extend([item.id async for item in client.conversations()])

    assert {"cursor": "A", "count": 1, "last": "x"} == caught.value.bookmark.place


async def test_too_many_empty_pages_end_with_the_place(client, server):
    """Whoever insists goes on from there."""
    server.add_conversation("Only")
    for n in range(101):
        server.faults.add("GET", "*/conversation", status=200, body=f'{{"values":[],"cursor":"{n}"}}', times=1)
    server.faults.add("GET", "*/conversation", status=200, body='{"values":[{"id":"a"}]}', times=1)

    with pytest.raises(TooManyEmptyPages) as caught:
        await client.conversations().collect(limit=None)

    assert ["a"] == await names(client.conversations().resume(caught.value.bookmark))


async def test_rooms_that_come_and_go_between_pages_disturb_nobody(client, server, room):
    """Those that stay come once each, in both directions, wherever the others stood."""
    for sort in ("asc", "desc"):
        stay = [server.add_conversation(f"{letter} stays") for letter in "bdfhj"]
        go = [server.add_conversation(f"{letter} goes") for letter in "acegi"]
        steps = [
            lambda server, go=go: server.archive(go[0]),
            lambda server: server.add_conversation("aa new"),
            lambda server, go=go: server.archive(go[2]),
            lambda server: server.add_conversation("zz new"),
            lambda server, go=go: [server.archive(go[3]), server.archive(go[4])],
        ]
        for step in steps:
            server.faults.add("GET", "*/conversation", do=step, times=1)

        given = await names(client.conversations(page_size=2, sort=sort))

        assert len(set(given)) == len(given)
        assert {*stay, room} <= set(given)
        assert stay == [name for name in given if name in stay][:: 1 if sort == "asc" else -1]
        for conversation in [*stay, *go]:
            server.archive(conversation)


async def test_people_who_join_while_a_roster_is_counted_through_come_once(client, server, room):
    """At the end of the list; of those who leave, offsets can promise nothing."""
    before = await names(client.conversation(room).roster())
    late = server.add_user("Late")
    server.faults.add("GET", "*/roster", after=1, times=1, do=lambda server: server.set_roster(room, [*before, late]))

    assert [*before, late] == await names(client.conversation(room).roster(page_size=3))


async def test_undecodable_elements_are_counted_and_the_listing_goes_on(client, server, room):
    """Without a callback they are an error with path and bytes."""
    body = '{"values":[{"id":"a"},{"id":5},null,{"id":"b"}],"cursor":""}'
    server.faults.add("GET", "*/conversation", status=200, body=body)
    told = []

    with pytest.raises(DecodeError) as caught:
        await client.conversations().collect(limit=None)
    async with client.conversations().stream(on_undecodable=told.append) as items:
        given = [item.id async for item in items]

    assert ("$.values[1].id", b'{"id":5}') == (caught.value.path, caught.value.raw)
    assert isinstance(caught.value, StrideError)
    assert ["a", "b"] == given
    assert 2 == items.stats.undecodable == len(told)
    assert "$.values[2]" == told[1].path
