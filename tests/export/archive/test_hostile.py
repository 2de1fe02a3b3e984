"""An archive made by someone else: nothing outside of it is touched, whatever its commits say."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import zstandard

from stride_async import StrideClient, StrideError
from stride_async.export import ArchiveError, DamagedArchive, ExportOptions, estimate, read, status, verify
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.commits import Stored
from stride_async.export._archive.layout import CONVERSATIONS
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import events_of, exported, show_file
from tests.export.tampering import mutate, touched, values_for

MUTATIONS = 40


@pytest.fixture
async def site(tmp_path: Path):
    """A server, an archive of its site in two runs, and a folder next to the archive that must not be touched."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    async with LocalServer(rate_limit=None) as server:
        room = server.add_conversation("room", roster=[server.add_user("Ann")])
        server.fill(room, 30, ts="2018-01-31T23:50:00Z")
        show_file(server, room, "a.bin", b"a")
        async with client_of(server) as client:
            await exported(client, tmp_path / "archive")
            server.fill(room, 10, ts="2018-05-01T00:00:00Z")
            await exported(client, tmp_path / "archive")
        yield server


def read_all(folder: Path) -> None:
    """Read everything, without what cannot be decoded."""
    ignored: list[Exception] = []
    archive = read(folder)
    for room in archive.conversations(on_undecodable=ignored.append):
        list(archive.messages(room.id, on_undecodable=ignored.append))
        archive.roster(room.id)
    for media in archive.media():
        assert (folder / "media") in media.path.parents
    list(archive.users(on_undecodable=ignored.append))


async def compare(client: StrideClient, folder: Path) -> None:
    """Compare the archive with the service, unless it is of another site."""
    if read(folder).cloud_id == client.cloud_id:
        await verify(folder, against=client, sample=3)


async def use(server: LocalServer, folder: Path) -> list[Exception]:
    """Do everything that can be done with an archive; return the errors, all of which have names, and the findings."""
    errors: list[Exception] = []

    async def check() -> None:
        errors.extend(DamagedArchive(finding.path) for finding in (await verify(folder)).findings)

    async with client_of(server) as client:
        for step in (
            lambda: asyncio.to_thread(read_all, folder),
            check,
            lambda: asyncio.to_thread(status, folder),
            lambda: compare(client, folder),
            lambda: estimate(client, folder, ExportOptions(rescan=timedelta(days=36_500), media=10)),
            lambda: events_of(client, folder, retry_failed=True),
            lambda: events_of(client, folder),
        ):
            try:
                await step()
            except (ArchiveError, StrideError) as error:
                errors.append(error)
    return errors


def read_strictly(folder: Path) -> None:
    """Read everything, so that whatever cannot be read is raised."""
    archive = read(folder)
    for room in archive.conversations():
        list(archive.raw_messages(room.id))
        archive.roster(room.id)
    list(archive.users())
    for media in archive.media():
        media.open().close()


async def is_found(folder: Path) -> bool:
    """Return whether `verify` finds something wrong."""
    try:
        return not (await verify(folder)).ok
    except ArchiveError:
        return True


@pytest.mark.parametrize(
    ("first", "changes"),
    [(0, 10), *(pytest.param(n, MUTATIONS, marks=pytest.mark.slow) for n in range(10, 970, MUTATIONS))],
)
async def test_no_value_in_an_archive_leads_outside(site, tmp_path, first, changes):
    """Every use of the archive ends with a result or a named error, and touches nothing but the archive.

    What `verify` calls sound can be read.
    """
    original, outside = tmp_path / "archive", tmp_path / "outside"
    for seed in range(first, first + changes):
        copy = tmp_path / "copy"
        shutil.copytree(original, copy)
        change = mutate(copy, Random(seed), values_for(outside))

        if not await is_found(copy):
            read_strictly(copy)
        async with asyncio.timeout(60):
            with touched() as paths:
                await use(site, copy)

        elsewhere = [path for path in paths if path.startswith(str(tmp_path)) and not path.startswith(str(copy))]
        assert [] == elsewhere, (seed, change)
        shutil.rmtree(copy)
    assert ["secret"] == [path.name for path in outside.iterdir()]


LINKED = ["data/conversations/{room}/raw", "data/conversations/{room}/sealed", "data/conversations/{room}/commit"]
LINKED += ["data/conversations/{room}", "data/conversations", "data/users", "data", "runs", "media", "media/sha256"]


