"""What an archive proves: complete, up to when, where the gaps are; and every file that is not what it should be.

A verification trusts nothing but what it has just read. Without a client it asks the service nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal

import attrs
import msgspec

from stride_async._client import StrideClient
from stride_async._models import Key, just_above
from stride_async._moments import format_nanoseconds
from stride_async._wire.convert import key_at
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import BEGINNING, Commit, Held, Raw, read_commit
from stride_async.export._archive.files import FORMAT, Archive, DamagedArchive
from stride_async.export._archive.layout import CONVERSATIONS, PEOPLE, media_path
from stride_async.export._archive.months import month_of
from stride_async.export._archive.reader import people_in
from stride_async.export._archive.runs import Finding, Remedy, Runs, Unfinished, failures_of
from stride_async.export._archive.state import Span, State, files_needed, joined, touches
from stride_async.export._compare import Comparison, drawn
from stride_async.export._events import Failure
from stride_async.export._fetch.people import NOBODY

_ALWAYS_UNKNOWN = (
    "messages deleted before they were first exported: nobody can tell that they were there",
    "what changed at the service since the last run, or deeper than it looked",
)
_FOREIGN_NAMED = 5
"""Files that are no part of an archive: so many are named."""
_COMMIT = re.compile(r"\d{8}\.json", re.ASCII)
_ROOM, _DIGEST = rf"{CONVERSATIONS}/[a-zA-Z0-9%-]+", "[0-9a-f]{12}"
_KNOWN = re.compile(
    rf"""archive\.json
    | ({_ROOM} | {PEOPLE})/commit/\d{{8}}\.json
    | ({_ROOM}/(sealed/\d{{4}}-\d\d/r\d+ | roster/r | unplaced/u) | {PEOPLE}/sealed/r\d+)-{_DIGEST}\.jsonl\.zst
    | {_ROOM}/raw/\d+-\d+-{_DIGEST}\.jsonl
    | media/sha256/[0-9a-f]{{2}}/[0-9a-f]{{2}}/[0-9a-f]{{64}} | media/part/.+
    | runs/lease | runs/[^/]+/((settings|picked|heads|finished)\.json | failures\.jsonl | calls\.log)""",
    re.ASCII | re.VERBOSE,
)
"""Every file of an archive."""

Kind = Literal["complete", "complete up to", "gap", "unknown"]


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
    for name in check.conversations():
        verdict = await asyncio.to_thread(check.conversation, name)
        verdicts.append(verdict)
        if told is not None:
            told(verdict)
    await asyncio.to_thread(check.people)
    check.unfinished()
    not_known = [*_ALWAYS_UNKNOWN, *await asyncio.to_thread(check.not_known)]
    windows = 0
    if against is None:
        not_known.append("whether the service says the same: it was not asked")
    else:
        comparison = Comparison(against)
        windows = await comparison.compare(await asyncio.to_thread(drawn, held, sample, seed))
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
    held_of = set()
    for name in held.folders(CONVERSATIONS):
        state = Chain(held, f"{CONVERSATIONS}/{name}").state
        if not state.updated_at:
            continue  # Begun, and nothing was committed.
        held_of.add(name)
        kinds[_verdict(state)[0]] += 1
        updates.append(state.updated_at)
        messages += state.messages
        unlisted += not state.listed
        media += len(state.media)
        media_bytes += sum(body.size for body in state.media.values())
    runs = Runs.of(held)
    kinds["unknown"] += len(runs.waiting - held_of)
    run = runs.last
    return Status(
        cloud_id=held.cloud_id,
        conversations=kinds.total(),
        messages=messages,
        media=media,
        media_bytes=media_bytes,
        users=len(Chain(held, PEOPLE).state.people_ids),
        unlisted=unlisted,
        size_bytes=held.bytes_used(),
        verdicts=dict(+kinds),
        oldest_update=datetime.fromtimestamp(min(updates), UTC) if updates else None,
        newest_update=datetime.fromtimestamp(max(updates), UTC) if updates else None,
        run=run,
        finished=run is not None and held.holds(f"runs/{run}/finished.json"),
        failures=tuple(failures_of(held, run)) if run is not None else (),
    )


def _verdict(state: State) -> tuple[Kind, str]:
    """What the commits of a conversation prove, in kind and in words."""
    pieces = _pieces(state)
    if not pieces:
        return "unknown", "unknown: its messages were not read"
    failed = ("history", "") in state.failed
    look = "the last look at newer messages" if state.leg is None else "the walk under way"
    but = f"; {look} failed" if failed else ""
    if len(pieces) > 1:
        more = f" (and {len(pieces) - 2} more)" if len(pieces) > 2 else ""
        return "gap", f"gap between {_moment(pieces[1].high)} and {_moment(pieces[0].low)}{more}{but}"
    [piece] = pieces
    walked_from_newest = state.leg is not None and state.leg.upper is None and bool(state.raws or state.walked)
    bounded_above = not (state.newest or walked_from_newest)
    if piece.low != BEGINNING:
        if bounded_above:
            return "complete up to", f"complete from {_moment(piece.low)} up to {_moment(piece.high)}{but}"
        return "complete up to", f"complete up to {_moment(piece.low)}, from the newest back{but}"
    if not bounded_above and not failed:
        return "complete", "complete"
    if piece.high == BEGINNING:
        return "complete up to", f"complete up to the look before, which met no message{but}"
    return "complete up to", f"complete up to {_moment(piece.high)}{but}"


def _pieces(state: State) -> list[Span]:
    """Stretches of which all is held, also where a walk under way has brought it; newest first."""
    leg, raws, walked = state.leg, state.raws, state.walked
    if leg is None or not (raws or walked):
        return state.spans
    low = walked.low if walked is not None else raws[-1].low
    top = just_above(raws[0].high) if raws else low
    high = leg.upper if leg.upper is not None and touches(leg.upper, state.spans) else top
    return joined(state.spans, Span(low, max(low, high)))


def _moment(key: Key) -> str:
    return "the beginning" if key == BEGINNING else format_nanoseconds(key[0])


class _Form(msgspec.Struct):
    format: int


class _Check:
    """Reads everything and gathers what is wrong."""

    def __init__(self, archive: Archive) -> None:
        self.findings: list[Finding] = []
        self._archive = archive
        self._runs = Runs.of(archive)
        self._not_fetched = 0
        """Files that messages show, whose bodies are neither held nor listed as not to be had."""
        self._done: dict[str, tuple[str, bool]] = {}
        """The run that was last through with a conversation, and whether something of it failed."""
        self._unlisted: set[str] = set()
        """Conversations that the service no longer tells of."""
        self._met: set[str] = set()
        """People."""
        self._bodies: dict[str, str | None] = {}
        """What is wrong with a body, by digest; None: nothing."""

    def runs(self) -> None:
        """What the runs left of themselves, and whether all of it is of this archive."""
        self.findings += self._runs.findings
        form = msgspec.json.decode(self._archive.read("archive.json"), type=_Form).format
        if form != FORMAT:
            self._found("archive.json", f"says format {form}, which there never was", "put right")
        whose = self._runs.whose
        others = {run: told for run, told in whose.items() if told != (self._archive.id, self._archive.cloud_id)}
        agreed = len(others) < len(whose)
        if others and not agreed:
            archive, cloud_id = others[max(others)]
            what = f"does not say what settings.json of runs does: archive {archive} of site {cloud_id}"
            self._found("archive.json", what, "put right")
        not_vouched_for = {each.run for each in self._runs.unfinished}
        for run in others:
            if agreed or run in not_vouched_for:
                self._found(f"runs/{run}/settings.json", "is of another archive, or archive.json is", "set aside")

    def conversations(self) -> list[str]:
        """Names of the folders that are there, and of those that should be."""
        there = (name for name in self._archive.folders(CONVERSATIONS) if self._commits(f"{CONVERSATIONS}/{name}"))
        seen = (folder.rpartition("/") for folder in self._runs.folders_seen())
        return sorted({*there, *self._runs.waiting, *(name for parent, _, name in seen if parent == CONVERSATIONS)})

    def conversation(self, name: str) -> Verdict:
        """One conversation, whole."""
        folder = f"{CONVERSATIONS}/{name}"
        before = len(self.findings)
        chain = self._content(folder)
        while len(self.findings) > before and chain.is_overtaken():
            # An export that goes on meanwhile has removed what its newest commit needs no more.
            del self.findings[before:]
            chain = self._content(folder)
        damaged = len(self.findings) - before
        state = chain.state
        self._earlier(chain, {file.path for file in files_needed(state)})
        kind, text = _verdict(state)
        if damaged:
            kind, text = "unknown", f"unknown: {damaged} {'file is' if damaged == 1 else 'files are'} not as committed"
        elif chain.head[0]:
            self._unfinished(f"{folder}/commit", state, kind, text)
        for id in sorted(state.media):
            self._body(state.media[id].sha256, state.media[id].size, id)
        failed = {id for what, id in state.failed if what == "media"}
        self._not_fetched += len(state.media_met - state.media.keys() - failed)
        self._met |= state.users
        if not state.listed:
            self._unlisted.add(name)
        elif state.is_done:
            self._done[name] = state.done or "", bool(state.failed)
        details = state.details or {}
        id, known_as = self._runs.known.get(name, (name, ""))
        return Verdict(
            conversation_id=str(details.get("id") or id),
            name=str(details.get("name") or known_as),
            kind=kind,
            text=text,
            messages=state.messages,
            media=len(state.media),
            failed=tuple(f"{one.what} {one.id}".rstrip() + f": {one.error}" for one in state.failed.values()),
        )

    def _content(self, folder: str) -> Chain:
        """What is committed of a conversation and all that counts of it; what is wrong is found."""
        chain = self._chain(folder)
        self._history(chain.state)
        if chain.state.roster is not None:
            self._roster(chain.state.roster.file)
        return chain

    def people(self) -> None:
        """Profiles of people."""
        before = len(self.findings)
        chain = self._chain(PEOPLE)
        state = chain.state
        for some in state.people:
            self._lines(some.file, lambda _: None)
        is_sound = before == len(self.findings)
        self._earlier(chain, {some.file.path for some in state.people})
        missing = self._met - NOBODY - state.people_ids - {id for what, id in state.failed if what == "user"}
        if missing and is_sound:
            what = f"profiles of {len(missing):,} people were not fetched: run the export again"
            self._found(PEOPLE, what, "run again")

    def unfinished(self) -> None:
        """Runs that did not come to their end, where that leaves something undone."""
        for run in self._runs.unfinished:
            left = sum(not self._was_done(run, name) for name in run.folders)
            told = f", {left:,} of its {len(run.folders):,} conversations are not done" if left else ""
            if run.run == self._runs.last:
                what = f"the last run did not come to its end{told}: run it again to go on"
                self._found(f"runs/{run.run}", what, "run again")
            elif left:
                self._found(f"runs/{run.run}", f"did not come to its end{told}: run the export again", "run again")

    def not_known(self) -> list[str]:
        """What the archive cannot tell, in words."""
        words = list(self._runs.notes)
        foreign = [path for path in self._paths("") if not _KNOWN.fullmatch(path)]
        if foreign:
            more = f" and {len(foreign) - _FOREIGN_NAMED:,} more" if len(foreign) > _FOREIGN_NAMED else ""
            words.append(f"what files say that are no part of an archive: {', '.join(foreign[:_FOREIGN_NAMED])}{more}")
        if self._not_fetched:
            words.append(f"the bodies of {self._not_fetched:,} files: they were not asked for")
        return words

    def _paths(self, folder: str) -> Iterator[str]:
        folders = {*self._archive.folders(folder)}
        for name in self._archive.names(folder):
            path = f"{folder}/{name}".removeprefix("/")
            if name in folders:
                yield from self._paths(path)
            else:
                yield path

    def _was_done(self, run: Unfinished, name: str) -> bool:
        """Whether that run, or one after it, was through with a conversation."""
        if name not in self._done:
            return name in self._unlisted or name not in self._runs.waiting
        done, failed = self._done[name]
        return done >= run.run or (run.retried and not failed)

    def _unfinished(self, path: str, state: State, kind: Kind, text: str) -> None:
        if not state.listed and (state.leg is not None or kind in ("gap", "unknown")):
            self._found(path, f"{text}, and the service no longer tells of it", "none")
        elif state.leg is not None:
            self._found(path, "a walk is under way: run the export again", "run again")
        elif kind in ("gap", "unknown"):
            self._found(path, text, "run again")

    def _found(self, path: str, what: str, remedy: Remedy) -> None:
        self.findings.append(Finding(path, what, remedy))

    def _commits(self, folder: str) -> dict[int, str]:
        """Paths of what is named as a commit, by number."""
        names = self._archive.names(f"{folder}/commit")
        return {int(name[:8]): f"{folder}/commit/{name}" for name in names if _COMMIT.fullmatch(name)}

    def _chain(self, folder: str) -> Chain:
        """What a chain proves; what breaks it is found, and what finished runs saw must be in it."""
        found = len(self.findings)
        chain = Chain(self._archive, folder)
        links = {number: self._link(number, path) for number, path in self._commits(folder).items()}
        read = {number: link for number, link in links.items() if isinstance(link, _Link)}
        # What was seen before the run that began this chain was another chain, which was moved away since.
        seen = self._runs.seen(folder, since=read[1].run if 1 in read else "")
        least = {seen.number: seen.sha256} if seen is not None else {}
        for first, last in _missing([number for number, link in links.items() if link], max(least, default=0)):
            more = f", with all up to {last:08d}.json" if last > first else ""
            self._found(f"{folder}/commit/{first:08d}.json", f"is missing{more}", "move away")
        self._links(read, least)
        if chain.broken and found == len(self.findings):
            self._found(chain.broken[0], "is no part of the chain", "move away")
        return chain

    def _link(self, number: int, path: str) -> _Link | bool:
        """What a commit says of the chain; else, when that is found, whether it may be the one of this number."""
        data = self._archive.read(path)
        try:
            commit: Commit = read_commit(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._found(path, f"cannot be read: {error}", "move away")
            return True
        if commit.n != number:
            self._found(path, f"says that it is commit {commit.n}", "move away")
            return False
        return _Link(path, _sha256(data), commit.after, commit.prev, commit.run)

    def _links(self, links: Mapping[int, _Link], digests: dict[int, str]) -> None:
        """From the newest down, each sound commit vouches for the one before it, as `digests` does to begin with."""
        for number in sorted(links, reverse=True):
            link, before = links[number], links.get(links[number].after)
            if digests.get(number, link.sha256) != link.sha256:
                self._found(link.path, "is not what was committed: its digest differs", "move away")
            elif (link.after == 0) != (number == 1) or link.after >= number:
                self._found(link.path, "names no commit that can be before it", "move away")
            elif before is None or before.sha256 == link.prev or (number in digests and link.after not in digests):
                digests.setdefault(link.after, link.prev)
            elif digests.get(link.after) == before.sha256:
                self._found(link.path, "does not follow the commit before it", "move away")
            elif link.after not in digests:
                what = f"does not fit: {before.path} or {link.path} was altered"
                self._found(before.path, what, "move away")
                self._found(link.path, what, "move away")

    def _history(self, state: State) -> None:
        """Sealed months and raw groups: each as committed, all in order, each joined to the one before."""
        for month, sealed in sorted(state.months.items()):
            if sealed.file is not None:
                self._lines(sealed.file, _Order(month).wrong_with)
        asked = state.leg.upper if state.leg is not None else None
        for raw in state.raws:
            if raw.asked != asked:
                self._found(raw.file.path, "does not join the pages above it", "move away")
            asked = raw.low
            self._raw(raw)
        for file in state.unplaced:
            self._lines(file, lambda _: None)

    def _raw(self, raw: Raw) -> None:
        keys: list[Key | None] = []

        def ascending(line: bytes) -> str | None:
            keys.append(key_at(line))
            return "a line is no message" if keys[-1] is None else None

        if self._lines(raw.file, ascending, "run again"):
            known = [key for key in keys if key is not None]
            if known != sorted(set(known)) or known[:1] + known[-1:] != [raw.low, raw.high]:
                self._found(raw.file.path, "its messages are not in order, or not those of its commit", "move away")

    def _lines(self, file: Held, wrong: Callable[[bytes], str | None], remedy: Remedy = "rescan") -> bool:
        """Whether a file is as committed and nothing is wrong with any line of it."""
        what = self._wrong_in(file, wrong)
        if what is not None:
            self._found(file.path, what, remedy)
        return what is None

    def _wrong_in(self, file: Held, wrong: Callable[[bytes], str | None]) -> str | None:
        digest, rows, first = hashlib.sha256(), 0, None
        try:
            for line in self._archive.lines(file.path):
                digest.update(line + b"\n")
                rows += 1
                first = first or wrong(line)
            lies_there = self._archive.sha256_of(file.path)
        except DamagedArchive as error:
            return str(error).removeprefix(f"{file.path} ")
        if digest.hexdigest() != file.sha256:
            return "its content is not what was committed: its digest differs"
        if rows != file.rows:
            return f"has {rows} lines, {file.rows} were committed"
        if lies_there != file.packed:
            return "was altered; the messages in it can still be read"
        return first

    def _roster(self, file: Held) -> None:
        if self._lines(file, lambda _: None):
            try:
                people_in(self._archive, file)
            except DamagedArchive as error:
                self._found(file.path, str(error).removeprefix(f"{file.path} "), "rescan")

    def _earlier(self, chain: Chain, needed: set[str]) -> None:
        """What commits name and later ones have replaced; what no commit names, as a kill leaves it, is harmless."""
        named = chain.files()
        for path in sorted(named.keys() - needed):
            wrong = self._wrong_in(named[path], lambda _: None)
            if wrong is not None:
                self._found(path, f"is of an earlier state, nothing that counts now: {wrong}", "rescan")

    def _body(self, sha256: str, size: int, media_id: str) -> None:
        path = media_path(sha256)
        if sha256 not in self._bodies:
            self._bodies[sha256] = self._wrong_with(path, sha256)
            if (wrong := self._bodies[sha256]) is not None:
                self._found(path, f"{wrong}: the body of media {media_id}", "rescan")
        if self._bodies[sha256] is None and self._archive.size_of(path) != size:
            what = f"has {self._archive.size_of(path)} bytes, {size} were committed for media {media_id}"
            self._found(path, what, "rescan")

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
class _Link:
    """What a commit says of the chain."""

    path: str
    sha256: str
    after: int
    prev: str
    run: str


def _missing(numbers: Iterable[int], least: int) -> Iterator[tuple[int, int]]:
    """First and last of each row of numbers that are not there; those up to `least` should be."""
    before, there = 0, sorted(numbers)
    for number in [*there, max([least, *there]) + 1]:
        if number > before + 1:
            yield before + 1, number - 1
        before = number


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
