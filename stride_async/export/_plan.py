"""What an archive holds of one conversation, folded from its commits, and what is still to fetch. Pure.

A conversation's messages are covered by *spans* of `(ts, id)`, each known to be complete. A *leg* is a walk under way,
from its upper end downwards; its pages lie in raw groups until the leg ends at a span that is held, at the bound asked
for, or at an empty page. Then the months it crossed are sealed anew and the leg becomes part of a span.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache

import attrs
import msgspec

Key = tuple[int, str]
"""`(ts, id)`: the order of messages."""

BEGINNING: Key = (-(2**63), "")
"""Below every message: an empty page proved that nothing is older. Moments in nanoseconds have 64 bits in commits."""
HIGHEST: Key = (2**63 - 1, "\U0010ffff")
"""Above every message."""
_DAY = 86_400_000_000_000
_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Held(msgspec.Struct, frozen=True):
    """A file of the archive as a commit names it."""

    path: str
    sha256: str
    """Of the content before compression."""
    rows: int
    packed: str
    """The digest of the file as it lies there."""


class Details(msgspec.Struct, frozen=True, tag="details"):
    """The conversation itself, as the service listed it."""

    conversation: dict[str, object]


class Unlisted(msgspec.Struct, frozen=True, tag="unlisted"):
    """The service lists it no longer; what is held stays."""


class Roster(msgspec.Struct, frozen=True, tag="roster"):
    """Who was in it, `taken_at` seconds since the epoch."""

    file: Held
    taken_at: float


class LegBegun(msgspec.Struct, frozen=True, tag="leg"):
    """A walk begins: from the newest message, or from below `upper`.

    It `looks` when it begins at the newest of what was asked for.
    """

    number: int
    upper: Key | None
    looks: bool


class Raw(msgspec.Struct, frozen=True, tag="raw"):
    """Pages of the leg as they came, newest first, from the one asked for below `asked` down to `low`."""

    leg: int
    file: Held
    asked: Key | None
    high: Key
    low: Key
    pages: int


class Walked(msgspec.Struct, frozen=True, tag="walked"):
    """The leg's walk is at its end, and `bottom` the least key it read; what is left is to seal its months.

    When they are, everything from `low` is held; `why` says what let the walk end.
    """

    leg: int
    bottom: Key
    low: Key
    why: str


class Sealed(msgspec.Struct, frozen=True, tag="sealed"):
    """A month's messages, sorted, each once; `changed` and `gone` are what differs from the revision before.

    The leg had read everything from `low` (included) to `high` (excluded).
    """

    month: str
    rev: int
    file: Held | None
    """None: nothing is left of the month."""
    leg: int
    low: Key
    high: Key
    changed: tuple[Key, ...] = ()
    gone: tuple[Key, ...] = ()


class LegEnded(msgspec.Struct, frozen=True, tag="ended"):
    """The leg's months are sealed: from `low` (included) to `high` (excluded) everything is held.

    `why` says what let the walk end there.
    """

    leg: int
    low: Key
    high: Key
    why: str


class Unplaced(msgspec.Struct, frozen=True, tag="unplaced"):
    """Elements of the history that have no readable time or id, as they came; `digests` tell them apart."""

    file: Held
    digests: tuple[str, ...]


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """A file that was found damaged and is needed no more: its content was fetched again, or there is a later one."""

    path: str


class MediaHeld(msgspec.Struct, frozen=True, tag="media"):
    """A media body, by content."""

    id: str
    sha256: str
    size: int
    name: str | None = None
    mime_type: str | None = None


class MediaPassed(msgspec.Struct, frozen=True, tag="passed"):
    """A media body that was not wanted, being larger than asked for."""

    id: str
    size: int | None


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """What could not be had: `what` (roster, history, media, message, user), which, why, and whether for good.

    A message was met by the leg `leg` and was sent at `ts`, where that can be read. A history failed when it was looked
    at below `ts`, None: from its newest message.
    """

    what: str
    id: str
    error: str
    final: bool
    ts: int | None = None
    leg: int = 0


class Mended(msgspec.Struct, frozen=True, tag="mended"):
    """What had failed is as it should be."""

    what: str
    id: str


class People(msgspec.Struct, frozen=True, tag="people"):
    """Profiles, one a line; of several of one person the last counts."""

    file: Held
    ids: tuple[str, ...]


class Met(msgspec.Struct, frozen=True, tag="met"):
    """Users and media that messages or rosters speak of, each told once."""

    users: tuple[str, ...] = ()
    media: tuple[str, ...] = ()


class Done(msgspec.Struct, frozen=True, tag="done"):
    """Everything that run asked for is held or listed as failed."""

    run: str


Op = (
    Details
    | Unlisted
    | Roster
    | LegBegun
    | Raw
    | Walked
    | Sealed
    | LegEnded
    | Unplaced
    | Lost
    | MediaHeld
    | MediaPassed
    | Failed
    | Mended
    | People
    | Met
    | Done
)


def files_of(ops: Iterable[Op]) -> list[Held]:
    """The files that they name."""
    return [op.file for op in ops if isinstance(op, Roster | Raw | Sealed | Unplaced | People) and op.file]


def files_needed(state: State) -> list[Held]:
    """The files that hold what is held now."""
    months = [sealed.file for sealed in state.months.values() if sealed.file is not None]
    roster = [state.roster.file] if state.roster is not None else []
    return [*months, *roster, *(raw.file for raw in state.raws), *state.unplaced]


class Commit(msgspec.Struct, frozen=True):
    """One step of a conversation: what changed, and the digest of the step before it."""

    v: int
    n: int
    after: int
    """The number of the step before it; 0 at the first."""
    prev: str
    """That step's digest; empty at the first."""
    run: str
    at: float
    ops: tuple[Op, ...]


