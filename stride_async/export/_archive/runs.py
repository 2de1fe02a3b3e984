"""What the records of all runs add up to: which conversations are unfinished, and which commits a run has seen.

Records are not content: damage to one is reported as such, and no commit is called damaged because of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal, TypeVar

import attrs
import msgspec

from stride_async._json import NOT_DECODABLE
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.layout import (
    CALLS,
    FAILURES,
    FINISHED,
    HEADS,
    PICKED,
    RUN_FILES,
    SETTINGS,
    RunFile,
    folder_name,
    log_number,
    run_file,
    run_folder,
    shard_of_run,
    stem_of_run,
)
from stride_async.export._archive.logs import RunLog
from stride_async.export._archive.run_record import Finished, has_valid_signature
from stride_async.export._archive.storage import read_ahead
from stride_async.export._events import Failure
from stride_async.export._shard import Shard

T = TypeVar("T")
Remedy = Literal["none", "run again", "rescan", "move away", "set aside", "put right"]
"""What helps against a finding."""


@attrs.frozen
class Finding:
    """Something wrong with an archive."""

    path: str
    """The file, as a path in the archive."""
    what: str
    """What is wrong with it."""
    remedy: Remedy = "none"
    """What helps: `run again` the export; `rescan` everything; `move away` the folder of the conversation and run the
    export again; `set aside` the folder of the run; `put right` the file by hand; or `none`."""


class _RunSettings(msgspec.Struct):
    """Those settings of a run that say which archive it belongs to, and which part of the site it was for."""

    archive: str
    cloud_id: str
    selectors: tuple[str, ...]
    kinds: tuple[str, ...]


@attrs.frozen
class Head:
    """The newest commit of a folder when a run finished."""

    run: str
    number: int
    sha256: str


@attrs.frozen
class Unfinished:
    """A run that did not complete."""

    run: str
    conversations: frozenset[str]
    """Folder names of the conversations that it selected."""


@attrs.define
class Runs:
    """All runs that began to work. Conversations are named by their folders."""

    last: str | None = None
    """The newest run."""
    round: tuple[str, ...] = ()
    """The newest run; if that is of a shard, the newest ones of all shards of the same number since a run of another
    number or of all. Newest first."""
    finished: bool = False
    """Whether all runs of the round completed, and there was one of each shard."""
    unfinished: list[Unfinished] = attrs.field(factory=list)
    """Oldest first."""
    pending: set[str] = attrs.field(factory=set)
    """Conversations of unfinished runs that the service still listed when the complete site was last exported."""
    names: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """Ids and names of the conversations that runs selected."""
    owners: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """The archive and the site that each run says it belongs to."""
    findings: list[Finding] = attrs.field(factory=list)
    """What is wrong with the records."""
    notes: list[str] = attrs.field(factory=list)
    """What cannot be known because of a missing record, as noun clauses."""
    _heads: dict[str, list[Head]] = attrs.field(factory=dict)
    _all: list[str] = attrs.field(factory=list)

    @classmethod
    def of(cls, archive: Archive) -> Runs:
        """Read the records of an archive."""
        runs = cls()
        for files in read_ahead(archive.files, partial(_RunFiles, archive), archive.runs()):
            if not files.names <= {SETTINGS}:  # Otherwise it never began to work.
                runs._add(files)
        runs._find_round()
        ended = [each.run for each in runs.unfinished if each.run not in runs.round]
        runs.notes += [
            f"whether a run was killed as it finished, or {run_file(run, FINISHED)} was removed"
            for run in ended
            if archive.files.exists(run_file(run, HEADS))
        ]
        return runs

    def highest_head(self, folder: str, since: str) -> Head | None:
        """Return the highest commit of a folder that a run saw when it finished, of the runs from `since` on."""
        heads = (head for head in self._heads.get(folder, ()) if stem_of_run(head.run) >= stem_of_run(since))
        return max(heads, key=lambda head: head.number, default=None)

    def folders_with_heads(self) -> Iterator[str]:
        """Yield the folders in which runs saw commits."""
        yield from self._heads

    def _find_round(self) -> None:
        if self.last is None:
            return
        last = shard_of_run(self.last)
        newest: dict[Shard, str] = {}
        for run in reversed(self._all):
            shard = shard_of_run(run)
            if last is None or shard is None or shard.count != last.count:
                break
            newest.setdefault(shard, run)
        self.round = tuple(newest.values()) or (self.last,)
        unfinished = {each.run for each in self.unfinished}
        has_all_shards = len(self.round) == (1 if last is None else last.count)
        self.finished = has_all_shards and not unfinished.intersection(self.round)

    def _add(self, files: _RunFiles) -> None:
        run = self.last = files.run
        self._all.append(run)
        has_ended = files.has(FINISHED)
        finished = files.finished() if has_ended else None
        settings = files.decoded(SETTINGS, _RunSettings)
        names = files.decoded(PICKED, dict[str, str])
        picked = {folder_name(id): (id, name) for id, name in (names or {}).items()}
        listed = files.count_failures()
        heads = files.decoded(HEADS, dict[str, tuple[int, str]]) if has_ended else None
        self.findings += files.findings
        self.names |= picked
        if settings is not None:
            self.owners[run] = settings.archive, settings.cloud_id
        if not has_ended:
            self.unfinished.append(Unfinished(run, frozenset(picked)))
            self.pending |= picked.keys()
        elif settings is not None and names is not None and not settings.selectors and not settings.kinds:
            # What the run was for and the service does not list any more is not pending.
            shard = shard_of_run(run)
            self.pending -= {
                name
                for name in self.pending - picked.keys()
                if shard is None or shard.includes(self.names.get(name, (name,))[0])
            }
        if finished is None:
            return
        if listed < finished.failures:
            path = run_file(run, FAILURES)
            self.notes.append(f"what a run could not fetch: {path} lists {listed:,} of {finished.failures:,} failures")
        for folder, (number, sha256) in (heads or {}).items():
            if number:
                higher = [head for head in self._heads.get(folder, ()) if head.number > number]
                self._heads[folder] = [*higher, Head(run, number, sha256)]


class _RunFiles:
    """The files of one run, and what is wrong with them."""

    def __init__(self, archive: Archive, run: str) -> None:
        found = archive.files.list(run_folder(run)).files
        self.run = run
        self.names = RUN_FILES.intersection(found)
        """The files that exist."""
        if any(log_number(name, FAILURES) is not None for name in found):
            self.names |= {FAILURES}
        self.findings: list[Finding] = []
        self._archive = archive
        self._content = {name: archive.files.read(run_file(run, name)) for name in self.names - {CALLS, FAILURES}}
        self._digests: Mapping[str, str] = {}

    def has(self, name: RunFile) -> bool:
        """Return whether a file exists."""
        return name in self.names

    def decoded(self, name: RunFile, type: type[T]) -> T | None:
        """Return the content of a file. If it is missing, altered or undecodable, add a finding and return None."""
        data = self._data(name)
        if data is None:
            return None
        if name in self._digests and hashlib.sha256(data).hexdigest() != self._digests[name]:
            self._add_finding(name, "is not what the run wrote: its digest differs")
            return None
        return self._decoded(name, data, type)

    def finished(self) -> Finished | None:
        """Return what finished.json says. From then on, the files whose digests it has are checked."""
        data = self._data(FINISHED) or b""
        finished = self._decoded(FINISHED, data, Finished)
        if finished is None:
            return None
        if not has_valid_signature(data):
            self._add_finding(FINISHED, "is not what the run wrote: its digest differs")
            return None
        self._digests = finished.files
        return finished

    def count_failures(self) -> int:
        """Return the number of readable lines in the list of failures.

        A line that a loss of power cut off is not a finding; a complete one that cannot be decoded is.
        """
        count = 0
        log = RunLog(self._archive.files, self.run, FAILURES) if self.has(FAILURES) else None
        lines = log.read().split(b"\n") if log is not None else []
        for number, line in enumerate(lines, 1):
            try:
                msgspec.json.decode(line, type=Failure)
            except NOT_DECODABLE as error:
                if line.endswith(b"}"):
                    self._add_finding(FAILURES, f"line {number} cannot be decoded: {error}")
            else:
                count += 1
        return count

    def _add_finding(self, name: RunFile, what: str) -> None:
        self.findings.append(Finding(run_file(self.run, name), what, "set aside"))

    def _data(self, name: RunFile) -> bytes | None:
        if not self.has(name):
            self._add_finding(name, "is missing")
            return None
        return self._content[name]

    def _decoded(self, name: RunFile, data: bytes, type: type[T]) -> T | None:
        try:
            return msgspec.json.decode(data, type=type)
        except NOT_DECODABLE as error:
            self._add_finding(name, f"cannot be decoded: {error}")
            return None
