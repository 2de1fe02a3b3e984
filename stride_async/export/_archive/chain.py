"""The commit chain: create-only files, each with the digest of the one before."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence

from stride_async.export._archive.archive import Archive
from stride_async.export._archive.commits import (
    VERSION,
    Commit,
    Lost,
    Op,
    RawGroup,
    Stored,
    decode_commit,
    encode_commit,
    files_named_by,
)
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import (
    CONVERSATIONS,
    LAST_COMMIT,
    commit_folder,
    commit_number,
    commit_path,
)
from stride_async.export._archive.state import State
from stride_async.export._archive.storage import read_ahead


class CommitConflict(Exception):
    """Another writer committed first. What it committed must be read before anything else is committed."""


def read_conversations(archive: Archive, names: Iterable[str] | None = None) -> Iterator[tuple[str, Chain]]:
    """Yield the names of conversations' folders with their chains, in order; by default all of them."""
    names = archive.conversations() if names is None else list(names)
    chains = read_ahead(archive.files, lambda name: Chain(archive, f"{CONVERSATIONS}/{name}"), names)
    return zip(names, chains, strict=True)


def commit_numbers(archive: Archive, folder: str) -> list[int]:
    """Return the numbers of the commits in a folder, including those that are damaged, such as folders of that name."""
    numbers, before = _listed_numbers(archive, folder), None
    while numbers not in ([*range(1, len(numbers) + 1)], before):
        # One is missing, or an export that runs at the same time has made two, and the list has only the later one.
        numbers, before = _listed_numbers(archive, folder), numbers
    return numbers


def _listed_numbers(archive: Archive, folder: str) -> list[int]:
    contents = archive.files.list(commit_folder(folder))
    numbers = map(commit_number, [*contents.files, *contents.folders])  # Other names are not part of the archive.
    return sorted(number for number in numbers if number is not None)


class Chain:
    """The commits of one conversation, or of the people: what they add up to, and a way to add one."""

    def __init__(self, archive: Archive, folder: str) -> None:
        self.folder = folder
        self.state = State()
        self.broken: list[str] = []
        """Paths of commits that belong to no chain which verifies."""
        self._archive = archive
        self._next = 1
        self._head = (0, "")
        self._load()

    def _load(self) -> None:
        found: dict[int, tuple[str, Commit]] = {}
        for number in commit_numbers(self._archive, self.folder):
            self._next = max(self._next, number + 1)
            try:
                data = self._archive.files.read(commit_path(self.folder, number))
                commit = decode_commit(data, self.folder)
            except DamagedArchive:
                commit = None
            if commit is not None and commit.number == number:
                found[number] = (hashlib.sha256(data).hexdigest(), commit)
            else:
                self.broken.append(commit_path(self.folder, number))
        chain = next((chain for top in sorted(found, reverse=True) if (chain := _chain_below(top, found))), [])
        self.broken += [commit_path(self.folder, number) for number in sorted(found.keys() - set(chain))]
        for number in reversed(chain):
            self.state.apply(found[number][1])
        if chain:
            self._head = (chain[0], found[chain[0]][0])

    def commit(self, run: str, ops: Sequence[Op]) -> None:
        """Add a commit, and apply it to the state.

        Raises:
            CommitConflict: Another writer has made the commit with this number.
            DamagedArchive: The newest commit has the highest possible number, so that none can follow it.
        """
        if self._next > LAST_COMMIT:
            raise DamagedArchive(f"{commit_path(self.folder, LAST_COMMIT)} is the last commit that a chain can have")
        commit = Commit(VERSION, self._next, *self._head, run, time.time(), tuple(ops))
        data = encode_commit(commit)
        needs = [file.path for file in files_named_by(ops)]
        if not self._archive.commit(self.folder, commit.number, data, needs):
            raise CommitConflict(f"{self.folder}: another writer made commit {commit.number}")
        self._head = (commit.number, hashlib.sha256(data).hexdigest())
        self._next = commit.number + 1
        self.state.apply(commit)

    @property
    def head(self) -> tuple[int, str]:
        """The number and digest of the newest commit, 0 and empty if there is none."""
        return self._head

    @property
    def counts_in_site(self) -> bool:
        """Whether the content digest of the site covers the conversation: it has a commit, and the service lists it."""
        return self.state.listed and self._head[0] > 0

    def files(self) -> dict[str, Stored]:
        """Return every file that must exist because a commit names it, by path; earlier revisions are included."""
        files: dict[str, Stored] = {}
        deleted: set[str] = set()
        open_leg = self.state.leg
        number = self._head[0]
        while number:
            commit = decode_commit(self._archive.files.read(commit_path(self.folder, number)), self.folder)
            for op in commit.ops:
                if isinstance(op, RawGroup) and (open_leg is None or op.leg != open_leg.number):
                    deleted.add(op.file.path)
            files = {file.path: file for file in files_named_by(commit.ops) if file.path not in deleted} | files
            deleted.update(op.path for op in commit.ops if isinstance(op, Lost))
            number = commit.previous
        return files

    def lost_files(self) -> list[Lost]:
        """Return the files that are damaged and no longer needed."""
        needed = {file.path for file in self.state.files()}
        return [
            Lost(path) for path, file in self.files().items() if path not in needed and not self._archive.is_sound(file)
        ]

    def has_conflict(self) -> bool:
        """Return whether another writer has added a commit."""
        return Chain(self._archive, self.folder).head != self._head

    def require_sound(self) -> None:
        """Refuse a chain that has lost a part.

        Raises:
            DamagedArchive: A commit is damaged or missing.
        """
        if self.broken:
            raise DamagedArchive(f"{self.broken[0]} is damaged, or the commit before it is missing")


def sound_chain(archive: Archive, folder: str) -> Chain:
    """Read the commits of a folder.

    Raises:
        DamagedArchive: A commit is damaged or missing.
    """
    chain = Chain(archive, folder)
    chain.require_sound()
    return chain


def _chain_below(top: int, found: dict[int, tuple[str, Commit]]) -> list[int] | None:
    """Return the numbers from a commit down to the first, None if one is not what the commit above it names."""
    chain, number = [], top
    while True:
        chain.append(number)
        commit = found[number][1]
        if commit.previous == 0:
            return chain if not commit.previous_sha256 else None
        before = found.get(commit.previous)
        if commit.previous >= number or before is None or before[0] != commit.previous_sha256:
            return None
        number = commit.previous
