"""A migration brings everything to the homeserver once, whatever happens to either of them."""

from __future__ import annotations

import asyncio
import json
import random
import re
from contextlib import aclosing

import pytest

from stride_async.document import doc, paragraph, text
from stride_async.export import ArchiveBusy, DamagedArchive, read
from stride_async.export.matrix import (
    BadRegistration,
    HomeserverRefusal,
    HomeserverUnavailable,
    RoomFailed,
    Waiting,
    migrate,
    new_registration,
    preview,
)
from tests.export.exporting import exported, show_file
from tests.matrix.fake import LARGEST_UPLOAD, SERVER, FakeHomeserver, Fault
from tests.matrix.moving import events_of, expected, fill_site, losses, moved, there, user_of


async def test_senders_times_texts_files_and_order_are_those_of_the_archive(archive, homeserver, registration):
    """A long message is sent in parts; a body that several messages show is uploaded once."""
    summary = await moved(archive, homeserver, registration)

    assert expected(archive) == there(homeserver)
    assert [("plan.txt", b"body")] == [(name, body) for body, name in homeserver.media.values()]
    assert (5, 16, 2, 0) == (
        summary.report.conversations, summary.report.messages, summary.report.files, summary.failed
    )  # fmt: skip
    assert {"message split": 1, "formatting left out": 1} == losses(summary)


async def test_rooms_have_the_names_rules_and_members_of_conversations(archive, homeserver, registration):
    """An archived conversation is closed. Someone who wrote but is not a member has left."""
    await events_of(archive, homeserver, registration, invite=[f"@admin:{SERVER}"])

    general, old = homeserver.room_named("general"), homeserver.room_named("old")
    rules = {room.name: room.content("m.room.join_rules")["join_rule"] for room in homeserver.rooms.values()}
    assert {"general": "public", "empty": "public", "private": "invite", "old": "invite", None: "invite"} == rules
    assert [False] * 5 == [room.content("m.room.create")["m.federate"] for room in homeserver.rooms.values()]
    joined = {name for user, name in homeserver.users.items() if general.membership(user) == "join"}
    assert {"Ann Adler", "Bob Brown", "Stride archive"} == joined
    assert ["leave"] == [general.membership(user) for user, name in homeserver.users.items() if name == "Eve Ende"]
    assert (0, 50) == (general.required("events_default", 0), old.required("events_default", 0))
    assert {"invite"} == {room.membership(f"@admin:{SERVER}") for room in homeserver.rooms.values()}


async def test_mentions_and_formatting_are_what_clients_show(archive, homeserver, registration):
    """A mention links to the user, and wakes no one."""
    await moved(archive, homeserver, registration)

    [content] = [
        event["content"] for event in homeserver.room_named("general").messages() if "reads" in event["content"]["body"]
    ]
    [bob] = [user for user, name in homeserver.users.items() if name == "Bob Brown"]
    assert (
        f'<a href="https://matrix.to/#/{bob}" rel="noopener noreferrer">@Bob Brown</a> reads'
        in (content["formatted_body"])
    )
    assert '<a href="https://a.invalid/" rel="noopener noreferrer">the page</a>' in content["formatted_body"]
    assert {} == content["m.mentions"]


async def test_a_second_migration_sends_nothing(archive, homeserver, registration):
    """It reads back what the rooms hold, even if the homeserver has forgotten its transactions."""
    first = await moved(archive, homeserver, registration)
    homeserver.restart()
    before = [len(room.messages()) for room in homeserver.rooms.values()]
    homeserver.calls.clear()

    second = await moved(archive, homeserver, registration)

    assert 0 == second.sent
    assert {"GET"} == {call.partition(" ")[0] for call in homeserver.calls}
    assert first.report == second.report
    assert before == [len(room.messages()) for room in homeserver.rooms.values()]


async def test_reading_back_asks_nothing_about_the_members_of_a_room(archive, homeserver, registration):
    """Its state has their names, and that they have joined."""
    await moved(archive, homeserver, registration)
    homeserver.calls.clear()

    await moved(archive, homeserver, registration)

    assert ["GET /_matrix/client/v3/profile/%40stride_archive%3Atest.invalid/displayname"] == [
        call for call in homeserver.calls if re.search("profile|account_data|register", call)
    ]