@pytest.mark.parametrize("linked", LINKED)
async def test_a_symbolic_link_in_an_archive_is_not_followed(site, tmp_path, linked):
    """The folder behind it stays as it is, even if it looks like the one that the link replaces."""
    archive, outside = tmp_path / "archive", tmp_path / "outside"
    [room] = (path.name for path in (archive / CONVERSATIONS).iterdir())
    folder = archive / linked.format(room=room)
    folder.mkdir(exist_ok=True)
    (folder / "0001-000000-0123456789ab.jsonl").write_text("bait")
    shutil.move(folder, outside / "moved")
    folder.symlink_to(outside / "moved", target_is_directory=True)
    before = sorted(outside.rglob("*"))

    with touched() as paths:
        errors = await use(site, archive)

    assert [] == [path for path in paths if path.startswith(str(outside))]
    assert before == sorted(outside.rglob("*"))
    assert linked.endswith("raw") or errors


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "socket"])
@pytest.mark.parametrize("name", ["archive.json", "commit", "month", "run"])
async def test_only_regular_files_are_opened(site, tmp_path, name, kind):
    """A pipe would block, and a link would lead outside."""
    archive = tmp_path / "archive"
    patterns = {"archive.json": "archive.json", "commit": "data/conversations/*/commit/*2.json"}
    patterns |= {"month": "data/conversations/*/sealed/*/*", "run": "runs/*/picked.json"}
    file = sorted(archive.glob(patterns[name]))[0]
    file.unlink()
    if kind == "link":
        file.symlink_to(tmp_path / "outside/secret")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        os.mknod(file, 0o140600)

    async with asyncio.timeout(20):
        report = await asyncio.gather(verify(archive), return_exceptions=True)
        with touched() as paths:
            await use(site, archive)

    assert isinstance(report[0], ArchiveError) or not report[0].ok
    assert [] == [path for path in paths if path.startswith(str(tmp_path / "outside"))]


@pytest.mark.parametrize("kind", ["folder", "last"])
async def test_a_commit_that_nothing_can_follow_is_named(site, tmp_path, kind):
    """It is not taken for the commit of another writer, whom `verify` and an export would wait for."""
    archive = tmp_path / "archive"
    month = sorted(archive.glob("data/conversations/*/sealed/*/*"))[0]
    month.write_bytes(b"")
    newest = sorted(archive.glob("data/conversations/*/commit/*"))[-1]
    if kind == "folder":
        following = newest.with_name(f"{int(newest.stem) + 1:08d}.json")
        following.mkdir()
    else:
        content = json.loads(newest.read_bytes())
        prev = hashlib.sha256(newest.read_bytes()).hexdigest()
        following = newest.with_name("99999999.json")
        following.write_text(json.dumps({**content, "n": 99_999_999, "after": content["n"], "prev": prev, "ops": []}))

    async with asyncio.timeout(20):
        report = await verify(archive)
        errors = await use(site, archive)

    assert {path.relative_to(archive).as_posix() for path in (month, following)} & {f.path for f in report.findings}
    assert {DamagedArchive} == set(map(type, errors))
    assert following == sorted(following.parent.iterdir())[-1]


@pytest.mark.parametrize("kind", ["pipe", "folder", "note"])
@pytest.mark.parametrize("suffix", ["", ".part", ".part.json"])
async def test_only_a_regular_file_is_taken_for_an_unfinished_download(site, tmp_path, suffix, kind):
    """A pipe is not opened. A note that names what no header can carry is ignored."""
    archive = tmp_path / "archive"
    [body] = (file for file in (archive / "media").rglob("*") if file.is_file())
    body.unlink()
    [(room, conversation)] = site.truth().conversations.items()
    [media] = conversation.media
    file = archive / "media/part" / room / f"{media}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.write_text(json.dumps({"media_id": media, "validator": "a\r\nb: c", "size": 1}))
        file.with_name(f"{media}.part").write_bytes(b"b")

    async with asyncio.timeout(20):
        await use(site, archive)

    assert body.exists() == (kind == "note")


TOO_DEEP = b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}\n"


async def test_records_that_are_nested_too_deeply_are_found(site, tmp_path):
    """There is a finding for each, and every use of the archive ends with a result or a named error."""
    archive = tmp_path / "archive"
    run = sorted((archive / "runs").glob("*/"))[0]
    records = {run / name for name in ("settings.json", "picked.json", "heads.json", "finished.json", "failures.jsonl")}
    for record in records:
        record.write_bytes(TOO_DEEP)

    findings = (await verify(archive)).findings
    await use(site, archive)

    assert records <= {archive / finding.path for finding in findings}


