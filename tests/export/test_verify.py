"""What an archive proves: every kind of damage is found and named, and what is sound is called so."""

from __future__ import annotations

import random
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import pytest

from stride_async import AuthError
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
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported, show_file


@pytest.fixture
def room(server):
    """A room with messages in several months and two files."""
    room = server.add_conversation("general")
    for month in (1, 2, 3):
        server.fill(room, 100, ts=f"2018-0{month}-03T08:00:00Z")
    for name in ("one.bin", "two.bin"):
        show_file(server, room, name, name.encode() * 1000)
    return room


@pytest.fixture
async def archive(client, room, tmp_path):
    """All of it, exported twice, so that there is more than one step."""
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
    """Nothing is found, each conversation is complete, and what cannot be known is said."""
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
    assert any("deleted before" in words for words in report.not_known)
    assert any("was not asked" in words for words in report.not_known)


PARTS = {
    "a segment": "data/conversations/*/sealed/*/r*",
    "a roster": "data/conversations/*/roster/*",
    "a commit": "data/conversations/*/commit/*",
    "profiles": "data/users/sealed/*",
    "a commit of people": "data/users/commit/*",
    "a body": "media/sha256/*/*/*",
}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_a_flipped_bit_anywhere_is_found_and_named(archive, part):
    """Whichever file of a kind it is, it is the one that is named."""
    files = sorted(archive.glob(part))
    for file in files:
        sound = file.read_bytes()
        flip(file)

        report = await verify(archive)

        assert file.relative_to(archive).as_posix() in found(report)
        file.write_bytes(sound)
    assert files
    assert (await verify(archive)).ok


async def test_a_flipped_bit_at_any_place_of_a_segment_is_found(archive):
    """Even one that changes nothing of what is read."""
    chance = random.Random(7)
    [segment, *_] = sorted(archive.glob(PARTS["a segment"]))
    sound = segment.read_bytes()
    for _ in range(40):
        segment.write_bytes(sound)
        flip(segment, chance.randrange(len(sound)))

        assert {segment.relative_to(archive).as_posix()} == found(await verify(archive))


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
async def test_a_missing_file_is_found_and_named(archive, part):
    """First, last or in between: commits, too, though nothing comes after the newest one."""
    files = sorted(archive.glob(part))
    for file in files:
        aside = file.rename(archive / "aside")

        report = await verify(archive)

        assert file.relative_to(archive).as_posix() in found(report)
        aside.rename(file)
    assert files


async def test_a_missing_conversation_is_found(archive):
    """What a finished run has left must be there."""
    [folder] = archive.glob("data/conversations/*")
    folder.rename(archive / "aside")

    report = await verify(archive)

    assert {f"{folder.relative_to(archive).as_posix()}/commit/00000001.json"} == found(report)
    assert ["unknown"] == [verdict.kind for verdict in report.verdicts]


async def test_damage_takes_the_verdict_away(archive):
    """A conversation with a damaged segment is not called complete, others are."""
    [segment, *_] = sorted(archive.glob(PARTS["a segment"]))
    flip(segment)

    report = await verify(archive)

    assert ["unknown: 1 file is not as committed"] == [verdict.text for verdict in report.verdicts]
    assert not report.ok


async def test_an_altered_body_leaves_the_messages_complete(archive):
    """The body is named with the media it belongs to."""
    [body, *_] = sorted(archive.glob(PARTS["a body"]))
    body.write_bytes(b"something else")

    report = await verify(archive)

    [finding] = report.findings
    assert body.relative_to(archive).as_posix() == finding.path
    assert "altered" in finding.what
    assert ["complete"] == [verdict.text for verdict in report.verdicts]


async def test_a_window_ends_where_it_was_asked_to(server, client, room, tmp_path):
    """With `until`, complete up to then; with both bounds, from one to the other; then a gap, until it is filled."""
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
    """An update that broke off leaves the newest and the old, and nothing in between."""
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


async def test_a_first_run_that_broke_off_is_not_called_complete(server, client, room, tmp_path):
    """The beginning is proved by an empty page only."""
    server.fill(room, 1500, ts="2038-06-01T08:00:00Z")
    async with aclosing(export(client, tmp_path / "site")) as events:
        async for event in events:
            if isinstance(event, PagesFetched):
                break

    report = await verify(tmp_path / "site")

    assert ["complete up to"] == [verdict.kind for verdict in report.verdicts]
    assert "from the newest back" in report.verdicts[0].text
    assert not report.ok


