"""What an archive proves: every kind of damage is found and named, and what is sound is called so."""

from __future__ import annotations

import random
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import pytest

from stride_async.export import NotAnArchive, PagesFetched, export, read, status, verify
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported


@pytest.fixture
def room(server):
    """A room with messages in several months and two files."""
    room = server.add_conversation("general")
    for month in (1, 2, 3):
        server.fill(room, 100, ts=f"2018-0{month}-03T08:00:00Z")
    for name in ("one.bin", "two.bin"):
        file = server.add_media(room, name, name.encode() * 1000)
        show_file(server, room, file)
    return room


def show_file(server, room, file):
    node = {"type": "media", "attrs": {"id": file, "collection": room, "type": "file"}}
    document = {"version": 1, "type": "doc", "content": [{"type": "mediaGroup", "content": [node]}]}
    server.add_message(room, document)


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
    file = server.add_media(room, "three.bin", b"3")
    show_file(server, room, file)
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
