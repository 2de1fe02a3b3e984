"""Download media bodies into files that appear only when they are complete.

Bytes go to `NAME.part` next to the target, and `NAME.part.json` says which media they belong to. A download that was
interrupted resumes from these two files. One rename gives a complete file its name.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import attrs
import msgspec

from stride_async._arguments import function, path, several
from stride_async._body import Body, Progress, ProgressCallback
from stride_async._errors import LengthMismatch, StrideError
from stride_async._files import (
    NamedFile,
    completed,
    errors_about,
    lock,
    longest_name,
    run_to_completion,
    sync_content,
    sync_folder,
)
from stride_async._json import NOT_DECODABLE
from stride_async._net.download import BodyReader, is_validator
from stride_async._net.session import Session
from stride_async._wire.names import LONGEST_NAME_BYTES, name_key, safe_name
from stride_async._wire.request import Request

_EXTENSION_BYTES = len(".01234567.part")  # the longest one of an unfinished file
# How much is collected before a thread writes it.
_WRITE_BYTES = 1_048_576


@attrs.frozen
class Download:
    """A file that was downloaded completely."""

    path: Path
    """The file that was written."""
    size: int
    """The length of the body in bytes."""
    sha256: str
    """The digest of the body, in hexadecimal."""
    verified: bool
    """Whether the length is the one that the service stated. False if it stated none, so that only the end of the
    connection was checked."""
    name: str | None = None
    """The file name the service gives; never use it as a path."""
    content_type: str | None = None
    """The media type that the service gives."""


@attrs.frozen
class DownloadResult:
    """The result for one of several files."""

    media_id: str
    """The media id."""
    download: Download | None = None
    """The downloaded file; None if it failed."""
    error: StrideError | OSError | None = None
    """Why the file could not be downloaded; None if it was."""


def body_of(source: str | os.PathLike[str] | bytes | Body) -> Body:
    """Return a source as a `Body`: a path, bytes, or a body already.

    Raises:
        OSError: The path cannot be read.
        ValueError: The path does not lead to a regular file.
    """
    if isinstance(source, Body):
        return source
    if isinstance(source, bytes):
        return Body.from_bytes(source)
    return Body.from_path(path(source, "source"))


async def download(
    session: Session,
    request: Request[Any],
    media_id: str,
    to: str | os.PathLike[str],
    progress: ProgressCallback | None,
) -> Download:
    """Download a body into the file `to`, which appears only when it is complete.

    If an earlier download of the same body left a `.part`, the download resumes where that one stopped.

    Raises:
        BodyInterrupted: The body broke off too often; the `.part` is kept for the next call.
        LengthMismatch: The body ended at another length than stated.
        OSError: The target cannot be written.
    """
    function(progress, "progress")
    with _part_of(path(to, "to")) as part:
        held = await run_to_completion(partial(part.resume, media_id))
        async with BodyReader(session, request, offset=held, validator=part.validator, size=part.expected) as body:
            return await _fetch(body, media_id, part, progress)


def download_many(
    session: Session,
    request_of: Callable[[str], Request[Any]],
    media_ids: Iterable[str],
    to: str | os.PathLike[str],
    concurrency: int,
) -> AsyncIterator[DownloadResult]:
    """Download bodies into a folder under their own names, made safe and unique; yield results as they arrive.

    An error is a result and is not raised. Leaving the loop early cancels the downloads in progress and keeps their
    `.part` files.

    Raises:
        ValueError: `concurrency` is below 1, or a media id is not valid; nothing was sent.
        NotADirectoryError: `to` is not a folder.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; expected 1 or more")
    folder = path(to, "to")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    requests = {media_id: request_of(media_id) for media_id in several(media_ids, "media_ids")}
    return _each(session, requests, folder, concurrency)


