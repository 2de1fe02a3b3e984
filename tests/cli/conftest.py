"""Run the command against a test's local server, in this process, in one of its own, or on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
from click.testing import CliRunner, Result

from stride_async import Settings
from stride_async._cli import connect
from stride_async._cli.main import stride
from stride_async.server import LocalServer
from tests.conftest import variables_of

Run = Callable[..., Awaitable[Result]]
Started = Callable[..., Awaitable[asyncio.subprocess.Process]]

STRIDE = (sys.executable, "-m", "stride_async")
NOTHING_SET = dict.fromkeys(
    ("STRIDE_BASE_URL", "STRIDE_CLOUD_ID", "STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET", "STRIDE_TOKEN", "STRIDE_DEBUG")
)


@pytest.fixture
def environment(server: LocalServer) -> dict[str, str]:
    """Return the variables that a user of the server sets."""
    return variables_of(server)


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command in a thread, while the server responds in this one.

    Keyword arguments change the environment. Retries do not wait.
    """
    monkeypatch.setattr(connect, "Settings", partial(Settings, backoff=0.0))

    async def run(*args: str, input: str | bytes | None = None, **changes: str | None) -> Result:
        variables = NOTHING_SET | environment | changes
        return await asyncio.to_thread(CliRunner().invoke, stride, args, input=input, env=variables)

    return run


@pytest.fixture
async def start(environment: dict[str, str]) -> AsyncIterator[Started]:
    """Return a function that starts the command as a process, which ends with the test at the latest.

    Its keyword arguments are those of `create_subprocess_exec`.
    """
    started: list[asyncio.subprocess.Process] = []
    kept = {name: value for name, value in os.environ.items() if name not in NOTHING_SET}

    async def start(*args: str, **how: object) -> asyncio.subprocess.Process:
        streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": asyncio.subprocess.PIPE}
        streams["stderr"] = asyncio.subprocess.PIPE
        how = {"env": kept | environment, **streams, **how}
        started.append(await asyncio.create_subprocess_exec(*STRIDE, *args, **how))
        return started[-1]

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def on_terminal(
    start: Started, *args: str, asked: bytes = b"", typed: bytes = b"", encoding: str = "utf-8", **how: object
) -> tuple[int | None, str]:
    """Run the command on a terminal and return its exit code and what it shows; `typed` answers what it `asked`."""
    ours, theirs = pty.openpty()
    try:
        process = await start(*args, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, **how)
    finally:
        os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        shown = await asyncio.to_thread(converse, screen.fileno(), asked, typed)
    return await process.wait(), shown.decode(encoding)


def converse(terminal: int, asked: bytes, typed: bytes) -> bytes:
    """Read until the last process has closed the terminal, which Linux reports as EIO."""
    shown = b""
    try:
        while block := os.read(terminal, 65_536):
            shown += block
            if typed and asked in shown:
                os.write(terminal, typed)
                typed = b""
    except OSError:
        pass
    return shown
