"""Where a conversion writes: a file or a folder that is complete or absent, with its report next to it.

A new output is written under a temporary name next to its place. When it is complete and durable, the report is renamed
first and the output second, so a kill between the two leaves an output that is recognized as ours. A folder that
is ours is brought up to date in place: each file is replaced when it is complete, and the report comes last. Before the
first file changes, a report without the parts that are about to change takes the place of the old one, so that the next
conversion makes these anew if this one is killed.

The temporary name is locked while it is in use. What a kill has left is not locked, and the next conversion removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import attrs

from stride_async._files import NamedFile, errors_about, lock, sync_content, sync_file, sync_folder
from stride_async.export._archive.reader import ArchivedMedia, check_body
from stride_async.export.formats._names import Ids
from stride_async.export.formats._report import Parts, Previous, Report, encoded, previous_report, report_path


class OutInTheWay(Exception):
    """The output exists and was not written by the same kind of conversion, or another conversion is writing it."""

    def __init__(self, message: str, *, can_be_replaced: bool = False) -> None:
        super().__init__(message)
        self.can_be_replaced = can_be_replaced
        """Whether the option `force` helps."""


@attrs.define
class OutputFile:
    """One file to write. `path` is where; it exists and is empty."""

    path: Path
    ids: Ids = attrs.field(factory=Ids, init=False)
    """The ids that the output uses, written to `OUT.ids.jsonl` if there are any."""
    digest: str | None = attrs.field(default=None, init=False)
    """SHA-256 over names and uncompressed contents. Without one, it is that of the file."""
    parts: Parts = attrs.field(factory=dict, init=False)
    basis: str = attrs.field(default="", init=False)

    def final_digest(self) -> str:
        """Return the digest of what was written."""
        return self.digest or file_sha256(self.path)

    def sync(self) -> None:
        """Make the file survive a loss of power."""
        sync_file(self.path)


@attrs.define
class OutputFolder:
    """A folder to write, or one of an earlier conversion to bring up to date.

    Call `begin` first if files of unchanged parts can be kept. Every file of the result is then written with `write`,
    `open` or `link`, or kept with `keep`; all others are removed. A file whose content is unchanged is not touched.
    """

    root: Path
    before: Parts = attrs.field(factory=dict)
    """The parts of the folder as it is, as far as they can be kept."""
    basis_before: str = ""
    _on_disk: Parts = attrs.field(factory=dict)
    _on_change: Callable[[Parts], None] = attrs.field(default=lambda _: None)
    ids: Ids = attrs.field(factory=Ids, init=False)
    """The ids that the output uses, written to `OUT.ids.jsonl` if there are any."""
    parts: Parts = attrs.field(factory=dict, init=False)
    basis: str = attrs.field(default="", init=False)
    _digests: dict[str, str | None] = attrs.field(factory=dict, init=False)

    def begin(self, parts: Parts, basis: str = "") -> None:
        """Say what the result is made from.

        `parts` has, for each conversation and month, the digest of everything that only files of this part depend on.
        `basis` is a digest of everything that all of them depend on, such as the version of a template: if it differs
        from that of the folder, nothing is current.
        """
        self.parts, self.basis = parts, basis
        usable = self.before if basis == self.basis_before else {}
        same = {
            id: {month: digest for month, digest in months.items() if parts.get(id, {}).get(month) == digest}
            for id, months in usable.items()
        }
        if same != self._on_disk:
            self._on_change({id: months for id, months in same.items() if months})
        self.before = same

    def is_current(self, conversation_id: str, month: str) -> bool:
        """Return whether the files of a part can be kept."""
        return month in self.before.get(conversation_id, {})

    def write(self, name: str, data: bytes) -> None:
        """Write a file. `name` is its path in the folder, with `/`."""
        with self.open(name) as file:
            file.write(data)

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Open a file for writing. It gets its name when the context ends without an error."""
        final = self._final(name)
        temporary = final.with_name(f".tmp-{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                sync_content(file.fileno(), final)
            sha256 = file_sha256(temporary)
            if not _has_content(final, temporary.stat().st_size, sha256):
                temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
        self._digests[name] = sha256

    def link(self, name: str, medium: ArchivedMedia) -> None:
        """Give a body of the archive a name in the folder, as a hard link or as a copy where links are refused.

        A file that has the name and the size already is kept: use names that tell contents apart.

        Raises:
            DamagedArchive: The file has another content.
        """
        final = self._final(name)
        if not (final.is_file() and final.stat().st_size == medium.size):
            temporary = final.with_name(f".tmp-{secrets.token_hex(8)}")
            try:
                with medium.local_copy() as source:
                    check_body(medium, file_sha256(source))
                    try:
                        os.link(source, temporary)
                    except OSError:
                        shutil.copyfile(source, temporary)
                        sync_file(temporary)
                temporary.replace(final)
            finally:
                temporary.unlink(missing_ok=True)
        self._digests[name] = medium.sha256

    def add(self, digests: Mapping[str, str]) -> None:
        """Take in files that another process has written here, with their digests."""
        self._digests.update(digests)

    def digests(self) -> dict[str, str]:
        """Return the digests of the files that were written so far, by name."""
        return {name: digest for name, digest in self._digests.items() if digest is not None}

    def keep(self, name: str) -> bool:
        """Keep a file of the folder as it is. Return False if it is missing, so that its part must be made anew."""
        if not (self.root / name).is_file():
            return False
        self._digests.setdefault(name, None)
        return True

    def final_digest(self) -> str:
        """Return the digest over the names and contents of all files."""
        digest = hashlib.sha256()
        for name in sorted(self._digests):
            digest.update(f"{name} {self._digests[name] or file_sha256(self.root / name)}\n".encode())
        return digest.hexdigest()

    def sync(self) -> None:
        """Remove what is not part of the result, and make the names survive a loss of power."""
        for folder, folders, files in os.walk(self.root, topdown=False):
            here = Path(folder)
            for name in (*files, *(name for name in folders if (here / name).is_symlink())):
                if (here / name).relative_to(self.root).as_posix() not in self._digests:
                    (here / name).unlink()
            if here != self.root and not any(here.iterdir()):
                here.rmdir()
            else:
                sync_folder(here)

    def _final(self, name: str) -> Path:
        final = self.root / name
        for folder in reversed(Path(name).parents[:-1]):  # Not the root: if it was removed, the conversion has ended.
            (self.root / folder).mkdir(exist_ok=True)
        return final


Output = OutputFile | OutputFolder


@attrs.define
class Place:
    """The place of an output: what is there, and how a new one gets there."""

    out: Path
    format: str
    is_folder: bool
    options: Mapping[str, object]
    force: bool = False

    @contextmanager
    def opened(self) -> Iterator[tuple[Output, Callable[[Report], None]]]:
        """Yield what to write to, and a function that ends the work with its report.

        Raises:
            OutInTheWay: What is there was not written by the same kind of conversion, or is being written now.
            OSError: The place cannot be written.
        """
        with errors_about(self.out):
            previous = self._previous()
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._remove_strays()
            with self._made() if previous is None or not self.is_folder else self._updated(previous) as output:
                yield output, lambda report: self._finish(output, report)

    @contextmanager
    def _updated(self, previous: Previous) -> Iterator[Output]:
        with self._locked(self.out) as is_locked:
            if not is_locked:
                raise OutInTheWay(f"{self.out} is being written by another conversion")
            yield self._update(previous)

    @contextmanager
    def _made(self) -> Iterator[Output]:
        temporary = self.out.with_name(f".{self.out.name}.tmp-{secrets.token_hex(8)}")
        try:
            if self.is_folder:
                temporary.mkdir()
            else:
                temporary.touch()
            with self._locked(temporary):
                yield OutputFolder(temporary) if self.is_folder else OutputFile(temporary)
        finally:
            _remove(temporary)

    def _previous(self) -> Previous | None:
        """Return the report of what is there; None if there is nothing, or if it is to be replaced."""
        previous = previous_report(self.out)
        is_ours = previous is not None and previous.format == self.format
        if os.path.lexists(self.out) and not self.force:
            fits = self.out.is_dir() == self.is_folder and not self.out.is_symlink()
            if not (is_ours and fits):
                message = f"{self.out} exists and was not written by a conversion to {self.format}"
                raise OutInTheWay(message, can_be_replaced=True)
        return previous if is_ours and self.out.is_dir() and not self.out.is_symlink() else None

    def _update(self, previous: Previous) -> Output:
        same_options = previous.options == json.loads(json.dumps(self.options))

        def announce(parts: Parts) -> None:
            interim = {"format": self.format, "options": previous.options, "parts": parts, "basis": previous.basis}
            self._replace(report_path(self.out), json.dumps(interim, sort_keys=True).encode() + b"\n")

        return OutputFolder(
            self.out,
            before=previous.parts if same_options else {},
            basis_before=previous.basis if same_options else "",
            on_disk=previous.parts,
            on_change=announce,
        )

    def _finish(self, output: Output, report: Report) -> None:
        """Give the output its name, the report first; in place, the report comes last."""
        output.sync()
        in_place = isinstance(output, OutputFolder) and output.root == self.out
        lines = [{"id": id, "kind": kind, "stride": original} for kind, original, id in output.ids]
        ids_path = self.out.with_name(f"{self.out.name}.ids.jsonl")
        if lines:
            self._replace(ids_path, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
        else:
            ids_path.unlink(missing_ok=True)
        self._replace(report_path(self.out), encoded(report))
        if not in_place:
            temporary = output.root if isinstance(output, OutputFolder) else output.path
            if self.out.is_dir() and not self.out.is_symlink():
                self._move_away()
            elif self.is_folder and os.path.lexists(self.out):
                self.out.unlink()
            temporary.replace(self.out)
        sync_folder(self.out.parent)

    def _move_away(self) -> None:
        """Remove a folder that is to be replaced, with its name first."""
        old = self.out.with_name(f".{self.out.name}.tmp-{secrets.token_hex(8)}")
        self.out.replace(old)
        _remove(old)

    def _replace(self, path: Path, data: bytes) -> None:
        """Write a file next to the output, completely or not at all. Nothing happens if it has this content."""
        with suppress(OSError):
            if path.read_bytes() == data:
                return
        temporary = self.out.with_name(f".{self.out.name}.tmp-{secrets.token_hex(8)}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                sync_content(file.fileno(), path)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _remove_strays(self) -> None:
        """Remove what conversions that were killed have left."""
        for entry in self.out.parent.iterdir():
            if entry.name.startswith(f".{self.out.name}.tmp-") and not entry.is_symlink():
                # Those of another person in a shared folder stay.
                with suppress(PermissionError), self._locked(entry) as is_locked:
                    if is_locked:
                        _remove(entry)

    @staticmethod
    @contextmanager
    def _locked(path: Path) -> Iterator[bool]:
        """Lock a file or folder until the context ends; yield False if another process has locked it."""
        if sys.platform == "win32":
            yield True
            return
        try:
            descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        except FileNotFoundError:  # Another conversion has removed it.
            yield False
            return
        try:
            yield lock(descriptor, path) is not False
        finally:
            os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with NamedFile(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_parts(parts: Iterable[str]) -> str:
    """Return one digest for several texts, such as what a basis or a part consists of."""
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _has_content(path: Path, size: int, sha256: str) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == size and file_sha256(path) == sha256


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
