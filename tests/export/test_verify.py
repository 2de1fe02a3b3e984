"""What an archive proves: every kind of damage is found and named, and a sound archive has no findings."""

from __future__ import annotations

import json
import random
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import pytest

from stride_async import AuthError, DecodeError
from stride_async.export import (
    ExportOptions,
    NewerArchive,
    NotAnArchive,
    NothingSelected,
    PagesFetched,
    Selection,
    export,
    read,
    status,
    verify,
)
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import Failed, Profiles, Sealed
from stride_async.export._archive.layout import CONVERSATIONS, PEOPLE, profiles_stem
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported, show_file


@pytest.fixture
def room(server):
    """Return a room with messages in several months and two files."""
    room = server.add_conversation("general")
    for month in (1, 2, 3):
        server.fill(room, 100, ts=f"2018-0{month}-03T08:00:00Z")
    for name in ("one.bin", "two.bin"):
        show_file(server, room, name, name.encode() * 1000)
    return room


@pytest.fixture
async def archive(client, room, tmp_path):
    """Export twice, so that there is more than one commit."""
    await exported(client, tmp_path / "site")
    await exported(client, tmp_path / "site")
    return tmp_path / "site"


def flip(path, at=None):
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at is None else at] ^= 1
    path.write_bytes(data)


def found(report):
    return {finding.path for finding in report.findings}


async def test_a_sound_archive_is_complete(archive, room):
    """There are no findings, every conversation is complete, and what cannot be known is listed."""
    report = await verify(archive)

    assert () == report.findings
    assert report.ok
    [verdict] = report.verdicts
    assert (room, "general", "complete", 302, 2) == (
        verdict.conversation_id,
        verdict.name,
        verdict.text,
        verdict.messages,
        verdict.media,
    )
    assert any("deleted before" in clause for clause in report.not_known)
    assert any("was not called" in clause for clause in report.not_known)


