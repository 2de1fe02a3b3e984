"""A real chat history, read completely by the client and compared with digests that were computed without it."""

import hashlib
import json
from collections.abc import Iterable

import pytest

from stride_async.server import LocalServer
from tests.conftest import client_of


@pytest.fixture
async def site(meetup):
    async with LocalServer(seed=meetup / "site.jsonl", rate_limit=None) as server, client_of(server) as client:
        yield client


@pytest.fixture
def expected(meetup):
    return json.loads((meetup / "expected.json").read_bytes())


@pytest.fixture
def files(meetup):
    """Return every media record of the seed, by id."""
    records = map(json.loads, (meetup / "site.jsonl").read_bytes().splitlines())
    return {record["id"]: record for record in records if record["type"] == "media"}


def digest(messages: Iterable[bytes]) -> str:
    """Return the digest of messages, each as JSON with sorted keys, without spaces, and followed by a newline."""
    total = hashlib.sha256()
    for raw in messages:
        text = json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        total.update(text.encode() + b"\n")
    return total.hexdigest()


async def rooms_of(site):
    return [site.conversation(found.id) async for found in site.conversations(include_archived=True, page_size=5)]


async def test_every_room_is_listed_and_archived_ones_only_on_request(site, expected):
    """Names and states match the record; archived rooms are excluded by default."""
    every = {room.id: room async for room in site.conversations(include_archived=True, page_size=3)}
    in_use = [room.id async for room in site.conversations(page_size=3)]

    recorded = {room_id: (about["name"], about["archived"]) for room_id, about in expected["by_conversation"].items()}
    assert recorded == {room_id: (room.name, room.is_archived) for room_id, room in every.items()}
    assert (expected["conversations"], expected["archived"]) == (len(every), sum(r.is_archived for r in every.values()))
    assert {room_id for room_id, (_, archived) in recorded.items() if not archived} == set(in_use)
    assert len(in_use) == len(set(in_use))


@pytest.mark.parametrize(("oldest_first", "page_size"), [(False, 75), (False, 7), (True, 75), (True, 7)])
async def test_every_history_has_recorded_digest_in_both_orders(site, expected, oldest_first, page_size):
    """No message is lost, duplicated, changed or out of order, with any page size."""
    got = {}
    for room in await rooms_of(site):
        messages = await room.history(oldest_first=oldest_first, page_size=page_size).collect(limit=None)
        oldest_on_top = messages if oldest_first else messages[::-1]
        got[room.id] = {"messages": len(messages), "sha256": digest(each.raw for each in oldest_on_top)}

    recorded = {
        room_id: {"messages": about["messages"], "sha256": about["sha256"]}
        for room_id, about in expected["by_conversation"].items()
    }
    assert recorded == got
    assert expected["messages"] == sum(about["messages"] for about in got.values())


async def test_every_roster_is_complete(site, expected, meetup):
    """The members of each room match the record, across pages, and each of them has a profile."""
    got = {room.id: await room.roster(page_size=9).collect(limit=None) for room in await rooms_of(site)}

    assert {room_id: about["roster"] for room_id, about in expected["by_conversation"].items()} == {
        room_id: len(set(people)) for room_id, people in got.items()
    }
    everyone = set().union(*got.values())
    assert expected["users"] == len(everyone)
    records = map(json.loads, (meetup / "site.jsonl").read_bytes().splitlines())
    named = {record["user"]["id"]: record["user"]["displayName"] for record in records if record["type"] == "user"}
    assert named == {user_id: (await site.user(user_id).profile()).display_name for user_id in everyone}


async def test_every_file_is_complete_when_streamed_and_downloaded(site, expected, files, tmp_path):
    """Files that messages display, including in archived rooms, have the recorded digest, size and name both ways."""
    shown, streamed, downloaded = {}, {}, {}
    for room in await rooms_of(site):
        async for message in room.history():
            shown.update(dict.fromkeys(message.body.media(), room.id))
    for media_id, room_id in shown.items():
        async with site.conversation(room_id).open_media(media_id) as media:
            total = hashlib.sha256()
            async for chunk in media.chunks(65_536):
                total.update(chunk)
            streamed[media_id] = (total.hexdigest(), media.size, media.name, media.content_type)
        file = await site.conversation(room_id).download(media_id, tmp_path / media_id)
        assert file.verified
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
        downloaded[media_id] = (file.sha256, file.size)

    assert expected["media"] == len(shown)
    assert {media_id: (f["sha256"], f["size"], f["name"], f["mimeType"]) for media_id, f in files.items()} == streamed
    assert {media_id: (f["sha256"], f["size"]) for media_id, f in files.items()} == downloaded
