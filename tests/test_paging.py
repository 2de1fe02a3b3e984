"""Listings through the client: items, pages, bookmarks, and errors."""

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
    PageFetched,
    Pager,
    PaginationLoop,
    ServerError,
    StaleBookmark,
    StrideError,
    TooManyEmptyPages,
    Waiting,
)
from tests.conftest import client_of

COUNT = 7
KINDS = ["conversations", "roster", "modules", "history", "oldest first"]


@pytest.fixture
async def room(server) -> str:
    """One of seven conversations. It has seven people, modules and messages; two messages have the same time."""
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
    """Return a pager of one of the five kinds of listing."""
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
    """Return what identifies an item in its listing."""
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


async def read_into(returned, items) -> None:
    """Append the items one by one, so that those before an error are kept."""
    async for item in items:
        returned += [name(item)]


def page_requests(server) -> list:
    """Return the requests for pages."""
    return [call for call in server.calls if call.method == "GET"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_listing_is_complete_for_any_page_size(client, room, kind):
    """No item is missing or repeated, and the order is always the same."""
    expected = await names(pager_of(client, room, kind))

    assert COUNT == len(set(expected)) == len(expected)
    for size in range(1, COUNT + 2):
        assert expected == await names(pager_of(client, room, kind, page_size=size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "other"), [(1, 75), (2, 3), (3, 2), (3, 3), (75, 1)])
async def test_a_listing_is_resumed_after_any_item_with_any_page_size(client, room, kind, size, other):
    """The bookmark, stored as text, is correct after every item."""
    expected = await names(pager_of(client, room, kind))

    for count in range(COUNT + 1):
        async with pager_of(client, room, kind, page_size=size).stream() as items:
            before = [name(await anext(items)) for _ in range(count)]
            text = items.bookmark.dumps()
        after = await names(pager_of(client, room, kind, page_size=other).resume(Bookmark.loads(text)))
        assert expected == before + after


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefetch", [0, 1, 3])
async def test_a_failed_page_does_not_change_the_position(server, room, kind, prefetch):
    """After the error the same stream continues, and so does a new listing from the bookmark of the error."""
    async with client_of(server, attempts=1, page_size=2) as client:
        expected = await names(pager_of(client, room, kind))
        for after in range(len(page_requests(server))):
            returned = []
            fault = server.faults.add("GET", "/site/*", status=500, after=after, times=1)
            async with pager_of(client, room, kind).stream(prefetch=prefetch) as items:
                with pytest.raises(ServerError) as caught:
                    await read_into(returned, items)
                there = await names(pager_of(client, room, kind, page_size=5).resume(caught.value.bookmark))
                here = []
                await read_into(here, items)

            assert expected == returned + here == returned + there
            assert 1 == fault.hits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["items", "pages", "collect"])
async def test_every_way_to_read_a_listing_reports_the_position_of_an_error(server, room, kind, way):
    """The bookmark is after the last item returned; `collect` has returned none."""
    async with client_of(server, attempts=1, page_size=2) as client:
        expected = await names(pager_of(client, room, kind))
        server.faults.add("GET", "/site/*", status=500, after=len(page_requests(server)) - 2, times=1)
        pager, returned = pager_of(client, room, kind), []

        with pytest.raises(ServerError) as caught:
            match way:
                case "items":
                    await read_into(returned, pager)
                case "pages":
                    async for page in pager.pages():
                        returned += [name(item) for item in page.items]
                case _:
                    await pager.collect(limit=None)
        rest = await names(pager_of(client, room, kind).resume(caught.value.bookmark))

    assert expected == returned + rest


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


async def test_a_bookmark_works_in_another_process(client, server, room):
    """Only its text is passed on, for every kind of listing."""
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


async def test_each_iteration_of_a_pager_starts_from_the_beginning(client, server, room):
    """Creating a pager sends nothing."""
    pager = client.conversation(room).roster(page_size=4)
    before = len(page_requests(server))

    assert before == len(page_requests(server))
    assert await names(pager) == await names(pager)
    assert before + 4 == len(page_requests(server))