PARTS = {
    "a month": "data/conversations/*/sealed/*/r*",
    "a roster": "data/conversations/*/roster/*",
    "a commit": "data/conversations/*/commit/*",
    "profiles": "data/users/sealed/*",
    "a commit of people": "data/users/commit/*",
    "a body": "media/sha256/*/*/*",
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_a_flipped_bit_in_any_file_is_found_and_the_file_is_named(archive, part):
    """This holds for each file of each kind."""
    files = sorted(archive.glob(part))
    for file in files:
        sound = file.read_bytes()
        flip(file)

        report = await verify(archive)

        assert file.relative_to(archive).as_posix() in found(report)
        file.write_bytes(sound)
    assert files
    assert (await verify(archive)).ok


async def test_a_flipped_bit_at_any_place_of_a_month_is_found(archive):
    """This holds even if it does not change the content."""
    chance = random.Random(7)
    [month, *_] = sorted(archive.glob(PARTS["a month"]))
    sound = month.read_bytes()
    for _ in range(40):
        month.write_bytes(sound)
        flip(month, chance.randrange(len(sound)))

        assert {month.relative_to(archive).as_posix()} == found(await verify(archive))


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_a_missing_file_is_found_and_named(archive, part):
    """This holds for the newest commit, too, though nothing comes after it."""
    files = sorted(archive.glob(part))
    for file in files:
        aside = file.rename(archive / "aside")

        report = await verify(archive)

        assert file.relative_to(archive).as_posix() in found(report)
        aside.rename(file)
    assert files


async def test_a_missing_conversation_is_found(archive):
    """Everything that a finished run recorded must exist."""
    [folder] = archive.glob("data/conversations/*")
    folder.rename(archive / "aside")

    report = await verify(archive)

    assert {f"{folder.relative_to(archive).as_posix()}/commit/00000001.json"} == found(report)
    assert ["unknown"] == [verdict.kind for verdict in report.verdicts]


async def test_a_conversation_with_a_damaged_month_is_not_complete(archive):
    """Its verdict is unknown."""
    [month, *_] = sorted(archive.glob(PARTS["a month"]))
    flip(month)

    report = await verify(archive)

    assert ["unknown: 1 file does not match its commit"] == [verdict.text for verdict in report.verdicts]
    assert not report.ok


async def test_an_altered_body_leaves_the_messages_complete(archive):
    """The finding names the media that the body belongs to."""
    [body, *_] = sorted(archive.glob(PARTS["a body"]))
    body.write_bytes(b"something else")

    report = await verify(archive)

    [finding] = report.findings
    assert body.relative_to(archive).as_posix() == finding.path
    assert "altered" in finding.what
    assert ["complete"] == [verdict.text for verdict in report.verdicts]


async def test_verdicts_end_at_the_bounds_of_a_run(server, client, room, tmp_path):
    """With `until` it is complete up to then; a part above it leaves a gap until that is filled."""
    february, march = datetime(2018, 2, 1, tzinfo=UTC), datetime(2018, 3, 1, tzinfo=UTC)
    folder = tmp_path / "site"
    texts = []
    for bounds in ({"until": february}, {"since": march}, {}):
        await exported(client, folder, **bounds)
        report = await verify(folder)
        texts.append([verdict.text for verdict in report.verdicts])

        assert report.ok == ("gap" not in texts[-1][0])

    assert ["complete up to 2018-02-01T00:00:00Z"] == texts[0]
    assert texts[1][0].startswith("gap between 2018-02-01T00:00:00Z and 2018-03-01T00:00:00")
    assert ["complete"] == texts[2]


async def test_a_gap_is_named_by_its_ends(server, client, room, tmp_path):
    """An interrupted update has the newest messages and the old ones, and nothing in between."""
    folder = tmp_path / "site"
    await exported(client, folder)
    server.fill(room, 1500, ts="2038-06-01T08:00:00Z")
    async with aclosing(export(client, folder)) as events:
        async for event in events:
            if isinstance(event, PagesFetched):
                break

    report = await verify(folder)

    assert not report.ok
    [verdict] = report.verdicts
    assert ("gap", True) == (verdict.kind, verdict.text.startswith("gap between 20"))
    assert any(finding.path.startswith("runs/") for finding in report.findings)
    await exported(client, folder)
    assert (await verify(folder)).ok


async def test_an_interrupted_first_run_is_not_complete(server, client, room, tmp_path):
    """Only an empty page proves the beginning."""
    server.fill(room, 1500, ts="2038-06-01T08:00:00Z")
    async with aclosing(export(client, tmp_path / "site")) as events:
        async for event in events:
            if isinstance(event, PagesFetched):
                break

    report = await verify(tmp_path / "site")

    assert ["complete up to"] == [verdict.kind for verdict in report.verdicts]
    assert "from the newest back" in report.verdicts[0].text
    assert not report.ok


async def test_media_that_were_not_requested_are_not_known(client, room, tmp_path):
    """They are not findings."""
    await exported(client, tmp_path / "site", media="none")

    report = await verify(tmp_path / "site")

    assert report.ok
    assert "the bodies of 2 files: they were not requested" in report.not_known


async def test_an_empty_room_is_complete(server, client, tmp_path):
    """The first page was the empty one."""
    server.add_conversation("empty")
    await exported(client, tmp_path / "site")

    report = await verify(tmp_path / "site")

    assert (["complete"], True) == ([verdict.text for verdict in report.verdicts], report.ok)


async def test_a_room_that_could_not_be_read_is_unknown(server, client, room, tmp_path):
    """The verdict has the reason."""
    server.faults.add("GET", f"*/{room}/message", status=403)
    await exported(client, tmp_path / "site")

    report = await verify(tmp_path / "site")

    [verdict] = report.verdicts
    assert "unknown" == verdict.kind
    assert any("403" in failed for failed in verdict.failed)
    assert not report.ok


async def test_a_sample_is_compared_with_the_service(server, client, room, archive):
    """Without differences there are no findings. The same seed draws the same sample."""
    calls = []
    for _ in range(2):
        before = len(server.calls)
        report = await verify(archive, against=client, sample=8, seed=3)
        calls.append([call.query for call in list(server.calls)[before:] if call.path.endswith("/message")])

        assert (True, 8) == (report.ok, report.windows)
        assert not any("was not called" in clause for clause in report.not_known)

    assert calls[0] == calls[1]
    assert len(calls[0]) >= 8


async def test_a_difference_from_the_service_is_found(server, client, room, archive):
    """Of an edited and a deleted message, the months are named."""
    ids = [message.id for message in read(archive).messages(room)]
    server.edit_message(room, ids[50], "something else")
    server.delete_message(room, ids[150])

    report = await verify(archive, against=client, sample=60)

    assert not report.ok
    assert {"01", "02"} == {finding.path.split("/sealed/2018-")[1][:2] for finding in report.findings}
    assert all("differ" in finding.what for finding in report.findings)


async def test_a_room_that_is_closed_now_cannot_be_compared(server, client, room, archive):
    """That is not a finding."""
    server.faults.add("GET", f"*/{room}/message", status=403)

    report = await verify(archive, against=client, sample=3)

    assert (True, 0) == (report.ok, report.windows)
    assert any("403" in clause for clause in report.not_known)


async def test_a_client_of_another_site_is_refused(archive):
    """There is nothing to compare."""
    async with LocalServer() as elsewhere, client_of(elsewhere) as other:
        with pytest.raises(ValueError, match="the archive is of site"):
            await verify(archive, against=other)


async def test_status_has_what_is_held_and_what_failed(server, client, room, tmp_path):
    """It has counts, times, verdicts, and the failures of the last run."""
    folder = tmp_path / "site"
    began = datetime.now(UTC)
    file = show_file(server, room, "three.bin", b"3")
    server.faults.add("GET", f"*/media/{file}", status=404)
    await exported(client, folder)

    held = status(folder)

    assert (server.cloud_id, 1, 303, 2, 14_000) == (
        held.cloud_id,
        held.conversations,
        held.messages,
        held.media,
        held.media_bytes,
    )
    assert ({"complete": 1}, True) == (held.verdicts, held.finished)
    assert [("media", file)] == [(failure.what, failure.id) for failure in held.failures]
    assert began <= held.oldest_update <= held.newest_update <= datetime.now(UTC)
    assert sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*"))) == held.size_bytes


async def test_a_folder_that_is_not_an_archive_is_refused(tmp_path):
    """Neither `verify` nor `status` accepts it."""
    with pytest.raises(NotAnArchive):
        await verify(tmp_path)
    with pytest.raises(NotAnArchive):
        status(tmp_path)


async def test_a_rewritten_chain_is_found(archive):
    """A well-formed newest commit with other content is not what the finished run recorded."""
    newest = sorted(archive.glob("data/conversations/*/commit/*"))[-1]
    commit = msgspec.json.decode(newest.read_bytes())
    newest.write_bytes(msgspec.json.encode({**commit, "at": commit["at"] + 1}))

    assert newest.relative_to(archive).as_posix() in found(await verify(archive))


async def broken_off(client, folder, after=1, **options):
    """Export, and stop after this many pages."""
    async with aclosing(export(client, folder, ExportOptions(concurrency=1, **options))) as events:
        async for event in events:
            after -= isinstance(event, PagesFetched)
            if not after:
                break


def texts(report):
    return {verdict.name: verdict.text for verdict in report.verdicts}


async def test_a_run_without_bounds_lifts_the_bound_of_an_earlier_one(server, client, tmp_path):
    """This holds even if there are no messages above the bound."""
    server.fill(server.add_conversation("general"), 20)
    server.add_conversation("empty")
    folder = tmp_path / "site"
    verdicts = []
    for bounds in ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, {}):
        await exported(client, folder, **bounds)
        verdicts.append(texts(await verify(folder)))

    until = "complete up to 2020-01-01T00:00:00Z"
    assert [{"general": until, "empty": until}, {"general": "complete", "empty": "complete"}] == verdicts


