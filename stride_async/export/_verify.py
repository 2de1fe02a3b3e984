"""What an archive proves: complete, up to when, where the gaps are; and every file that is not what it should be.

A verification trusts nothing but what it has just read. Without a client it asks the service nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal

import attrs
import msgspec

from stride_async._client import StrideClient
from stride_async._errors import DecodeError, Forbidden, NotFound
from stride_async._models import EPOCH
from stride_async._wire.convert import instant, key_at
from stride_async.export._archive import Archive, DamagedArchive, media_path
from stride_async.export._chain import Chain
from stride_async.export._conversation import CONVERSATIONS
from stride_async.export._events import Failure
from stride_async.export._history import line_of
from stride_async.export._people import PEOPLE
from stride_async.export._plan import (
    BEGINNING,
    Held,
    Key,
    Raw,
    Span,
    State,
    digest_of,
    joined,
    just_above,
    month_of,
    read_commit,
)
from stride_async.export._read import people_in

WINDOW = 75
"""Messages of a window that is compared with the service: a page."""
_ALWAYS_UNKNOWN = (
    "messages deleted before they were first exported: nobody can tell that they were there",
    "what changed at the service since the last run, or deeper than it looked",
)

Kind = Literal["complete", "complete up to", "gap", "unknown"]


@attrs.frozen
class Finding:
    """Something that is not as it should be: the file, as a path in the archive, and what is wrong with it."""

    path: str
    what: str


@attrs.frozen(kw_only=True)
class Verdict:
    """What an archive proves about one conversation."""

    conversation_id: str
    name: str
    kind: Kind
    text: str
    """In words, with moments: `gap between 2018-03-01T08:00:00Z and 2018-04-01T09:30:00Z`."""
    messages: int
    media: int
    failed: tuple[str, ...]
    """What could not be had and is listed as such."""


@attrs.frozen(kw_only=True)
class Report:
    """The outcome of a verification."""

    verdicts: tuple[Verdict, ...]
    findings: tuple[Finding, ...]
    windows: int
    """Stretches of messages that were compared with the service."""
    not_known: tuple[str, ...]
    """What this verification cannot tell, in words."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


@attrs.frozen(kw_only=True)
class Status:
    """What an archive holds, by its commits; nothing is checked."""

    cloud_id: str
    conversations: int
    messages: int
    media: int
    media_bytes: int
    users: int
    unlisted: int
    """Conversations that the service no longer tells of; what is held of them stays."""
    size_bytes: int
    """Of all files together."""
    verdicts: Mapping[Kind, int]
    """How many conversations of each kind of verdict."""
    oldest_update: datetime | None
    """When the conversation that waits longest was last worked on; aware."""
    newest_update: datetime | None
    run: str | None
    """The last run."""
    finished: bool
    """Whether that run came to its end."""
    failures: tuple[Failure, ...]
    """What that run could not get."""


async def verify(
    archive: str | os.PathLike[str],
    *,
    against: StrideClient | None = None,
    sample: int = 20,
    seed: int = 0,
    told: Callable[[Verdict], None] | None = None,
) -> Report:
    """Read everything an archive holds and say what it proves.

    With `against`, `sample` windows of messages, drawn with `seed`, are asked of the service again and compared.
    `told` is called with each verdict as it is reached.

    Raises:
        ArchiveError: the folder is no archive, or of a later version.
        StrideError: the service cannot be asked.
        ValueError: the client is of another site.
    """
    held = Archive.open(archive)
    if against is not None and against.cloud_id != held.cloud_id:
        raise ValueError(f"the archive is of site {held.cloud_id}, the client of {against.cloud_id}")
    check = _Check(held)
    await asyncio.to_thread(check.runs)
    verdicts = []
    for name in sorted({*held.names(CONVERSATIONS), *check.expected_conversations()}):
        verdict = await asyncio.to_thread(check.conversation, name)
        verdicts.append(verdict)
        if told is not None:
            told(verdict)
    await asyncio.to_thread(check.people)
    not_known, windows = list(_ALWAYS_UNKNOWN), 0
    if check.not_fetched:
        not_known.append(f"the bodies of {check.not_fetched:,} files: they were not asked for")
    if against is None:
        not_known.append("whether the service says the same: it was not asked")
    else:
        comparison = _Comparison(held, against)
        windows = await comparison.compare(await asyncio.to_thread(_drawn, held, sample, seed))
        check.findings += comparison.findings
        not_known += comparison.not_known
    return Report(verdicts=tuple(verdicts), findings=tuple(check.findings), windows=windows, not_known=tuple(not_known))