@pytest.mark.parametrize("kind", KINDS)
async def test_first_and_collect_request_no_more_than_they_need(client, server, room, kind):
    """They return the first item, a number of items, none, or all."""
    pager = pager_of(client, room, kind)
    expected = await names(pager)
    server.calls.clear()

    assert [] == await pager.collect(limit=0)
    assert [] == page_requests(server)
    assert expected[0] == name(await pager.first())
    assert expected[:3] == [name(item) for item in await pager.collect(limit=3)]
    assert kind == "oldest first" or ["1", "3"] == [dict(call.query)["limit"] for call in page_requests(server)]
    assert expected == [name(item) for item in await pager.collect(limit=None)]
    assert expected == [name(item) for item in await pager.collect(limit=999)]


async def test_first_of_an_empty_listing_is_none(client, server):
    """This holds in both orders."""
    room = client.conversation(server.add_conversation("Silence"))

    assert [None, None, None] == [
        await room.history().first(),
        await room.history(oldest_first=True).first(),
        await room.modules("chat:glance").first(),
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_max_items_counts_from_where_a_listing_resumes(client, room, kind):
    """It limits `collect`, `pages` and streams alike."""
    expected = await names(pager_of(client, room, kind))
    pager = pager_of(client, room, kind, page_size=2, max_items=3)
    async with pager.stream(prefetch=2) as items:
        first = [name(item) async for item in items]
        rest = pager.resume(items.bookmark)

    assert expected[:3] == first
    assert expected[3:6] == await names(rest) == [name(item) for item in await rest.collect(limit=5)]
    assert expected[3:5] == [name(item) for item in await rest.collect(limit=2)]
    assert expected[3:6] == [name(item) async for page in rest.pages() for item in page.items]
    assert [] == await names(pager_of(client, room, kind, max_items=0))


@pytest.mark.parametrize("kind", KINDS)
async def test_pages_have_their_bookmark_and_the_bytes_of_the_response(client, room, kind):
    """The bookmark is after the last item of the page, and the bytes contain its items."""
    expected = await names(pager_of(client, room, kind))
    returned = []

    async for page in pager_of(client, room, kind, page_size=3).pages():
        returned += [name(item) for item in page.items]
        assert expected == returned + await names(pager_of(client, room, kind).resume(page.bookmark))
        assert all(name(item) in page.raw.decode() for item in page.items)

    assert expected == returned


async def test_the_page_size_defaults_to_the_one_of_the_settings(server, room):
    """The default of the settings is the largest page that the service allows."""
    for options, asked in (({}, "75"), ({"page_size": 4}, "4")):
        async with client_of(server, **options) as client:
            await client.conversations().collect(limit=None)

            assert asked == dict(page_requests(server)[-1].query)["limit"]


@pytest.mark.parametrize("kind", KINDS)
async def test_stats_are_the_cost_of_a_stream(server, room, kind):
    """Retries and waits are the ones that events report."""
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
    assert len(page_requests(server)) == stats.requests
    assert len(fetched) == stats.pages
    assert sum(not event.items for event in fetched) == stats.empty_pages
    assert {"history": 4, "oldest first": 3}.get(kind, 3) == stats.pages
    assert {"history": 1}.get(kind, 0) == stats.empty_pages
    assert COUNT == sum(event.items for event in fetched)


async def test_the_repr_of_a_pager_shows_what_it_lists(client):
    """It shows the filters that are set."""
    text = repr(client.conversation("c").history(after="m", oldest_first=True))

    assert "Pager(kind='history', path=" in text
    assert "after='m', order='oldest first')" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"page_size": 0}, "page_size is 0; expected 1 to 75"),
        ({"page_size": 76}, "page_size is 76; expected 1 to 75"),
        ({"max_items": -1}, "max_items is -1; expected 0 or more"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
async def test_invalid_sizes_are_refused_at_once(client, server, kind, options, message):
    """Nothing is sent."""
    with pytest.raises(ValueError, match=message):
        pager_of(client, "c", kind, **options)

    assert 0 == len(server.calls)


async def test_other_invalid_numbers_are_refused_at_once(client, server):
    """Examples are a negative limit, a negative prefetch, and bounds in the wrong order."""
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
    """The error names what differs. The page size and `max_items` may differ."""
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


async def test_a_bookmark_contains_neither_server_nor_secret(client, server, room):
    """A listing can be resumed at another URL of the same site."""
    async with client.conversations(page_size=2).stream() as items:
        await anext(items)
        text = items.bookmark.dumps()

    assert server.url.partition("//")[2] not in text
    assert server.client_secret not in text
    assert server.cloud_id in text


async def test_the_error_of_a_cycle_of_cursors_has_a_bookmark(client, server, room):
    """The items before it were returned. Resuming from there works once the service has recovered."""
    first = f'{{"values":[{{"id":"{room}"}}],"cursor":"A"}}'
    server.faults.add("GET", "*/conversation", status=200, body=first, times=1)
    server.faults.add("GET", "*/conversation", status=200, body='{"values":[{"id":"x"}],"cursor":"B"}', times=1)
    server.faults.add("GET", "*/conversation", status=200, body='{"values":[{"id":"y"}],"cursor":"A"}', times=1)
    returned = []

    with pytest.raises(PaginationLoop) as caught:
        async for item in client.conversations():
            returned.append(item.id)  # noqa: PERF401 -- what came before the error counts

    assert [room, "x", "y"] == returned
    assert {"cursor": "B", "count": 1, "last": "y"} == caught.value.bookmark.place


async def test_the_error_of_too_many_empty_pages_has_a_bookmark(client, server):
    """Resuming from there follows more of them."""
    server.add_conversation("Only")
    for n in range(101):
        server.faults.add("GET", "*/conversation", status=200, body=f'{{"values":[],"cursor":"{n}"}}', times=1)
    server.faults.add("GET", "*/conversation", status=200, body='{"values":[{"id":"a"}]}', times=1)

    with pytest.raises(TooManyEmptyPages) as caught:
        await client.conversations().collect(limit=None)

    assert ["a"] == await names(client.conversations().resume(caught.value.bookmark))


async def test_conversations_that_appear_and_vanish_between_pages_affect_no_others(client, server, room):
    """Those that stay are returned once each, in both sort orders."""
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

        returned = await names(client.conversations(page_size=2, sort=sort))

        assert len(set(returned)) == len(returned)
        assert {*stay, room} <= set(returned)
        assert stay == [name for name in returned if name in stay][:: 1 if sort == "asc" else -1]
        for conversation in [*stay, *go]:
            server.archive(conversation)


async def test_people_who_join_while_a_roster_is_listed_are_returned_once(client, server, room):
    """They join at the end of the list. For people who leave, offsets cannot promise anything."""
    before = await names(client.conversation(room).roster())
    late = server.add_user("Late")
    server.faults.add("GET", "*/roster", after=1, times=1, do=lambda server: server.set_roster(room, [*before, late]))

    assert [*before, late] == await names(client.conversation(room).roster(page_size=3))


async def test_undecodable_elements_are_counted_and_the_listing_continues(client, server, room):
    """Without a callback, an error with their path and bytes is raised."""
    body = '{"values":[{"id":"a"},{"id":5},null,{"id":"b"}],"cursor":""}'
    server.faults.add("GET", "*/conversation", status=200, body=body)
    reported = []

    with pytest.raises(DecodeError) as caught:
        await client.conversations().collect(limit=None)
    async with client.conversations().stream(on_undecodable=reported.append) as items:
        returned = [item.id async for item in items]

    assert ("$.values[1].id", b'{"id":5}') == (caught.value.path, caught.value.raw)
    assert isinstance(caught.value, StrideError)
    assert ["a", "b"] == returned
    assert 2 == items.stats.undecodable == len(reported)
    assert "$.values[2]" == reported[1].path