async def test_an_empty_room_is_complete_within_the_bounds_of_the_run(server, client, tmp_path):
    """The verdict has the bounds."""
    server.add_conversation("empty")
    since, until = datetime(2018, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
    await exported(client, tmp_path / "since", since=since)
    await exported(client, tmp_path / "both", since=since, until=until)

    reports = [await verify(tmp_path / name) for name in ("since", "both")]

    assert [
        {"empty": "complete up to 2018-01-01T00:00:00Z, from the newest back"},
        {"empty": "complete from 2018-01-01T00:00:00Z up to 2020-01-01T00:00:00Z"},
    ] == [texts(report) for report in reports]
    assert all(report.ok for report in reports)


async def test_a_failed_attempt_to_read_newer_messages_limits_the_verdict(server, client, room, tmp_path):
    """What was complete is complete up to its newest message until an attempt succeeds."""
    server.add_conversation("empty")
    await exported(client, tmp_path / "site")
    server.faults.add("GET", "*/message", status=403)
    await exported(client, tmp_path / "site")
    failed = await verify(tmp_path / "site")
    server.faults.clear()
    await exported(client, tmp_path / "site")
    again = await verify(tmp_path / "site")

    assert {"complete up to"} == {verdict.kind for verdict in failed.verdicts}
    newest = max(message.sent_at for message in read(tmp_path / "site").messages(room))
    assert texts(failed)["general"].startswith(f"complete up to {newest:%Y-%m-%dT%H:%M:%S}")
    assert all(text.endswith("; the last attempt to read newer messages failed") for text in texts(failed).values())
    assert {"complete"} == {*texts(again).values()}


async def test_a_history_that_failed_midway_is_complete_as_far_as_it_was_read(server, client, tmp_path):
    """The verdict says that it failed. `verify` and `status` count what was read."""
    room = server.add_conversation("general")
    server.fill(room, 1000)
    server.faults.add("GET", f"*/{room}/message", status=403, after=5)
    await exported(client, tmp_path / "site")

    report = await verify(tmp_path / "site")

    [verdict] = report.verdicts
    assert ("complete up to", 375) == (verdict.kind, verdict.messages)
    assert verdict.text.endswith("from the newest back; the walk under way failed")
    assert [(f"{folder_in(tmp_path / 'site')}/commit", "run again")] == [
        (one.path, one.remedy) for one in report.findings
    ]
    assert 375 == status(tmp_path / "site").messages


def folder_in(archive):
    [folder] = (archive / "data/conversations").iterdir()
    return folder.relative_to(archive).as_posix()


async def test_an_interrupted_run_is_a_finding_until_its_conversations_are_done(server, client, tmp_path):
    """Conversations that it had not started are named, too."""
    for name in ("one", "two", "three"):
        server.fill(server.add_conversation(name), 100)
    folder = tmp_path / "site"
    await broken_off(client, folder)
    await exported(client, folder, selection=Selection(("two",)))

    partial, held = await verify(folder), status(folder)
    await exported(client, folder)
    complete = await verify(folder)

    before = texts(partial)
    assert ({"one", "two", "three"}, "complete") == ({*before}, before["two"])
    assert "unknown: its messages were not read" in before.values()
    [run] = [finding for finding in partial.findings if finding.path.startswith("runs/")]
    assert "2 of its 3 conversations are not done" in run.what
    assert 3 == held.conversations
    assert (True, {"complete"}) == (complete.ok, {*texts(complete).values()})


async def test_a_run_that_never_started_leaves_nothing_unfinished(client, archive):
    """Its selector matches nothing."""
    with pytest.raises(NothingSelected):
        await exported(client, archive, selection=Selection(("no such room",)))

    assert (await verify(archive)).ok
    assert status(archive).finished


async def test_a_conversation_that_is_no_longer_listed_is_not_expected(server, client, tmp_path):
    """An interrupted run selected it, and a later complete run did not find it listed."""
    gone, stays = (server.add_conversation(name) for name in ("gone", "stays"))
    for room in (gone, stays):
        server.fill(room, 10)
    await broken_off(client, tmp_path / "site", selection=Selection((stays,)))
    runs = sorted((tmp_path / "site/runs").glob("*/picked.json"))
    runs[0].write_bytes(msgspec.json.encode({stays: "stays", gone: "gone"}))
    before = await verify(tmp_path / "site")
    listing = await client.request("GET", f"/site/{server.cloud_id}/conversation")
    listing["values"] = [each for each in listing["values"] if each["id"] == stays]
    server.faults.add("GET", "/site/*/conversation", body=msgspec.json.encode(listing).decode())
    await exported(client, tmp_path / "site", rescan="all")

    after = await verify(tmp_path / "site")

    assert {"gone", "stays"} == texts(before).keys()
    assert (True, {"stays": "complete"}) == (after.ok, texts(after))


async def test_profiles_that_were_never_fetched_are_found(server, client, tmp_path):
    """A run ended between the messages and the profiles, and a later one was for another room."""
    ann = server.add_user("Ann")
    # The sender of a message is only known to the run once the conversation is committed; a roster is known before.
    server.fill(server.add_conversation("hers"), 10, sender_id=ann)
    server.fill(server.add_conversation("other"), 10)
    folder = tmp_path / "site"
    server.faults.add("GET", f"*/Users/{ann}", status=401)
    with pytest.raises(AuthError):
        await exported(client, folder, selection=Selection(("hers",)))
    await exported(client, folder, selection=Selection(("other",)))

    report = await verify(folder)

    assert ("data/users", "1 profile was not fetched: run the export again") in {
        (finding.path, finding.what) for finding in report.findings
    }


def numbered(archive, room="*"):
    """Return the commits, the first one of a conversation first."""
    return sorted(archive.glob(f"data/conversations/{room}/commit/*"))


def path_in(archive, file):
    return file.relative_to(archive).as_posix()


async def edited_archive(server, client, room, folder):
    """Export several times, with revisions and failures, so that every kind of file exists."""
    ann = server.add_user("Ann")
    server.add_conversation("with people", roster=[ann, server.add_user("Ben")])
    server.faults.add("GET", f"*/{room}/roster", status=404, times=1)
    ids = [message.id for message in [message async for message in client.conversation(room).history()]]
    await exported(client, folder)
    for step in range(3):
        server.edit_message(room, ids[-1 - step], f"edited {step}")
        await exported(client, folder, rescan="all")
    return folder


async def test_a_damaged_earlier_revision_is_found(server, client, room, tmp_path):
    """The verdict, which is about what is held now, stays complete."""
    folder = await edited_archive(server, client, room, tmp_path / "site")
    [first, *_] = sorted(folder.glob("data/conversations/*/sealed/2018-01/r1-*"))
    sound = first.read_bytes()
    reports = []
    for damage in (first.unlink, lambda: flip_in(first, sound)):
        damage()
        reports.append(await verify(folder))

    assert [{path_in(folder, first)}] * 2 == [found(report) for report in reports]
    assert ["complete", "complete"] == [texts(report)["general"] for report in reports]


def flip_in(path, sound):
    path.write_bytes(sound)
    flip(path)


async def test_missing_commits_are_reported_as_ranges(archive):
    """A range may have any number of commits."""
    first, *_ = numbered(archive)
    far = first.with_name("05000001.json")
    far.write_bytes(b"{")

    unreadable = await verify(archive)
    far.write_bytes(first.read_bytes())
    copied = await verify(archive)

    last = int(numbered(archive)[-2].name[:8])
    gap = path_in(archive, first.with_name(f"{last + 1:08d}.json"))
    assert {gap: "is missing, and so are all up to 05000000.json"}.items() <= {
        finding.path: finding.what for finding in unreadable.findings
    }.items()
    assert {path_in(archive, far): "says that it is commit 1"} == {
        finding.path: finding.what for finding in copied.findings
    }


async def test_only_the_altered_commit_is_named(server, client, room, tmp_path):
    """Any digit of it may have changed, as long as it can still be decoded."""
    folder = await edited_archive(server, client, room, tmp_path / "site")
    chance = random.Random(5)
    for commit in numbered(folder):
        sound = commit.read_bytes()
        digits = [place for place, byte in enumerate(sound) if chr(byte) in "12345678"]
        for place in chance.sample(digits, 8):
            flip(commit, place)

            assert path_in(folder, commit) in found(report := await verify(folder))
            assert {path_in(folder, commit)} == {one for one in found(report) if "/commit/" in one}
            commit.write_bytes(sound)


async def test_a_conversation_that_was_moved_away_is_exported_anew(server, client, archive):
    """What earlier runs recorded of its old chain does not count against the new one."""
    [folder] = archive.glob("data/conversations/*")
    flip(numbered(archive)[0])
    before = await verify(archive)
    folder.rename(archive.parent / "aside")
    await exported(client, archive)

    after = await verify(archive)

    assert {"move away"} == {finding.remedy for finding in before.findings}
    assert () == after.findings
    newest = numbered(archive)[-1]
    newest.unlink()
    assert {path_in(archive, newest)} == found(await verify(archive))


async def test_the_highest_commit_that_any_run_recorded_must_exist(server, client, room, tmp_path):
    """If the record of the last run is lost, that is a finding of its own, and no commit is named because of it."""
    folder = await edited_archive(server, client, room, tmp_path / "site")
    *_, before, heads = sorted(folder.glob("runs/*/heads.json"))
    heads.unlink()
    alone = await verify(folder)
    seen, _ = msgspec.json.decode(before.read_bytes())[f"data/conversations/{room}"]
    for commit in numbered(folder, room)[seen - 1 :]:
        commit.unlink()

    both = await verify(folder)

    assert {path_in(folder, heads)} == found(alone)
    assert {path_in(folder, heads), f"data/conversations/{room}/commit/{seen:08d}.json"} == found(both)


@pytest.mark.parametrize("member", ["id", "cloud_id"])
async def test_an_altered_archive_json_is_found(archive, member):
    """The records of the runs have the right ids."""
    head = archive / "archive.json"
    said = msgspec.json.decode(head.read_bytes())
    head.write_bytes(msgspec.json.encode({**said, member: "0" + said[member][1:] if said[member][0] != "0" else "1"}))

    report = await verify(archive)

    assert [("archive.json", "put right")] == [(finding.path, finding.remedy) for finding in report.findings]


async def test_a_format_that_does_not_exist_is_found(archive):
    """Only a later one is refused."""
    head = archive / "archive.json"
    head.write_bytes(msgspec.json.encode({**msgspec.json.decode(head.read_bytes()), "format": 0}))

    assert {"archive.json"} == found(await verify(archive))


async def test_a_list_of_failures_that_was_cut_off_is_read_up_to_there(server, client, room, tmp_path):
    """A loss of power leaves such a list, so it is not a finding. A complete line that cannot be decoded is.

    Status does not need the list: the commits have what is still missing.
    """
    file = show_file(server, room, "three.bin", b"3")
    server.faults.add("GET", f"*/media/{file}", status=404)
    server.faults.add("GET", "*/roster", status=404)
    await exported(client, tmp_path / "site")
    [listed] = (tmp_path / "site/runs").glob("*/failures.jsonl")
    first, second, _ = listed.read_bytes().split(b"\n")
    listed.write_bytes(first + b"\n" + second[:20])
    cut, held = await verify(tmp_path / "site"), status(tmp_path / "site")
    listed.write_bytes(b"[" + first + b"\n" + second + b"\n")
    garbled, still = await verify(tmp_path / "site"), status(tmp_path / "site")

    path = path_in(tmp_path / "site", listed)
    assert (True, 2) == (cut.ok, len(held.failures))
    assert f"what a run could not fetch: {path} lists 1 of 2 failures" in cut.not_known
    assert ({path}, 2) == (found(garbled), len(still.failures))


async def test_a_run_that_was_killed_as_it_finished_is_reported_once(client, room, tmp_path):
    """The last run is unfinished. Once a later one has completed its work, only how it ended is not known."""
    archive = tmp_path / "site"
    await exported(client, archive)
    (run,) = (path.parent for path in archive.glob("runs/*/finished.json"))
    (run / "finished.json").unlink()
    unfinished = await verify(archive)
    await exported(client, archive, media="none")
    completed = await verify(archive)

    note = f"whether a run was killed as it finished, or runs/{run.name}/finished.json was removed"
    assert {f"runs/{run.name}"} == found(unfinished)
    assert (False, True) == (note in unfinished.not_known, note in completed.not_known)
    assert completed.ok


async def test_foreign_files_are_ignored_and_named(server, client, room, archive):
    """They may be in any folder of the archive."""
    folders = [archive, *(folder for folder in archive.rglob("*") if folder.is_dir())]
    for folder in folders:
        for name in (".DS_Store", "Thumbs.db", "00000001 (1).json"):
            (folder / name).write_bytes(b"\0")
    server.fill(room, 3, ts="2018-04-03T08:00:00Z")

    summary = await exported(client, archive)
    report = await verify(archive)

    assert (305, 0, 305) == (summary.messages, summary.failures, status(archive).messages)
    assert () == report.findings
    [foreign] = [clause for clause in report.not_known if "not part of an archive" in clause]
    assert "Thumbs.db" in foreign


async def test_a_sample_matches_after_an_undecodable_message_was_repaired(server, client, room, tmp_path):
    """An element that has no place is in no sample."""
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message")
    del page["messages"][3]["ts"], page["messages"][5]["sender"]
    server.faults.add("GET", f"*/{room}/message", body=msgspec.json.encode(page).decode(), times=1)
    folder = tmp_path / "site"
    first = await exported(client, folder)
    repaired = await exported(client, folder, retry_failed=True)

    report = await verify(folder, against=client, sample=30)

    assert (2, 0) == (first.failures, repaired.failures)
    assert (True, 30, 302) == (report.ok, report.windows, report.verdicts[0].messages)


DAMAGES = {
    "flipped": lambda data, chance: flipped(data, chance.randrange(len(data))),
    "cut": lambda data, chance: data[: chance.randrange(1, len(data))],
    "emptied": lambda data, chance: b"",
    "removed": lambda data, chance: None,
}


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def damage_shows(path, how):
    """Return whether damage to a file differs from what a kill, a loss of power or logging leaves."""
    return path.name not in ("calls.log", "lease", "failures.jsonl", ".lock") and (path.name, how) != (
        "finished.json",
        "removed",
    )


@pytest.mark.parametrize("how", DAMAGES)
async def test_every_damaged_file_is_named(server, client, room, tmp_path, how):
    """Each file of an archive of several runs is damaged in turn."""
    chance = random.Random(11)
    folder = await edited_archive(server, client, room, tmp_path / "site")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and damage_shows(path, how))
    unseen = []
    for file in files:
        sound = file.read_bytes()
        damaged = DAMAGES[how](sound, chance)
        if damaged is None:
            file.unlink()
        else:
            file.write_bytes(damaged)
        try:
            named = found(await verify(folder))
            status(folder)
        except (NotAnArchive, NewerArchive) as error:
            named = {name for name in ("archive.json",) if name in str(error) or isinstance(error, NewerArchive)}
        if path_in(folder, file) not in named:
            unseen.append(path_in(folder, file))
        file.write_bytes(sound)

    assert len(files) > 40
    assert [] == unseen
    assert (await verify(folder)).ok