async def test_files_that_were_not_asked_for_are_told(client, room, tmp_path):
    """They are no damage; but nobody shall think that they are here."""
    await exported(client, tmp_path / "site", media="none")

    report = await verify(tmp_path / "site")

    assert report.ok
    assert "the bodies of 2 files: they were not asked for" in report.not_known


async def test_an_empty_room_is_complete(server, client, tmp_path):
    """The first page was the empty one."""
    server.add_conversation("empty")
    await exported(client, tmp_path / "site")

    report = await verify(tmp_path / "site")

    assert (["complete"], True) == ([verdict.text for verdict in report.verdicts], report.ok)


async def test_a_room_that_could_not_be_read_is_unknown(server, client, room, tmp_path):
    """It is named, with what stood against it."""
    server.faults.add("GET", f"*/{room}/message", status=403)
    await exported(client, tmp_path / "site")

    report = await verify(tmp_path / "site")

    [verdict] = report.verdicts
    assert "unknown" == verdict.kind
    assert any("403" in words for words in verdict.failed)
    assert not report.ok


async def test_the_service_is_asked_for_a_sample(server, client, room, archive):
    """What is as it was agrees; the same seed asks for the same windows."""
    calls = []
    for _ in range(2):
        before = len(server.calls)
        report = await verify(archive, against=client, sample=8, seed=3)
        calls.append([call.query for call in list(server.calls)[before:] if call.path.endswith("/message")])

        assert (True, 8) == (report.ok, report.windows)
        assert not any("was not asked" in words for words in report.not_known)

    assert calls[0] == calls[1]
    assert len(calls[0]) >= 8


async def test_a_difference_from_the_service_is_found(server, client, room, archive):
    """A message edited there, one deleted and one held here alone: the window and the file are named."""
    ids = [message.id for message in read(archive).messages(room)]
    server.edit_message(room, ids[50], "something else")
    server.delete_message(room, ids[150])

    report = await verify(archive, against=client, sample=60)

    assert not report.ok
    assert {"01", "02"} == {finding.path.split("/sealed/2018-")[1][:2] for finding in report.findings}
    assert all("differ" in finding.what for finding in report.findings)


async def test_a_room_that_is_closed_now_is_not_known(server, client, room, archive):
    """The service's refusal is no damage to the archive; it is told."""
    server.faults.add("GET", f"*/{room}/message", status=403)

    report = await verify(archive, against=client, sample=3)

    assert (True, 0) == (report.ok, report.windows)
    assert any("403" in words for words in report.not_known)


async def test_a_client_of_another_site_is_refused(archive):
    """Nothing is compared with a site the archive is not of."""
    async with LocalServer() as elsewhere, client_of(elsewhere) as other:
        with pytest.raises(ValueError, match="the archive is of site"):
            await verify(archive, against=other)


async def test_status_tells_what_is_held_and_missing(server, client, room, tmp_path):
    """Numbers, ages, verdicts, and what the last run could not get."""
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
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) == held.size_bytes


async def test_what_is_no_archive_is_refused(tmp_path):
    """Neither verifies nor has a status."""
    with pytest.raises(NotAnArchive):
        await verify(tmp_path)
    with pytest.raises(NotAnArchive):
        status(tmp_path)


async def test_a_chain_that_was_rewritten_is_found(archive):
    """A newest commit that says something else, in good form, is not what the finished run saw."""
    newest = sorted(archive.glob("data/conversations/*/commit/*"))[-1]
    commit = msgspec.json.decode(newest.read_bytes())
    newest.write_bytes(msgspec.json.encode({**commit, "at": commit["at"] + 1}))

    assert newest.relative_to(archive).as_posix() in found(await verify(archive))


async def broken_off(client, folder, after=1, **options):
    """An export that ends after so many pages."""
    async with aclosing(export(client, folder, ExportOptions(concurrency=1, **options))) as events:
        async for event in events:
            after -= isinstance(event, PagesFetched)
            if not after:
                break


def texts(report):
    return {verdict.name: verdict.text for verdict in report.verdicts}


async def test_a_full_run_lifts_the_bound_of_an_earlier_one(server, client, tmp_path):
    """Also where nothing came that is later than the bound."""
    server.fill(server.add_conversation("general"), 20)
    server.add_conversation("empty")
    folder = tmp_path / "site"
    told = []
    for bounds in ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, {}):
        await exported(client, folder, **bounds)
        told.append(texts(await verify(folder)))

    until = "complete up to 2020-01-01T00:00:00Z"
    assert [{"general": until, "empty": until}, {"general": "complete", "empty": "complete"}] == told


