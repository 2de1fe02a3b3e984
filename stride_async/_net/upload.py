"""Send a body in blocks, and record how much of it the service can have received."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from stride_async._body import Body, Progress, ProgressCallback
from stride_async._errors import MediaError, SourceChanged

# How much is read from disk at once, in a thread. Half of it costs a sixth more CPU; all of it must be sent within
# `idle_timeout`.
_BLOCK_BYTES = 524_288
# The end of the body is held back until the source has ended at its measured size. Once it is sent, the service may
# have everything. It is small enough for the system to accept it at once.
_LAST_BYTES = 65_536


class Upload(Payload):
    """A body being sent, opened for one attempt; held to its measured size and bounded by the idle timeout.

    Args:
        body: What to send.
        attempt: The number of the attempt, for progress reports.
        idle_timeout: Seconds that the source or the connection may stall.
        progress: Called after each block.
    """

    def __init__(self, body: Body, attempt: int, idle_timeout: float, progress: ProgressCallback | None) -> None:
        super().__init__(value=body, content_type="application/octet-stream")
        self._body = body
        self._attempt = attempt
        self._idle_timeout = idle_timeout
        self._progress = progress
        self._size = body.size
        self._reading: asyncio.Future[bytes] | None = None  # What a thread reads from a file.
        self.begun = False
        """Whether any of the body was sent."""
        self.sent = body.size == 0
        """Whether the end of the body was sent, or may have been."""
        self.when_sent: Callable[[], None] | None = None
        """Called when the last byte was handed over."""
        self.source_error: BaseException | None = None
        """What the source or the progress callback raised, as opposed to the network."""

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the complete source, in blocks."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send the complete source, in blocks; fail at once if it is longer or shorter than was measured."""
        del content_length  # The same as the measured size, which is enforced here.
        done, total, last = 0, self._body.size, b""
        blocks = self._blocks()
        try:
            while (block := await self._next(blocks)) is not None:
                done += len(block)
                if total is not None and done > total:
                    raise self._changed(f"it grew beyond its measured size of {total} bytes")
                if done == total:
                    block, last = block[:-_LAST_BYTES], block[-_LAST_BYTES:]
                await self._send(writer, block, done - len(last))
        finally:
            await blocks.aclose()
        if total is not None and done < total:
            raise self._changed(f"it ended after {done} bytes, but its measured size is {total} bytes")
        self.sent = True
        await self._send(writer, last, done)
        if self.when_sent is not None:
            self.when_sent()

    async def reads_ended(self) -> None:
        """Wait until no thread reads the source, at most for `idle_timeout`, even if cancelled meanwhile.

        A read can hang for ever, and no thread can be stopped.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._idle_timeout
        while self._reading is not None and not self._reading.done() and loop.time() < until:
            with suppress(asyncio.CancelledError):  # The caller is being cancelled already.
                await asyncio.wait([self._reading], timeout=until - loop.time())

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse to decode: the body is bytes, not text."""
        raise TypeError("a media body is bytes and cannot be decoded as text")

    async def _send(self, writer: AbstractStreamWriter, block: bytes, done: int) -> None:
        if not block:
            return
        self.begun = True
        async with asyncio.timeout(self._idle_timeout):
            await writer.write(block)
            await writer.drain()
        if self._progress is not None:
            try:
                self._progress(Progress(done, self._body.size, self._attempt))
            except Exception as error:
                self.source_error = error
                raise

    def _changed(self, how: str) -> SourceChanged:
        error = SourceChanged(f"the source of the upload changed: {how}")
        self.source_error = error
        return error

    async def _next(self, blocks: AsyncIterator[bytes]) -> bytes | None:
        try:
            async with asyncio.timeout(self._idle_timeout) as patience:
                return await anext(blocks, None)
        except Exception as error:
            stalled = isinstance(error, TimeoutError) and patience.expired()
            self.source_error = (
                MediaError(f"the source of the upload returned nothing for {self._idle_timeout:g} s")
                if stalled
                else error
            )
            raise

    async def _blocks(self) -> Any:
        source = self._body.open()
        if isinstance(source, AsyncIterator):
            async for block in source:
                if block:
                    yield block
            return
        if not hasattr(source, "read"):
            kind = type(source).__name__
            raise TypeError(f"the source of an upload must be a binary file or an async iterator of bytes, not {kind}")
        # A thread reads one block while the previous one is being sent.
        reading = self._begin_to_read(source)
        try:
            while block := await asyncio.shield(reading):
                reading = self._begin_to_read(source)
                yield block
        finally:
            # A read that hangs is not awaited; the source is closed when it returns.
            reading.add_done_callback(partial(_close, source))

    def _begin_to_read(self, source: BinaryIO) -> asyncio.Future[bytes]:
        reading = self._reading = asyncio.get_running_loop().run_in_executor(None, source.read, _BLOCK_BYTES)
        return reading


def _close(source: BinaryIO, reading: asyncio.Future[bytes]) -> None:
    """Close a source after the last read, whose error no one needs any more."""
    if not reading.cancelled():
        reading.exception()
    source.close()
