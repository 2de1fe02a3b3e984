"""Rules for every format: whatever happens while it is written, and wherever the archive comes from."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import aclosing, closing
from random import Random

import pytest

from stride_async.document import doc, mention, paragraph, text
from stride_async.export import ArchiveError, DamagedArchive, ExportOptions, PagesFetched, export, read
from stride_async.export._archive.layout import CONVERSATIONS
from stride_async.export.formats import convert, seed_of
from stride_async.export.formats._convert import FORMATS
from stride_async.export.formats._database import database_errors
from stride_async.server import LocalServer
from tests.export.exporting import exported, files_of, show_file
from tests.export.tampering import mutate, mutated, places, rewrite, touched, values_for
from tests.formats.archives import fill_site, snapshot
from tests.formats.converting import Converter

EVERY_FORMAT = sorted(FORMATS)
FOLDERS = [format for format in EVERY_FORMAT if FORMATS[format].is_folder]
NOTES = {"out/parts.json"}
"""Files that say what an update is about to change."""
KILLS = 3
ALL_KILLS = 10_000
MEGABYTE = 1_000_000
MUTATIONS = 6


@pytest.fixture(scope="module")
def converter():
    with Converter() as converter:
        yield converter


@pytest.fixture(scope="module")
def elsewhere():
    """A process in another time zone and language, in which strings have other hashes."""
    with Converter(TZ="Pacific/Kiritimati", LANG="tr_TR.UTF-8", LC_ALL="C", PYTHONHASHSEED="4711") as converter:
        yield converter


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_time_zone_locale_and_hashes_make_no_difference(archive, tmp_path, converter, elsewhere, format):
    """Neither do the path of the archive and that of the output, and the archive stays as it is."""
    before = snapshot(archive)
    (tmp_path / "here").mkdir()
    here = converter.convert(archive, format, tmp_path / "here" / "out")
    shutil.copytree(archive, tmp_path / "moved" / "archive")
    there = elsewhere.convert(tmp_path / "moved" / "archive", format, tmp_path / "there" / "out")

    assert ("", "") == (here.error, there.error)
    assert here.digest == there.digest
    assert files_of(tmp_path / "here") == files_of(tmp_path / "there")
    assert before == snapshot(archive)


@pytest.mark.parametrize("most", [KILLS, pytest.param(ALL_KILLS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_a_conversion_that_is_killed_leaves_nothing_or_everything(archive, tmp_path, converter, format, most):
    """Whenever it is killed, there is no output or a complete one, and the next conversion leaves no trace of it."""
    place = tmp_path / "out"
    place.mkdir()
    out = place / "out"
    complete = converter.convert(archive, format, out)
    expected = files_of(place)
    moments = Random(format).sample(range(1, complete.touches + 1), min(most, complete.touches))

    for moment in moments:
        shutil.rmtree(place)
        place.mkdir()
        assert converter.convert(archive, format, out, kill_at=moment).killed
        if out.exists():
            assert {**expected, **_output(place)} == expected, f"killed at {moment}"
        assert "" == converter.convert(archive, format, out).error
        assert expected == files_of(place)
        assert not [path for path in place.iterdir() if path.name.startswith(".")]


def _output(place):
    return {name: content for name, content in files_of(place).items() if name.split("/")[0] == "out"}


@pytest.mark.parametrize("most", [KILLS, pytest.param(ALL_KILLS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_an_update_that_is_killed_is_finished_by_the_next(
    server, client, archive, tmp_path, converter, format, most
):
    """A file stays as it was until the new one is complete. Of a folder, each file is complete at every moment."""
    place = tmp_path / "out"
    place.mkdir()
    out = place / "out"
    converter.convert(archive, format, out)
    shutil.copytree(place, tmp_path / "before")
    before = _output(place)
    await change(server)
    await exported(client, archive)
    complete = converter.convert(archive, format, out)
    expected = files_of(place)
    moments = Random(format).sample(range(1, complete.touches + 1), min(most, complete.touches))

    assert before != _output(place)
    for moment in moments:
        shutil.rmtree(place)
        shutil.copytree(tmp_path / "before", place)
        assert converter.convert(archive, format, out, kill_at=moment).killed
        for name, content in _output(place).items():
            if name in NOTES:
                assert json.loads(content)
                continue
            assert content in (before.get(name), expected.get(name)) or ".tmp-" in name, f"{name}, killed at {moment}"
        assert "" == converter.convert(archive, format, out).error
        assert expected == files_of(place)
        assert not [path for path in place.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("format", FOLDERS)
async def test_a_killed_conversion_with_other_options_leaves_nothing_that_is_taken_for_current(
    archive, tmp_path, converter, format
):
    """The next conversion with the first options equals the first one."""
    place = tmp_path / "out"
    place.mkdir()
    out = place / "out"
    converter.convert(archive, format, out)
    expected = files_of(place)
    complete = converter.convert(archive, format, out, kind="private")

    for moment in Random(format).sample(range(1, complete.touches + 1), KILLS):
        converter.convert(archive, format, out)
        assert converter.convert(archive, format, out, kill_at=moment, kind="private").killed
        assert "" == converter.convert(archive, format, out).error
        assert expected == files_of(place)


async def change(server):
    """Send, edit and delete messages, add a person, a conversation and a file, and change a roster."""
    rooms = list(server.truth().conversations)
    eve = server.add_user("Eve Evans")
    server.set_roster(rooms[1], [eve])
    server.fill(rooms[1], 3, sender_id=eve, ts="2018-09-01T00:00:00Z")
    newest = [message["id"] for message in server.messages(rooms[0])]
    server.edit_message(rooms[0], newest[-1], doc(paragraph(mention(eve, "@Eve"), text(" edited"))).to_json())
    server.delete_message(rooms[0], newest[-2])
    server.fill(server.add_conversation("new room", roster=[eve]), 4)
    show_file(server, rooms[0], "later.bin", b"later")


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_an_update_equals_a_fresh_conversion(server, client, archive, tmp_path, format):
    """That holds for the output, for the report, and for what changes back."""
    convert(archive, format, tmp_path / "one" / "out")
    shutil.copytree(archive, tmp_path / "old")
    await change(server)
    await exported(client, archive)

    updated = convert(archive, format, tmp_path / "one" / "out")
    fresh = convert(archive, format, tmp_path / "two" / "out")

    assert fresh == updated
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    convert(tmp_path / "old", format, tmp_path / "one" / "out")
    convert(tmp_path / "old", format, tmp_path / "three" / "out")
    assert files_of(tmp_path / "three") == files_of(tmp_path / "one")


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_a_full_disk_leaves_nothing_behind(archive, tmp_path, converter, format):
    """The error is one of the system, and what was there before stays."""
    place = tmp_path / "out"
    place.mkdir()

    ended = converter.convert(archive, format, place / "out", largest_file=2_000)

    assert "OSError" in ended.error
    assert [] == list(place.iterdir())


@pytest.mark.parametrize("format", ["html", "mattermost", "sqlite"])
async def test_a_database_without_room_is_an_error_of_the_system(archive, tmp_path, monkeypatch, format):
    """The formats that need a database, also a temporary one, raise the error that a full disk causes, and close it."""
    connect = sqlite3.connect
    databases = []

    def small(*args, **how):
        databases.append(connect(*args, **how))
        databases[-1].execute("PRAGMA max_page_count = 2")
        return databases[-1]

    monkeypatch.setattr(sqlite3, "connect", small)

    with pytest.raises(OSError, match="full") as caught:
        convert(archive, format, tmp_path / "out")

    assert errno.ENOSPC == caught.value.errno
    assert ["site"] == [path.name for path in tmp_path.iterdir()]
    for database in databases:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            database.execute("SELECT 1")


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_a_conversion_locks_files_as_nfs_demands(archive, tmp_path, monkeypatch, format):
    """A file must be open for writing if the lock is not shared, and what a kill has left is still removed."""
    flock = fcntl.flock

    def flock_of_nfs(file, operation):
        is_file = stat.S_ISREG(os.fstat(file if isinstance(file, int) else file.fileno()).st_mode)
        if is_file and operation & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock_of_nfs)
    place = tmp_path / "place"
    place.mkdir()
    (place / ".out.tmp-0123456789abcdef").touch()

    convert(archive, format, place / "out")

    assert [] == [path.name for path in place.iterdir() if path.name.startswith(".")]


async def test_what_the_conversion_of_another_person_has_left_stays(archive, tmp_path, monkeypatch):
    """In a shared folder, it cannot be opened for writing, and the conversion goes on."""
    place = tmp_path / "place"
    place.mkdir()
    (place / ".out.tmp-0123456789abcdef").touch()
    opened = os.open

    def open_own(path, *args, **options):
        if os.fspath(path).endswith("0123456789abcdef"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, *args, **options)

    monkeypatch.setattr(os, "open", open_own)

    convert(archive, "sqlite", place / "out")

    assert [".out.tmp-0123456789abcdef"] == [path.name for path in place.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_a_disk_that_cannot_lock_leaves_nothing_behind(archive, tmp_path, monkeypatch, format):
    """The error names what could not be locked."""
    flock = fcntl.flock

    def broken(file, operation):
        if operation & fcntl.LOCK_EX:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", broken)

    with pytest.raises(OSError, match=r"Input/output error: '.*out\.tmp-"):
        convert(archive, format, tmp_path / "out")

    assert ["site"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("kind", [sqlite3.OperationalError, sqlite3.DatabaseError])
def test_a_database_that_cannot_be_read_back_is_an_error_of_the_system(tmp_path, kind):
    """SQLite calls it malformed."""
    with pytest.raises(OSError, match=r"malformed.*out"), database_errors(tmp_path / "out"):
        raise kind("database disk image is malformed")


async def test_a_database_needs_no_locks(archive, tmp_path):
    """Some file systems offer none; where they do, a lock of another process does not matter."""
    locking = "import fcntl, sys; file = open(sys.argv[1], 'r+b'); fcntl.lockf(file, 2); print(); sys.stdin.read()"
    others = []

    def lock_output(_):
        if not others:
            (place,) = tmp_path.glob(".out.tmp-*")
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            others.append(subprocess.Popen([sys.executable, "-c", locking, place], **pipes))
            others[0].stdout.readline()

    try:
        convert(archive, "sqlite", tmp_path / "out", progress=lock_output)
    finally:
        for other in others:
            other.communicate()

    with closing(sqlite3.connect(tmp_path / "out")) as database:
        assert (3,) == database.execute("SELECT count(*) FROM conversations").fetchone()


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_a_conversion_can_be_stopped_by_its_progress(archive, tmp_path, format):
    """What `progress` raises reaches the caller as it is, and nothing is left behind."""

    def stop(now):
        if now.conversations:
            raise OSError("stop")

    with pytest.raises(OSError, match=r"^stop$"):
        convert(archive, format, tmp_path / "out", progress=stop)

    assert ["site"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.slow
@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_memory_does_not_grow_with_the_archive(server, client, tmp_path, converter, format):
    """30 000 messages take at most 60 MB more than 1 000."""
    peaks = []
    for total in (1_000, 29_000):
        for number in range(20):
            server.fill(server.add_conversation(f"room {total} {number}"), total // 20)
        await exported(client, tmp_path / "site")
        ended = converter.convert(tmp_path / "site", format, tmp_path / "out")
        assert "" == ended.error
        peaks.append(ended.peak)

    assert peaks[1] - peaks[0] <= 60 * MEGABYTE


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_hostile_names_stay_inside(server, client, tmp_path, format):
    """Names of conversations, people and files are data: nothing is written outside of the output."""
    names = [
        "../../escape",
        "/etc/passwd",
        "con",
        "a\x00b",
        "\u202egnp.exe",
        "<script>alert(1)</script>",
        " ",
        "x" * 255,
    ]
    for name in names:
        room = server.add_conversation(name or "-", roster=[server.add_user(name)])
        show_file(server, room, name, name.encode())
        server.add_message(room, doc(paragraph(text(name))).to_json())
    await exported(client, tmp_path / "site")
    before = {path.name for path in tmp_path.iterdir()}

    with touched() as paths:
        convert(tmp_path / "site", format, tmp_path / "new" / "out")

    inside = (str(tmp_path / "site"), str(tmp_path / "new"))
    written = [path for path in paths if path.startswith(str(tmp_path)) and not path.startswith(inside)]
    assert [] == [path for path in written if path != str(tmp_path)]
    assert before | {"new"} == {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path.parent / "escape").exists()


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_a_body_that_is_a_link_is_not_followed(archive, tmp_path, format):
    """It would carry a file of this machine into the output."""
    (tmp_path / "secret").write_text("body")
    [body] = [path for path in (archive / "media/sha256").rglob("*") if path.is_file()]
    body.unlink()
    body.symlink_to(tmp_path / "secret")

    with pytest.raises(DamagedArchive, match="symbolic link"):
        convert(archive, format, tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_a_missing_body_is_counted(archive, tmp_path, format):
    """The message that shows it is carried over."""
    [body] = [path for path in (archive / "media/sha256").rglob("*") if path.is_file()]
    body.unlink()

    report = convert(archive, format, tmp_path / "out")

    assert 127 == report.messages
    assert 0 == report.files
    assert ["file not held"] == [loss.kind for loss in report.lost if loss.kind.startswith("file")]


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_malformed_messages_of_an_unfinished_export_are_converted_twice(server, client, tmp_path, format):
    """Some have no time, or half a surrogate pair in an id. The second conversion changes nothing."""
    room = server.add_conversation("general")
    server.fill(room, 200)
    page = await client.request("GET", f"/site/{client.cloud_id}/conversation/{room}/message")
    first, second, third, fourth = page["messages"][:4]
    first["ts"] = "yesterday"
    second["id"] = "\ud800<"
    third["sender"] = {"id": "\udc00"}
    fourth["body"] = fourth["text"] = 7
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page).encode(), times=1)
    async with aclosing(export(client, tmp_path / "site", ExportOptions())) as events:
        async for event in events:
            if isinstance(event, PagesFetched):
                break

    report = convert(tmp_path / "site", format, tmp_path / "out")
    before = files_of(tmp_path)

    assert report == convert(tmp_path / "site", format, tmp_path / "out")
    assert before == files_of(tmp_path)
    assert ("conversation unfinished", 1) in [(loss.kind, loss.count) for loss in report.lost]


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(MUTATIONS, 300, MUTATIONS))]
)
async def test_no_value_in_an_archive_leads_outside(archive, tmp_path, first):
    """A conversion of a changed archive ends with a report or a named error, and touches nothing else."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    for number in range(first, first + MUTATIONS):
        copy = tmp_path / "copy"
        shutil.copytree(archive, copy)
        changed = mutate(copy, Random(number), values_for(outside))
        for format in EVERY_FORMAT:
            with touched() as paths:
                try:
                    convert(copy, format, tmp_path / "out" / format)
                except ArchiveError:
                    assert not (tmp_path / "out" / format).exists(), changed
            assert [] == [path for path in paths if path.startswith(str(outside))], (format, changed)
        shutil.rmtree(copy)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


