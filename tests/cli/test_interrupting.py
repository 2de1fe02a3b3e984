"""Ctrl-C in a command that waits."""

import asyncio
import signal
import sys
from contextlib import suppress

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals of processes")

# A coroutine whose cleanup never ends.
STUBBORN = """
import asyncio
from stride_async._cli import loop

async def wait_forever():
    state = "begun"
    while True:
        try:
            print(state, flush=True)
            await asyncio.sleep(3600)
        except (asyncio.CancelledError, KeyboardInterrupt):
            state = "cancelled"

loop.run(wait_forever())
"""


async def test_a_second_ctrl_c_ends_a_command_that_does_not_end_by_itself():
    """No cleanup, and nothing that was lost on the way to it, can keep the process."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", STUBBORN, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None

    lines = []
    try:
        for _ in range(2):
            lines.append(await process.stdout.readline())
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()

    assert [b"begun\n", b"cancelled\n"] == lines
    assert -signal.SIGINT == process.returncode