def status(archive: str | os.PathLike[str]) -> Status:
    """What an archive holds, how complete and how old it is.

    Raises:
        ArchiveError: the folder is no archive, or of a later version.
    """
    held = Archive.open(archive)
    kinds: Counter[Kind] = Counter()
    updates: list[float] = []
    messages = media = media_bytes = unlisted = 0
    for name in held.names(CONVERSATIONS):
        state = Chain(held, f"{CONVERSATIONS}/{name}").state
        kinds[_verdict(state)[0]] += 1
        updates.append(state.updated_at)
        messages += state.rows
        unlisted += not state.listed
        media += len(state.media)
        media_bytes += sum(body.size for body in state.media.values())
    run = next(iter(reversed(_run_names(held))), None)
    return Status(
        cloud_id=held.cloud_id,
        conversations=kinds.total(),
        messages=messages,
        media=media,
        media_bytes=media_bytes,
        users=len(Chain(held, PEOPLE).state.people_ids),
        unlisted=unlisted,
        size_bytes=held.bytes_used(),
        verdicts=dict(kinds),
        oldest_update=datetime.fromtimestamp(min(updates), UTC) if updates else None,
        newest_update=datetime.fromtimestamp(max(updates), UTC) if updates else None,
        run=run,
        finished=run is not None and held.holds(f"runs/{run}/finished.json"),
        failures=tuple(_failures(held, run)) if run is not None else (),
    )


def _run_names(archive: Archive) -> list[str]:
    return [name for name in archive.names("runs") if name != "lease"]


def _failures(archive: Archive, run: str) -> Iterator[Failure]:
    path = f"runs/{run}/failures.jsonl"
    if archive.holds(path):
        for line in archive.read(path).splitlines():
            yield msgspec.json.decode(line, type=Failure)


def _verdict(state: State) -> tuple[Kind, str]:
    """What the commits of a conversation prove, in kind and in words."""
    pieces = state.spans
    if state.leg is not None and state.raws:
        pieces = joined(pieces, Span(state.raws[-1].low, state.leg.upper or just_above(state.raws[0].high)))
    if not pieces:
        return "unknown", "unknown: its messages were not read"
    if len(pieces) > 1:
        more = f" (and {len(pieces) - 2} more)" if len(pieces) > 2 else ""
        return "gap", f"gap between {_moment(pieces[1].high)} and {_moment(pieces[0].low)}{more}"
    [piece] = pieces
    bounded_above = piece.high > BEGINNING and not piece.high[1]
    if piece.low == BEGINNING:
        if bounded_above:
            return "complete up to", f"complete up to {_moment(piece.high)}"
        return "complete", "complete"
    if bounded_above:
        return "complete up to", f"complete from {_moment(piece.low)} up to {_moment(piece.high)}"
    return "complete up to", f"complete up to {_moment(piece.low)}, from the newest back"


def _moment(key: Key) -> str:
    return "the beginning" if key == BEGINNING else instant(key[0])


