"""Read stdin line by line while the event loop runs."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from stride_async._cli.exits import CommandError, Exit

_BLOCK_BYTES = 65_536


async def input_lines() -> AsyncIterator[bytes]:
    """Yield the lines of stdin, without their ends, as they arrive; the last one may have no end.

    A thread reads them, since neither a terminal nor a file can be waited for by every event loop. It is a daemon: at
    the end of the program, it may still be waiting for a line that no one types.

    Raises:
        CommandError: stdin cannot be read.
    """
    blocks: asyncio.Queue[bytes | OSError] = asyncio.Queue(maxsize=1)
    loop = asyncio.get_running_loop()

    def put(block: bytes | OSError) -> None:
        asyncio.run_coroutine_threadsafe(blocks.put(block), loop).result()

    threading.Thread(target=_read, args=(sys.stdin.fileno(), put), name="stride stdin", daemon=True).start()
    rest = b""
    while block := await blocks.get():
        if isinstance(block, OSError):
            raise CommandError(Exit.USAGE, f"Cannot read stdin: {block.strerror or block}.") from block
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest


def _read(descriptor: int, put: Callable[[bytes | OSError], None]) -> None:
    # By the descriptor: an interpreter that ends must not find the buffer of `sys.stdin` locked.
    with suppress(RuntimeError):  # The loop has ended.
        try:
            while block := os.read(descriptor, _BLOCK_BYTES):
                put(block)
            put(b"")
        except OSError as error:
            put(error)
