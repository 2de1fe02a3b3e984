"""An archive read back: it is the site, whatever way it came there."""

from __future__ import annotations

import hashlib
import json
from contextlib import aclosing

import pytest

from stride_async import DecodeError, Message, StrideClient
from stride_async.export import (
    DamagedArchive,
    NewerArchive,
    NotAnArchive,
    PagesFetched,
    export,
    read,
)
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported


def digest(messages):
    """Of messages oldest first, each as JSON with sorted keys, without spaces, and a newline behind it."""
    total = hashlib.sha256()
    for message in messages:
        text = json.dumps(json.loads(message.raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        total.update(text.encode() + b"\n")
    return total.hexdigest()


async def test_a_real_site_comes_back_with_the_recorded_digests(meetup, tmp_path):
    """Rooms, rosters, people, every message and every file are those recorded by other means."""
    expected = json.loads((meetup / "expected.json").read_bytes())
    async with LocalServer(seed=meetup / "site.jsonl", rate_limit=None) as server, client_of(server) as client:
        await exported(client, tmp_path / "site")

    site = read(tmp_path / "site")
    files = list(site.media())
    got = {}
    for room in site.conversations():
        messages = list(site.messages(room.id))
        got[room.id] = {
            "name": room.name,
            "messages": len(messages),
            "roster": len(site.roster(room.id).user_ids),
            "archived": room.is_archived,
            "media": sum(file.conversation_id == room.id for file in files),
            "sha256": digest(messages),
        }
    assert expected["by_conversation"] == got
    assert expected["cloudId"] == site.cloud_id
    assert expected["media"] == len(files)
    assert expected["users"] <= len({user.id for user in site.users()})
    recorded = [json.loads(line) for line in (meetup / "site.jsonl").read_bytes().splitlines()]
    assert {r["id"]: (r["name"], r["mimeType"], r["sha256"]) for r in recorded if r["type"] == "media"} == {
        file.id: (file.name, file.mime_type, hashlib.sha256(file.path.read_bytes()).hexdigest()) for file in files
    }


async def test_plain_and_async_loops_give_the_same(server, client, tmp_path):
    """Both begin anew each time, and an early end of either is no trouble."""
    room = server.add_conversation("general")
    server.fill(room, 700)
    await exported(client, tmp_path / "site")
    messages = read(tmp_path / "site").messages(room)

    plain = [message.id for message in messages]
    async with aclosing(aiter(messages)) as rows:
        first = await anext(rows)

    assert plain == [message.id async for message in messages]
    assert plain == [message.id for message in messages]
    assert plain[0] == first.id
    assert sorted(messages, key=lambda message: (message.ts, message.id)) == list(messages)


async def test_a_walk_under_way_can_be_read(server, client, tmp_path):
    """What an interrupted run has committed is there, in order and once, above what was held before."""
    room = server.add_conversation("general")
    old = server.fill(room, 100)
    await exported(client, tmp_path / "site")
    new = server.fill(room, 1500)
    async with aclosing(export(client, tmp_path / "site")) as events:
        async for event in events:
            if isinstance(event, PagesFetched):
                break

    ids = [message.id for message in read(tmp_path / "site").messages(room)]

    assert old == ids[:100]
    assert new[-75:] == ids[-75:]
    assert len(set(ids)) == len(ids)


async def test_what_is_no_message_is_told_and_kept(server, client, tmp_path):
    """An element that cannot be decoded raises, or is given to whoever asks; its bytes are there."""
    room = server.add_conversation("general")
    server.fill(room, 3)
    odd = {"id": "odd", "ts": "2030-01-01T00:00:00Z", "sender": "nobody"}
    page = {"messages": [odd]}
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page).encode(), times=1)
    await exported(client, tmp_path / "site")
    site = read(tmp_path / "site")

    told: list[DecodeError] = []
    messages = list(site.messages(room, on_undecodable=told.append))

    assert 3 == len(messages)
    assert [odd] == [json.loads(error.raw) for error in told]
    assert 4 == len(list(site.raw_messages(room)))
    with pytest.raises(DecodeError, match=r"\$\[3\]\.sender"):
        list(site.messages(room))


async def test_nothing_is_held_of_an_unknown_conversation(client, tmp_path, server):
    """It has no messages and no roster; that is no error."""
    server.add_conversation("general")
    await exported(client, tmp_path / "site")
    site = read(tmp_path / "site")

    assert [] == list(site.messages("elsewhere"))
    assert None is site.roster("elsewhere")


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, NotAnArchive), ("[]", NotAnArchive), ('{"format":99,"id":"x","cloud_id":"c"}', NewerArchive)],
)
def test_what_is_no_archive_is_refused(tmp_path, content, error):
    """A folder without archive.json, with another one, or with one of a later version."""
    if content is not None:
        (tmp_path / "archive.json").write_text(content)

    with pytest.raises(error):
        read(tmp_path)


async def test_a_missing_segment_is_an_error_where_it_would_stand(server, client, tmp_path):
    """Reading never passes over what is not there."""
    room = server.add_conversation("general")
    server.fill(room, 3)
    await exported(client, tmp_path / "site")
    [segment] = (tmp_path / "site").rglob("sealed/*/r*.zst")
    segment.unlink()

    with pytest.raises(DamagedArchive, match=f"{segment.name} is missing"):
        list(read(tmp_path / "site").messages(room))


async def test_reading_asks_the_service_nothing(server: LocalServer, client: StrideClient, tmp_path):
    """An archive is enough by itself."""
    room = server.add_conversation("general")
    server.fill(room, 3)
    await exported(client, tmp_path / "site")
    calls = len(server.calls)

    site = read(tmp_path / "site")

    assert all(isinstance(message, Message) for message in site.messages(room))
    assert 1 == len(list(site.conversations()))
    assert calls == len(server.calls)