read_commit = msgspec.json.Decoder(Commit).decode


@attrs.frozen
class Span:
    """Everything from `low` (included) to `high` (excluded) is held."""

    low: Key
    high: Key

    def holds(self, key: Key) -> bool:
        """Whether a key lies in it."""
        return self.low <= key < self.high

    def covers(self, other: Span) -> bool:
        """Whether the other one lies in it."""
        return self.low <= other.low and other.high <= self.high


def can_be_placed(key: Key) -> bool:
    """Whether a message's time has its place in commits: those before 1678 or after 2261 have none."""
    return BEGINNING < key < HIGHEST


def just_above(key: Key) -> Key:
    """The least key above this one."""
    return key[0], f"{key[1]}\0"


@attrs.define
class State:
    """One conversation as its commits leave it."""

    details: dict[str, object] | None = None
    listed: bool = True
    """Whether the service still told of it when it was last asked."""
    roster: Roster | None = None
    months: dict[str, Sealed] = attrs.field(factory=dict)
    spans: list[Span] = attrs.field(factory=list)
    """Disjoint, newest first."""
    leg: LegBegun | None = None
    raws: list[Raw] = attrs.field(factory=list)
    """Of the leg under way, newest first."""
    walked: Walked | None = None
    """The end of its walk, once it is there."""
    newest: bool = False
    """Whether the last look at what lies above all that was held was one from the newest message."""
    legs: int = 0
    looked: str | None = None
    """The run that last began a walk."""
    unplaced: list[Held] = attrs.field(factory=list)
    unplaced_digests: set[str] = attrs.field(factory=set)
    unplaced_mended: set[str] = attrs.field(factory=set)
    """Of them, those that came as good messages later."""
    users: set[str] = attrs.field(factory=set)
    """Met here."""
    people: list[People] = attrs.field(factory=list)
    """Profiles, the later ones count."""
    people_ids: set[str] = attrs.field(factory=set)
    media_met: set[str] = attrs.field(factory=set)
    media: dict[str, MediaHeld] = attrs.field(factory=dict)
    media_passed: dict[str, int | None] = attrs.field(factory=dict)
    failed: dict[tuple[str, str], Failed] = attrs.field(factory=dict)
    """What could not be had and still is not held."""
    done: str | None = None
    """The run that last did all it was asked for."""
    updated_at: float = 0.0

    @property
    def rows(self) -> int:
        """Messages held, sealed ones only."""
        return sum(sealed.file.rows for sealed in self.months.values() if sealed.file)

    @property
    def messages(self) -> int:
        """Messages held, with those that a walk under way has brought from where nothing was held."""
        new = (raw for raw in self.raws if not any(span.low < raw.high and raw.low < span.high for span in self.spans))
        return self.rows + sum(raw.file.rows for raw in new)

    @property
    def is_done(self) -> bool:
        """Whether a run was through with it and no walk is under way."""
        return self.done is not None and self.leg is None

    def take(self, commit: Commit) -> None:
        """The next commit."""
        self.updated_at = commit.at
        for op in commit.ops:
            self._apply(op, commit.run)

    def _apply(self, op: Op, run: str) -> None:
        match op:
            case LegBegun() | Raw() | Walked() | Sealed() | LegEnded() | Unplaced():
                self._apply_to_history(op, run)
            case MediaHeld() | MediaPassed() | Roster() | People() | Failed() | Mended():
                self._apply_to_things(op)
            case Lost():
                self.people = [people for people in self.people if people.file.path != op.path]
                self.people_ids = {id for people in self.people for id in people.ids}
            case Details():
                self.details, self.listed = op.conversation, True
            case Unlisted():
                self.listed = False
            case Met():
                self.users.update(op.users)
                self.media_met.update(op.media)
            case Done():
                self.done = op.run

    def _apply_to_things(self, op: MediaHeld | MediaPassed | Roster | People | Failed | Mended) -> None:
        """What was had is no failure any more."""
        match op:
            case Failed():
                self.failed[op.what, op.id] = op
                if op.what == "media":
                    self.media.pop(op.id, None)  # Its body was lost.
            case Mended():
                self.failed.pop((op.what, op.id), None)
                if op.id in self.unplaced_digests:
                    self.unplaced_mended.add(op.id)
            case Roster():
                self.roster = op
                self.failed.pop(("roster", ""), None)
            case MediaHeld():
                self.media[op.id] = op
                self.media_passed.pop(op.id, None)
                self.failed.pop(("media", op.id), None)
            case MediaPassed():
                self.media_passed[op.id] = op.size
                self.failed.pop(("media", op.id), None)
            case People():
                self.people.append(op)
                self.people_ids.update(op.ids)
                for id in op.ids:
                    self.failed.pop(("user", id), None)

    def _apply_to_history(self, op: LegBegun | Raw | Walked | Sealed | LegEnded | Unplaced, run: str) -> None:
        match op:
            case LegBegun():
                self.leg, self.raws, self.walked, self.legs = op, [], None, op.number
                if op.looks:
                    self.looked = run
            case Raw():
                self.raws.append(op)
            case Walked():
                self.walked = op
            case Sealed():
                self.months[op.month] = op
            case LegEnded():
                from_newest = self.leg is None or self.leg.upper is None
                if from_newest or (self.spans and op.high > self.spans[0].high):
                    self.newest = from_newest
                failed = self.failed.get(("history", ""))
                if failed is not None and (from_newest or (failed.ts is not None and failed.ts <= op.high[0])):
                    del self.failed["history", ""]
                self.leg, self.raws, self.walked = None, [], None
                self.spans = joined(self.spans, Span(op.low, op.high))
            case Unplaced():
                self.unplaced.append(op.file)
                self.unplaced_digests.update(op.digests)
                self.unplaced_mended.difference_update(op.digests)

    def sealed_in(self, leg: int) -> set[str]:
        """Months this leg has sealed already."""
        return {month for month, sealed in self.months.items() if sealed.leg == leg}

    def failed_messages(self) -> list[Failed]:
        """Messages that were met and could not be understood."""
        return [failed for (what, _), failed in self.failed.items() if what == "message"]