async def _stopped_at(archive, homeserver, registration, number: int, *, acted: bool) -> bool:
    """Stop a migration at a call, before or after the homeserver acts. Return whether it came that far."""
    task = asyncio.create_task(events_of(archive, homeserver, registration))
    start = len(homeserver.calls)

    def stop(count: int) -> None:
        if count - start == number:
            task.cancel()

    setattr(homeserver, "after_call" if acted else "on_call", stop)
    await asyncio.wait([task])
    homeserver.on_call = homeserver.after_call = lambda _: None
    return task.cancelled()


@pytest.mark.parametrize("seed", range(6))
async def test_a_migration_that_is_stopped_anywhere_continues(archive, registration, seed):
    """Nothing is doubled, nothing is missing, and the order is kept, although the homeserver restarts in between."""
    chance = random.Random(seed)
    stops = 0
    async with FakeHomeserver(registration.token) as homeserver:
        for _ in range(4):
            acted = chance.random() < 0.5
            stops += await _stopped_at(archive, homeserver, registration, chance.randint(1, 90), acted=acted)
            homeserver.restart()

        summary = await moved(archive, homeserver, registration)

        assert expected(archive) == there(homeserver)
        assert (0, 16) == (summary.failed, summary.report.messages)
        assert stops > 0


async def small_archive(server, client, folder):
    """Export two private rooms, one of them archived, in which someone who is not a member wrote and showed a file."""
    ann, bob = server.add_user("Ann"), server.add_user("Bob")
    for name, archived in (("general", False), ("old", True)):
        room = server.add_conversation(name, archived=archived, privacy="private", roster=[ann])
        server.fill(room, 2, sender_id=bob)
        show_file(server, room, f"{name}.txt", name.encode())
    await exported(client, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("acted", [False, True])
async def test_a_migration_that_is_stopped_at_any_call_continues(server, client, registration, tmp_path, acted):
    """Nothing is doubled and nothing is missing, whichever call was the last one, and whether it took effect."""
    site = await small_archive(server, client, tmp_path / "site")
    number = 0
    is_stopped = True
    while is_stopped:
        number += 1
        async with FakeHomeserver(registration.token) as homeserver:
            is_stopped = await _stopped_at(site, homeserver, registration, number, acted=acted)
            homeserver.restart()

            summary = await moved(site, homeserver, registration)

            assert expected(site) == there(homeserver)
            assert (2, 6, 0) == (summary.report.conversations, summary.report.messages, summary.failed)
    assert number > 30


@pytest.mark.slow
@pytest.mark.parametrize("acts", [False, True])
async def test_the_answer_to_any_call_may_be_lost(server, client, registration, tmp_path, acts):
    """The homeserver restarts then, whether it has acted or not, and the same migration completes everything."""
    site = await small_archive(server, client, tmp_path / "site")
    fault = Fault("")
    number = 0
    while fault.seen >= number:
        number += 1
        fault = Fault("", acts=acts, restarts=True, stored=number % 7, first=number)
        async with FakeHomeserver(registration.token) as homeserver:
            homeserver.faults.append(fault)

            summary = await moved(site, homeserver, registration)

            assert expected(site) == there(homeserver)
            assert (2, 6, 0) == (summary.report.conversations, summary.report.messages, summary.failed)
    assert number > 30


@pytest.mark.parametrize("call", ["PUT .*/send/", "POST .*/createRoom", "PUT .*/state/", "POST .*/register", "upload"])
@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("status", [0, 502])
async def test_an_answer_that_is_lost_doubles_nothing(archive, homeserver, registration, call, acts, status):
    """The homeserver restarts after every third call of a kind, and may have acted."""
    homeserver.faults += [
        Fault(call, status=status, acts=acts, restarts=call != "POST .*/createRoom", first=number)
        for number in range(1, 60, 3)
    ]

    summary = await moved(archive, homeserver, registration)

    assert expected(archive) == there(homeserver)
    assert 0 == summary.failed
    assert len(homeserver.rooms) == 5


@pytest.mark.parametrize(
    ("stored", "is_killed"),
    [(0, False), (1, False), (2, False), (4, False), (6, False), (0, True), (1, True), (2, True)],
)
async def test_a_room_that_was_created_in_part_is_completed(archive, homeserver, registration, stored, is_killed):
    """A restart in the middle leaves an alias without a room, a room without its owner, or one without its rules.

    It does not matter whether the same migration goes on or the next one, and every room becomes the same.
    """
    async with FakeHomeserver(registration.token) as quiet:
        await moved(archive, quiet, registration)
    homeserver.faults.append(Fault("createRoom", acts=True, restarts=True, stored=stored, times=5))
    if is_killed:
        await _stopped_after(archive, homeserver, registration, "POST .*/createRoom", times=4)

    summary = await moved(archive, homeserver, registration)

    assert 0 == summary.failed
    assert expected(archive) == there(homeserver)
    assert {alias: _state(quiet, id) for alias, id in quiet.aliases.items()} == {
        alias: _state(homeserver, id) for alias, id in homeserver.aliases.items()
    }


def _state(homeserver: FakeHomeserver, room_id: str) -> dict[tuple[str, str], object]:
    """Return the state of a room without the levels of events, which homeservers set as they like."""
    contents = {key: event["content"] for key, event in homeserver.rooms[room_id].state.items()}
    levels = contents["m.room.power_levels", ""]
    return contents | {("m.room.power_levels", ""): (levels["users"], levels["events_default"])}


async def _stopped_after(archive, homeserver, registration, pattern: str, *, times: int) -> None:
    """Stop a migration when the homeserver has received a call so often."""
    task = asyncio.create_task(events_of(archive, homeserver, registration))

    def stop(_: int) -> None:
        if times == sum(re.search(pattern, call) is not None for call in homeserver.calls):
            task.cancel()

    homeserver.on_call = stop
    await asyncio.wait([task])
    homeserver.on_call = lambda _: None
    assert task.cancelled()
    homeserver.restart()


async def test_a_homeserver_that_is_stopped_at_every_creation_is_given_up(archive, homeserver, registration):
    """The next migration completes the room."""
    homeserver.faults.append(Fault("createRoom", acts=True, restarts=True, stored=0, times=99))
    with pytest.raises(HomeserverUnavailable, match="was created 4 times, and never had a room"):
        await moved(archive, homeserver, registration)
    homeserver.faults.clear()

    await moved(archive, homeserver, registration)

    assert expected(archive) == there(homeserver)


async def test_throttling_and_passing_errors_are_survived(archive, homeserver, registration):
    """A wait that the homeserver asks for is kept."""
    homeserver.faults += [
        Fault("PUT", 429, b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":1}', first=number) for number in (2, 9, 30)
    ] + [Fault("GET", 503, b"<html>busy</html>", first=number) for number in (2, 5)]

    await moved(archive, homeserver, registration)

    assert expected(archive) == there(homeserver)


async def test_waits_are_reported(archive, homeserver, registration):
    """With what the homeserver asked for, and why."""
    homeserver.faults.append(Fault("/send/", 429, b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2}'))

    events = await events_of(archive, homeserver, registration)

    [waiting] = [event for event in events if isinstance(event, Waiting)]
    assert 0.002 == waiting.seconds
    assert waiting.reason.endswith("is throttled")


async def test_an_update_appends_what_is_new_and_counts_the_rest(server, client, homeserver, registration, tmp_path):
    """Changed, deleted and older messages cannot be put into a history. Renamed rooms and people are."""
    rooms = await fill_site(server)
    general = rooms["general"]
    await exported(client, tmp_path / "site")
    await moved(tmp_path / "site", homeserver, registration)
    before = there(homeserver)
    first, second = [message.id for message in read(tmp_path / "site").messages(general)][:2]
    server.edit_message(general, first, doc(paragraph(text("changed"))).to_json())
    server.delete_message(general, second)
    server.add_message(general, doc(paragraph(text("older"))).to_json(), ts="2018-06-01T08:00:00.5Z")
    server.add_message(general, doc(paragraph(text("new"))).to_json())
    await exported(client, tmp_path / "site", rescan="all")

    summary = await moved(tmp_path / "site", homeserver, registration)

    alias = f"#{user_of(general)[1:]}"
    assert before[alias] == there(homeserver)[alias][:-1]
    assert "new" == there(homeserver)[alias][-1][2]
    assert 1 == summary.sent
    kinds = ("changed after it was moved", "deleted after it was moved", "older than those moved before")
    assert [1, 1, 1] == [losses(summary)[f"message {kind}"] for kind in kinds]


async def test_an_update_renames_archives_and_changes_members(server, client, homeserver, registration, tmp_path):
    """Someone who has left leaves, and someone with another name gets it."""
    rooms = await fill_site(server)
    general = rooms["general"]
    await exported(client, tmp_path / "site")
    await moved(tmp_path / "site", homeserver, registration)
    ann, bob, eve = (
        next(user for user, name in homeserver.users.items() if name == wanted)
        for wanted in ("Ann Adler", "Bob Brown", "Eve Ende")
    )
    homeserver.users[ann] = "Ann Before"
    for room in homeserver.rooms.values():
        if room.membership(ann) == "join":
            room.content("m.room.member", ann)["displayname"] = "Ann Before"
    new = server.add_user("New Member")
    await client.conversation(general).update(name="renamed", topic="about it")
    server.archive(general)
    server.set_roster(
        general, [new, next(user.id for user in read(tmp_path / "site").users() if user_of(user.id) == ann)]
    )
    await exported(client, tmp_path / "site")

    summary = await moved(tmp_path / "site", homeserver, registration)

    room = homeserver.room_named("renamed")
    assert (0, 0) == (summary.failed, summary.sent)
    assert {"topic": "about it"} == room.content("m.room.topic")
    assert {"join_rule": "invite"} == room.content("m.room.join_rules")
    assert 50 == room.required("events_default", 0)
    assert ["join", "leave", "leave", "join"] == [room.membership(user) for user in (ann, bob, eve, user_of(new))]
    assert "Ann Adler" == homeserver.users[ann]


async def test_what_people_write_later_stays_and_disturbs_nothing(server, client, homeserver, registration, tmp_path):
    """Their messages are not ours, even if one looks so; what they changed in the levels stays."""
    rooms = await fill_site(server)
    await exported(client, tmp_path / "site")
    await moved(tmp_path / "site", homeserver, registration)
    general = homeserver.room_named("general")
    forged = general.messages()[-1]["content"] | {"body": "forged"}
    for content in ({"msgtype": "m.text", "body": "hello"}, forged, {"com.atlassian.stride": 7}):
        event = {"type": "m.room.message", "sender": f"@kim:{SERVER}", "content": content, "event_id": "$x"}
        general.events.append(event | {"origin_server_ts": 1})
    general.content("m.room.power_levels")["users"][f"@kim:{SERVER}"] = 100
    server.add_message(rooms["general"], doc(paragraph(text("new"))).to_json())
    await exported(client, tmp_path / "site")

    summary = await moved(tmp_path / "site", homeserver, registration)

    assert 1 == summary.sent
    assert "new" == general.messages()[-1]["content"]["body"]
    assert 100 == general.level(f"@kim:{SERVER}")


async def test_a_removed_message_takes_no_other_with_it(server, client, homeserver, registration, tmp_path):
    """Two files of one message are removed; another one of the same sender and millisecond is new."""
    room = server.add_conversation("general")
    ids = [server.add_media(room, name, name.encode()) for name in ("a.txt", "b.txt")]
    media = [{"type": "media", "attrs": {"type": "file", "id": id, "collection": room}} for id in ids]
    shown = {"version": 1, "type": "doc", "content": [{"type": "mediaGroup", "content": media}]}
    server.add_message(room, shown, ts="2018-07-01T08:00:00.0001Z")
    await exported(client, tmp_path / "site")
    await moved(tmp_path / "site", homeserver, registration)
    for event in homeserver.room_named("general").messages():
        event["content"] = {}
    server.add_message(room, doc(paragraph(text("new"))).to_json(), ts="2018-07-01T08:00:00.0002Z")
    await exported(client, tmp_path / "site")

    summary = await moved(tmp_path / "site", homeserver, registration)

    assert (1, 1) == (summary.sent, losses(summary)["message removed at the homeserver"])


@pytest.mark.parametrize("number", [0, 1, -1])
async def test_what_moderators_remove_stays_removed(archive, homeserver, registration, number):
    """Even the last message of a room is not sent a second time."""
    await moved(archive, homeserver, registration)
    for name in ("general", "private", "old"):
        homeserver.room_named(name).messages()[number]["content"] = {}
    before = [len(room.messages()) for room in homeserver.rooms.values()]

    again = await moved(archive, homeserver, registration)

    assert 0 == again.sent
    assert before == [len(room.messages()) for room in homeserver.rooms.values()]
    assert 3 == losses(again)["message removed at the homeserver"]


async def test_what_is_too_large_or_not_held_is_counted_and_replaced_by_a_notice(
    server, client, homeserver, registration, tmp_path
):
    """A later migration does not try again."""
    room = server.add_conversation("general")
    show_file(server, room, "huge.bin", b"x" * (LARGEST_UPLOAD + 1))
    lost = show_file(server, room, "lost.bin", b"gone")
    await exported(client, tmp_path / "site")
    for body in (tmp_path / "site/media").rglob("*"):
        if body.is_file() and body.stat().st_size == 4:
            body.unlink()

    summary = await moved(tmp_path / "site", homeserver, registration)
    again = await moved(tmp_path / "site", homeserver, registration)

    said = [event["content"]["body"] for event in homeserver.room_named("general").messages()]
    assert ["(file not carried over: huge.bin)", f"(file not held: {lost})"] == said
    assert {"file too large": 1, "file not held": 1} == losses(summary)
    assert summary.report == again.report
    assert (2, 0, 0) == (summary.sent, summary.report.files, again.sent)


@pytest.mark.parametrize("number", [1, 2, 9])
async def test_a_message_that_the_homeserver_finds_too_large_is_replaced_by_a_notice(
    archive, homeserver, registration, number
):
    """A proxy before it may allow less than Matrix. A later migration neither tries again nor forgets to count it."""
    homeserver.faults.append(Fault("/send/", 413, b"<html>too large</html>", first=number))

    first = await moved(archive, homeserver, registration)
    again = await moved(archive, homeserver, registration)

    said = [event["content"]["body"] for room in homeserver.rooms.values() for event in room.messages()]
    assert 1 == said.count("(message not carried over)")
    assert 1 == losses(first)["message too large"]
    assert (0, first.report) == (again.sent, again.report)


async def test_a_file_that_is_found_later_does_not_count_as_moved(server, client, homeserver, registration, tmp_path):
    """Its place is taken by a notice, and a history cannot be changed in the middle."""
    room = server.add_conversation("general")
    lost = show_file(server, room, "lost.txt", b"gone")
    await exported(client, tmp_path / "site")
    [body] = [path for path in (tmp_path / "site/media").rglob("*") if path.is_file()]
    body.rename(tmp_path / "aside")
    await moved(tmp_path / "site", homeserver, registration)
    (tmp_path / "aside").rename(body)

    summary = await moved(tmp_path / "site", homeserver, registration)

    [event] = homeserver.room_named("general").messages()
    assert f"(file not held: {lost})" == event["content"]["body"]
    assert {"message changed after it was moved": 1} == losses(summary)
    assert (0, 0) == (summary.sent, summary.report.files)


async def test_files_of_a_message_that_was_under_way_count_once(server, client, homeserver, registration, tmp_path):
    """The report of a migration that resumes is that of one that was never stopped."""
    room = server.add_conversation("general")
    ids = [server.add_media(room, name, name.encode()) for name in ("a.txt", "b.txt", "c.txt")]
    media = [{"type": "media", "attrs": {"type": "file", "id": id, "collection": room}} for id in ids]
    server.add_message(room, {"version": 1, "type": "doc", "content": [{"type": "mediaGroup", "content": media}]})
    await exported(client, tmp_path / "site")
    homeserver.faults.append(Fault("/send/", 500, first=3, times=99))
    with pytest.raises(HomeserverUnavailable):
        await moved(tmp_path / "site", homeserver, registration)
    homeserver.faults.clear()

    summary = await moved(tmp_path / "site", homeserver, registration)

    assert preview(tmp_path / "site") == summary.report
    assert 3 == summary.report.files


@pytest.mark.parametrize(
    ("call", "named"), [("/send/", "message "), ("upload", "file "), ("PUT .*/state/m.room.name", "PUT")]
)
async def test_what_a_homeserver_refuses_is_named(archive, homeserver, registration, call, named):
    """The conversation stops there, the others are moved, and the next migration continues."""
    homeserver.faults.append(Fault(call, 400, b'{"errcode":"M_BAD_JSON","error":"not today"}'))

    events = await events_of(archive, homeserver, registration)

    [failed] = [event for event in events if isinstance(event, RoomFailed)]
    assert failed.reason.startswith(named)
    assert "answered 400 M_BAD_JSON: not today" in failed.reason
    await moved(archive, homeserver, registration)
    assert expected(archive) == there(homeserver)


async def test_a_second_migration_at_the_same_time_is_refused(archive, homeserver, registration):
    """The archive has one lock for all migrations."""
    async with aclosing(migrate(archive, homeserver.url, registration)) as running:
        await anext(running)

        with pytest.raises(ArchiveBusy, match="another migration of"):
            await moved(archive, homeserver, registration)

    await moved(archive, homeserver, registration)
    assert expected(archive) == there(homeserver)


UNKNOWN = b'{"errcode":"M_UNKNOWN_TOKEN","error":"Unrecognised access token"}'


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault("whoami", 401, UNKNOWN), HomeserverRefusal, "app_service_config_files"),
        (Fault("whoami", 403, b"{}"), HomeserverRefusal, "app_service_config_files"),
        (Fault("/send/", 401, UNKNOWN), HomeserverRefusal, "app_service_config_files"),
        (Fault("whoami", 200, b"<html>"), HomeserverUnavailable, "answered with an invalid body"),
        (Fault("whoami", 404, b"<html>"), HomeserverUnavailable, "does not respond like a Matrix homeserver"),
        (Fault("whoami", 302, b""), HomeserverUnavailable, "answered 302"),
        (Fault("/messages", 200, b'{"chunk":{}}'), HomeserverUnavailable, "answered with an invalid body"),
        (Fault("/send/", 500, b"{}", times=99), HomeserverUnavailable, r"answered 500.* \(12 attempts\)"),
        (Fault("/send/", 0, times=99), HomeserverUnavailable, r"failed: .* \(12 attempts\)"),
        (
            Fault("/send/", 429, b'{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":9e6}'),
            HomeserverUnavailable,
            "asks for a wait of 9,000 s",
        ),
        (Fault("/send/", 429, headers={"Retry-After": "9000"}), HomeserverUnavailable, "asks for a wait of 9,000 s"),
        (
            Fault("register", 400, b'{"errcode":"M_EXCLUSIVE","error":"not yours"}', first=2),
            BadRegistration,
            "does not reserve the user",
        ),
        (Fault("whoami", 200, b'{"user_id":"@bot:test.invalid"}'), BadRegistration, "its token belongs to @bot"),
    ],
)
async def test_trouble_with_the_homeserver_is_one_sentence(archive, homeserver, registration, fault, error, message):
    """What was moved stays, and the next migration continues."""
    homeserver.faults.append(fault)

    with pytest.raises(error, match=message) as raised:
        await moved(archive, homeserver, registration)

    homeserver.faults.clear()
    await moved(archive, homeserver, registration)
    assert expected(archive) == there(homeserver)
    assert registration.token not in str(raised.value)


