"""Read a media body in pieces, and reopen it where it breaks off."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.message import Message as HeaderText
from email.utils import collapse_rfc2231_value
from pathlib import PurePosixPath
from typing import Any, Self

import aiohttp
import msgspec

from stride_async._arguments import number
from stride_async._errors import Attempt, BodyInterrupted, EncodedBody, LengthMismatch, MediaError
from stride_async._net.retry import backoff, chance, out_of_attempts
from stride_async._net.session import Session
from stride_async._wire.request import Request

CHUNK_BYTES = 65_536
# New bytes that count as progress after an interruption.
PROGRESS_BYTES = 65_536
# A number of more than 18 digits is not the size of a file.
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_VALIDATOR = 1024  # characters


class BodyReader:
    """Reads a media body in pieces; after an interruption it continues where the body broke off (protocol 9.3).

    Interruptions without progress count against `Settings.attempts`, and `Settings.idle_timeout` bounds how long the
    body may stall. Enter it to hold one of the `Settings.media_concurrency` slots and to open the body.

    Args:
        session: What sends the requests.
        request: The call that returns the body.
        offset: The first byte to read.
        validator: What identifies the body that the bytes before `offset` belong to.
        size: Bytes of that complete body, if the service has stated it.
        unchecked: Whether to request the bytes from `offset` on even without a validator.
    """

    def __init__(
        self,
        session: Session,
        request: Request[Any],
        *,
        offset: int = 0,
        validator: str | None = None,
        size: int | None = None,
        unchecked: bool = False,
    ) -> None:
        self.name: str | None = None
        """The file name the service gives."""
        self.size: int | None = size
        """Bytes of the complete body; None if the service does not state it."""
        self.content_type: str | None = None
        self.validator: str | None = None
        """What identifies this body; None if the service states nothing that is reliable."""
        self.start: int = 0
        """Offset of the next byte that `pieces` yields."""
        self.interruptions: int = 0
        """How often the body broke off."""
        self.complete: bool = False
        """Whether the service said that no bytes are missing."""
        self._first = (offset, validator, unchecked)
        self._session = session
        self._request = request
        self._stack = AsyncExitStack()
        self._response: aiohttp.ClientResponse | None = None
        self._attempts: list[Attempt] = []
        # Interruptions in a row without progress, and the end of the bytes ever read at the last of them.
        self._in_a_row = 0
        self._farthest = offset

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._session.media_slots)
        try:
            offset, validator, unchecked = self._first
            await self.open_at(offset, validator, unchecked=unchecked)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        await self._stack.aclose()

    @property
    def is_open(self) -> bool:
        """Whether `pieces` can be read."""
        return self._response is not None or self.complete

    async def pieces(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield pieces with their offsets; a smaller offset means that the body started over.

        Raises:
            BodyInterrupted: It broke off `attempts` times without progress.
            LengthMismatch: It is longer than stated.
        """
        while not self.complete:
            interruption = None
            assert self._response is not None
            try:
                while piece := await self._response.content.readany():
                    offset, self.start = self.start, self.start + len(piece)
                    if self.size is not None and self.start > self.size:
                        raise LengthMismatch(
                            f"{self._request}: the body is longer than the stated {self.size} bytes",
                            received=self.start,
                            expected=self.size,
                        )
                    if self._in_a_row and self.start >= self._farthest + PROGRESS_BYTES:
                        self._in_a_row = 0
                    yield offset, piece
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                interruption = error
            if interruption is None and (self.size is None or self.start == self.size):
                return
            await self._heal(interruption)

    async def _heal(self, interruption: Exception | None) -> None:
        """Reopen the body where it broke off; None stands for an end that came too early."""
        self._session.pool.http()  # Closing the client ends the body, and is reported as such.
        self.interruptions += 1
        self._in_a_row += 1
        self._farthest = max(self._farthest, self.start)
        await self._close()
        settings = self._session.settings
        if self._in_a_row >= settings.attempts:
            why = "it ended early" if interruption is None else repr(interruption)
            size = "an unknown number of" if self.size is None else str(self.size)
            error = BodyInterrupted(
                f"{self._request}: the body broke off at {self.start} of {size} bytes: {why}",
                received=self.start,
                expected=self.size,
            )
            error.attempts = tuple(self._attempts)
            error.retryable = True
            error.rule = out_of_attempts(settings)
            raise error from interruption
        await self._session.pool.sleep(backoff(self._in_a_row, settings, chance()))
        await self.open_at(self.start, self.validator)

    async def open_at(self, offset: int, validator: str | None, *, unchecked: bool = False) -> None:
        """Request the body from `offset` on; `start` says where it really begins.

        It begins at 0 if there is no validator, unless `unchecked` allows that, or if the body changed since the
        validator was stated.
        """
        await self._close()
        headers = [("Accept-Encoding", "identity")]
        if not offset or (validator is None and not unchecked):
            offset, validator = 0, None
        else:
            headers.append(("Range", f"bytes={offset}-"))
            headers += [("If-Range", validator)] if validator is not None else []
        self._opened = self._session.open(
            msgspec.structs.replace(self._request, headers=tuple(headers)), self._attempts
        )
        response = self._response = await self._opened.__aenter__()
        if encoding := _encoding_of(response):
            await self._close()
            raise EncodedBody(
                f"{self._request}: the body came encoded as {encoding!r}, although it was requested unencoded",
                encoding=encoding,
            )
        if self._accepts(response, offset, validator):
            return
        if offset:
            await self.open_at(0, None)
            return
        status = response.status
        await self._close()
        raise MediaError(f"{self._request} answered {status} to a request for the complete body")

    def _accepts(self, response: aiohttp.ClientResponse, offset: int, validator: str | None) -> bool:
        """Take over what a response says about the body; False if it is not what was requested."""
        if response.status == 200:
            length = response.headers.get("Content-Length", "")
            self._describe(response, int(length) if _LENGTH.fullmatch(length) else None)
            self.start = 0
            return True
        content_range = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if content_range is None:
            return False
        first, _, total = content_range.groups()
        known = None if validator is None else self.size
        if known is not None and total not in {"*", str(known)}:
            return False  # The length is not what was stated for the same body: read it again from the beginning.
        if response.status == 416 and validator is not None and total == str(offset):
            self.complete = True
            self.size = self.start = offset
            return True
        # A service that does not support If-Range returns a part of the body that is there now.
        same = validator is None or _validator_of(response) in {None, validator}
        if response.status != 206 or not same or first != str(offset):
            return False
        self._describe(response, known if total == "*" else int(total))
        self.start = offset
        self.validator = validator or self.validator
        return True

    def _describe(self, response: aiohttp.ClientResponse, size: int | None) -> None:
        headers = response.headers
        self.size = size
        self.content_type = _clean(headers.get("Content-Type", self.content_type))
        self.validator = _validator_of(response)
        self.name = _file_name(headers.get("Content-Disposition")) or self.name

    def changed_error(self) -> MediaError:
        """Return the error of a body that started over and cannot be shown to be the same."""
        return MediaError(f"{self._request}: the file may have changed at the service while it was read")

    async def _close(self) -> None:
        if self._response is not None:
            self._response = None
            await self._opened.__aexit__(None, None, None)