def joined(spans: Sequence[Span], new: Span) -> list[Span]:
    """The spans with a new one, those it overlaps or touches made one; newest first."""
    low, high = new.low, new.high
    apart = []
    for span in spans:
        if span.high < low or span.low > high:
            apart.append(span)
        else:
            low, high = min(low, span.low), max(high, span.high)
    return sorted([*apart, Span(low, high)], key=lambda span: span.high, reverse=True)


def touches(key: Key, spans: Iterable[Span]) -> bool:
    """Whether a walk from below a key ends where one of them begins, or within it."""
    return any(span.low <= key <= span.high for span in spans)


@attrs.frozen
class Window:
    """What of the history is asked for: messages from `since` (included) to `until` (excluded), in nanoseconds."""

    since: int | None = None
    until: int | None = None

    @property
    def floor(self) -> Key:
        """The least key asked for."""
        return BEGINNING if self.since is None else (self.since, "")

    @property
    def ceiling(self) -> Key | None:
        """The keys asked for are below this one; None: all are."""
        return None if self.until is None else (self.until, "")


@attrs.frozen
class Leg:
    """A walk to be made: from the newest message (None), or from below a key."""

    upper: Key | None


def next_leg(state: State, window: Window, *, looked: bool) -> Leg | None:
    """The walk that is still missing; None when everything asked for is held.

    `looked`: this run has already walked from the newest message that is asked for.
    """
    if not looked:
        return Leg(window.ceiling)
    for span in state.spans:
        if window.ceiling is None or span.low < window.ceiling:
            return Leg(span.low) if span.low > window.floor else None
    return None


