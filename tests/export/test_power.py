"""A loss of power takes only what was not durable yet, and nothing that an older commit relies on."""

from __future__ import annotations

import os
import random
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from stride_async.export import status, verify
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported, fresh_digest, show_file

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the names of open files are read from /proc"
)


@attrs.define(eq=False)
class File:
    """What of a file is durable. None means that not even its first byte is."""

    durable: bytes | None = None


# By name; None is a folder.
Entries = dict[str, "File | None"]


class Disk:
    """Watches what a process does to a folder, and knows what a loss of power could leave of it at any instant.

    The content of a file is durable as of its last fsync, its name as of the last fsync of its folder. Anything that is
    not durable may be there or not, each piece on its own.
    """

    def __init__(self, root: Path, rng: random.Random) -> None:
        self.root = root
        self.steps = 0
        self.at_step: Callable[[], None] = lambda: None
        self._rng = rng
        self._leaving = False
        self._lock = threading.RLock()
        self._files: dict[int, File] = {}
        self._entries: dict[Path, Entries] = {root: {}}

    @contextmanager
    def watched(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Watch until the end of the block.

        Other operations, such as renaming over, must not happen to committed files.
        """
        with monkeypatch.context() as patched:
            for name in ("link", "mkdir"):
                patched.setattr(os, name, self._step(getattr(os, name)))
            for name in ("unlink", "replace"):
                patched.setattr(os, name, self._step(getattr(os, name), lost=-1))
            patched.setattr(os, "fsync", self._step(self._fsync))
            yield

    def _step(self, do: Callable[..., Any], lost: int | None = None) -> Callable[..., Any]:
        """Count a call. `lost` is the index of the argument whose name goes away."""

        def step(*args: Any, **options: Any) -> Any:
            with self._lock:
                if not self._leaving:
                    self.steps += 1
                    self.at_step()
                    if lost is not None:
                        self._forget(Path(args[lost]))
                return do(*args, **options)

        return step

    def _forget(self, path: Path) -> None:
        """Forget a file that loses its last name, because its inode number may be used again."""
        if path.is_file() and path.stat().st_nlink == 1:
            self._files.pop(path.stat().st_ino, None)

    def _fsync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._entries[path] = self._listing(path)
        else:
            self._file(path).durable = path.read_bytes()

    def _listing(self, folder: Path) -> Entries:
        return {each.name: None if each.is_dir() else self._file(each) for each in folder.iterdir()}

    def _file(self, path: Path) -> File:
        return self._files.setdefault(path.stat().st_ino, File())

    def leave(self, target: Path) -> Path:
        """Copy what a loss of power could leave now to a new folder."""
        with self._lock:
            self._leaving = True
            self._leave(self.root, target)
            self._leaving = False
        return target

    def _leave(self, folder: Path, target: Path) -> None:
        target.mkdir()
        durable, now = self._entries.get(folder, {}), self._listing(folder) if folder.exists() else {}
        for name in durable.keys() | now.keys():
            changed = name not in durable or name not in now or durable[name] is not now[name]
            picked = self._rng.choice((durable, now)) if changed else now
            if name not in picked:
                continue
            file = picked[name]
            if file is None:
                self._leave(folder / name, target / name)
            else:
                (target / name).write_bytes(self._content(file, folder / name, known=picked is now))

    def _content(self, file: File, path: Path, *, known: bool) -> bytes:
        durable, real = file.durable, path.read_bytes() if known else b""
        if durable is None:
            return real[: self._rng.randint(0, len(real))]
        return durable + real[len(durable) : self._rng.randint(len(durable), max(len(real), len(durable)))]


def furnish(server: LocalServer) -> list[str]:
    rooms = [server.add_conversation(f"room {number}") for number in range(3)]
    for number, room in enumerate(rooms):
        for month in range(1, 4):
            server.fill(room, 60 * number + 30, ts=f"2018-0{month}-27T23:50:00Z")
        show_file(server, room, "file.bin", room.encode() * 100)
    return rooms


def change(server: LocalServer, rooms: list[str]) -> None:
    ids = server.fill(rooms[0], 20, ts="2018-05-31T23:59:40Z")
    server.edit_message(rooms[0], ids[3], "edited")
    server.delete_message(rooms[0], ids[5])
    show_file(server, rooms[1], "late.bin", b"late")


@pytest.mark.parametrize("seed", range(2))
async def test_an_archive_is_sound_and_can_be_completed_after_any_loss_of_power(
    server: LocalServer, client, tmp_path, monkeypatch, seed
):
    """This holds in a first export and in an update: no commit names a file that is missing."""
    monkeypatch.setattr("stride_async.export._fetch.history.GROUP_PAGES", 1)
    rng = random.Random(seed)
    archive = tmp_path / "archive"
    archive.mkdir()
    disk = Disk(archive, rng)
    copies: list[Path] = []

    def sometimes() -> None:
        if rng.random() < 0.02:
            copies.append(disk.leave(tmp_path / f"copy {len(copies)}"))

    disk.at_step = sometimes
    rooms = furnish(server)
    async with client_of(server, page_size=20) as small:
        with disk.watched(monkeypatch):
            first = await exported(small, archive)
            done = disk.leave(tmp_path / "done")
            change(server, rooms)
            await exported(small, archive)
        updated = disk.leave(tmp_path / "updated")
    digest = await fresh_digest(server, tmp_path / "fresh")

    assert 3 < len(copies) < disk.steps
    assert () == (await verify(done)).findings
    assert () == (await verify(updated)).findings
    assert first.messages == status(done).messages
    monkeypatch.setattr("stride_async.export._archive.run_record.CONTINUED_WITHIN", 0.0)
    for each in copies:
        if (each / "archive.json").exists():
            # Unfinished work may be found, damage may not.
            assert [] == [found for found in (await verify(each)).findings if found.remedy != "run again"]
        again = await exported(client, each)
        assert (digest, 0) == (again.content_digest, again.failures)
        assert () == (await verify(each)).findings