class _Check:
    """Reads everything and gathers what is wrong."""

    def __init__(self, archive: Archive) -> None:
        self.findings: list[Finding] = []
        self.not_fetched = 0
        """Files that messages show, whose bodies are neither held nor listed as not to be had."""
        self._archive = archive
        self._heads: dict[str, tuple[int, str]] = {}
        self._bodies: dict[str, str | None] = {}
        """What is wrong with a body, by digest; None: nothing."""

    def expected_conversations(self) -> Iterator[str]:
        """Folders of conversations that finished runs have left."""
        for folder in self._heads:
            parent, _, name = folder.rpartition("/")
            if parent == CONVERSATIONS:
                yield name

    def runs(self) -> None:
        """What the runs left of themselves: where each chain of commits must at least reach."""
        names = _run_names(self._archive)
        for name in names:
            path = f"runs/{name}/heads.json"
            try:
                if self._archive.holds(path):
                    self._heads |= msgspec.json.decode(self._archive.read(path), type=dict[str, tuple[int, str]])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._found(path, f"cannot be read: {error}")
        if names and not self._archive.holds(f"runs/{names[-1]}/finished.json"):
            self._found(f"runs/{names[-1]}", "the last run did not come to its end: run it again to go on")

    def conversation(self, name: str) -> Verdict:
        """One conversation, whole."""
        before = len(self.findings)
        folder = f"{CONVERSATIONS}/{name}"
        state = self._chain(folder)
        named = set(self._history(state))
        if state.roster is not None:
            named.add(state.roster.file.path)
            self._roster(state.roster.file)
        self._others(folder, named)
        damaged = len(self.findings) - before
        kind, text = _verdict(state)
        if damaged:
            kind, text = "unknown", f"unknown: {damaged} {'file is' if damaged == 1 else 'files are'} not as committed"
        elif kind in ("gap", "unknown"):
            self._found(f"{folder}/commit", text)
        for id in sorted(state.media):
            self._body(state.media[id].sha256, state.media[id].size, id)
        failed = {id for what, id in state.failed if what == "media"}
        self.not_fetched += len(state.media_met - state.media.keys() - failed)
        details = state.details or {}
        return Verdict(
            conversation_id=str(details.get("id") or name),
            name=str(details.get("name") or ""),
            kind=kind,
            text=text,
            messages=state.rows + sum(raw.file.rows for raw in state.raws),
            media=len(state.media),
            failed=tuple(f"{one.what} {one.id}".rstrip() + f": {one.error}" for one in state.failed.values()),
        )

    def people(self) -> None:
        """Profiles of people."""
        for some in self._chain(PEOPLE).people:
            self._lines(some.file, lambda _: None)

    def _found(self, path: str, what: str) -> None:
        self.findings.append(Finding(path, what))

    def _chain(self, folder: str) -> State:
        """The state a chain proves; what breaks it is found, and what the last finished run saw must be in it."""
        archive, commits = self._archive, f"{folder}/commit"
        chain = Chain(archive, folder)
        found = len(self.findings)
        numbers = {int(name[:8]) for name in archive.names(commits) if name[:8].isdigit()}
        least, digest = self._heads.get(folder, (0, ""))
        if least and not numbers:
            self._found(f"{commits}/{1:08d}.json", "is missing, with every commit after it")
            return chain.state
        for missing in sorted({*range(1, max([least, *numbers]) + 1)} - numbers):
            self._found(f"{commits}/{missing:08d}.json", "is missing")
        if least in numbers and digest != _sha256(archive.read(f"{commits}/{least:08d}.json")):
            self._found(f"{commits}/{least:08d}.json", "was changed after the run that made it had finished")
        for path in chain.broken:
            self._broken(path, commits)
        if chain.broken and found == len(self.findings):
            self._found(chain.broken[0], "is no part of the chain")
        return chain.state

    def _broken(self, path: str, commits: str) -> None:
        """Name the file at fault for a commit that is in no chain; those above the first one have no fault."""
        try:
            commit = read_commit(self._archive.read(path))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._found(path, f"cannot be read: {error}")
            return
        before = f"{commits}/{commit.after:08d}.json"
        if commit.after and self._archive.holds(before) and _sha256(self._archive.read(before)) != commit.prev:
            self._once(before, f"is not the commit that {commit.n} was made after")

    def _once(self, path: str, what: str) -> None:
        if all(finding.path != path for finding in self.findings):
            self._found(path, what)

    def _history(self, state: State) -> Iterator[str]:
        """Sealed months and raw groups: each as committed, all in order, each joined to the one before; their paths."""
        for month, sealed in sorted(state.months.items()):
            if sealed.file is not None:
                yield sealed.file.path
                self._lines(sealed.file, _Order(month).wrong_with)
        asked = state.leg.upper if state.leg is not None else None
        for raw in state.raws:
            yield raw.file.path
            if raw.asked != asked:
                self._found(raw.file.path, "does not join the pages above it")
            asked = raw.low
            self._raw(raw)
        for file in state.unplaced:
            yield file.path
            self._lines(file, lambda _: None)

    def _raw(self, raw: Raw) -> None:
        keys: list[Key | None] = []

        def descending(line: bytes) -> str | None:
            keys.append(key_at(line))
            return "a line is no message" if keys[-1] is None else None

        if self._lines(raw.file, descending):
            known = [key for key in keys if key is not None]
            if known != sorted(set(known), reverse=True) or known[:1] + known[-1:] != [raw.high, raw.low]:
                self._found(raw.file.path, "its messages are not in order, or not those of its commit")

    def _lines(self, file: Held, wrong: Callable[[bytes], str | None]) -> bool:
        """Whether a compressed file is as committed and nothing is wrong with any line of it."""
        digest, rows, first = hashlib.sha256(), 0, None
        try:
            for line in self._archive.lines(file.path):
                digest.update(line + b"\n")
                rows += 1
                first = first or wrong(line)
        except DamagedArchive as error:
            self._found(file.path, str(error).removeprefix(f"{file.path} "))
            return False
        if digest.hexdigest() != file.sha256:
            first = "its content is not what was committed: its digest differs"
        elif rows != file.rows:
            first = f"has {rows} lines, {file.rows} were committed"
        elif self._archive.sha256_of(file.path) != file.packed:
            first = "was altered; the messages in it can still be read"
        if first is not None:
            self._found(file.path, first)
        return first is None

    def _roster(self, file: Held) -> None:
        if self._lines(file, lambda _: None):
            try:
                people_in(self._archive, file)
            except DamagedArchive as error:
                self._found(file.path, str(error).removeprefix(f"{file.path} "))

    def _others(self, folder: str, named: Iterable[str]) -> None:
        """Revisions that were replaced: their names tell their digests."""
        months = self._archive.names(f"{folder}/sealed")
        folders = [f"{folder}/roster", f"{folder}/unplaced", *(f"{folder}/sealed/{month}" for month in months)]
        for path in (f"{parent}/{name}" for parent in folders for name in self._archive.names(parent)):
            if path in named:
                continue
            digest = hashlib.sha256()
            try:
                for line in self._archive.lines(path):
                    digest.update(line + b"\n")
            except DamagedArchive as error:
                self._found(path, str(error).removeprefix(f"{path} "))
                continue
            if not path.endswith(f"-{digest.hexdigest()[:12]}.jsonl.zst"):
                self._found(path, "its content is not what its name says")

    def _body(self, sha256: str, size: int, media_id: str) -> None:
        path = media_path(sha256)
        if sha256 not in self._bodies:
            self._bodies[sha256] = self._wrong_with(path, sha256)
            if (wrong := self._bodies[sha256]) is not None:
                self._found(path, f"{wrong}: the body of media {media_id}")
        if self._bodies[sha256] is None and self._archive.size_of(path) != size:
            self._found(path, f"has {self._archive.size_of(path)} bytes, {size} were committed for media {media_id}")

    def _wrong_with(self, path: str, sha256: str) -> str | None:
        try:
            return None if self._archive.sha256_of(path) == sha256 else "was altered, its digest differs"
        except DamagedArchive:
            return "is missing"