async def _each(
    session: Session,
    requests: Mapping[str, Request[Any]],
    folder: Path,
    concurrency: int,
) -> AsyncIterator[DownloadResult]:
    names: set[str] = set()
    waiting = iter(requests.items())
    running: set[asyncio.Task[DownloadResult]] = set()

    async def one(media_id: str, request: Request[Any]) -> DownloadResult:
        try:
            return DownloadResult(media_id, await _into(session, request, media_id, folder, names))
        except (StrideError, OSError) as error:
            return DownloadResult(media_id, error=error)

    try:
        while True:
            for media_id, request in waiting:
                running.add(asyncio.create_task(one(media_id, request), name=f"stride_async download {media_id}"))
                if len(running) >= concurrency:
                    break
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _into(session: Session, request: Request[Any], media_id: str, folder: Path, names: set[str]) -> Download:
    """Download one body into the folder, under the name that the service gives."""
    async with BodyReader(session, request) as body:
        name = name_in(folder, body.name or media_id, media_id, names)
        names.add(name_key(name))
        with _part_of(folder / name) as part:
            held = await run_to_completion(partial(part.resume, media_id))
            if held:
                body.size = part.expected
                await body.open_at(held, part.validator)
            return await _fetch(body, media_id, part, None)


def name_in(folder: Path, name: str, mark: str = "", used: Collection[str] = ()) -> str:
    """Return a plain file name for one from the service, as `safe_name` does, that also its `.part` can have."""
    return safe_name(name, mark, used, longest=min(LONGEST_NAME_BYTES, longest_name(folder) - _EXTENSION_BYTES))


async def _fetch(body: BodyReader, media_id: str, part: _Part, progress: ProgressCallback | None) -> Download:
    """Read what is missing of an opened body into its part, then turn the part into the file."""
    if body.start != part.size:
        part.start_over()
    part.remember(media_id, body.validator, body.size)
    with _WriteBehind(part) as writing:
        reached = part.size
        async for offset, piece in body.pieces():
            if offset != reached:
                await writing.settle()
                part.start_over()
                part.remember(media_id, body.validator, body.size)
            reached = offset + len(piece)
            await writing.add(piece)
            if progress is not None:
                progress(Progress(reached, body.size, body.interruptions + 1))
        await writing.settle()
    if body.size is not None and part.size != body.size:
        raise LengthMismatch(
            f"{part.target.name}: {part.size} bytes arrived, but the stated length is {body.size}",
            received=part.size,
            expected=body.size,
        )
    await run_to_completion(part.finish)
    return Download(
        part.target, part.size, part.sha256, body.size is not None, name=body.name, content_type=body.content_type
    )


class _WriteBehind:
    """Writes and hashes one block in a thread while the next one arrives."""

    def __init__(self, part: _Part) -> None:
        self._part = part
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stride_async download")
        self._writing: Future[None] | None = None
        self._gathered: list[bytes] = []
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Whatever stopped this call, the bytes that arrived are kept for the next; they are two blocks at most.
        self._thread.shutdown(wait=True)
        failed = self._writing is not None and self._writing.exception() is not None
        if self._gathered and not failed:
            with suppress(OSError):
                self._part.write(self._gathered)

    async def add(self, piece: bytes) -> None:
        """Take a piece; wait only if the previous block is still being written."""
        self._gathered.append(piece)
        self._size += len(piece)
        if self._size >= _WRITE_BYTES:
            await self._begin()

    async def settle(self) -> None:
        """Wait until every piece is written."""
        if self._gathered:
            await self._begin()
        await self._written()

    async def _begin(self) -> None:
        await self._written()
        self._writing = self._thread.submit(self._part.write, self._gathered)
        self._gathered, self._size = [], 0

    async def _written(self) -> None:
        if self._writing is not None:
            await completed(asyncio.wrap_future(self._writing))
            self._writing = None  # If it failed, `__exit__` sees that: nothing may follow a missing block.


class _Note(msgspec.Struct):
    media_id: str
    validator: str
    size: int | None = None


