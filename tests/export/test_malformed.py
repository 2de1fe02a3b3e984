"""One malformed value in one response costs what it stands in, and nothing else of the export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TypeVar

import attrs
import pytest

from stride_async import DecodeError, Forbidden, NotFound, ServerError, StrideClient
from stride_async.export import Failure, Summary, read, verify
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import events_of, exported, failures, media_of, show_file, state_of
from tests.export.tampering import Place, places

T = TypeVar("T")

RUNS = 60
MARK = "the value to be replaced"

# Undecoded JSON: what no correct service would send in the place of a value.
VALUES = [
    *("null", "true", "0", "-1", "3.5", "9223372036854775808", "1" + "0" * 400, "1" * 5000),
    *("1e400", "-1e400", "1e-400", "NaN", "Infinity", "", "nope", "'x'", "[1,]"),
    *('""', '" "', '"x"', '"' + "x" * 10_000 + '"', '"\\u0000"', '"../../x"', '"a/b?c#d%"', '"\U0001f600\u202e"'),
    *('"\\ud83d"', '"\\ude00\\ud83d"', '"\\uFFFF\\uFEFF"', '"\x01"', '"line\nbreak"', '"\\x"'),
    *('"0001-01-01T00:00:00+00:01"', '"9999-12-31T23:59:59.999999999-23:59"', '"2018-02-30T00:00:00Z"'),
    *('"1677-09-21T00:12:43Z"', '"2262-04-11T23:47:17Z"', '"2018-01-01T00:00:60Z"', '"2018-01-01"'),
    *("[]", "{}", "[null]", '{"id":""}', '{"id":null}', '{"":{}}'),
    *("[" * 200 + "]" * 200, "[" * 20_000 + "]" * 20_000, '{"a":' * 900 + "1" + "}" * 900),
]  # fmt: skip
# These leave no way to tell where the value ends, so they cost the complete response.
UNBALANCED = ['"open', "[", "]", "}", '"\\']
HEADERS = {
    "Content-Disposition": [
        "", ";", "attachment", "inline; filename=\"", "attachment; filename", "attachment; filename*''",
        "attachment; filename*=undefined''%ff", "attachment; filename*=utf-8''%ff%fe",
        "attachment; filename*=klingon''x",
        "attachment; filename=../../etc/passwd", "attachment; filename=\"" + "x" * 4000 + "\"",
        "attachment; filename*0=a; filename*9=b",
    ],
    "Content-Range": ["bytes 0-" + "9" * 4500 + "/" + "9" * 100, "bytes */*", "bytes x-y/z", "pages 1-2/3", ""],
    "Content-Type": ["", ";", "text/html; charset=klingon", "a/b; charset=\"", "x" * 3000, "/", "text/plain; =; =="],
    "ETag": ["", '"', 'W/"', '"' + "e" * 4000 + '"', '"\xff\xfe"', "W/", "*"],
    "Last-Modified": ["", "never", "Thu, 99 Foo 99999 99:99:99 GMT"],
    "X-RateLimit-Remaining": ["", "many", "-1", "9" * 5000],
    "X-RateLimit-Reset": ["", "soon", "9" * 5000, "0001-01-01T00:00:00+00:01"],
    "Date": ["", "yesterday", "Thu, 99 Foo 99999 99:99:99 GMT"],
}  # fmt: skip


@attrs.frozen
class Change:
    """A replaced value or header of one response."""

    url: str
    path: Place
    """Where the value is; empty for a header."""
    value: str
    header: str | None = None

    @property
    def empties_a_list(self) -> bool:
        """Whether the response becomes a page without elements: the service writes an empty list as null, too."""
        return self.path in (("messages",), ("values",)) and self.value in ("null", "[]")

    def of(self, response: object) -> bytes:
        """Return the response with the change in it."""
        return json.dumps(replaced(response, self.path)).replace(f'"{MARK}"', self.value).encode()


def replaced(value: object, at: Place) -> object:
    """Return the value with a mark at a path."""
    if not at:
        return MARK
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = replaced(copy[at[0]], at[1:])
    return copy


class Site:
    """A small site, and the JSON of every response that an export of it receives."""

    def __init__(self, server: LocalServer) -> None:
        self.server = server
        self.messages: dict[str, set[str]] = {}
        self.responses: dict[str, object] = {}
        self.urls: list[str] = []
        """Those of the responses and of the media bodies, in an order that does not depend on ids."""

    async def fill(self, folder: Path) -> None:
        """Fill the site and export it undisturbed."""
        people = [self.server.add_user(name) for name in ("Ann", "Bob")]
        media = []
        for name in ("first", "second", "third"):
            room = self.server.add_conversation(name, roster=people)
            self.server.fill(room, 4)
            media.append(f"*/media/{show_file(self.server, room, f'{name}.bin', name.encode())}")
        async with client_of(self.server) as client:
            await events_of(client, folder, concurrency=1)
            for call in self.server.calls.matching("GET", "*"):
                if call.path.split("/")[-2] != "media" and call.path not in self.responses:
                    self.responses[call.path] = await client.request("GET", call.path, params=dict(call.query))
        self.urls = [*sorted(self.responses, key=lambda path: path.split("/")[3::2]), *media]
        self.messages = held_messages(folder)
        assert [5, 5, 5] == [len(ids) for ids in self.messages.values()]

    def change(self, rng: Random) -> Change:
        """Return a random change of one response."""
        url = rng.choice(self.urls)
        if url not in self.responses or rng.random() < 0.1:
            header = rng.choice(list(HEADERS))
            return Change(url, (), rng.choice(HEADERS[header]), header)
        return Change(url, rng.choice(list(places(self.responses[url]))), rng.choice(VALUES + UNBALANCED))

    def make(self, change: Change) -> None:
        """Let the server send the changed response once."""
        self.server.faults.clear()
        if change.header is not None:
            self.server.faults.add("GET", change.url, headers={change.header: change.value}, times=1)
        else:
            self.server.faults.add("GET", change.url, body=change.of(self.responses[change.url]), times=1)

    def unchanged(self, change: Change) -> dict[str, set[str]]:
        """Return the messages, by conversation, that the change leaves as they were."""
        unchanged = {room: set(ids) for room, ids in self.messages.items()}
        response, path = self.responses.get(change.url), change.path
        if change.header is not None:
            return unchanged
        if change.value in UNBALANCED:
            path = path[:1]
        if change.url.endswith("/message"):
            room = change.url.split("/")[-2]
            if len(path) > 1:
                unchanged[room].discard(response["messages"][path[1]]["id"])
            else:
                del unchanged[room]
        elif change.url.endswith("/conversation"):
            if len(path) == 1:
                return {}
            unchanged.pop(response["values"][path[1]]["id"])
        return unchanged


def held_messages(folder: Path) -> dict[str, set[str]]:
    """Return the ids of the messages that an archive holds, by conversation."""
    ignored: list[Exception] = []
    archive = read(folder)
    list(archive.users(on_undecodable=ignored.append))
    return {
        room.id: {message.id for message in archive.messages(room.id, on_undecodable=ignored.append)}
        for room in archive.conversations(on_undecodable=ignored.append)
    }


@pytest.mark.parametrize(
    "first", [*range(0, 120, RUNS), *(pytest.param(n, marks=pytest.mark.slow) for n in range(120, 2100, RUNS))]
)
async def test_one_malformed_value_costs_only_what_it_stands_in(tmp_path, first):
    """Nothing is raised, the rest of the site is complete, and what is missing is listed."""
    async with LocalServer(rate_limit=None) as server:
        site = Site(server)
        await site.fill(tmp_path / "undisturbed")
        all_media = media_of(tmp_path / "undisturbed")
        for seed in range(first, first + RUNS):
            change, folder = site.change(Random(seed)), tmp_path / f"{seed}"
            site.make(change)

            async with client_of(server) as client:
                events = await events_of(client, folder)

            assert isinstance(events[-1], Summary)
            held, unchanged = held_messages(folder), site.unchanged(change)
            missing = {room: ids - held.get(room, set()) for room, ids in unchanged.items()}
            assert not any(missing.values()), (seed, change, missing)
            assert unchanged != site.messages or media_of(folder) == all_media, (seed, change)
            listed = failures(events)
            # A message whose id was replaced may come a second time, with its own id.
            assert sum(map(len, held.values())) >= 15 or listed or change.empties_a_list, (seed, change)
            assert (await verify(folder)).ok or listed, (seed, change)


@pytest.fixture
def rooms(server: LocalServer) -> list[str]:
    """Return six conversations with a message in each."""
    rooms = [server.add_conversation(f"room {number}") for number in range(6)]
    for room in rooms:
        server.fill(room, 1)
    return rooms


async def listing(client: StrideClient, **params: str) -> dict:
    """Return a page of the list of conversations, as the service sends it."""
    return await client.request("GET", f"/site/{client.cloud_id}/conversation", params={"limit": 75, **params})


@pytest.mark.parametrize(
    "page",
    ["nope", '{"values": [', "[]", '{"values": [], "cursor": "loop"}', '{"values": [], "cursor": "unknown"}', "404"],
)
async def test_a_malformed_page_of_the_list_costs_the_conversations_after_it(server, rooms, tmp_path, page):
    """The conversations before it are exported, and those that are held already are not taken for removed ones."""
    async with client_of(server, page_size=2) as client:
        await exported(client, tmp_path / "a")
        server.fill(rooms[0], 1)
        fault = {"status": 404} if page == "404" else {"body": page}
        server.faults.add("GET", "*/conversation", after=1, **fault)

        events = await events_of(client, tmp_path / "a")
        server.faults.clear()
        fresh = await exported(client, tmp_path / "b")

    assert [("", "conversation")] == [(one.conversation_id, one.what) for one in events if isinstance(one, Failure)]
    assert (2, 0) == (events[-1].conversations, events[-1].no_longer_listed)
    assert 6 == len(held_messages(tmp_path / "a"))
    assert fresh.content_digest == events[-1].content_digest


@pytest.mark.parametrize("body", ["nope", '{"values": nope}', '{"values": 1}'])
async def test_an_undecodable_list_is_one_failure(server, client, rooms, tmp_path, body):
    """There is nothing to export, and the run ends with a summary. With `fail_fast`, the error is raised."""
    server.faults.add("GET", "*/conversation", body=body)

    events = await events_of(client, tmp_path / "a")
    with pytest.raises(DecodeError):
        await events_of(client, tmp_path / "b", fail_fast=True)

    assert {("", "conversation", "")} == failures(events)
    assert 0 == events[-1].conversations


@pytest.mark.parametrize(("status", "error"), [(404, NotFound), (403, Forbidden), (503, ServerError)])
async def test_a_list_that_is_unavailable_ends_the_run(server, client, rooms, tmp_path, status, error):
    """Nothing was received, so there is nothing to export."""
    server.faults.add("GET", "*/conversation", status=status)

    with pytest.raises(error):
        await events_of(client, tmp_path / "a")

    assert not (tmp_path / "a").exists()


async def test_a_conversation_is_exported_with_what_can_be_stored_of_it(server, client, rooms, tmp_path):
    """Members that are not JSON, or are nested deeply, are left out. Another member is kept as received."""
    page = json.dumps(await listing(client))
    malformed = page.replace('"room 0"', "nope").replace('"room 1"', "[" * 500 + "]" * 500).replace("room 2", "\x01")
    server.faults.add("GET", "*/conversation", body=malformed, times=1)

    events = await events_of(client, tmp_path / "a")

    assert {(rooms[0], "conversation", ""), (rooms[1], "conversation", "")} == failures(events)
    assert 6 == events[-1].messages
    assert {"name": "\x01", "privacy": "public"}.items() <= (state_of(tmp_path / "a", rooms[2]).details or {}).items()
    assert "public" == (state_of(tmp_path / "a", rooms[0]).details or {})["privacy"]


async def test_an_undecodable_profile_is_stored_and_is_a_failure(server, client, tmp_path):
    """It is fetched again by `retry_failed` only, or with everything."""
    ann, bob = (server.add_user(name) for name in ("Ann", "Bob"))
    server.add_conversation("room", roster=[ann, bob])
    server.faults.add("GET", f"*/Users/{ann}", body='{"id": 17, "userName": "ann"}', times=1)

    events = await events_of(client, tmp_path / "a")
    undecodable: list[Exception] = []
    found = [user.id for user in read(tmp_path / "a").users(on_undecodable=undecodable.append)]
    again = await exported(client, tmp_path / "a")
    with pytest.raises(DecodeError):
        list(read(tmp_path / "a").users())
    retried = await exported(client, tmp_path / "a", retry_failed=True)

    assert ({("", "user", ann)}, [bob], 1) == (failures(events), found, len(undecodable))
    assert (1, 0) == (again.failures, retried.failures)
    assert {ann, bob} == {user.id for user in read(tmp_path / "a").users()}


async def test_a_malformed_member_does_not_cost_the_roster(server, client, tmp_path):
    """The other members are held, and the failure is reported until the roster is valid."""
    ann, bob = (server.add_user(name) for name in ("Ann", "Bob"))
    room = server.add_conversation("room", roster=[ann, bob])
    server.faults.add("GET", "*/roster", body=json.dumps({"values": [ann, None, bob]}), times=1)

    events = await events_of(client, tmp_path / "a")
    held = read(tmp_path / "a").roster(room)
    again = await exported(client, tmp_path / "a")

    assert {(room, "roster", "")} == failures(events)
    assert (ann, bob) == held.user_ids
    assert 0 == again.failures


async def test_an_absurd_size_of_a_file_is_stored_as_a_very_large_one(server, client, tmp_path):
    """The commit can be read back, and the file is not fetched."""
    room = server.add_conversation("room")
    show_file(server, room, "a.bin", b"a")
    server.faults.add("GET", "*/media/*", content_length=10**17)

    await exported(client, tmp_path / "a", media=10)

    assert (await verify(tmp_path / "a")).ok


def nested(depth: int, work: Callable[[], T]) -> T:
    """Do work that many calls below the caller."""
    return work() if not depth else nested(depth - 1, work)


@pytest.mark.parametrize("depth", [500, 960, 2000])
async def test_a_deeply_nested_message_can_be_read_back_from_any_depth_of_calls(server, client, tmp_path, depth):
    """How deep the decoder gets depends on the stack, and what an archive holds must not."""
    room = server.add_conversation("room")
    server.fill(room, 3)
    path = f"/site/{server.cloud_id}/conversation/{room}/message"
    page = await client.request("GET", path)
    page["messages"][1]["body"] = MARK
    body = json.dumps(page).replace(f'"{MARK}"', '{"a":' * depth + "1" + "}" * depth)
    server.faults.add("GET", path, body=body, times=1)

    await exported(client, tmp_path / "a")

    rows = read(tmp_path / "a").raw_messages(room)
    expected = [message["id"] for message in page["messages"]]
    for frames in (0, 400, 700):
        lines = nested(frames, lambda: list(rows))
        assert expected == [line.partition(b'"id": "')[2].partition(b'"')[0].decode() for line in lines]
    assert (await verify(tmp_path / "a")).ok
