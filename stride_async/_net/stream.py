"""Open a body and read or write it in chunks; one that breaks off is healed where it broke."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.message import Message as HeaderText
from email.utils import collapse_rfc2231_value
from pathlib import PurePosixPath
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from stride_async._body import Body, Progress, ProgressCallback
from stride_async._errors import (
    Attempt,
    BodyInterrupted,
    EncodedBody,
    LengthMismatch,
    MediaError,
    NotReplayable,
    SourceChanged,
)
from stride_async._net.classify import Upload
from stride_async._net.retry import Again, Outcome, Stop, chance, decide
from stride_async._net.session import Session
from stride_async._wire.request import Request

CHUNK_BYTES = 65_536
PROGRESS_BYTES = 65_536
"""New bytes that count as progress after an interruption."""
_BLOCK_BYTES = 262_144
"""Read from disk at once, in a thread."""
_LAST_BYTES = 65_536
"""Held back until the source has ended as it should. From their sending on nobody can tell whether all is there; more
could wait for its turn here, less is in the system's hands at once."""

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class BodyUpload(Upload):
    """A `Body` on its way out, opened for one attempt; held to its size, bounded by the idle time-out."""

    def __init__(self, body: Body, attempt: int, idle_timeout: float, progress: ProgressCallback | None) -> None:
        super().__init__(value=body, content_type="application/octet-stream")
        self._body = body
        self._attempt = attempt
        self._idle_timeout = idle_timeout
        self._progress = progress
        self._size = body.size
        self.handed_over = body.size == 0

    async def write(self, writer: AbstractStreamWriter) -> None:
        """The whole source, in blocks."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """The whole source, in blocks; stops at once where it is longer or shorter than was measured."""
        del content_length  # Measured by us, and held to.
        done, total, last = 0, self._body.size, b""
        blocks = self._blocks()
        try:
            while (block := await self._next(blocks)) is not None:
                done += len(block)
                if total is not None and done > total:
                    raise self._changed(f"it grew beyond the {total} bytes it was measured at")
                if done == total:
                    block, last = block[:-_LAST_BYTES], block[-_LAST_BYTES:]
                await self._hand_over(writer, block, done - len(last))
        finally:
            await blocks.aclose()
        if total is not None and done < total:
            raise self._changed(f"it gave {done} bytes instead of the {total} it was measured at")
        self.handed_over = True
        await self._hand_over(writer, last, done)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Not offered: a body is bytes."""
        raise TypeError("a media body is not decoded")

    async def _hand_over(self, writer: AbstractStreamWriter, block: bytes, done: int) -> None:
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
            silent = isinstance(error, TimeoutError) and patience.expired()
            self.source_error = (
                MediaError(f"the source of the upload gave nothing for {self._idle_timeout:g} s") if silent else error
            )
            raise

    async def _blocks(self) -> Any:
        source = self._body.open()
        if isinstance(source, AsyncIterator):
            async for block in source:
                if block:
                    yield block
            return
        # One block is read in a thread while the one before it is on its way.
        reading = asyncio.ensure_future(asyncio.to_thread(source.read, _BLOCK_BYTES))
        try:
            while block := await asyncio.shield(reading):
                reading = asyncio.ensure_future(asyncio.to_thread(source.read, _BLOCK_BYTES))
                yield block
        finally:
            # A read that is stuck is not waited for; the source is closed when it comes back.
            reading.add_done_callback(lambda _: source.close())


async def upload(session: Session, request: Request[Any], body: Body, progress: ProgressCallback | None) -> Any:
    """Send a body and give what the service says of it.

    Raises:
        SourceChanged: the source grew or shrank meanwhile.
        NotReplayable: the source can be read only once and the first sending failed.
    """

    def made(attempt: int) -> Upload:
        if attempt > 1 and not body.replayable:
            raise NotReplayable(f"{request}: the source can be read only once, so it was not sent again")
        return BodyUpload(body, attempt, session.settings.idle_timeout, progress)

    return await session.upload(request, made)