@pytest.mark.parametrize("value", [None, 0.5, "", ["x"], {"id": []}], ids=repr)
async def test_any_value_anywhere_in_a_commit_converts_or_is_a_named_error(server, client, tmp_path, value):
    """Every value of the commit of a room is replaced, and what a seed then has is what the local server takes."""
    room = server.add_conversation("general", roster=[server.add_user("Ann")])
    server.fill(room, 3)
    show_file(server, room, "plan.txt", b"body")
    await exported(client, tmp_path / "site")
    (folder,) = (tmp_path / "site").glob(f"{CONVERSATIONS}/*/commit")
    numbers = range(len(list(folder.iterdir())))
    commits = [json.loads(path.read_bytes()) for path in sorted(folder.iterdir())]
    refused = accepted = 0
    for number in numbers:
        for place in places(commits[number]):
            rewrite(folder, number, mutated(commits[number], place, value))
            try:
                lines = list(seed_of(tmp_path / "site"))
            except ArchiveError:
                refused += 1
            else:
                async with LocalServer(seed=lines, media_root=tmp_path / "site"):
                    accepted += 1
        rewrite(folder, number, commits[number])

    assert refused
    assert accepted


@pytest.mark.parametrize("format", EVERY_FORMAT)
async def test_the_report_says_what_an_archive_proves(server, client, tmp_path, format):
    """It has the verdict of each conversation, and no path, time or name of this machine."""
    rooms = await fill_site(server)
    await exported(client, tmp_path / "site")

    report = convert(tmp_path / "site", format, tmp_path / "out")

    text = (tmp_path / "out.report.json").read_text()
    assert dict.fromkeys(rooms, "complete") == dict(report.verdicts)
    assert read(tmp_path / "site").cloud_id == server.cloud_id
    assert str(tmp_path) not in text
    assert json.loads(text)["archive"] == dict(report.archive)
