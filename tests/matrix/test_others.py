"""Rooms and users that others have made are not used, and what others change in ours doubles nothing."""

from __future__ import annotations

from contextlib import suppress

import pytest

from stride_async.export.matrix import (
    BadRegistration,
    HomeserverUnavailable,
    RoomDone,
    RoomFailed,
    Summary,
    _homeserver,
)
from tests.matrix.fake import SERVER, FakeHomeserver, FakeRoom, Fault
from tests.matrix.moving import events_of, expected, moved, there

KIM = f"@kim:{SERVER}"
OWNER = f"@stride_archive:{SERVER}"


async def failures(archive, homeserver, registration) -> list[str]:
    """Move an archive, and return why some rooms were not moved. All others were."""
    events = await events_of(archive, homeserver, registration)
    summary = events[-1]
    failed = [event.reason for event in events if isinstance(event, RoomFailed)]
    assert isinstance(summary, Summary)
    assert 5 - summary.failed == sum(isinstance(event, RoomDone) for event in events)
    assert summary.failed == len(failed)
    return failed


def room_of_kim(homeserver: FakeHomeserver, alias: str, join_rule: str) -> FakeRoom:
    """Put a room that someone else has created in the place of one."""
    homeserver.rooms["!kim"] = room = FakeRoom()
    homeserver.aliases[alias] = "!kim"
    for type, key, content in (
        ("m.room.create", "", {}),
        ("m.room.member", KIM, {"membership": "join"}),
        ("m.room.join_rules", "", {"join_rule": join_rule}),
    ):
        event = {"type": type, "state_key": key, "content": content, "sender": KIM, "event_id": f"${type}"}
        room.events.append(event)
        room.state[type, key] = event
    return room


@pytest.mark.parametrize(
    ("join_rule", "reason"), [("public", "did not create it"), ("invite", "is not in it, and cannot join")]
)
async def test_a_room_of_someone_else_is_left_alone(archive, registration, join_rule, reason):
    """The other conversations are moved, and the reason says what to do. The owner of ours does not stay in it."""
    async with FakeHomeserver(registration.token) as homeserver:
        await moved(archive, homeserver, registration)
        [alias] = [each for each, id in homeserver.aliases.items() if homeserver.rooms[id].name == "general"]
        room = room_of_kim(homeserver, alias, join_rule)

        for _ in range(2):
            [failed] = await failures(archive, homeserver, registration)

            assert reason in failed
            assert "Delete the alias on the homeserver" in failed
            assert [] == room.messages()
            assert "leave" == room.membership(OWNER)
            assert {"m.room.create", "m.room.join_rules", "m.room.member"} == {type for type, _ in room.state}


async def test_a_user_of_someone_else_is_not_used(archive, homeserver, registration):
    """Who could log in as a person would read that person's rooms. Rooms without that person are moved."""
    await moved(archive, homeserver, registration)
    [ann] = [user for user, name in homeserver.users.items() if name == "Ann Adler"]
    async with FakeHomeserver(registration.token) as other:
        other.users[ann] = "Kim"

        failed = await failures(archive, other, registration)

        assert 3 < len(failed)
        assert {f"{ann} stands for Ann Adler, but no migration has created it. "} == {
            reason.partition("Have the")[0] for reason in failed
        }
        assert "Kim" == other.users[ann]
        assert all(room.membership(ann) == "leave" for room in other.rooms.values())
        del other.users[ann]

        assert [] == await failures(archive, other, registration)
        assert expected(archive) == there(other)


@pytest.mark.parametrize("call", ["PUT .*/account_data/", "POST .*/register", "PUT .*/profile/"])
@pytest.mark.parametrize("acts", [True, False])
async def test_a_user_that_was_created_in_part_is_ours(archive, homeserver, registration, call, acts):
    """The note about it is stored first."""
    seen = 0
    for first in (1, 2, 2):
        homeserver.faults = [Fault(call, acts=acts, first=first, times=99)]
        with suppress(HomeserverUnavailable):  # not raised if the repeated call shows that the user exists
            await moved(archive, homeserver, registration)
        seen += homeserver.faults[0].seen
    assert seen > 2
    homeserver.faults = []

    assert [] == await failures(archive, homeserver, registration)
    assert {"Ann Adler", "Bob Brown", "Eve Ende", "Stride archive"} <= set(homeserver.users.values())


@pytest.mark.parametrize(("name", "is_refused"), [("Kim", True), (None, False), ("stride_archive", False)])
async def test_an_owner_that_exists_is_used_unless_it_belongs_to_someone(
    archive, homeserver, registration, name, is_refused
):
    """Some homeservers create it when they read the registration."""
    homeserver.users[OWNER] = name
    if is_refused:
        with pytest.raises(BadRegistration, match="someone with the name 'Kim' has it"):
            await moved(archive, homeserver, registration)
        assert {} == homeserver.rooms
    else:
        await moved(archive, homeserver, registration)
        assert expected(archive) == there(homeserver)


async def test_an_owner_who_was_removed_from_a_room_comes_back_or_says_so(archive, homeserver, registration):
    """Nothing is doubled, neither in a room that it can join again nor in another one."""
    await moved(archive, homeserver, registration)
    before = [len(room.messages()) for room in homeserver.rooms.values()]
    for name in ("general", "private"):
        homeserver.room_named(name).state["m.room.member", OWNER]["content"] = {"membership": "leave"}

    [failed] = await failures(archive, homeserver, registration)

    assert f"{OWNER} is not in it, and cannot join" in failed
    assert "join" == homeserver.room_named("general").membership(OWNER)
    assert before == [len(room.messages()) for room in homeserver.rooms.values()]


@pytest.mark.parametrize("hidden", [1, 3])
async def test_pages_in_which_a_homeserver_hides_everything_are_not_the_end(archive, homeserver, registration, hidden):
    """They are empty and have an end of their own, from which the history continues."""
    await moved(archive, homeserver, registration)
    homeserver.empty_pages = hidden

    assert 0 == (await moved(archive, homeserver, registration)).sent


async def test_a_history_without_end_is_given_up(archive, homeserver, registration, monkeypatch):
    """It has empty pages for ever."""
    monkeypatch.setattr(_homeserver, "_MOST_EMPTY_PAGES", 20)
    await moved(archive, homeserver, registration)
    homeserver.empty_pages = 10_000

    with pytest.raises(HomeserverUnavailable, match="answered with 20 empty pages in a row"):
        await moved(archive, homeserver, registration)