@attrs.define
class _Order:
    """Messages of one month after the other, each later than the one before."""

    month: str
    _last: Key = BEGINNING

    def wrong_with(self, line: bytes) -> str | None:
        """What is wrong with the next line; None: nothing."""
        key = key_at(line)
        if key is None:
            return "a line is no message"
        before, self._last = self._last, key
        if key <= before:
            return f"message {key[1]} stands twice" if key == before else f"message {key[1]} is out of order"
        return None if month_of(key[0]) == self.month else f"message {key[1]} is of another month"


@attrs.frozen
class _Window:
    """A stretch of a conversation's messages as the archive has it."""

    conversation_id: str
    path: str
    held: Mapping[Key, bytes]
    """Digest by key, in order."""


def _drawn(archive: Archive, sample: int, seed: int) -> list[_Window]:
    """Windows at random places, each message as likely as any other to be the upper end of one."""
    draw = random.Random(seed)  # noqa: S311 -- to be repeated with the same seed
    months = [
        (str((state.details or {}).get("id")), sealed.file)
        for name in archive.names(CONVERSATIONS)
        for state in [Chain(archive, f"{CONVERSATIONS}/{name}").state]
        for _, sealed in sorted(state.months.items())
        if sealed.file is not None and sealed.file.rows
    ]
    if not months:
        return []
    picked = draw.choices(months, weights=[file.rows for _, file in months], k=sample)
    return [_window(archive, id, file, draw.randint(1, file.rows)) for id, file in picked]


