"""A zip file whose bytes depend on nothing but its content: no clock, no owner, no order of a file system."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from stride_async.document._text import without_surrogates
from stride_async.export._archive.reader import ArchivedMedia, check_body

_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can have
_UNIX = 3
_FILE_MODE, _FOLDER_MODE = 0o100644, 0o040755
_FOLDER = 0x10  # as MS-DOS marks one
_LEVEL = 6
_CHUNK_BYTES = 1024 * 1024

Write = Callable[[bytes], object]


def json_bytes(value: object) -> bytes:
    """Return a value as JSON with sorted keys and without spaces. Half a surrogate pair becomes U+FFFD."""
    return without_surrogates(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))).encode()


class ZipWriter:
    """Writes one entry after the other. Its digest is over the names and the uncompressed contents."""

    def __init__(self, path: Path, on_chunk: Callable[[], object]) -> None:
        """`on_chunk` is called now and then while a long file is written. It may raise to end that."""
        self._on_chunk = on_chunk
        self._zip = ZipFile(path, "w", ZIP_DEFLATED, compresslevel=_LEVEL)
        self._digest = hashlib.sha256()
        self._last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._zip.close()

    @property
    def digest(self) -> str:
        """The SHA-256 of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    @contextmanager
    def entry(self, name: str, *, size: int = 0, is_stored: bool = False) -> Iterator[Write]:
        """Open an entry and yield the function that writes to it. Only one can be open.

        `size` is needed for more than 2 GiB.
        """
        info = _info(name, _FILE_MODE)
        info.compress_type = ZIP_STORED if is_stored else ZIP_DEFLATED
        info.file_size = size
        content = hashlib.sha256()
        with self._zip.open(info, "w") as file:

            def write(data: bytes) -> None:
                file.write(data)
                content.update(data)

            yield write
        self._add(name, content.hexdigest())

    def folder(self, name: str) -> None:
        """Write the entry of a folder."""
        info = _info(f"{name}/", _FOLDER_MODE)
        info.external_attr |= _FOLDER
        self._zip.writestr(info, b"")
        self._add(info.filename, "")

    def json(self, name: str, value: object) -> None:
        """Write a value as JSON."""
        with self.entry(name) as write:
            write(json_bytes(value))

    def files(self, name: str, files: Sequence[IO[bytes]], size: int, *, is_stored: bool) -> None:
        """Write what files hold as one entry. `size` is their size in bytes."""
        with self.entry(name, size=size, is_stored=is_stored) as write:
            for file in files:
                while chunk := file.read(_CHUNK_BYTES):
                    write(chunk)
                    self._on_chunk()

    def body(self, name: str, medium: ArchivedMedia) -> None:
        """Write the body of a file of the archive, uncompressed.

        Raises:
            DamagedArchive: The body is missing or has another content.
        """
        with medium.open() as file:
            self.files(name, [file], medium.size, is_stored=True)
        check_body(medium, self._last)

    def _add(self, name: str, digest: str) -> None:
        self._digest.update(f"{name}\0{digest}\n".encode())
        self._last = digest


def _info(name: str, mode: int) -> ZipInfo:
    info = ZipInfo(name, _DATE)
    info.create_system = _UNIX
    info.external_attr = mode << 16
    return info