class RemoteBody:
    """A media body at the service, to be used with `async with`: its name, size and type, and its bytes.

    A body that breaks off is continued where it broke, without the reader noticing (protocol 9.3). Interruptions
    without progress count against `Settings.attempts`, and `Settings.idle_timeout` bounds how long the body may stall.
    There is no limit on the total time.
    """

    def __init__(self, reader: BodyReader, start: int, validator: str | None) -> None:
        self._reader = reader
        self._from = start
        self._expected = validator
        self._read = False

    @property
    def name(self) -> str | None:
        """The file name the service gives, or None; never use it as a path."""
        return self._reader.name

    @property
    def size(self) -> int | None:
        """The number of bytes in the complete body, or None if the service does not state it."""
        return self._reader.size

    @property
    def content_type(self) -> str | None:
        """The media type, or None if the service does not state it."""
        return self._reader.content_type

    @property
    def validator(self) -> str | None:
        """What a later request can identify the same body by, or None if the service states nothing reliable."""
        return self._reader.validator

    @property
    def start(self) -> int:
        """The offset of the next byte."""
        return self._reader.start

    @property
    def interruptions(self) -> int:
        """How often the body broke off and was continued."""
        return self._reader.interruptions

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        if self._expected not in {None, self.validator}:
            await self._reader.__aexit__()
            raise self._reader.changed_error()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reader.__aexit__()

    async def chunks(self, chunk_bytes: int = CHUNK_BYTES) -> AsyncIterator[bytes]:
        """Yield the body from `start` on, at most `chunk_bytes` at a time, and check its length at the end.

        Args:
            chunk_bytes: The largest length of a chunk.

        Raises:
            BodyInterrupted: It broke off `attempts` times without progress.
            LengthMismatch: It is longer than stated.
            MediaError: It started over after a part was yielded, and may have changed.
            RuntimeError: It is read outside its `async with`, or a second time.
            ValueError: `chunk_bytes` is below 1.
        """
        number(chunk_bytes, "chunk_bytes", 1)
        if not self._reader.is_open:
            raise RuntimeError("a media body can only be read inside its `async with`")
        if self._read:
            raise RuntimeError("a media body can be read only once; to pause, keep the iterator that `chunks` returned")
        self._read = True
        yielded, known = self._from, self.validator
        async for offset, piece in self._reader.pieces():
            if offset < yielded and (known is None or self.validator != known):
                raise self._reader.changed_error()
            for at in range(max(0, yielded - offset), len(piece), chunk_bytes):
                yield piece[at : at + chunk_bytes]
            yielded = max(yielded, offset + len(piece))