class _Part:
    """The unfinished file next to the target, with the note that says which media it belongs to."""

    def __init__(self, target: Path, path: Path, file: NamedFile, *, shared: bool) -> None:
        self.target = target
        self.validator: str | None = None
        self.expected: int | None = None  # the stated length of the complete body
        self.size = 0
        self._path = path
        self._note = _note_of(path)
        self._file = file
        self._shared = shared
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of all bytes written."""
        return self._digest.hexdigest()

    def resume(self, media_id: str) -> int:
        """Return how many bytes of this media the file holds already."""
        try:
            note = msgspec.json.decode(self._note.read_bytes(), type=_Note)
        except (OSError, *NOT_DECODABLE):
            note = None
        if not self._shared or note is None or note.media_id != media_id or not is_validator(note.validator):
            self.start_over()
            return 0
        self.validator, self.expected = note.validator, note.size
        self._file.seek(0)
        while block := self._file.read(_WRITE_BYTES):
            self._digest.update(block)
            self.size += len(block)
        return self.size

    def start_over(self) -> None:
        """Drop the bytes that the file holds."""
        self._file.seek(0)
        if self._file.status().st_size:  # Some file systems cannot cut a file off.
            self._file.truncate()
        self.size = 0
        self._digest = hashlib.sha256()

    def remember(self, media_id: str, validator: str | None, size: int | None) -> None:
        """Note which media the file belongs to; without a validator it cannot be resumed, so there is no note."""
        if validator is None or not self._shared:
            self._note.unlink(missing_ok=True)
        elif (validator, size) != (self.validator, self.expected) or not self._note.exists():
            with errors_about(self._note):
                self._note.write_bytes(msgspec.json.encode(_Note(media_id, validator, size)))
        self.validator, self.expected = validator, size

    def write(self, pieces: list[bytes]) -> None:
        """Append pieces to the file."""
        block = b"".join(pieces)
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]  # Unbuffered, so that the system has every byte that is counted.
        self._digest.update(block)
        self.size += len(block)

    def finish(self) -> None:
        """Make the file durable and give it its name."""
        if not os.path.samestat(self._file.status(), self._path.stat()):
            raise FileExistsError(f"{self._path} was replaced by another file during the download")
        sync_content(self._file.fileno(), self._path)
        self._path.replace(self.target)
        self._note.unlink(missing_ok=True)
        sync_folder(self.target.parent)

    def drop_if_useless(self) -> None:
        """Remove the file and its note if no later call could resume from them."""
        if not self._shared or self.validator is None or not self._file.status().st_size:
            self._path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


@contextmanager
def _part_of(target: Path) -> Iterator[_Part]:
    """Open and lock the `.part` of a target, or a separate one if another download holds it."""
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; pass the name of a file")
    path = target.with_name(target.name + ".part")
    for file_path in (target, path, _note_of(path)):
        if file_path.exists() and not file_path.is_file():  # To open a pipe could block.
            raise FileExistsError(f"{file_path} is not a regular file, so it is not replaced")
    file = _locked(path)
    shared = file is not None
    if file is None:
        path = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
        file = NamedFile(path, "x+b")
    part = _Part(target, path, file, shared=shared)
    with file:
        try:
            yield part
        except BaseException:
            with suppress(OSError):
                part.drop_if_useless()
            raise


def _locked(path: Path) -> NamedFile | None:
    """Open a file and lock it; return None if another download holds the lock, or the file system offers none."""
    while True:
        file = NamedFile(path, "a+b")
        try:
            is_locked = lock(file, path)
            if is_locked and _is_at(path, file):
                return file
        except OSError:
            _close_unused(file, path)
            raise
        if is_locked is None:
            _close_unused(file, path)
        file.close()
        if not is_locked:
            return None
        # Another download finished between opening and locking, so this is its finished file.


def _is_at(path: Path, file: NamedFile) -> bool:
    if sys.platform == "win32":
        return True  # There, a file that is open keeps its name.
    try:
        return os.path.samestat(file.status(), path.stat())
    except FileNotFoundError:
        return False


def _close_unused(file: NamedFile, path: Path) -> None:
    """Close a file that could not be locked, and remove it if nothing was written to it."""
    file.close()
    with suppress(OSError):
        if not path.stat().st_size:
            path.unlink()
