"""Test `stride export` on a disk that is really full, and on one that is read-only.

The tests mount a small file system in a namespace of their own, where that is allowed.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest

from stride_async.server import LocalServer
from tests.cli.conftest import NOTHING_SET, STRIDE

MAY_NOT_MOUNT = (
    shutil.which("unshare") is None
    or subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    ).returncode
    != 0
)
pytestmark = pytest.mark.skipif(MAY_NOT_MOUNT, reason="a file system of our own cannot be mounted here")


@attrs.frozen
class Finished:
    """How a process ended, and what it printed."""

    code: int
    out: str
    err: str


class SmallDisk:
    """A shell that has a file system of 200 kB at `folder`, invisible to other processes."""

    def __init__(self, shell: asyncio.subprocess.Process, scratch: Path) -> None:
        self._shell = shell
        self._scratch = scratch
        self.folder = scratch / "disk"

    async def run(self, *args: str) -> Finished:
        """Run a command in the shell."""
        out, err = self._scratch / "out", self._scratch / "err"
        line = f"{shlex.join(args)} >{shlex.quote(str(out))} 2>{shlex.quote(str(err))} </dev/null; echo $?\n"
        self._shell.stdin.write(line.encode())
        code = int(await asyncio.wait_for(self._shell.stdout.readline(), 60))
        return Finished(code, out.read_text(), err.read_text())

    async def stride(self, *args: str) -> Finished:
        """Run `stride` in the shell."""
        return await self.run(*STRIDE, *args)

    async def remount(self, options: str) -> None:
        """Mount the file system again, with another size or read-only."""
        assert 0 == (await self.run("mount", "-o", f"remount,{options}", str(self.folder))).code

    async def digests(self) -> str:
        """Return the path and digest of every file."""
        return (await self.run("find", str(self.folder), "-type", "f", "-exec", "sha256sum", "{}", "+")).out

    async def strays(self) -> str:
        """Return the temporary files that are left."""
        return (await self.run("find", str(self.folder), "-name", ".tmp-*")).out


@pytest.fixture
async def disk(environment: dict[str, str], tmp_path: Path) -> AsyncIterator[SmallDisk]:
    """Mount a small disk for a user of the server."""
    kept = {name: value for name, value in os.environ.items() if name not in NOTHING_SET}
    pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    shell = await asyncio.create_subprocess_exec("unshare", "-rm", "sh", env=kept | environment, **pipes)
    disk = SmallDisk(shell, tmp_path)
    disk.folder.mkdir()
    assert 0 == (await disk.run("mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk.folder))).code
    yield disk
    shell.stdin.close()
    await asyncio.wait_for(shell.wait(), 20)


@pytest.fixture
def much(server: LocalServer) -> list[str]:
    """Add three rooms with more messages than fit on the disk."""
    rooms = [server.add_conversation(f"room {number}") for number in range(3)]
    for room in rooms:
        server.fill(room, 1500)
    return rooms


async def test_a_full_disk_is_reported_and_the_same_command_resumes(disk: SmallDisk, much: list[str]):
    """No temporary file is left, and with more space the archive becomes complete."""
    site = str(disk.folder / "site")

    full = await disk.stride("export", "-o", site)
    still = await disk.stride("export", "-o", site)
    strays = await disk.strays()
    await disk.remount("size=64m")
    resumed = await disk.stride("export", "-o", site)
    verified = await disk.stride("verify", site)

    assert (1, 1, "") == (full.code, still.code, strays)
    for error in (full.err, still.err.splitlines(keepends=True)[-1]):
        assert error.startswith(f"Error: Cannot write the archive: {site}/")
        assert ": No space left on device. What was written is kept" in error
    assert "Resuming the interrupted run of" in still.err
    assert 0 == resumed.code, resumed.err
    assert "Complete" in resumed.err
    assert "4,500 messages" in resumed.err
    assert (0, "") == (verified.code, await disk.strays()), verified.err


async def test_a_read_only_disk_is_reported_and_nothing_changes(disk: SmallDisk, much: list[str]):
    """No new archive is begun; a complete one can still be read and verified."""
    site = str(disk.folder / "site")
    await disk.remount("size=64m")
    await disk.stride("export", "-o", site)
    before = await disk.digests()
    await disk.remount("ro")

    begun = await disk.stride("export", "-o", str(disk.folder / "new"))
    updated = await disk.stride("export", "-o", site)
    verified = await disk.stride("verify", site)

    assert (2, 2) == (begun.code, updated.code)
    for finished in (begun, updated):
        assert 1 == len(finished.err.splitlines()), finished.err
        assert "Read-only file system" in finished.err
        assert "again" not in finished.err
    assert before == await disk.digests()
    assert 0 == verified.code, verified.err
