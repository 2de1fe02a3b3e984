"""An archive is read back as the site that was exported."""

from __future__ import annotations

import hashlib
import json
from contextlib import aclosing

import pytest

from stride_async import DecodeError, Message, StrideClient
from stride_async.export import (
    DamagedArchive,
    ExportOptions,
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
    """Return the digest of messages, oldest first: each as JSON with sorted keys, without spaces, and a line break."""
    total = hashlib.sha256()
    for message in messages:
        text = json.dumps(json.loads(message.raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        total.update(text.encode() + b"\n")
    return total.hexdigest()


def fill_months(server, room):
    """Add 40 messages to each of three months."""
    for month in (5, 6, 7):
        server.fill(room, 40, ts=f"2018-{month:02}-30T23:59:30Z")


def body_digest(file):
    with file.open() as body:
        return hashlib.file_digest(body, "sha256").hexdigest()


async def test_a_real_site_is_read_back_with_the_recorded_digests(meetup, tmp_path):
    """Rooms, rosters, people, messages and files are those recorded by other means."""
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
        file.id: (file.name, file.mime_type, body_digest(file)) for file in files
    }


async def test_plain_and_async_loops_give_the_same(server, client, tmp_path):
    """Both start anew each time, and either can be left early."""
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


async def test_a_leg_under_way_is_read(server, client, tmp_path):
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


async def test_the_months_of_a_conversation_contain_each_message_once(server, client, tmp_path):
    """Their digests are those of their lines, and a month keeps its digest when later messages arrive."""
    room = server.add_conversation("general")
    fill_months(server, room)
    await exported(client, tmp_path / "site")
    site = read(tmp_path / "site")
    before = site.months(room)
    server.fill(room, 3, ts="2018-07-01T00:00:00Z")
    await exported(client, tmp_path / "site")

    after = site.months(room)

    assert len(before) > 2
    assert before[:-1] == after[: len(before) - 1]
    assert list(site.raw_messages(room)) == [
        line for part in after for line in site.raw_messages(room, month=part.month)
    ]
    for part in after:
        lines = list(site.raw_messages(room, month=part.month))
        assert part.rows == len(lines) == len(list(site.messages(room, month=part.month)))
        assert part.sha256 == hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()
        assert {f"{message.sent_at:%Y-%m}" for message in site.messages(room, month=part.month)} == {part.month}


async def test_what_an_unfinished_export_has_read_is_the_part_unsealed(server, client, tmp_path):
    """The parts together are the messages, each once, although the walk has read some of the newest month again."""
    room = server.add_conversation("general")
    fill_months(server, room)
    await exported(client, tmp_path / "site")
    server.fill(room, 1500, ts="2018-07-01T00:00:00Z")
    async with aclosing(export(client, tmp_path / "site", ExportOptions(rescan="all"))) as events:
        async for event in events:
            if isinstance(event, PagesFetched):
                break
    site = read(tmp_path / "site")

    parts = site.months(room)

    read_again = list(site.raw_messages(room, month="unsealed"))
    assert "unsealed" == parts[-1].month
    assert len(read_again) == parts[-1].rows > 0
    assert parts[-1].sha256 == hashlib.sha256(b"".join(line + b"\n" for line in read_again)).hexdigest()
    assert sorted(site.raw_messages(room)) == sorted(
        line for part in parts for line in site.raw_messages(room, month=part.month)
    )
    assert [] == list(site.messages(room, month="1999-01"))


async def test_an_undecodable_message_is_raised_or_passed_to_the_callback(server, client, tmp_path):
    """Its bytes are among the raw messages."""
    room = server.add_conversation("general")
    server.fill(room, 3)
    malformed = {"id": "malformed", "ts": "2030-01-01T00:00:00Z", "sender": "no object"}
    page = {"messages": [malformed]}
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page).encode(), times=1)
    await exported(client, tmp_path / "site")
    site = read(tmp_path / "site")

    errors: list[DecodeError] = []
    messages = list(site.messages(room, on_undecodable=errors.append))

    assert 3 == len(messages)
    assert [malformed] == [json.loads(error.raw) for error in errors]
    assert 4 == len(list(site.raw_messages(room)))
    with pytest.raises(DecodeError, match=r"\$\[3\]\.sender"):
        list(site.messages(room))


async def test_an_unknown_conversation_has_no_messages_and_no_roster(client, tmp_path, server):
    """That is not an error."""
    server.add_conversation("general")
    await exported(client, tmp_path / "site")
    site = read(tmp_path / "site")

    assert [] == list(site.messages("elsewhere"))
    assert None is site.roster("elsewhere")


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, NotAnArchive), ("[]", NotAnArchive), ('{"format":99,"id":"x","cloud_id":"c"}', NewerArchive)],
)
def test_a_folder_that_is_not_an_archive_is_refused(tmp_path, content, error):
    """It may have no archive.json, another one, or one of a later version."""
    if content is not None:
        (tmp_path / "archive.json").write_text(content)

    with pytest.raises(error):
        read(tmp_path)


async def test_a_missing_month_raises_when_it_is_reached(server, client, tmp_path):
    """Reading never skips what is missing."""
    room = server.add_conversation("general")
    server.fill(room, 3)
    await exported(client, tmp_path / "site")
    [segment] = (tmp_path / "site").rglob("sealed/*/r*.zst")
    segment.unlink()

    with pytest.raises(DamagedArchive, match=f"{segment.name} is missing"):
        list(read(tmp_path / "site").messages(room))


async def test_reading_does_not_call_the_service(server: LocalServer, client: StrideClient, tmp_path):
    """An archive is enough by itself."""
    room = server.add_conversation("general")
    server.fill(room, 3)
    await exported(client, tmp_path / "site")
    calls = len(server.calls)

    site = read(tmp_path / "site")

    assert all(isinstance(message, Message) for message in site.messages(room))
    assert 1 == len(list(site.conversations()))
    assert calls == len(server.calls)