async def test_an_empty_room_is_complete_as_far_as_was_asked_for(server, client, tmp_path):
    """With bounds it is so between them."""
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


async def test_a_look_that_failed_proves_nothing_of_what_is_newer(server, client, room, tmp_path):
    """What was complete is so up to its newest message, until a look succeeds."""
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
    assert all(text.endswith("; the last look at newer messages failed") for text in texts(failed).values())
    assert {"complete"} == {*texts(again).values()}


async def test_a_walk_that_failed_midway_is_told_so(server, client, tmp_path):
    """As far as it came, and that it failed; what it brought is counted, by the status too."""
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


async def test_an_interrupted_run_is_not_forgotten_for_a_later_one(server, client, tmp_path):
    """What it was for is named, also what it had not begun, until a run was through with all of it."""
    for name in ("one", "two", "three"):
        server.fill(server.add_conversation(name), 100)
    folder = tmp_path / "site"
    await broken_off(client, folder)
    await exported(client, folder, selection=Selection(("two",)))

    partial, held = await verify(folder), status(folder)
    await exported(client, folder)
    whole = await verify(folder)

    told = texts(partial)
    assert ({"one", "two", "three"}, "complete") == ({*told}, told["two"])
    assert "unknown: its messages were not read" in told.values()
    [run] = [finding for finding in partial.findings if finding.path.startswith("runs/")]
    assert "2 of its 3 conversations are not done" in run.what
    assert 3 == held.conversations
    assert (True, {"complete"}) == (whole.ok, {*texts(whole).values()})


async def test_a_run_that_never_began_leaves_nothing_undone(client, archive):
    """A selector that means nothing."""
    with pytest.raises(NothingSelected):
        await exported(client, archive, selection=Selection(("no such room",)))

    assert (await verify(archive)).ok
    assert status(archive).finished


async def test_a_conversation_that_vanished_is_not_waited_for(server, client, tmp_path):
    """An interrupted run was for it; a whole one, later, was not told of it any more."""
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


async def test_people_who_were_met_and_not_asked_about_are_missed(server, client, tmp_path):
    """An export broke off between the messages and the profiles, and a later one was for another room."""
    ann = server.add_user("Ann")
    server.fill(server.add_conversation("hers", roster=[ann]), 10)
    server.fill(server.add_conversation("other"), 10)
    folder = tmp_path / "site"
    server.faults.add("GET", f"*/Users/{ann}", status=401)
    with pytest.raises(AuthError):
        await exported(client, folder, selection=Selection(("hers",)))
    await exported(client, folder, selection=Selection(("other",)))

    report = await verify(folder)

    assert ("data/users", "profiles of 1 people were not fetched: run the export again") in {
        (finding.path, finding.what) for finding in report.findings
    }


def numbered(archive, room="*"):
    """Commits, the first one of a conversation first."""
    return sorted(archive.glob(f"data/conversations/{room}/commit/*"))


def path_in(archive, file):
    return file.relative_to(archive).as_posix()


async def edited_archive(server, client, room, folder):
    """Several runs, with revisions and failures: every kind of file is there."""
    ann = server.add_user("Ann")
    server.add_conversation("with people", roster=[ann, server.add_user("Ben")])
    server.faults.add("GET", f"*/{room}/roster", status=404, times=1)
    ids = [message.id for message in [message async for message in client.conversation(room).history()]]
    await exported(client, folder)
    for step in range(3):
        server.edit_message(room, ids[-1 - step], f"edited {step}")
        await exported(client, folder, rescan="all")
    return folder


async def test_an_earlier_revision_counts_too(server, client, room, tmp_path):
    """It is named; the verdict, which is about what is held now, stays."""
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


async def test_missing_commits_are_told_as_ranges(archive):
    """However many numbers there are in between."""
    first, *_ = numbered(archive)
    far = first.with_name("05000001.json")
    far.write_bytes(b"{")

    unreadable = await verify(archive)
    far.write_bytes(first.read_bytes())
    copied = await verify(archive)

    last = int(numbered(archive)[-2].name[:8])
    gap = path_in(archive, first.with_name(f"{last + 1:08d}.json"))
    assert {gap: "is missing, with all up to 05000000.json"}.items() <= {
        finding.path: finding.what for finding in unreadable.findings
    }.items()
    assert {path_in(archive, far): "says that it is commit 1"} == {
        finding.path: finding.what for finding in copied.findings
    }