def _encoding_of(response: aiohttp.ClientResponse) -> str:
    """Return how the body is encoded; empty if it is not.

    Length, ranges and validators apply to the encoded bytes, and a gzip that was cut off decodes without an error, so
    it could not be verified that an encoded body is complete.
    """
    encoding = ", ".join(response.headers.getall("Content-Encoding", []))
    return encoding if encoding.strip().lower() not in {"", "identity"} else ""


def _validator_of(response: aiohttp.ClientResponse) -> str | None:
    """Return what `If-Range` may carry: a strong entity tag, else the date; nothing that a header cannot carry."""
    etag = response.headers.get("ETag")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    return validator if validator and is_validator(validator) else None


def is_validator(text: str) -> bool:
    """Return whether a header can carry a text as a validator."""
    return 0 < len(text) <= _LONGEST_VALIDATOR and text.isascii() and text.isprintable()


def _file_name(disposition: str | None) -> str | None:
    """Return the last part of the name in Content-Disposition; `filename*` takes precedence (RFC 6266, 4.3)."""
    if not disposition:
        return None
    text = HeaderText()
    text["Content-Disposition"] = disposition
    try:
        given = [value for key, value in text.get_params([], "Content-Disposition") if key == "filename"]
        name = collapse_rfc2231_value(max(given, key=_is_extended)) if given else None
    except (ValueError, LookupError, TypeError):
        return None  # What the email package raises for malformed parameters, such as an unknown charset.
    name = _clean(name)
    return PurePosixPath(name.replace("\\", "/")).name or None if name else None


def _clean(text: str | None) -> str | None:
    """Return the text of a header with U+FFFD for bytes that are not UTF-8, which arrive as surrogates."""
    return None if text is None else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def _is_extended(value: str | tuple[str | None, str | None, str]) -> bool:
    """Return whether the value came as `filename*`, which names its charset; the other form is an ASCII fallback."""
    return isinstance(value, tuple)
