"""Running again updates an archive: changes are found, the rest is left alone, and the result equals a first export."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import pytest

from stride_async import StrideClient
from stride_async.export import read
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import (
    exported,
    fresh_digest,
    history_calls,
    media_of,
    show_file,
    state_of,
)


async def held(folder, room: str) -> list[str]:
    """Return the ids of the messages that are held, oldest first."""
    return [message.id for message in read(folder).messages(room)]


async def test_a_run_without_changes_costs_one_page_and_one_roster_per_conversation(
    server: LocalServer, client: StrideClient, tmp_path
):
    """It also lists the conversations. It fetches no profile, and no message is new."""
    rooms = [server.add_conversation(f"room {number}", roster=[server.add_user(f"P{number}")]) for number in range(4)]
    for number, room in enumerate(rooms):
        server.fill(room, number * 80)
        show_file(server, room, "a.bin", b"abc")
    first = await exported(client, tmp_path / "a")
    server.calls.clear()

    second = await exported(client, tmp_path / "a")

    calls = sorted(call.path.rpartition("/")[2] for call in server.calls)
    assert ["conversation"] + ["message"] * 4 + ["roster"] * 4 == calls
    assert (0, 0, 0, 0) == (second.new, second.changed, second.gone, second.failures)
    assert first.content_digest == second.content_digest


async def test_a_run_without_changes_adds_one_commit_per_conversation(server: LocalServer, client, tmp_path):
    """Nightly runs do not swell an archive."""
    server.fill(server.add_conversation("room"), 200)
    await exported(client, tmp_path / "a")
    before = len(list(tmp_path.glob("a/data/conversations/*/commit/*")))

    await exported(client, tmp_path / "a")

    assert before + 1 == len(list(tmp_path.glob("a/data/conversations/*/commit/*")))


async def test_new_edited_and_deleted_messages_are_found(server: LocalServer, client, tmp_path):
    """Their month gets a new revision, the month before stays. The commit names messages that are gone."""
    room = server.add_conversation("room")
    old = server.fill(room, 100, ts="2018-05-01T08:00:00Z")
    ids = server.fill(room, 100, ts="2018-06-01T08:00:00Z")
    await exported(client, tmp_path / "a")
    server.edit_message(room, ids[60], "edited")
    server.delete_message(room, ids[70])
    server.delete_message(room, ids[99])
    new = server.fill(room, 3, ts="2018-06-02T08:00:00Z")

    second = await exported(client, tmp_path / "a")

    state = state_of(tmp_path / "a", room)
    assert (3, 1, 2) == (second.new, second.changed, second.gone)
    assert old + [id for id in ids if id not in (ids[70], ids[99])] + new == await held(tmp_path / "a", room)
    assert {ids[70], ids[99]} == {id for _, id in state.months["2018-06"].gone}
    assert (1, 2) == (state.months["2018-05"].revision, state.months["2018-06"].revision)
    assert await fresh_digest(server, tmp_path / "b") == second.content_digest


async def test_a_room_becomes_empty_if_every_message_is_deleted(server: LocalServer, client, tmp_path):
    """A further run finds nothing to do."""
    room = server.add_conversation("room")
    ids = server.fill(room, 160)
    await exported(client, tmp_path / "a")
    for id in ids:
        server.delete_message(room, id)

    second = await exported(client, tmp_path / "a")
    third = await exported(client, tmp_path / "a")

    assert (160, 0) == (second.gone, third.gone)
    assert [] == await held(tmp_path / "a", room)
    assert await fresh_digest(server, tmp_path / "b") == second.content_digest == third.content_digest


async def test_a_rescan_finds_changes_in_older_messages(server: LocalServer, client, tmp_path):
    """It must reach down to them. A usual run does not."""
    room = server.add_conversation("room")
    day = timedelta(days=1)
    now = datetime.now(UTC)
    ids = [server.fill(room, 100, ts=(now - days * day).isoformat())[0] for days in (90, 40, 1)]
    await exported(client, tmp_path / "a")
    server.edit_message(room, ids[1], "edited")

    usual = await exported(client, tmp_path / "a")
    short = await exported(client, tmp_path / "a", rescan=20 * day)
    enough = await exported(client, tmp_path / "a", rescan=60 * day)
    server.delete_message(room, ids[0])
    everything = await exported(client, tmp_path / "a", rescan="all")

    assert [0, 0, 1] == [run.changed for run in (usual, short, enough)]
    assert 1 == everything.gone
    assert await fresh_digest(server, tmp_path / "b") == everything.content_digest


async def test_details_rosters_and_people_are_updated(server: LocalServer, client, tmp_path):
    """A room was renamed and archived, its members changed, and another room is new."""
    ann, bob = server.add_user("Ann"), server.add_user("Bob")
    room = server.add_conversation("old name", roster=[ann])
    server.fill(room, 10)
    await exported(client, tmp_path / "a")
    await client.conversation(room).update(name="new name")
    server.archive(room)
    server.set_roster(room, [bob])
    other = server.add_conversation("another")
    server.fill(other, 5)

    second = await exported(client, tmp_path / "a")

    site = read(tmp_path / "a")
    found = {each.id: each for each in site.conversations()}
    assert ("new name", True) == (found[room].name, found[room].is_archived)
    assert (bob,) == site.roster(room).user_ids
    assert {ann, bob} <= {user.id for user in site.users()}
    assert 5 == len(await held(tmp_path / "a", other))
    assert await fresh_digest(server, tmp_path / "b") == second.content_digest


async def test_a_conversation_that_is_no_longer_listed_is_kept(tmp_path):
    """It stays readable and is counted. The content digest is that of the conversations that are listed."""
    async with LocalServer(rate_limit=None) as server:
        rooms = [server.add_conversation(name) for name in ("stays", "goes")]
        for room in rooms:
            server.fill(room, 10)
        hidden = {"values": [], "cursor": ""}
        async with client_of(server) as client:
            listing = await client.request("GET", f"/site/{server.cloud_id}/conversation")
            await exported(client, tmp_path / "a")
            hidden["values"] = [each for each in listing["values"] if each["name"] == "stays"]
            fault = server.faults.add("GET", "/site/*/conversation", body=json.dumps(hidden))
            second = await exported(client, tmp_path / "a")
            fresh = await fresh_digest(server, tmp_path / "b")
            fault.remove()
            third = await exported(client, tmp_path / "a")

    assert 1 == second.no_longer_listed
    assert fresh == second.content_digest
    assert 0 == third.no_longer_listed
    assert 10 == len(await held(tmp_path / "a", rooms[1]))


async def test_runs_with_bounds_and_then_one_without_give_what_a_first_run_gives(server: LocalServer, client, tmp_path):
    """The parts that are held are not fetched again, and the gaps between them are filled."""
    room = server.add_conversation("room")
    for month in range(1, 7):
        server.fill(room, 150, ts=f"2018-{month:02d}-28T23:59:00Z")
    february, march, april, june = (datetime(2018, month, 15, tzinfo=UTC) for month in (2, 3, 4, 6))

    middle = await exported(client, tmp_path / "a", since=march, until=april)
    early = await exported(client, tmp_path / "a", until=february)
    late = await exported(client, tmp_path / "a", since=june)
    server.calls.clear()
    everything = await exported(client, tmp_path / "a")
    calls = len(history_calls(server))

    assert (150, 150, 150) == (middle.new, early.new, late.new)
    assert 450 == everything.new
    assert 10 >= calls
    assert 1 == len(state_of(tmp_path / "a", room).spans)
    assert await fresh_digest(server, tmp_path / "b") == everything.content_digest


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_changes_and_runs_gives_what_a_first_run_gives(server: LocalServer, tmp_path, seed):
    """Messages, rosters, rooms and files change between runs with different options."""
    rng = random.Random(seed)
    rooms = {server.add_conversation(f"room {number}"): [] for number in range(3)}
    people = [server.add_user(f"Person {number}") for number in range(6)]
    second = 1_528_000_000
    digests = []
    async with client_of(server, page_size=rng.choice((7, 20, 75))) as client:
        for step in range(6):
            for room, ids in rooms.items():
                second = change(server, rng, room, ids, second)
                server.set_roster(room, rng.sample(people, rng.randint(0, 6)))
            if rng.random() < 0.4:
                rooms[server.add_conversation(f"room of step {step}")] = []
            if rng.random() < 0.3:
                at = datetime.fromtimestamp(1_528_000_000 + rng.randint(0, 9_000_000), UTC)
                await exported(client, tmp_path / "a", **{rng.choice(("since", "until")): at})
            run = await exported(client, tmp_path / "a", rescan="all")
            again = await exported(client, tmp_path / "a")
            digests.append((run.content_digest, again.content_digest, await fresh_digest(server, tmp_path / f"{step}")))

    assert all(one == other == fresh for one, other, fresh in digests)
    assert media_of(tmp_path / "5") <= media_of(tmp_path / "a")


def change(server: LocalServer, rng: random.Random, room: str, ids: list[str], second: int) -> int:
    """Add, edit and delete messages at random, some with equal times, perhaps all of them. Return the next second."""
    for _ in range(rng.randint(0, 4)):
        second += rng.choice((1, 3600, 1_000_000))
        number = rng.randint(1, 60)
        ids += server.fill(room, number, ts=second * 1_000_000_000, same_ts=rng.random() < 0.3)
        second += number
    going = len(ids) if rng.random() < 0.1 else len(ids) // 10
    for id in rng.sample(ids, going):
        server.delete_message(room, id)
        ids.remove(id)
    for id in rng.sample(ids, len(ids) // 10):
        server.edit_message(room, id, f"edited {rng.random()}")
    if rng.random() < 0.3:
        show_file(server, room, "file.bin", rng.randbytes(100))
    return second