async def test_damaged_raw_groups_are_named(server, client, tmp_path):
    """The leg is still under way."""
    server.fill(server.add_conversation("general"), 1000)
    await broken_off(client, tmp_path / "site", after=10)
    groups = sorted((tmp_path / "site").glob("data/conversations/*/raw/*"))
    reports = []
    for group in groups:
        sound = group.read_bytes()
        group.write_bytes(sound.replace(b"message", b"massage", 1))
        reports.append(await verify(tmp_path / "site"))
        group.write_bytes(sound)

    assert groups
    for group, report in zip(groups, reports, strict=True):
        assert (path_in(tmp_path / "site", group), "run again") in {(one.path, one.remedy) for one in report.findings}
        assert ["unknown"] == [verdict.kind for verdict in report.verdicts]


async def test_a_file_that_is_named_many_times_is_read_once(server, client, tmp_path, monkeypatch):
    """A commit of another origin can name one file in every group of pages, and in every month."""
    server.fill(server.add_conversation("general"), 1000)
    await broken_off(client, tmp_path / "site", after=10)
    archive = Archive.open(tmp_path / "site")
    [name] = archive.conversations()
    chain = Chain(archive, f"{CONVERSATIONS}/{name}")
    group = chain.state.raw_groups[0]
    months = [Sealed(f"20{year}-01", 1, group.file, 1, group.low, group.high) for year in range(10, 40)]
    chain.commit("run", [group] * 20 + months)
    lines, read = Archive.lines, []
    monkeypatch.setattr(Archive, "lines", lambda self, path: read.append(path) or lines(self, path))

    report = await verify(tmp_path / "site")

    assert 1 == read.count(group.file.path)
    assert 20 + len(months) == sum(finding.what.startswith("is named twice") for finding in report.findings)