class RemoteBody:
    """A media body at the service: its name, size and type, and its bytes, wherever it breaks off.

    Within one opening an interrupted body goes on with `Range` and `If-Range` (protocol 9.3). Interruptions without
    progress count against `Settings.attempts`; `Settings.idle_timeout` bounds silence.
    """

    def __init__(self, session: Session, request: Request[Any], *, at: int = 0, validator: str | None = None) -> None:
        self._from = (at, validator)
        self._session = session
        self._request = request
        self._stack = AsyncExitStack()
        self._response: aiohttp.ClientResponse | None = None
        self._outcomes: list[Outcome] = []
        self._attempts: list[Attempt] = []
        self._farthest = at
        """The end of the bytes ever held, when the body last broke off."""
        self._complete = False
        """The service said that nothing is missing."""
        self._read = False
        self.interruptions = 0
        """How often the body broke off."""
        self.name: str | None = None
        """The file name the service gives; never use it as a path."""
        self.size: int | None = None
        """Bytes of the whole body; None when the service does not tell."""
        self.content_type: str | None = None
        self.validator: str | None = None
        """What a later opening can ask for the same body with; None when the service gives none that is strong."""
        self.start = 0
        """Offset of the next byte that `pieces` gives."""

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._session.media_lane)
        try:
            await self.open_at(*self._from)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
        await self._stack.aclose()

    async def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
        """The whole body, at most `chunk_bytes` at a time; its length is checked at the end.

        Raises:
            BodyInterrupted: it broke off `attempts` times without progress.
            LengthMismatch: it ended with another length than was told.
            MediaError: it starts over after a part of it was given, and cannot be shown to be the same.
            RuntimeError: it is read outside its `async with`, or a second time.
        """
        if chunk_bytes < 1:
            raise ValueError(f"chunk_bytes is {chunk_bytes}; expected 1 or more")
        if self._response is None and not self._complete:
            raise RuntimeError("a media body is read inside its `async with`")
        if self._read:
            raise RuntimeError("a media body is read once; to stop and go on, keep the iterator that `chunks` gave")
        self._read = True
        given, known = self.start, self.validator
        async for offset, piece in self.pieces():
            if offset < given and (known is None or self.validator != known):
                raise MediaError(f"{self._request}: the file may have changed at the service while it was read")
            for at in range(max(0, given - offset), len(piece), chunk_bytes):
                yield piece[at : at + chunk_bytes]
            given = max(given, offset + len(piece))

    async def pieces(self) -> AsyncIterator[tuple[int, bytes]]:
        """Pieces with their offsets; an offset of 0 after others means that the body starts over."""
        while not self._complete:
            broke = None
            assert self._response is not None
            try:
                while piece := await self._response.content.readany():
                    offset, self.start = self.start, self.start + len(piece)
                    if self.size is not None and self.start > self.size:
                        raise LengthMismatch(
                            f"{self._request}: the body is longer than the {self.size} bytes that were told"
                        ).with_facts(received=self.start, expected=self.size)
                    if self._outcomes and self.start >= self._farthest + PROGRESS_BYTES:
                        self._outcomes.clear()
                    yield offset, piece
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                broke = error
            if broke is None and (self.size is None or self.start == self.size):
                return
            await self._heal(broke)

    async def _heal(self, broke: Exception | None) -> None:
        """Open again where the body broke off."""
        self._session.pool.http()  # A client that was closed is told as such, not as a broken body.
        self.interruptions += 1
        self._farthest = max(self._farthest, self.start)
        self._outcomes.append(Outcome("ambiguous"))
        decision = decide(
            self._outcomes,
            self._session.settings,
            repeatable=True,
            renewable=False,
            budget=float("inf"),
            remaining=None,
            chance=chance(),
        )
        await self.close()
        if isinstance(decision, Stop):
            why = "it ended early" if broke is None else repr(broke)
            size = "an unknown number of" if self.size is None else str(self.size)
            error = BodyInterrupted(f"{self._request}: the body broke off at {self.start} of {size} bytes: {why}")
            raise error.with_facts(
                attempts=tuple(self._attempts),
                received=self.start,
                expected=self.size,
                retryable=True,
                rule=decision.reason,
            ) from broke
        assert isinstance(decision, Again)
        await self._session.pool.pause(decision.seconds)
        await self.open_at(self.start, self.validator)

    async def open_at(self, offset: int, validator: str | None) -> None:
        """Ask from `offset` on for the body known by `validator`; without one, or when it changed, from the start.

        `start` tells where it goes on.
        """
        await self.close()
        ranged = bool(offset) and validator is not None
        headers = {"Accept-Encoding": "identity"}
        if ranged and validator is not None:
            headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
        self._opened = self._session.open(self._request, headers, self._attempts)
        response = self._response = await self._opened.__aenter__()
        if encoding := _encoding_of(response):
            await self.close()
            raise EncodedBody(
                f"{self._request}: the body came encoded as {encoding!r}, though it was asked for as it is"
            ).with_facts(encoding=encoding)
        unit = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        # A service that does not know If-Range gives a part of whatever is there now.
        same = not ranged or _validator_of(response) in {None, validator}
        if response.status == 200:
            length = response.headers.get("Content-Length")
            self._describe(response, int(length) if length is not None and length.isdigit() else None)
            self.start = 0
        elif response.status == 206 and same and unit is not None and unit.group(1) == str(offset if ranged else 0):
            known = self.size if ranged else None
            self._describe(response, known if unit.group(3) == "*" else int(unit.group(3)))
            self.start = offset if ranged else 0
            if ranged:
                self.validator = validator
        elif response.status == 416 and ranged and unit is not None and unit.group(3) == str(offset):
            self._complete = True
            self.size = self.start = offset
        elif ranged:
            await self.open_at(0, None)
        else:
            status = response.status
            await self.close()
            raise MediaError(f"{self._request} answered {status} to a request for the whole body")

    def _describe(self, response: aiohttp.ClientResponse, size: int | None) -> None:
        headers = response.headers
        self.size = size
        self.content_type = headers.get("Content-Type", self.content_type)
        self.validator = _validator_of(response)
        self.name = _file_name(headers.get("Content-Disposition")) or self.name

    async def close(self) -> None:
        """Let go of the connection."""
        if self._response is not None:
            self._response = None
            await self._opened.__aexit__(None, None, None)


def _encoding_of(response: aiohttp.ClientResponse) -> str:
    """How the body is encoded, empty when it comes as it is.

    Length, ranges and validators are those of the encoded bytes, and a gzip that was cut off decodes without an error:
    what came could not be shown to be whole.
    """
    told = ", ".join(response.headers.getall("Content-Encoding", []))
    return told if told.strip().lower() not in {"", "identity"} else ""


def _validator_of(response: aiohttp.ClientResponse) -> str | None:
    """What `If-Range` may carry: a strong entity tag, else the date."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _file_name(disposition: str | None) -> str | None:
    """The last part of the name in Content-Disposition; `filename*` goes before `filename`, as in RFC 6266, 4.3."""
    if not disposition:
        return None
    text = HeaderText()
    text["Content-Disposition"] = disposition
    given = [value for key, value in text.get_params([], "Content-Disposition") if key == "filename"]
    name = collapse_rfc2231_value(max(given, key=_is_extended)) if given else None
    return PurePosixPath(name.replace("\\", "/")).name or None if name else None


def _is_extended(value: str | tuple[str | None, str | None, str]) -> bool:
    """Whether it is of the form `filename*`, which names its charset; the other is a stand-in in ASCII."""
    return isinstance(value, tuple)
