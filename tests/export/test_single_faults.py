"""One operation on a file fails, anywhere in an export: the error names the file, and the next export completes."""

from __future__ import annotations

import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from stride_async import StrideClient
from stride_async.export import ArchiveError, verify
from stride_async.server import LocalServer
from tests.export.exporting import exported, files_of, media_of, open_in, show_file

if sys.platform == "win32":
    pytest.skip("this system has other calls", allow_module_level=True)
import fcntl

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the names of open files are read from /proc"
)

OPERATIONS = {
    os: ("open", "link", "mkdir", "unlink", "rename", "replace", "fsync", "utime", "stat", "lstat", "scandir"),
    fcntl: ("flock",),
}
NAMES = [*chain.from_iterable(OPERATIONS.values())]
BROKEN = (errno.EIO, errno.ESTALE, errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG)
MOST_PLACES = 12
"""Of each operation in the thorough test, spread over the export."""


class Disk:
    """Counts the operations on files below a folder. One of them fails, as often as there are errors for it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.counts: Counter[str] = Counter()
        self._failing: tuple[str, int, int] | None = None

    @contextmanager
    def watched(self, failing: tuple[str, int, int] | None = None) -> Iterator[None]:
        """Watch until the end of the block. `failing` is an operation, its number counted from 1, and an error."""
        self.counts.clear()
        self._failing = failing
        with pytest.MonkeyPatch.context() as patched:
            for module, names in OPERATIONS.items():
                for name in names:
                    patched.setattr(module, name, self._counted(name, getattr(module, name)))
            yield

    def _counted(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **options: Any) -> Any:
            if args and self._concerns(args[0]):
                self.counts[name] += 1
                if self._failing is not None and self._failing[:2] == (name, self.counts[name]):
                    number = self._failing[2]
                    named = [] if name in {"fsync", "flock", "utime"} else [os.fspath(args[0])]
                    raise OSError(number, os.strerror(number), *named)
            return do(*args, **options)

        return operation

    def _concerns(self, where: Any) -> bool:
        if isinstance(where, str | os.PathLike):
            return Path(where).is_relative_to(self.root)
        descriptor = where if isinstance(where, int) else where.fileno()
        return Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(self.root)


@pytest.fixture
def site(server: LocalServer) -> LocalServer:
    """Return a server with two conversations, one of which shows a file."""
    rooms = [server.add_conversation(f"room {number}") for number in range(2)]
    server.fill(rooms[0], 80)
    show_file(server, rooms[1], "file.bin", b"body")
    return server


async def check_fault(client: StrideClient, folder: Path, fault: tuple[str, int, int], digest: str) -> bool:
    """Export with a fault, then without one. Return whether the export came as far as the fault."""
    error, disk = None, Disk(folder)
    with disk.watched(fault):
        try:
            await exported(client, folder / "a")
        except (OSError, ArchiveError) as raised:
            error = raised
    if isinstance(error, OSError):
        assert str(error.filename).startswith(str(folder)), fault
    assert set() == open_in(folder), fault
    if fault[0] != "unlink":
        assert not any(Path(name).name.startswith(".tmp-") for name in files_of(folder)), fault

    summary = await exported(client, folder / "a")

    assert (digest, 0) == (summary.content_digest, summary.failures), fault
    assert (await verify(folder / "a")).ok, fault
    assert 1 == len(media_of(folder / "a")), fault
    return disk.counts[fault[0]] >= fault[1]


async def counted(client: StrideClient, folder: Path) -> tuple[Counter[str], str]:
    """Return how often an export does each operation, and the content digest."""
    disk = Disk(folder)
    with disk.watched():
        digest = (await exported(client, folder / "a")).content_digest
    return disk.counts, digest


@pytest.mark.parametrize("name", NAMES)
async def test_an_export_survives_a_fault_in_the_middle(site, client, tmp_path, name):
    """A disk that is broken for one operation costs nothing but another run."""
    counts, digest = await counted(client, tmp_path / "whole")
    if counts[name] == 0:
        assert name in {"rename", "replace", "utime"}
        return

    assert await check_fault(client, tmp_path / "faulty", (name, 1 + counts[name] // 2, errno.EIO), digest)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_an_export_survives_any_fault_anywhere(site, client, tmp_path, name):
    """Whatever the error is, and whichever operation it is that fails."""
    counts, digest = await counted(client, tmp_path / "whole")
    step = max(1, counts[name] // MOST_PLACES)
    for number in range(1, counts[name] + 1, step):
        for error in BROKEN if number == 1 else BROKEN[:1]:
            reached = await check_fault(client, tmp_path / f"{number}-{error}", (name, number, error), digest)
            assert reached or number > 1
