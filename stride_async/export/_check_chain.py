"""Check the commit chain of one folder, and find which commit is to blame for what breaks it.

Each commit holds the digest of the previous one. A mismatch does not show which of the two commits was altered. The
commit above both, or a recorded head, decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain, commit_numbers
from stride_async.export._archive.commits import decode_commit
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import commit_path
from stride_async.export._archive.runs import Runs

AddFinding = Callable[[str, str], None]
"""Takes the path of a commit and what is wrong with it."""


@attrs.frozen
class _Link:
    """What a commit says about the chain."""

    path: str
    sha256: str
    previous: int
    previous_sha256: str
    run: str


class ChainCheck:
    """Checks one chain after another against what runs have recorded."""

    def __init__(self, archive: Archive, runs: Runs, add_finding: AddFinding) -> None:
        self._archive = archive
        self._runs = runs
        self._add_finding = add_finding
        self._found = 0

    def check(self, folder: str) -> Chain:
        """Return what a chain proves, and find what breaks it or is missing of it."""
        self._found = 0
        chain = Chain(self._archive, folder)
        links, undecodable = self._read_links(folder)
        # Heads that were recorded before the run that began this chain are of another chain, moved away since.
        head = self._runs.highest_head(folder, since=links[1].run if 1 in links else "")
        known = {head.number: head.sha256} if head is not None else {}
        for first, last in _gaps(links.keys() | undecodable, at_least=max(known, default=0)):
            more = f", and so are all up to {last:08d}.json" if last > first else ""
            self._add(commit_path(folder, first), f"is missing{more}")
        self._check_links(links, known)
        if chain.broken and not self._found:
            self._add(chain.broken[0], "is not part of the chain")
        return chain

    def _read_links(self, folder: str) -> tuple[dict[int, _Link], set[int]]:
        """Return what the commits of a folder say, and the numbers of those that cannot be decoded."""
        links: dict[int, _Link] = {}
        undecodable: set[int] = set()
        for number in commit_numbers(self._archive, folder):
            path = commit_path(folder, number)
            try:
                data = self._archive.files.read(path)
                commit = decode_commit(data, folder)
            except DamagedArchive as error:
                self._add(path, f"is damaged: {error}")
                undecodable.add(number)
                continue
            if commit.number == number:
                sha256 = hashlib.sha256(data).hexdigest()
                links[number] = _Link(path, sha256, commit.previous, commit.previous_sha256, commit.run)
            else:
                self._add(path, f"says that it is commit {commit.number}")
        return links, undecodable

    def _check_links(self, links: Mapping[int, _Link], known: dict[int, str]) -> None:
        """Check commits from the newest down. `known` has digests that are certain; each sound commit adds one."""
        for number in sorted(links, reverse=True):
            link, before = links[number], links.get(links[number].previous)
            if known.get(number, link.sha256) != link.sha256:
                self._add(link.path, "is not what was committed: its digest differs")
            elif (link.previous == 0) != (number == 1) or link.previous >= number:
                self._add(link.path, f"names commit {link.previous} as the one before it, which is impossible")
            elif (
                before is None
                or before.sha256 == link.previous_sha256
                or (number in known and link.previous not in known)
            ):
                known.setdefault(link.previous, link.previous_sha256)
            elif known.get(link.previous) == before.sha256:
                self._add(link.path, "does not follow the commit before it")
            elif link.previous not in known:
                what = f"does not match: {before.path} or {link.path} was altered"
                self._add(before.path, what)
                self._add(link.path, what)

    def _add(self, path: str, what: str) -> None:
        self._found += 1
        self._add_finding(path, what)


def _gaps(numbers: Iterable[int], at_least: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last of each range of missing numbers. All up to `at_least` should exist."""
    before, existing = 0, sorted(numbers)
    for number in [*existing, max([at_least, *existing]) + 1]:
        if number > before + 1:
            yield before + 1, number - 1
        before = number
