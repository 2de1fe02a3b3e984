"""A migration needs as much memory for a long history as for a short one."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tests.export.exporting import exported
from tests.matrix.fake import FakeHomeserver

MORE_BYTES = 6 * 1024 * 1024  # 9,000 messages as the events that they become take 11 MB

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage"),
]

# A process begins with the memory of the one that starts it, which must therefore be small.
_MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


async def test_memory_does_not_grow_with_the_history(server, client, registration, tmp_path):
    """Neither what is sent nor, by a second migration, what is read back is collected."""
    few, many = server.add_conversation("few"), server.add_conversation("many")
    server.fill(few, 1_000)
    server.fill(many, 10_000)
    await exported(client, tmp_path / "site")

    async with FakeHomeserver(registration.token) as homeserver:
        where = (str(tmp_path / "site"), "--homeserver", homeserver.url, "--registration", str(registration.path))
        peaks = [await asyncio.to_thread(_peak, name, *where) for name in ("few", "many", "few", "many")]

    assert [1_000, 10_000] == sorted(len(room.messages()) for room in homeserver.rooms.values())
    assert peaks[1] < peaks[0] + MORE_BYTES, peaks
    assert peaks[3] < peaks[2] + MORE_BYTES, peaks


def _peak(name: str, *where: str) -> int:
    """Move a conversation in a process of its own, and return the most memory that it had, in bytes."""
    command = (sys.executable, "-m", "stride_async", "migrate", "matrix", *where, name)
    measured = subprocess.run((sys.executable, "-c", _MEASURE, *command), stdout=subprocess.PIPE, check=True)
    return int(measured.stdout) * (1 if sys.platform == "darwin" else 1024)
