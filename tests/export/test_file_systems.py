"""File systems that lack links, locks or syncing, such as FAT, exFAT, SMB and many FUSE ones."""

from __future__ import annotations

import errno
import os
import stat
import sys
from itertools import product
from pathlib import Path

import pytest

from stride_async._files import NamedFile
from stride_async.export import Unprotected, verify
from stride_async.export._archive.archive import Archive
from tests.export.exporting import events_of, exported, fresh_digest, media_of, open_in, show_file

if sys.platform == "win32":
    pytest.skip("this system has other calls", allow_module_level=True)
import fcntl

LINK_ERRORS = [524, errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EMLINK, errno.EXDEV]
LOCK_ERRORS = [524, errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL]
SYNC_ERRORS = [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.ENOSYS]
REAL_FSYNC = os.fsync


def refusing(number: int):
    """Return a function that the system answers with an error."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def fsync_of_files_only(number: int):
    """Return `os.fsync` on a file system that refuses to sync folders."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        REAL_FSYNC(descriptor)

    return fsync


@pytest.fixture
def rooms(server) -> list[str]:
    """Return two rooms with messages and a file each."""
    rooms = [server.add_conversation(f"room {number}") for number in range(2)]
    for room in rooms:
        server.fill(room, 160)
        show_file(server, room, "file.bin", room.encode())
    return rooms


async def check_export(server, client, tmp_path: Path) -> tuple[list[str], str]:
    """Export twice and check the archive; return what was not protected, and the content digest."""
    first = [event.what for event in await events_of(client, tmp_path / "a") if isinstance(event, Unprotected)]
    server.fill(server.add_conversation("new"), 3)
    second = await events_of(client, tmp_path / "a")

    assert first == [event.what for event in second if isinstance(event, Unprotected)]
    assert (await verify(tmp_path / "a")).ok
    assert 2 == len(media_of(tmp_path / "a"))
    assert [] == [path for path in (tmp_path / "a").rglob("*") if path.name.startswith(".tmp-")]
    return first, second[-1].content_digest


@pytest.mark.parametrize("number", LINK_ERRORS)
async def test_files_are_renamed_where_hard_links_are_refused(server, client, rooms, tmp_path, monkeypatch, number):
    """The lease makes that safe, so there is nothing to warn of."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", refusing(number))
        unprotected, digest = await check_export(server, client, tmp_path)

    assert [] == unprotected
    assert await fresh_digest(server, tmp_path / "b") == digest


@pytest.mark.parametrize("number", LOCK_ERRORS)
async def test_an_export_without_locks_warns_once(server, client, rooms, tmp_path, monkeypatch, number):
    """The lease cannot be taken, and its file is closed at the end."""
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", refusing(number))
        unprotected, digest = await check_export(server, client, tmp_path)

    assert ["offers no locks" in what for what in unprotected] == [True]
    assert set() == open_in(tmp_path)
    assert await fresh_digest(server, tmp_path / "b") == digest


@pytest.mark.parametrize(
    ("number", "of"), [*product(SYNC_ERRORS, ["folders", "folders and files"]), (errno.EBADF, "folders")]
)
async def test_an_export_without_syncing_warns_once(server, client, rooms, tmp_path, monkeypatch, number, of):
    """Only a loss of power makes a difference."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync_of_files_only(number) if of == "folders" else refusing(number))
        unprotected, digest = await check_export(server, client, tmp_path)

    assert ["loss of power" in what for what in unprotected] == [True]
    assert await fresh_digest(server, tmp_path / "b") == digest


async def test_a_file_system_may_lack_everything(server, client, rooms, tmp_path, monkeypatch):
    """Each lack is reported once, and setting a time is not needed."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", refusing(errno.EPERM))
        patched.setattr(os, "utime", refusing(errno.EPERM))
        patched.setattr(fcntl, "flock", refusing(errno.ENOTSUP))
        patched.setattr(os, "fsync", refusing(errno.EINVAL))
        unprotected, digest = await check_export(server, client, tmp_path)

    assert 2 == len(unprotected)
    assert await fresh_digest(server, tmp_path / "b") == digest


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("call", ["link", "flock", "fsync", "utime"])
async def test_a_broken_or_full_disk_is_an_error(server, client, rooms, tmp_path, monkeypatch, call, number):
    """Nothing is renamed or skipped instead, nothing stays open, and the next export completes the archive."""
    with monkeypatch.context() as patched:
        patched.setattr(fcntl if call == "flock" else os, call, refusing(number))
        with pytest.raises(OSError, match=os.strerror(number)):
            await exported(client, tmp_path / "a")

    assert set() == open_in(tmp_path)
    assert 2 == (await exported(client, tmp_path / "a")).conversations


async def test_what_a_disk_cannot_read_is_damaged(server, client, rooms, tmp_path, monkeypatch):
    """`verify` names each such file, and `--rescan all` replaces it."""
    digest = (await exported(client, tmp_path / "a")).content_digest
    body = next((tmp_path / "a/media/sha256").rglob("*/*/*"))
    month = next((tmp_path / "a/data/conversations").rglob("*.jsonl.zst"))
    roster = next((tmp_path / "a/data/conversations").glob("*/roster/*"))
    unreadable = {str(path): path.stat().st_ino for path in (body, month, roster)}
    readinto = NamedFile.readinto

    def read_of_disk(file, buffer):
        if unreadable.get(file.name) == os.fstat(file.fileno()).st_ino:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return readinto(file, buffer)

    monkeypatch.setattr(NamedFile, "readinto", read_of_disk)
    findings = (await verify(tmp_path / "a")).findings
    rescanned = await exported(client, tmp_path / "a", rescan="all")

    assert set(unreadable) == {str(tmp_path / "a" / finding.path) for finding in findings}
    assert all("cannot be read: Input/output error" in finding.what for finding in findings)
    assert (digest, 0) == (rescanned.content_digest, rescanned.failures)
    assert (await verify(tmp_path / "a")).ok


async def test_a_taken_name_is_not_overwritten_without_hard_links(tmp_path, monkeypatch):
    """The second writer learns that, and its file is removed."""
    archive = Archive.open_or_create(tmp_path / "a", "site")
    monkeypatch.setattr(os, "link", refusing(errno.EPERM))

    created = [archive.files.create("data/x", data) for data in (b"first", b"second")]

    assert [True, False] == created
    assert b"first" == archive.files.read("data/x")
    assert ["x"] == [path.name for path in (tmp_path / "a/data").iterdir()]