def _window(archive: Archive, id: str, file: Held, rows: int) -> _Window:
    held: dict[Key, bytes] = {}
    try:
        for line in deque(islice(archive.lines(file.path), rows), maxlen=WINDOW):
            key = key_at(line)
            if key is not None:
                held[key] = digest_of(line)
    except DamagedArchive:
        pass  # Found already, with its name.
    return _Window(id, file.path, held)


class _Comparison:
    """Asks the service for windows again."""

    def __init__(self, archive: Archive, client: StrideClient) -> None:
        self.findings: list[Finding] = []
        self.not_known: list[str] = []
        self._client = client

    async def compare(self, windows: Iterable[_Window]) -> int:
        """How many could be compared; what differs is found."""
        compared = 0
        for window in windows:
            if not window.held:
                continue
            try:
                now = await self._now(window)
            except (NotFound, Forbidden) as error:
                self.not_known.append(f"what the service says of conversation {window.conversation_id}: {error}")
                continue
            compared += 1
            self._compare(window, now)
        return compared

    async def _now(self, window: _Window) -> Mapping[Key, bytes]:
        """What the service has between the ends of a window."""
        keys = list(window.held)
        low, high = keys[0], keys[-1]
        now: dict[Key, bytes] = {}

        def take(key: Key | None, raw: bytes) -> None:
            if key is not None and low <= key <= high:
                now[key] = digest_of(line_of(raw))

        def odd(error: DecodeError) -> None:
            take(key_at(error.raw), error.raw)

        above = EPOCH + timedelta(microseconds=high[0] // 1000 + 1)
        pager = self._client.conversation(window.conversation_id).history(before=above, page_size=WINDOW)
        async for page in pager.pages(on_undecodable=odd):
            for message in page.items:
                take((message.ts, message.id), message.raw)
            if page.items and page.items[-1].ts < low[0]:
                break
        return now

    def _compare(self, window: _Window, now: Mapping[Key, bytes]) -> None:
        changed = sum(now[key] != digest for key, digest in window.held.items() if key in now)
        gone, new = len(window.held.keys() - now.keys()), len(now.keys() - window.held.keys())
        if changed or gone or new:
            where = f"between {_moment(min(window.held))} and {_moment(max(window.held))}"
            told = f"{changed} messages differ, {gone} are gone there, {new} are not held"
            self.findings.append(
                Finding(window.path, f"is not what the service says {where}: {told}; run the export with rescan to see")
            )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
