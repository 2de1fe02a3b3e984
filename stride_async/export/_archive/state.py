"""What an archive holds of one conversation, folded from its commits. Pure.

A conversation's messages are covered by *spans* of `(ts, id)`, each known to be complete. A *leg* is a walk under way,
from its upper end downwards; its pages lie in raw groups until the leg ends at a span that is held, at the bound asked
for, or at an empty page. Then the months it crossed are sealed anew and the leg becomes part of a span.
"""

from __future__ import annotations

import hashlib
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
    Held,
    LegBegun,
    LegEnded,
    Lost,
    MediaHeld,
    MediaPassed,
    Mended,
    Met,
    Op,
    People,
    Raw,
    Roster,
    Sealed,
    Unlisted,
    Unplaced,
    Walked,
)


def files_needed(state: State) -> list[Held]:
    """The files that hold what is held now."""
    months = [sealed.file for sealed in state.months.values() if sealed.file is not None]
    roster = [state.roster.file] if state.roster is not None else []
    return [*months, *roster, *(raw.file for raw in state.raws), *state.unplaced]


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