@pytest.mark.parametrize("details", [{"name": 17}, {"privacy": []}, {"created": "yesterday"}])
async def test_details_that_cannot_be_decoded_are_found(server: LocalServer, client, room, tmp_path, details):
    """Reading the conversations would raise. The next export fetches the details again."""
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation")
    page["values"][0] |= details
    server.faults.add("GET", f"/site/{server.cloud_id}/conversation", body=json.dumps(page), times=1)
    await exported(client, tmp_path / "a")

    report = await verify(tmp_path / "a")
    with pytest.raises(DecodeError):
        list(read(tmp_path / "a").conversations())
    await exported(client, tmp_path / "a")

    assert ["run again"] == [finding.remedy for finding in report.findings]
    assert "cannot be decoded" in report.findings[0].what
    assert (await verify(tmp_path / "a")).ok


async def test_a_profile_that_cannot_be_decoded_is_found_unless_it_is_a_failure(server: LocalServer, tmp_path):
    """An archive may come from a version that did not record it."""
    archive = Archive.open_or_create(tmp_path / "a", server.cloud_id)
    chain = Chain(archive, PEOPLE)
    profiles = archive.stage_lines(profiles_stem(1), [b'{"id": 17}', b'{"id": 18}'])
    chain.commit("run", [Profiles(profiles, ("ann", "bob")), Failed("user", "ann", "it is malformed", final=True)])

    report = await verify(tmp_path / "a")

    assert [profiles.path] == [finding.path for finding in report.findings]
    assert "has a profile of bob that cannot be decoded" in report.findings[0].what


async def test_an_interrupted_run_is_one_finding(server: LocalServer, client, room, tmp_path):
    """It includes the histories that were not read and the profiles that were not fetched."""
    server.add_conversation("other", roster=[server.add_user("Ann")])
    async with aclosing(export(client, tmp_path / "a", ExportOptions(concurrency=1))) as events:
        async for event in events:
            if isinstance(event, PagesFetched):
                break

    report = await verify(tmp_path / "a")

    [finding] = report.findings
    assert finding.path.startswith("runs/")
    assert "did not finish, 2 of its 2 conversations are not done" in finding.what


async def test_a_gap_is_a_finding_of_its_own_once_its_run_has_finished(server: LocalServer, client, room, tmp_path):
    """The history was refused, so the run did finish, and the next one is to read the rest."""
    await exported(client, tmp_path / "a", until=datetime(2018, 1, 10, tzinfo=UTC))
    server.faults.add("GET", "*/message", status=403, after=1)
    await exported(client, tmp_path / "a")

    report = await verify(tmp_path / "a")

    assert [f"data/conversations/{room}/commit"] == [finding.path for finding in report.findings]
