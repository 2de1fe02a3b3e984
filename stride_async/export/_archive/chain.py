"""The commits of one conversation: create-only files, each naming the digest of the one before."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from stride_async._models import Key
from stride_async._wire.convert import key_at
from stride_async.export._archive.commits import Commit, Held, Lost, Op, Raw, files_of, read_commit
from stride_async.export._archive.files import Archive, DamagedArchive
from stride_async.export._archive.state import State, files_needed

VERSION = 1
_NAME = re.compile(r"\d{8}\.json", re.ASCII)


class Overtaken(Exception):
    """Another writer made the commit first; what it says must be read before going on."""


class Chain:
    """What is committed of one conversation, and a way to commit more."""

    def __init__(self, archive: Archive, folder: str) -> None:
        self._archive = archive
        self._of = folder
        self._folder = f"{folder}/commit"
        self._next = 1
        self._last = (0, "")
        self.state = State()
        self.broken: list[str] = []
        """Commits that are there and belong to no chain that verifies."""
        self._load()

    def _load(self) -> None:
        found: dict[int, tuple[str, Commit]] = {}
        for name in self._archive.names(self._folder):
            if not _NAME.fullmatch(name):
                continue  # Put there by somebody else.
            path = f"{self._folder}/{name}"
            data = self._archive.read(path)
            try:
                commit = read_commit(data)
                sound = name == f"{commit.n:08d}.json"
                if sound:
                    found[commit.n] = (hashlib.sha256(data).hexdigest(), commit)
            except (msgspec.DecodeError, UnicodeDecodeError):
                sound = False
            if not sound:
                self.broken.append(path)
            self._next = max(self._next, int(name[:8]) + 1)
        for top in sorted(found, reverse=True):
            chain = _down_from(top, found)
            if chain is not None:
                self.broken += [f"{self._folder}/{n:08d}.json" for n in sorted(found.keys() - set(chain))]
                for n in reversed(chain):
                    self.state.take(found[n][1])
                self._last = (top, found[top][0])
                return
        self.broken += [f"{self._folder}/{n:08d}.json" for n in sorted(found)]

    def commit(self, run: str, ops: Sequence[Op]) -> None:
        """Make one more step.

        Raises:
            Overtaken: the number was taken by somebody else.
        """
        made = Commit(VERSION, self._next, *self._last, run, time.time(), tuple(ops))
        data = msgspec.json.encode(made)
        if not self._archive.commit(self._of, f"{made.n:08d}.json", data, [file.path for file in files_of(ops)]):
            raise Overtaken(f"{self._folder}: commit {made.n} was made by somebody else")
        self._last = (made.n, hashlib.sha256(data).hexdigest())
        self._next = made.n + 1
        self.state.take(made)

    @property
    def head(self) -> tuple[int, str]:
        """Number and digest of the newest commit; 0 and empty where there is none."""
        return self._last

    def files(self) -> dict[str, Held]:
        """Every file that its commits name and that must be there, by path; earlier revisions among them."""
        files: dict[str, Held] = {}
        gone: set[str] = set()
        open_leg = self.state.leg
        n = self._last[0]
        while n:
            commit = read_commit(self._archive.read(f"{self._folder}/{n:08d}.json"))
            for op in commit.ops:
                if isinstance(op, Raw) and (open_leg is None or op.leg != open_leg.number):
                    gone.add(op.file.path)
            files = {file.path: file for file in files_of(commit.ops) if file.path not in gone} | files
            gone.update(op.path for op in commit.ops if isinstance(op, Lost))
            n = commit.after
        return files

    def lost_files(self) -> list[Lost]:
        """Those of them that are damaged and needed no more."""
        needed = {file.path for file in files_needed(self.state)}
        return [
            Lost(path)
            for path, file in self.files().items()
            if path not in needed and not self._archive.is_sound(path, file.sha256)
        ]

    def is_overtaken(self) -> bool:
        """Whether somebody else has made the next commit."""
        return self._archive.holds(f"{self._folder}/{self._next:08d}.json")

    def must_be_sound(self) -> None:
        """Refuse to build on a chain that lost a part.

        Raises:
            DamagedArchive: a commit is broken or missing.
        """
        if self.broken:
            raise DamagedArchive(f"{self.broken[0]} is damaged or its predecessor is missing")


def _down_from(top: int, found: dict[int, tuple[str, Commit]]) -> list[int] | None:
    """Numbers from a commit down to the first, when each is what the one above it names; else None."""
    chain, n = [], top
    while True:
        chain.append(n)
        commit = found[n][1]
        if commit.after == 0:
            return chain if not commit.prev else None
        before = found.get(commit.after)
        if commit.after >= n or before is None or before[0] != commit.prev:
            return None
        n = commit.after


def sealed_lines(archive: Archive, state: State, month: str) -> Iterator[tuple[Key, bytes]]:
    """A month's messages, oldest first.

    Raises:
        DamagedArchive: they are not what was committed; at their end at the latest.
    """
    sealed = state.months.get(month)
    if sealed is not None and sealed.file is not None:
        yield from keyed(archive.checked_lines(sealed.file.path, sealed.file.sha256))


def keyed(lines: Iterable[bytes]) -> Iterator[tuple[Key, bytes]]:
    """Lines with their keys.

    Raises:
        DamagedArchive: a line has none.
    """
    for line in lines:
        key = key_at(line)
        if key is None:
            raise DamagedArchive(f"a line is no message: {line[:80]!r}")
        yield key, line