async def test_each_commit_but_no_other_is_blamed(server, client, room, tmp_path):
    """Any digit of a commit changed, so that it can still be read: it alone is named."""
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
    """What earlier runs saw of the old chain of commits does not count against the new one."""
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


async def test_the_highest_commit_that_any_run_saw_must_be_there(server, client, room, tmp_path):
    """Also where the record of the last run is lost: that is named, and no commit is blamed by it."""
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
async def test_an_archive_that_says_it_is_another_one_is_found(archive, member):
    """What the runs wrote down tells."""
    head = archive / "archive.json"
    said = msgspec.json.decode(head.read_bytes())
    head.write_bytes(msgspec.json.encode({**said, member: "0" + said[member][1:] if said[member][0] != "0" else "1"}))

    report = await verify(archive)

    assert [("archive.json", "put right")] == [(finding.path, finding.remedy) for finding in report.findings]


async def test_a_format_that_never_was_is_found(archive):
    """Only a later one is refused."""
    head = archive / "archive.json"
    head.write_bytes(msgspec.json.encode({**msgspec.json.decode(head.read_bytes()), "format": 0}))

    assert {"archive.json"} == found(await verify(archive))


async def test_a_list_of_failures_that_was_cut_off_is_read_as_far_as_it_goes(server, client, room, tmp_path):
    """A loss of power does that: it is no damage, but told. A line that is there and makes no sense is."""
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
    assert (True, 1) == (cut.ok, len(held.failures))
    assert f"what a run could not get: {path} lists 1 of 2" in cut.not_known
    assert ({path}, 1) == (found(garbled), len(still.failures))


async def test_files_of_others_are_left_alone(server, client, room, archive):
    """Whatever lies among those of the archive: it is read and exported, and told what was not looked at."""
    folders = [archive, *(folder for folder in archive.rglob("*") if folder.is_dir())]
    for folder in folders:
        for name in (".DS_Store", "Thumbs.db", "00000001 (1).json"):
            (folder / name).write_bytes(b"\0")
    server.fill(room, 3, ts="2018-04-03T08:00:00Z")

    summary = await exported(client, archive)
    report = await verify(archive)

    assert (305, 0, 305) == (summary.messages, summary.failures, status(archive).messages)
    assert () == report.findings
    [told] = [words for words in report.not_known if "no part of an archive" in words]
    assert "Thumbs.db" in told


async def test_a_sample_agrees_though_a_message_was_odd(server, client, room, tmp_path):
    """What cannot be placed is in no window; when it has come right, it is."""
    page = await client.request("GET", f"/site/{server.cloud_id}/conversation/{room}/message")
    del page["messages"][3]["ts"], page["messages"][5]["sender"]
    server.faults.add("GET", f"*/{room}/message", body=msgspec.json.encode(page).decode(), times=1)
    folder = tmp_path / "site"
    odd = await exported(client, folder)
    mended = await exported(client, folder, retry_failed=True)

    report = await verify(folder, against=client, sample=30)

    assert (2, 0) == (odd.failures, mended.failures)
    assert (True, 30, 302) == (report.ok, report.windows, report.verdicts[0].messages)


DAMAGES = {
    "flipped": lambda data, chance: flipped(data, chance.randrange(len(data))),
    "cut": lambda data, chance: data[: chance.randrange(1, len(data))],
    "emptied": lambda data, chance: b"",
    "removed": lambda data, chance: None,
}


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def told_apart(path, how):
    """Whether a file is one whose damage shows: logs are not, nor what a kill or a loss of power leaves, too."""
    return path.name not in ("calls.log", "lease", "failures.jsonl") and (path.name, how) != (
        "finished.json",
        "removed",
    )


@pytest.mark.parametrize("how", DAMAGES)
async def test_whatever_is_damaged_is_named(server, client, room, tmp_path, how):
    """Each file of an archive of several runs, one after the other."""
    chance = random.Random(11)
    folder = await edited_archive(server, client, room, tmp_path / "site")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and told_apart(path, how))
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


async def test_damaged_pages_of_a_walk_are_named(server, client, tmp_path):
    """Each group of them, while the walk is under way."""
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
