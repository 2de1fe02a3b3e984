"""What an archive holds of one conversation: its commits, folded. Pure.

The history is an axis of keys, `(ts, id)`. *Spans* are the ranges of it whose messages are all held, sorted into sealed
months. At most one *leg* is under way: a walk from its upper end downwards, whose pages are in raw groups. When the leg
ends, the months it crossed are sealed anew and its range becomes part of a span.

    BEGINNING                                                                  HIGHEST
    |======= span =======|.......... gap .........|==== raw groups of the leg ====|
                                                  <------------ walk -------- upper
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence

import attrs

from stride_async._models import Key
from stride_async.export._archive.commits import (
    BEGINNING,
    HIGHEST,
    Commit,
    Details,
    Done,
    Failed,
    LegEnded,
    LegStarted,
    Lost,
    MediaSkipped,
    MediaStored,
    Op,
    Profiles,
    RawGroup,
    Referenced,
    Resolved,
    Roster,
    Sealed,
    Stored,
    Unlisted,
    Unplaced,
    WalkEnded,
)

NOT_PEOPLE = frozenset({"all", "here"})
"""Ids in mentions that stand for no person (protocol 8)."""

_HistoryOp = LegStarted | RawGroup | WalkEnded | Sealed | LegEnded | Unplaced
_ItemOp = MediaStored | MediaSkipped | Roster | Profiles | Failed | Resolved


@attrs.frozen
class Span:
    """A range of keys, from `low` (inclusive) to `high` (exclusive), of which every message is held."""

    low: Key
    high: Key

    def contains(self, key: Key) -> bool:
        """Return whether a key is in the range."""
        return self.low <= key < self.high

    def covers(self, other: Span) -> bool:
        """Return whether another range lies within this one."""
        return self.low <= other.low and other.high <= self.high


def join(spans: Sequence[Span], new: Span) -> list[Span]:
    """Return disjoint spans, newest first, with a new one added. Spans that overlap or touch become one."""
    first = bisect_left(spans, True, key=lambda span: span.low <= new.high)
    end = bisect_left(spans, True, lo=first, key=lambda span: span.high < new.low)
    joined = new
    if touched := spans[first:end]:
        joined = Span(min(new.low, touched[-1].low), max(new.high, touched[0].high))
    return [*spans[:first], joined, *spans[end:]]


def touches(key: Key, spans: Iterable[Span]) -> bool:
    """Return whether a range that ends at a key leaves no gap to one of the spans."""
    return any(span.low <= key <= span.high for span in spans)


def is_storable(key: Key) -> bool:
    """Return whether commits can store a key: its time must fit into 64 bits (1677-09-21 to 2262-04-11)."""
    return BEGINNING < key < HIGHEST


@attrs.define
class State:
    """One conversation, or the people of the site, as its commits leave it."""

    details: dict[str, object] | None = None
    listed: bool = True
    """Whether the service still listed the conversation when last asked."""
    roster: Roster | None = None
    months: dict[str, Sealed] = attrs.field(factory=dict)
    changed_messages: int = 0
    """How often a revision of a month has replaced a message."""
    gone_messages: int = 0
    """How often a revision of a month has omitted a message."""
    spans: list[Span] = attrs.field(factory=list)
    """Disjoint, newest first."""
    leg: LegStarted | None = None
    """The leg under way."""
    raw_groups: list[RawGroup] = attrs.field(factory=list)
    """Those of the leg under way, newest first."""
    walk_end: WalkEnded | None = None
    """Where the walk of that leg ended, once it has."""
    legs: int = 0
    """The number of the last leg."""
    reaches_newest: bool = False
    """Whether the last leg above the newest span started at the newest message, not at a bound."""
    newest_read_by: str | None = None
    """The run that last started a leg at the newest message it asked for."""
    unplaced: list[Stored] = attrs.field(factory=list)
    unplaced_digests: set[str] = attrs.field(factory=set)
    resolved_unplaced: set[str] = attrs.field(factory=set)
    """Digests of unplaced elements that were received as valid messages later."""
    referenced_users: set[str] = attrs.field(factory=set)
    referenced_media: set[str] = attrs.field(factory=set)
    profiles: list[Profiles] = attrs.field(factory=list)
    """Oldest first: the latest profile of a person counts."""
    profile_ids: set[str] = attrs.field(factory=set)
    media: dict[str, MediaStored] = attrs.field(factory=dict)
    skipped_media: dict[str, int | None] = attrs.field(factory=dict)
    """Sizes of media that were larger than asked for."""
    failed: dict[tuple[str, str], Failed] = attrs.field(factory=dict)
    """What could not be fetched and is still not held, by `what` and `id`."""
    done_by: str | None = None
    """The run that last completed everything it asked for."""
    updated_at: float = 0.0

    @property
    def conversation_id(self) -> str:
        """The id in the details, empty if there is none."""
        return str((self.details or {}).get("id") or "")

    @property
    def sealed_messages(self) -> int:
        """The number of messages in sealed months."""
        return sum(sealed.file.rows for sealed in self.months.values() if sealed.file)

    @property
    def messages(self) -> int:
        """The number of messages held, including those that the leg under way has read where none were held."""
        return self.sealed_messages + sum(raw.file.rows for raw in self.raw_groups if not self._overlaps(raw))

    def _overlaps(self, raw: RawGroup) -> bool:
        below = bisect_left(self.spans, True, key=lambda span: span.low < raw.high)
        return below < len(self.spans) and raw.low < self.spans[below].high

    @property
    def is_done(self) -> bool:
        """Whether a run completed the conversation and no leg is under way."""
        return self.done_by is not None and self.leg is None

    def apply(self, commit: Commit) -> None:
        """Apply the next commit."""
        self.updated_at = commit.at
        for op in commit.ops:
            self._apply(op, commit.run)

    def _apply(self, op: Op, run: str) -> None:
        match op:
            case LegStarted() | RawGroup() | WalkEnded() | Sealed() | LegEnded() | Unplaced():
                self._apply_to_history(op, run)
            case MediaStored() | MediaSkipped() | Roster() | Profiles() | Failed() | Resolved():
                self._apply_to_items(op)
            case Lost():
                self.profiles = [group for group in self.profiles if group.file.path != op.path]
                self.profile_ids = {id for group in self.profiles for id in group.ids}
            case Details():
                self.details, self.listed = op.conversation, True
            case Unlisted():
                self.listed = False
            case Referenced():
                self.referenced_users.update(op.users)
                self.referenced_media.update(op.media)
            case Done():
                self.done_by = op.run

    def _apply_to_items(self, op: _ItemOp) -> None:
        """Apply what became of an item. An item that is held or skipped is no longer a failure."""
        match op:
            case Failed():
                self.failed[op.what, op.id] = op
                if op.what == "media":
                    self.media.pop(op.id, None)  # Its body was found missing or damaged.
            case Resolved():
                self.failed.pop((op.what, op.id), None)
                if op.id in self.unplaced_digests:
                    self.resolved_unplaced.add(op.id)
            case Roster():
                self.roster = op
                self.failed.pop(("roster", ""), None)
            case MediaStored():
                self.media[op.id] = op
                self.skipped_media.pop(op.id, None)
                self.failed.pop(("media", op.id), None)
            case MediaSkipped():
                self.skipped_media[op.id] = op.size
                self.failed.pop(("media", op.id), None)
            case Profiles():
                self.profiles.append(op)
                self.profile_ids.update(op.ids)
                for id in op.ids:
                    self.failed.pop(("user", id), None)

    def _apply_to_history(self, op: _HistoryOp, run: str) -> None:
        match op:
            case LegStarted():
                self.leg, self.raw_groups, self.walk_end, self.legs = op, [], None, op.number
                if op.from_newest:
                    self.newest_read_by = run
            case RawGroup():
                self.raw_groups.append(op)
            case WalkEnded():
                self.walk_end = op
            case Sealed():
                self.months[op.month] = op
                self.changed_messages += len(op.changed)
                self.gone_messages += len(op.gone)
            case LegEnded():
                self._end_leg(op)
            case Unplaced():
                self.unplaced.append(op.file)
                self.unplaced_digests.update(op.digests)
                self.resolved_unplaced.difference_update(op.digests)

    def _end_leg(self, op: LegEnded) -> None:
        unbounded = self.leg is None or self.leg.upper is None
        if unbounded or (self.spans and op.high > self.spans[0].high):
            self.reaches_newest = unbounded
        failed = self.failed.get(("history", ""))
        if failed is not None and (unbounded or (failed.ts is not None and failed.ts <= op.high[0])):
            del self.failed["history", ""]
        self.leg, self.raw_groups, self.walk_end = None, [], None
        if op.low <= op.high:  # A foreign commit may state them the other way around.
            self.spans = join(self.spans, Span(op.low, op.high))

    def sealed_by(self, leg: int) -> set[str]:
        """Return the months whose newest revision is of this leg."""
        return {month for month, sealed in self.months.items() if sealed.leg == leg}

    def failed_messages(self) -> list[Failed]:
        """Return the failures that are undecodable messages."""
        return [failed for (what, _), failed in self.failed.items() if what == "message"]

    def files(self) -> list[Stored]:
        """Return the files of a conversation that its content is read from now."""
        months = [sealed.file for sealed in self.months.values() if sealed.file is not None]
        roster = [self.roster.file] if self.roster is not None else []
        return [*months, *roster, *(raw.file for raw in self.raw_groups), *self.unplaced]


def content_digest(state: State) -> str:
    """Return the digest of what a conversation holds: its sealed months in order, and its roster.

    It does not depend on runs, commits or compression, so it is the same whatever led to this content.
    """
    digest = hashlib.sha256()
    for month in sorted(state.months):
        sealed = state.months[month].file
        if sealed is not None and sealed.rows:
            digest.update(f"{month} {sealed.sha256}\n".encode())
    if state.roster is not None:
        digest.update(f"roster {state.roster.file.sha256}\n".encode())
    return digest.hexdigest()


def site_digest(conversations: Iterable[tuple[str, str]]) -> str:
    """Return the digest of a site from the names and content digests of its conversations, in any order."""
    digest = hashlib.sha256()
    for name, content in sorted(conversations):
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()