def test_a_head_that_is_nested_too_deeply_is_refused(tmp_path):
    """The folder is not taken for an archive."""
    archive = Archive.open_or_create(tmp_path / "archive", "site")
    (archive.files.root / "archive.json").write_bytes(TOO_DEEP)

    with pytest.raises(ArchiveError, match=r"archive\.json cannot be decoded"):
        Archive.open(tmp_path / "archive")


@pytest.mark.parametrize("name", [each for each in LINKED if not each.endswith("raw")])
async def test_what_is_not_a_folder_is_named(site, tmp_path, name):
    """An export into the archive ends with a named error, or completes all that needs nothing in that folder."""
    archive = tmp_path / "archive"
    [room] = (path.name for path in (archive / CONVERSATIONS).iterdir())
    folder = archive / name.format(room=room)
    shutil.rmtree(folder)
    folder.write_bytes(b"x")

    async with asyncio.timeout(20):
        found = await is_found(archive)
        await use(site, archive)

    assert found or name == "runs"  # Records of runs can be deleted, which `verify` only mentions.
    assert not folder.is_dir()


async def test_foreign_names_and_deep_folders_are_not_part_of_an_archive(site, tmp_path):
    """They are listed as such, up to a bounded depth, and change nothing."""
    archive = tmp_path / "archive"
    for foreign in (b"data/conversations/\xff\n", b"runs/\xff", b"data/conversations/UP_PER"):
        (archive / os.fsdecode(foreign) / "commit").mkdir(parents=True)
        (archive / os.fsdecode(foreign) / "commit/00000001.json").write_bytes(b"{}")
        (archive / os.fsdecode(foreign) / "picked.json").write_bytes(b"{}")
    with nested_folders(archive, sys.getrecursionlimit() + 200):
        size = status(archive).size_bytes
        errors = await use(site, archive)
        report = await verify(archive)

    assert ([], True) == (errors, report.ok)
    [foreign] = [clause for clause in report.not_known if "not part of an archive" in clause]
    assert "d/d/d/d/d/d," in foreign
    assert "UP_PER" in foreign or " more" in foreign
    assert size > sys.getrecursionlimit()


@contextmanager
def nested_folders(folder: Path, depth: int) -> Iterator[None]:
    """Make folders in each other, deeper than a recursive function could follow, and remove them in the end.

    The clean-up of pytest is such a function.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        descriptor = reopened("d", descriptor)
    try:
        yield
    finally:
        for _ in range(depth):
            descriptor = reopened("..", descriptor)
            os.rmdir("d", dir_fd=descriptor)
        os.close(descriptor)


def reopened(name: str, descriptor: int) -> int:
    """Open a folder that is next to an open one, which is closed."""
    try:
        return os.open(name, os.O_RDONLY, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def bomb(tmp_path: Path, content: bytes, rows: int) -> tuple[Archive, Stored]:
    """An archive with one month whose file decompresses to a hundred times the content."""
    archive = Archive.open_or_create(tmp_path / "archive", "site")
    compressor = zstandard.ZstdCompressor().compressobj()
    packed = b"".join(compressor.compress(content) for _ in range(100)) + compressor.flush()
    path = f"{CONVERSATIONS}/c/sealed/2018-01/r1-0123456789ab.jsonl.zst"
    archive.files.create(path, packed)
    return archive, Stored(path, "0" * 64, rows, hashlib.sha256(packed).hexdigest())


@pytest.mark.parametrize(
    ("content", "rows", "message"),
    [(b" " * 1_000_000, 1, "line of more than"), (b"{}\n" * 300_000, 3, "not what was committed")],
)
def test_a_compressed_bomb_is_a_damaged_file_in_bounded_memory(tmp_path, content, rows, message):
    """It is refused at its longest line, or at the first row beyond those that the commit counts."""
    archive, stored = bomb(tmp_path, content, rows)
    tracemalloc.start()

    with pytest.raises(DamagedArchive, match=message):
        for _ in archive.checked_lines(stored):
            pass

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 140_000_000 > peak


def test_a_large_head_is_not_read(tmp_path):
    """The head of an archive takes a few hundred bytes."""
    archive = Archive.open_or_create(tmp_path / "archive", "site")
    (archive.files.root / "archive.json").write_bytes(b" " * 1_000_000)

    with pytest.raises(ArchiveError):
        Archive.open(tmp_path / "archive")


def test_files_of_an_export_that_just_began_are_not_taken_for_strays(tmp_path, monkeypatch):
    """The clock of the file system may be hours behind the one of this machine."""
    archive = Archive.open_or_create(tmp_path / "archive", "site")
    living = archive.files.gather("data/x", [b"x"])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 5 * 3600)

    archive.acquire_lease()

    assert living.exists()
    archive.release()
