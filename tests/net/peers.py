"""Servers that treat a connection as the faults of a local server cannot, each on a port that the kernel picks."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import attrs

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@attrs.define
class Peer:
    """A server's port, and how many requests have begun."""

    port: int
    requests: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def listening(serve: Talk) -> AsyncIterator[int]:
    """Serve every connection to a port in this way, and leave none open at the end."""
    serving, writers = set(), []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):  # The client disconnected.
            await serve(reader, writer)
        writer.close()

    async with await asyncio.start_server(served, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        for writer in writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def peer(talk: Talk) -> AsyncIterator[Peer]:
    """Serve each request after its headers have arrived; `talk` ends the connection or returns."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            await reader.readuntil(b"\r\n\r\n")
            seen.requests += 1
            await talk(reader, writer)

    async with listening(serve) as port:
        seen = Peer(port)
        yield seen


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def deaf_port() -> Iterator[int]:
    """A port that listens but accepts no connection, because its queue is full."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        callers = []
        try:
            while True:
                caller = socket.socket()
                callers.append(caller)
                caller.settimeout(0.05)
                try:
                    caller.connect(deaf.getsockname())
                except TimeoutError:
                    break
            yield deaf.getsockname()[1]
        finally:
            for caller in callers:
                caller.close()


def free_port() -> int:
    """A port that has no listener."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
