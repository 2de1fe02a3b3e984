"""Verify an archive: what it proves about each conversation, and every file that is not what it should be.

A verification trusts nothing but what it has just read. It calls the service only to compare a sample.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Container, Iterator
from functools import partial
from os import PathLike
from types import NoneType

import attrs

from stride_async._arguments import function, number, of_type
from stride_async._client import StrideClient
from stride_async._errors import DecodeError
from stride_async._files import run_to_completion
from stride_async._models import Conversation, Key, User
from stride_async._wire.convert import key_at, object_at, structure
from stride_async.export._archive.archive import FORMAT, Archive
from stride_async.export._archive.chain import Chain, commit_numbers
from stride_async.export._archive.commits import BEGINNING, RawGroup, Stored
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.layout import (
    ARCHIVE_JSON,
    CONVERSATIONS,
    DERIVED,
    PEOPLE,
    SETTINGS,
    commit_folder,
    is_known,
    media_path,
    run_file,
    run_folder,
    stem_of_run,
)
from stride_async.export._archive.months import month_of
from stride_async.export._archive.reader import roster_in
from stride_async.export._archive.runs import Finding, Remedy, Runs, Unfinished
from stride_async.export._archive.state import NOT_PEOPLE, State
from stride_async.export._archive.storage import read_ahead
from stride_async.export._archive.verdict import VerdictKind, verdict_of
from stride_async.export._check_chain import ChainCheck
from stride_async.export._compare import Comparison, draw_samples

_NEVER_KNOWN = (
    "messages deleted before they were first exported",
    "changes at the service since the last run, or deeper than it read",
)
_FOREIGN_NAMED = 5


@attrs.frozen(kw_only=True)
class Verdict:
    """What an archive proves about one conversation."""

    conversation_id: str
    """The id of the conversation."""
    name: str
    """Its name."""
    kind: VerdictKind
    """What kind of verdict it is."""
    text: str
    """The verdict with its times, such as `gap between 2018-03-01T08:00:00Z and 2018-04-01T09:30:00Z`."""
    messages: int
    """The number of messages that are held."""
    media: int
    """The number of files whose body is held."""
    failed: tuple[str, ...]
    """What could not be fetched and is recorded as failed."""


@attrs.frozen(kw_only=True)
class Report:
    """The result of a verification."""

    verdicts: tuple[Verdict, ...]
    """What the archive proves about each conversation."""
    findings: tuple[Finding, ...]
    """What is wrong with the archive."""
    windows: int
    """The number of samples that were compared with the service."""
    not_known: tuple[str, ...]
    """What this verification cannot know, as noun clauses."""

    @property
    def ok(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


async def verify(
    archive: str | PathLike[str],
    *,
    against: StrideClient | None = None,
    sample: int = 20,
    seed: int = 0,
    on_verdict: Callable[[Verdict], None] | None = None,
) -> Report:
    """Read everything in an archive and report what it proves.

    Args:
        archive: The folder or URL of the archive.
        against: A client of the site. Some messages are then fetched from the service again and compared.
        sample: The number of samples to compare. Each is up to 75 consecutive messages of one conversation.
        seed: The seed of the random numbers with which the samples are drawn.
        on_verdict: Called with each verdict as it is reached.

    Raises:
        NotAnArchive: The folder is not an archive.
        NewerArchive: Its format is later than this version reads.
        StrideError: A call for the comparison failed.
        StoreRefused, StoreUnavailable: The object store of the archive cannot be used.
        ValueError: The client is of another site, or the URL is not one of an archive.
    """
    of_type(against, "against", StrideClient, NoneType)
    function(on_verdict, "on_verdict")
    number(sample, "sample", 0)
    number(seed, "seed", 0)
    opened = await run_to_completion(partial(Archive.open, archive))
    if against is not None and against.cloud_id != opened.cloud_id:
        raise ValueError(f"the archive is of site {opened.cloud_id}, the client of {against.cloud_id}")
    check = _Check(opened, await run_to_completion(partial(Runs.of, opened)))
    check.runs()
    verdicts = []
    parts = read_ahead(opened.files, check.apart, await run_to_completion(check.conversations))
    try:
        while (part := await run_to_completion(partial(next, parts, None))) is not None:
            verdicts.append(check.add(*part))
            if on_verdict is not None:
                on_verdict(verdicts[-1])
    finally:
        await run_to_completion(parts.close)
    await run_to_completion(check.people)
    check.unfinished()
    not_known = [*_NEVER_KNOWN, *await run_to_completion(check.not_known)]
    compared = 0
    if against is None:
        not_known.append("whether the service has the same content: it was not called")
    else:
        comparison = Comparison(against)
        samples = await run_to_completion(partial(draw_samples, opened, sample, seed))
        compared = await comparison.compare(samples)
        check.findings += comparison.findings
        not_known += comparison.not_known
    return Report(
        verdicts=tuple(verdicts), findings=tuple(check.findings), windows=compared, not_known=tuple(not_known)
    )


@attrs.define
class _Bodies:
    """The media bodies that were read."""

    wrong: dict[str, str | None] = attrs.field(factory=dict)
    """What is wrong with a body, by digest; None if nothing is."""
    lock: threading.Lock = attrs.field(factory=threading.Lock)


class _Check:
    """Reads everything and collects findings."""

    def __init__(self, archive: Archive, runs: Runs) -> None:
        self.findings: list[Finding] = []
        self._archive = archive
        self._runs = runs
        self._chains = ChainCheck(archive, self._runs, lambda path, what: self._add(path, what, "move away"))
        self._not_fetched = 0  # media bodies that are neither held nor recorded as failed
        # The run that last completed a conversation, by the name of its folder.
        self._done: dict[str, str] = {}
        # Findings that the finding of an unfinished run includes, by the name of the conversation's folder.
        self._incomplete: dict[str, Finding] = {}
        self._unlisted: set[str] = set()
        self._referenced_users: set[str] = set()
        self._bodies = _Bodies()

    def runs(self) -> None:
        """Check the records of the runs, and that all of them are of this archive."""
        self.findings += self._runs.findings
        if self._archive.format != FORMAT:
            self._add(ARCHIVE_JSON, f"has format {self._archive.format}, which does not exist", "put right")
        owners = self._runs.owners
        others = {run: owner for run, owner in owners.items() if owner != (self._archive.id, self._archive.cloud_id)}
        some_agree = len(others) < len(owners)
        if others and not some_agree:
            archive, cloud_id = others[max(others)]
            what = f"does not match the settings.json of runs: archive {archive} of site {cloud_id}"
            self._add(ARCHIVE_JSON, what, "put right")
        unfinished = {each.run for each in self._runs.unfinished}
        for run in others:
            if some_agree or run in unfinished:
                self._add(run_file(run, SETTINGS), f"is of another archive than {ARCHIVE_JSON}", "set aside")

    def conversations(self) -> list[str]:
        """Return the names of the folders that exist, and of those that should."""
        names = self._archive.conversations()
        numbers = partial(commit_numbers, self._archive)
        found = read_ahead(self._archive.files, numbers, (f"{CONVERSATIONS}/{name}" for name in names))
        existing = (name for name, has_commits in zip(names, found, strict=True) if has_commits)
        recorded = (folder.rpartition("/") for folder in self._runs.folders_with_heads())
        expected = (name for parent, _, name in recorded if parent == CONVERSATIONS)
        return sorted({*existing, *self._runs.pending, *expected})

    def apart(self, name: str) -> tuple[Verdict, _Check]:
        """Check a conversation without changing this check, so that several can be checked at the same time."""
        check = _Check(self._archive, self._runs)
        check._bodies = self._bodies
        return check.conversation(name), check

    def add(self, verdict: Verdict, check: _Check) -> Verdict:
        """Add what was found apart. Return the verdict."""
        self.findings += check.findings
        self._not_fetched += check._not_fetched
        self._done |= check._done
        self._incomplete |= check._incomplete
        self._unlisted |= check._unlisted
        self._referenced_users |= check._referenced_users
        return verdict

    def conversation(self, name: str) -> Verdict:
        """Check everything of one conversation."""
        folder = f"{CONVERSATIONS}/{name}"
        before = len(self.findings)
        chain = self._check_content(folder)
        while len(self.findings) > before and chain.has_conflict():
            # An export that runs at the same time has deleted files that its newest commit no longer needs.
            del self.findings[before:]
            chain = self._check_content(folder)
        damaged = len(self.findings) - before
        state = chain.state
        self._check_earlier(chain, {file.path for file in state.files()})
        kind, text = verdict_of(state)
        if damaged:
            files = "file does not match its commit" if damaged == 1 else "files do not match their commits"
            kind, text = "unknown", f"unknown: {damaged} {files}"
        elif chain.head[0]:
            self._check_finished(name, state, kind, text)
        if chain.head[0]:
            self._check_details(folder, state)
        for id in sorted(state.media):
            self._check_body(state.media[id].sha256, state.media[id].size, id)
        self._remember(name, state)
        details = state.details or {}
        id, recorded_name = self._runs.names.get(name, (name, ""))
        return Verdict(
            conversation_id=str(details.get("id") or id),
            name=str(details.get("name") or recorded_name),
            kind=kind,
            text=text,
            messages=state.messages,
            media=len(state.media),
            failed=tuple(f"{one.what} {one.id}".rstrip() + f": {one.error}" for one in state.failed.values()),
        )

    def people(self) -> None:
        """Check the profiles of people, and that none is missing."""
        before = len(self.findings)
        chain = self._chains.check(PEOPLE)
        state = chain.state
        failed = {id for what, id in state.failed if what == "user"}
        excepted = failed.copy()
        for group in reversed(state.profiles):  # The latest profile of a person counts.
            self._check_lines(group.file, _ProfileCheck(iter(group.ids), excepted).wrong_with)
            excepted.update(group.ids)
        is_sound = before == len(self.findings)
        self._check_earlier(chain, {group.file.path for group in state.profiles})
        missing = self._referenced_users - NOT_PEOPLE - state.profile_ids - failed
        if missing and is_sound and not self._unfinished_runs():
            profiles = "1 profile was" if len(missing) == 1 else f"{len(missing):,} profiles were"
            self._add(PEOPLE, f"{profiles} not fetched: run the export again", "run again")

    def unfinished(self) -> None:
        """Find runs that did not finish, if anything that they were for is still not done, and other incomplete work.

        What the finding of a run includes has no finding of its own.
        """
        included: set[str] = set()
        for run, pending in self._unfinished_runs():
            some = f", {len(pending):,} of its {len(run.conversations):,} conversations are not done" if pending else ""
            self._add(run_folder(run.run), f"did not finish{some}: run the export again", "run again")
            included |= pending
        self.findings += [finding for name, finding in self._incomplete.items() if name not in included]

    def _unfinished_runs(self) -> list[tuple[Unfinished, set[str]]]:
        """Return runs that are still unfinished, each with the conversations that are not done."""
        runs = [
            (run, {name for name in run.conversations if not self._was_done(run, name)})
            for run in self._runs.unfinished
        ]
        return [(run, pending) for run, pending in runs if pending or run.run in self._runs.round]

    def not_known(self) -> list[str]:
        """Return what the archive cannot show, as noun clauses."""
        clauses = list(self._runs.notes)
        foreign = [
            path for path in self._archive.files.walk() if not (is_known(path) or path.startswith(f"{DERIVED}/"))
        ]
        if foreign:
            more = f" and {len(foreign) - _FOREIGN_NAMED:,} more" if len(foreign) > _FOREIGN_NAMED else ""
            clauses.append(f"files that are not part of an archive: {', '.join(foreign[:_FOREIGN_NAMED])}{more}")
        if self._not_fetched:
            clauses.append(f"the bodies of {self._not_fetched:,} files: they were not requested")
        return clauses

    def _remember(self, name: str, state: State) -> None:
        """Keep what the checks of people and runs need of a conversation."""
        failed = {id for what, id in state.failed if what == "media"}
        self._not_fetched += len(state.referenced_media - state.media.keys() - failed)
        self._referenced_users |= state.referenced_users
        if not state.listed:
            self._unlisted.add(name)
        elif state.is_done:
            self._done[name] = state.done_by or ""

    def _was_done(self, run: Unfinished, name: str) -> bool:
        """Return whether an unfinished run, or one after it, completed a conversation."""
        if name not in self._done:
            return name in self._unlisted or name not in self._runs.pending
        # Shards of one export may have another number than those that an interruption left.
        return stem_of_run(self._done[name]) >= stem_of_run(run.run)

    def _check_content(self, folder: str) -> Chain:
        """Check the chain of a conversation and the files that its content is read from."""
        chain = self._chains.check(folder)
        state = chain.state
        read: set[str] = set()  # A file that a foreign commit names a thousand times is read once.
        for month, sealed in sorted(state.months.items()):
            if sealed.file is not None and self._is_first(sealed.file, read):
                self._check_lines(sealed.file, _MonthOrder(month).wrong_with)
        upper = state.leg.upper if state.leg is not None else None
        for raw in state.raw_groups:
            if raw.upper != upper:
                self._add(raw.file.path, "does not join the pages above it", "move away")
            upper = raw.low
            if self._is_first(raw.file, read):
                self._check_raw_group(raw)
        for file in state.unplaced:
            self._check_lines(file)
        if state.roster is not None:
            self._check_roster(state.roster.file)
        return chain

    def _is_first(self, file: Stored, read: set[str]) -> bool:
        """Return whether no other month or group of pages is in a file; their messages differ, so none can be."""
        if file.path in read:
            self._add(
                file.path, "is named twice, though no two months or groups of pages can share a file", "move away"
            )
            return False
        read.add(file.path)
        return True

    def _check_finished(self, name: str, state: State, kind: VerdictKind, text: str) -> None:
        """Find a history that was not read to its end."""
        path = commit_folder(f"{CONVERSATIONS}/{name}")
        if not state.listed and (state.leg is not None or kind in ("gap", "unknown")):
            self._add(path, f"{text}, and the service no longer lists the conversation", "none")
        elif state.leg is not None:
            what = "its history was not read to the end: run the export again"
            self._incomplete[name] = Finding(path, what, "run again")
        elif kind in ("gap", "unknown"):
            self._incomplete[name] = Finding(path, text, "run again")

    def _check_details(self, folder: str, state: State) -> None:
        if state.details is None:
            self._add(commit_folder(folder), "has no details of the conversation: run the export again", "run again")
            return
        try:
            structure(state.details, Conversation, b"")
        except DecodeError as error:
            what = f"has details of the conversation that cannot be decoded: {error}: run the export again"
            self._add(commit_folder(folder), what, "run again")

    def _check_raw_group(self, raw: RawGroup) -> None:
        keys: list[Key | None] = []

        def note_key(line: bytes) -> str | None:
            keys.append(key_at(line))
            return "has a line that is not a message" if keys[-1] is None else None

        if self._check_lines(raw.file, note_key, "run again"):
            known = [key for key in keys if key is not None]
            if known != sorted(set(known)) or known[:1] + known[-1:] != [raw.low, raw.high]:
                self._add(raw.file.path, "its messages are out of order, or not those of its commit", "move away")

    def _check_roster(self, file: Stored) -> None:
        if self._check_lines(file):
            try:
                roster_in(self._archive, file)
            except DamagedArchive as error:
                self._add(file.path, str(error).removeprefix(f"{file.path} "), "rescan")

    def _check_earlier(self, chain: Chain, needed: set[str]) -> None:
        """Check files that later commits have replaced. Files that no commit names are ignored: a kill leaves some."""
        named = chain.files()
        for path in sorted(named.keys() - needed):
            wrong = self._wrong_with(named[path])
            if wrong is not None:
                self._add(path, f"is an earlier revision, which is no longer needed, and {wrong}", "rescan")

    def _check_body(self, sha256: str, size: int, media_id: str) -> None:
        path = media_path(sha256)
        with self._bodies.lock:  # Conversations can have the same body, which is read and reported once.
            is_known = sha256 in self._bodies.wrong
            if not is_known:
                self._bodies.wrong[sha256] = self._wrong_with_body(path, sha256)
        wrong = self._bodies.wrong[sha256]
        if wrong is not None and not is_known:
            self._add(path, f"{wrong}: the body of media {media_id}", "rescan")
        if wrong is None and self._archive.files.size(path) != size:
            what = f"has {self._archive.files.size(path)} bytes, {size} were committed for media {media_id}"
            self._add(path, what, "rescan")

    def _wrong_with_body(self, path: str, sha256: str) -> str | None:
        try:
            return None if self._archive.files.sha256(path) == sha256 else "was altered: its digest differs"
        except DamagedArchive as error:
            return str(error).removeprefix(f"{path} ")

    def _check_lines(
        self,
        file: Stored,
        wrong_with_line: Callable[[bytes], str | None] | None = None,
        remedy: Remedy = "rescan",
    ) -> bool:
        """Return whether a file is as committed, and every line in it is right."""
        what = self._wrong_with(file, wrong_with_line)
        if what is not None:
            self._add(file.path, what, remedy)
        return what is None

    def _wrong_with(self, file: Stored, wrong_with_line: Callable[[bytes], str | None] | None = None) -> str | None:
        digest, rows, first = hashlib.sha256(), 0, None
        try:
            for line in self._archive.lines(file.path):
                digest.update(line + b"\n")
                rows += 1
                if wrong_with_line is not None:
                    first = first or wrong_with_line(line)
            file_sha256 = self._archive.files.sha256(file.path)
        except DamagedArchive as error:
            return str(error).removeprefix(f"{file.path} ")
        if digest.hexdigest() != file.sha256:
            return "is not what was committed: the digest of its content differs"
        if rows != file.rows:
            return f"has {rows} lines, {file.rows} were committed"
        if file_sha256 != file.file_sha256:
            return "was altered, though its content can still be read"
        return first

    def _add(self, path: str, what: str, remedy: Remedy) -> None:
        self.findings.append(Finding(path, what, remedy))


@attrs.define
class _MonthOrder:
    """Checks that messages are of one month, and each is later than the one before."""

    month: str
    _last: Key = BEGINNING

    def wrong_with(self, line: bytes) -> str | None:
        """Return what is wrong with the next line, None if nothing is."""
        key = key_at(line)
        if key is None:
            return "has a line that is not a message"
        before, self._last = self._last, key
        if key <= before:
            return f"has message {key[1]} {'twice' if key == before else 'out of order'}"
        return None if month_of(key[0]) == self.month else f"has message {key[1]}, which is of another month"


@attrs.define
class _ProfileCheck:
    """Checks that the profiles of people can be decoded, except those of some people."""

    ids: Iterator[str]
    excepted: Container[str]

    def wrong_with(self, line: bytes) -> str | None:
        """Return what is wrong with the next line, None if nothing is."""
        id = next(self.ids, "")
        if id in self.excepted:
            return None
        try:
            object_at(line, User)
        except DecodeError as error:
            return f"has a profile of {id} that cannot be decoded: {error}"
        return None
