"""What the runs of an archive left of themselves: what each was for, how far it came, and what it saw at its end.

These files are no part of what is held. Whatever is wrong with one is told, and no commit is blamed by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Literal, TypeVar

import attrs
import msgspec

from stride_async.export._archive.files import Archive
from stride_async.export._archive.layout import folder_name
from stride_async.export._events import Failure

T = TypeVar("T")
Remedy = Literal["none", "run again", "rescan", "move away", "set aside", "put right"]
_VOUCHED_FOR = ("settings.json", "picked.json", "heads.json")
_OWN = b',"sha256":"%b"}'
"""How finished.json ends: with the digest of what it would be without this member."""
_NAMES = frozenset(("settings.json", "picked.json", "calls.log", "failures.jsonl", "heads.json", "finished.json"))


@attrs.frozen
class Finding:
    """Something that is not as it should be: the file, as a path in the archive, and what is wrong with it."""

    path: str
    what: str
    remedy: Remedy = "none"
    """What can be done: `run again` the export, `rescan` all with it, `move away` the folder of the conversation and
    run again, `set aside` the folder of the run, `put right` the file by hand; `none`: nothing."""


class _Asked(msgspec.Struct):
    """What of the settings of a run tells where it belongs, and of how much of the site it was."""

    archive: str
    cloud_id: str
    selectors: tuple[str, ...]
    kinds: tuple[str, ...]
    retry_failed: bool


class _Finished(msgspec.Struct):
    """What a run says at its end of what it leaves behind."""

    run: str
    failures: int
    files: dict[str, str]
    """Digests of the files it vouches for."""


def finished_record(archive: Archive, run: str, told: Mapping[str, object]) -> bytes:
    """What finished.json is to say, when all other files of the run are there: what is told, and digests."""
    files = {name: archive.sha256_of(f"runs/{run}/{name}") for name in _VOUCHED_FOR}
    data = msgspec.json.encode({**told, "files": files})
    return data[:-1] + _OWN % _sha256(data)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


@attrs.frozen
class Seen:
    """The newest commit of a folder when a run finished."""

    run: str
    number: int
    sha256: str


@attrs.frozen
class Unfinished:
    """A run that did not come to its end."""

    run: str
    folders: frozenset[str]
    """Of the conversations it was to work on."""
    retried: bool
    """Whether it was only for what had failed before."""


@attrs.define
class Runs:
    """All runs of an archive that began to work, folded into what counts of them. Folders go by their names."""

    last: str | None = None
    """The newest one."""
    unfinished: list[Unfinished] = attrs.field(factory=list)
    """The oldest one first."""
    waiting: set[str] = attrs.field(factory=set)
    """Conversations of unfinished runs that the service still told of when all of the site was last exported."""
    known: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """Ids and names of the conversations they were for."""
    whose: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """Of which archive and site each says it is."""
    findings: list[Finding] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)
    """What of them cannot be known, in words."""
    _seen: dict[str, list[Seen]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, archive: Archive) -> Runs:
        """What lies in an archive."""
        runs = cls()
        for name in archive.folders("runs"):
            there = _NAMES.intersection(archive.names(f"runs/{name}"))
            if not there <= {"settings.json"}:  # Else it never began to work.
                runs._take(_Records(archive, name, there))
        ended = (f"runs/{each.run}" for each in runs.unfinished if each.run != runs.last)
        runs.notes += [
            f"whether a run was killed at its very end, or {run}/finished.json was taken away"
            for run in ended
            if archive.holds(f"{run}/heads.json")
        ]
        return runs

    def seen(self, folder: str, since: str) -> Seen | None:
        """The highest commit of a folder that a run saw at its end, of the runs from one on."""
        seen = (each for each in self._seen.get(folder, ()) if each.run >= since)
        return max(seen, key=lambda each: each.number, default=None)

    def folders_seen(self) -> Iterator[str]:
        """Paths of folders in which runs saw commits."""
        yield from self._seen

    def _take(self, records: _Records) -> None:
        run = self.last = records.run
        has_ended = records.holds("finished.json")
        finished = records.finished() if has_ended else None
        asked = records.read("settings.json", _Asked)
        names = records.read("picked.json", dict[str, str])
        picked = {folder_name(id): (id, name) for id, name in (names or {}).items()}
        listed = records.count_failures()
        heads = records.read("heads.json", dict[str, tuple[int, str]]) if has_ended else None
        self.findings += records.findings
        self.known |= picked
        if asked is not None:
            self.whose[run] = asked.archive, asked.cloud_id
        if not has_ended:
            self.unfinished.append(Unfinished(run, frozenset(picked), asked is not None and asked.retry_failed))
            self.waiting |= set() if self.unfinished[-1].retried else picked.keys()
        elif asked is not None and names is not None and not asked.selectors and not asked.kinds:
            self.waiting &= picked.keys()
        if finished is None:
            return
        if listed < finished.failures:
            path = f"runs/{run}/failures.jsonl"
            self.notes.append(f"what a run could not get: {path} lists {listed:,} of {finished.failures:,}")
        for folder, (number, sha256) in (heads or {}).items():
            if number:
                higher = [seen for seen in self._seen.get(folder, ()) if seen.number > number]
                self._seen[folder] = [*higher, Seen(run, number, sha256)]


def begun_runs(archive: Archive) -> list[str]:
    """The runs that began to work, the first one first."""
    return [name for name in archive.folders("runs") if archive.holds(f"runs/{name}/picked.json")]


def failures_of(archive: Archive, run: str) -> list[Failure]:
    """What a run could not get; a line that a loss of power cut off is not among it."""
    path = f"runs/{run}/failures.jsonl"
    failures = []
    for line in archive.read(path).splitlines() if archive.holds(path) else ():
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            failures.append(msgspec.json.decode(line, type=Failure))
    return failures


class _Records:
    """The files of one run, and what is wrong with them."""

    def __init__(self, archive: Archive, run: str, there: Iterable[str]) -> None:
        self.run = run
        self.findings: list[Finding] = []
        self._archive = archive
        self._there = frozenset(there)
        self._digests: Mapping[str, str] = {}

    def holds(self, name: str) -> bool:
        """Whether a file is there."""
        return name in self._there

    def found(self, name: str, what: str) -> None:
        """Something is wrong with a file."""
        self.findings.append(Finding(f"runs/{self.run}/{name}", what, "set aside"))

    def read(self, name: str, type: type[T]) -> T | None:
        """What a file says; None, and found, where it is missing, altered or cannot be read."""
        data = self._data(name)
        if data is None:
            return None
        if name in self._digests and _sha256(data).decode() != self._digests[name]:
            self.found(name, "is not what the run wrote: its digest differs")
            return None
        return self._decoded(name, data, type)

    def finished(self) -> _Finished | None:
        """What finished.json says; what it vouches for is held against it from here on."""
        name = "finished.json"
        data = self._data(name) or b""
        finished = self._decoded(name, data, _Finished)
        if finished is None:
            return None
        unsigned = data[: -len(_OWN % _sha256(b""))]
        if data != unsigned + _OWN % _sha256(unsigned + b"}"):
            self.found(name, "is not what the run wrote: its digest differs")
            return None
        self._digests = finished.files
        return finished

    def count_failures(self) -> int:
        """How many lines of the list can be read. That a loss of power cut one off is nothing wrong."""
        name = "failures.jsonl"
        listed = 0
        lines = (self._data(name) or b"").split(b"\n") if self.holds(name) else []
        for number, line in enumerate(lines, 1):
            try:
                msgspec.json.decode(line, type=Failure)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if line.endswith(b"}"):
                    self.found(name, f"line {number} cannot be read: {error}")
            else:
                listed += 1
        return listed

    def _data(self, name: str) -> bytes | None:
        if not self.holds(name):
            self.found(name, "is missing")
            return None
        return self._archive.read(f"runs/{self.run}/{name}")

    def _decoded(self, name: str, data: bytes, type: type[T]) -> T | None:
        try:
            return msgspec.json.decode(data, type=type)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.found(name, f"cannot be read: {error}")
            return None