def month_of(ts: int) -> str:
    """The UTC month of a moment in nanoseconds, `2018-03`; the first or last where an offset led beyond the years."""
    return _month_of_day(ts // _DAY)


@lru_cache
def _month_of_day(day: int) -> str:
    moment = date.fromordinal(min(max(day + _EPOCH_DAY, 1), date.max.toordinal()))
    return f"{moment.year:04d}-{moment.month:02d}"


@lru_cache
def end_of_month(month: str) -> int:
    """The first moment after a month, in nanoseconds."""
    year, number = map(int, month.split("-"))
    after = date(year + number // 12, number % 12 + 1, 1)
    return (after.toordinal() - _EPOCH_DAY) * _DAY


def digest_of(line: bytes) -> bytes:
    """Sixteen bytes that stand for a message's content."""
    return hashlib.blake2b(line, digest_size=16).digest()


def content_digest(state: State) -> str:
    """What the conversation holds, whatever way it came: sealed lines month by month, and the roster."""
    digest = hashlib.sha256()
    for month in sorted(state.months):
        sealed = state.months[month].file
        if sealed is not None and sealed.rows:
            digest.update(f"{month} {sealed.sha256}\n".encode())
    if state.roster is not None:
        digest.update(f"roster {state.roster.file.sha256}\n".encode())
    return digest.hexdigest()


def whole_digest(conversations: Iterable[tuple[str, str]]) -> str:
    """The digest of a site, from those of its conversations by id."""
    digest = hashlib.sha256()
    for id, content in sorted(conversations):
        digest.update(f"{id} {content}\n".encode())
    return digest.hexdigest()


@attrs.define
class Differences:
    """What a new revision of a month changes."""

    changed: list[Key] = attrs.field(factory=list)
    gone: list[Key] = attrs.field(factory=list)
    new: int = 0


def merged(
    held: Iterator[tuple[Key, bytes]], walked: Iterator[tuple[Key, bytes]], span: Span, found: Differences
) -> Iterator[bytes]:
    """A month's lines: within the span what the walk brought, elsewhere what is held; both sorted, each key once."""
    old, new = next(held, None), next(walked, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            assert old is not None
            if span.holds(old[0]):
                found.gone.append(old[0])
            else:
                yield old[1]
            old = next(held, None)
        elif old is None or new[0] < old[0]:
            found.new += 1
            yield new[1]
            new = next(walked, None)
        else:
            if old[1] != new[1]:
                found.changed.append(new[0])
            yield new[1]
            old, new = next(held, None), next(walked, None)
