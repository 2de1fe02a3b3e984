"""Ctrl-C in a command that waits."""

import asyncio
import signal
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of processes")

# A coroutine whose cleanup never ends.
STUBBORN = """
import asyncio
from stride_async._cli import loop

async def wait_forever():
    print("begun", flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except (asyncio.CancelledError, KeyboardInterrupt):
            print("cancelled", flush=True)

loop.run(wait_forever())
"""


async def test_a_second_ctrl_c_ends_a_command_that_does_not_end_by_itself():
    """No cleanup, and nothing that was lost on the way to it, can keep the process."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STUBBORN, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None

    lines = []
    for _ in range(2):
        lines.append(await process.stdout.readline())
        process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        await process.wait()

    assert [b"begun\n", b"cancelled\n"] == lines
    assert -signal.SIGINT == process.returncode