async def test_a_homeserver_that_is_not_there_is_reported(archive, registration):
    """Nothing listens at the address."""
    async with FakeHomeserver(registration.token) as closed:
        pass

    with pytest.raises(HomeserverUnavailable, match="whoami failed"):
        await moved(archive, closed, registration)


@pytest.mark.parametrize("url", ["", "matrix.org", "ftp://a", "http://", "http://a/?b=c", "http://[::"])
async def test_an_address_that_is_not_a_url_is_refused(archive, registration, url):
    """Nothing is requested, and the message shows what was given."""
    with pytest.raises(ValueError, match="is not an http or https URL"):
        await anext(migrate(archive, url, registration))


async def test_only_users_of_the_homeserver_are_invited(archive, homeserver, registration):
    """Rooms are not federated, so no one else could come."""
    with pytest.raises(ValueError, match=r"'@ann:other\.invalid' is not a user of this homeserver"):
        await events_of(archive, homeserver, registration, invite=["@ann:other.invalid"])


async def test_a_damaged_body_ends_the_migration(archive, homeserver, registration):
    """It is noticed before it is uploaded."""
    [body] = [path for path in (archive / "media").rglob("*") if path.is_file()]
    body.chmod(0o644)
    body.write_bytes(b"BODY")

    with pytest.raises(DamagedArchive, match="its digest differs"):
        await moved(archive, homeserver, registration)
    assert {} == homeserver.media


async def test_the_preview_has_the_report_of_the_migration(archive, homeserver, registration):
    """It needs no homeserver."""
    seen = preview(archive)

    summary = await moved(archive, homeserver, registration)

    assert seen == summary.report
    assert json.loads((archive / "derived/matrix.report.json").read_bytes())["messages"] == seen.messages


async def test_a_history_of_many_pages_is_read_back(server, client, homeserver, registration, tmp_path):
    """Nothing of it is sent twice."""
    room = server.add_conversation("general")
    server.fill(room, 400)
    await exported(client, tmp_path / "site")

    await moved(tmp_path / "site", homeserver, registration)
    summary = await moved(tmp_path / "site", homeserver, registration)

    assert (400, 0) == (summary.report.messages, summary.sent)


async def test_registrations_of_two_servers_differ(tmp_path):
    """Their tokens are random."""
    first, second = (new_registration(tmp_path / name, f"{name}.example") for name in "ab")

    assert first.token != second.token
    assert "@stride_archive:a.example" == first.owner
