"""The bounds of a history: what a caller may give, what a request can name, and which keys lie between. Pure.

A bound may be known by its id, by its time, or by both (its *key*). A request names it by id, or by the whole second
around its time. The keys between two bounds are a *window*, which drops whatever else a page contains.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, TypeGuard, TypeVar

import attrs

from stride_async._errors import StaleBookmark
from stride_async._models import HasKey, Key, Message, just_above, key_of
from stride_async._moments import NANOSECONDS, format_nanoseconds, to_nanoseconds
from stride_async._wire.bookmark import Bookmark, Scalar, can_be_encoded, number_in, text_in

M = TypeVar("M", bound=HasKey)

KIND = "history"
"""The kind of listing that a bookmark of a history names."""

_DAY = 86_400 * NANOSECONDS
# The first and the last whole second that can be written with a year of four digits.
_EARLIEST = to_nanoseconds(datetime.min.replace(tzinfo=UTC))
_LATEST = to_nanoseconds(datetime.max.replace(microsecond=0, tzinfo=UTC))

Bound = str | Message | datetime | Key | Bookmark
"""Where a history begins or ends, exclusive.

- A message id, or a `Message`.
- An aware datetime. It excludes a message of exactly that moment.
- A key, `(ts, id)`: the position of a message that need not exist. With an empty id it is the position before every
  message of that nanosecond, so `after=(ts, "")` includes them and `before=(ts, "")` does not.
- A `Bookmark` of a history of the same conversation, whatever its bounds and order: the position of the bookmarked
  message.
"""


@attrs.frozen(eq=False, repr=False)
class Edge:
    """One bound, as far as it is known: a message id, a time, or both."""

    id: str | None
    ts: int | None

    @property
    def key(self) -> Key | None:
        """The key of the message, if both parts are known."""
        return None if self.ts is None or self.id is None else (self.ts, self.id)

    @property
    def scalar(self) -> Scalar:
        """The edge in the query of a bookmark: the id if there is one, else the time."""
        return self.id if self.id is not None else format_nanoseconds(self.ts or 0)

    def floor(self) -> Key | None:
        """Return the least key above this lower bound, if its time is known."""
        if self.ts is None:
            return None
        return (self.ts + 1, "") if self.id is None else just_above((self.ts, self.id))

    def ceiling(self) -> Key | None:
        """Return the least key that this upper bound excludes, if its time is known."""
        return None if self.ts is None else (self.ts, self.id or "")

    def second_before(self) -> int:
        """Return a whole second that is not above the edge, and is below it if messages of that moment are included."""
        assert self.ts is not None
        ts = self.ts - 1 if self.id is not None else self.ts
        return _writable(ts // NANOSECONDS * NANOSECONDS)

    def second_after(self) -> int:
        """Return a whole second that is not below the edge, and is above it if messages of that moment are included."""
        assert self.ts is not None
        ts = self.ts + 1 if self.id is not None else self.ts
        return _writable(-(-ts // NANOSECONDS) * NANOSECONDS)


def edges(after: Bound | None, before: Bound | None, path: str) -> tuple[Edge | None, Edge | None]:
    """Return the lower and the upper bound of the history at this path.

    Raises:
        TypeError: A bound is of another type.
        ValueError: A bound is a naive datetime, an empty id, a key outside the years 1 to 9999, or a bookmark without
            a message; or `after` is later than `before`.
        StaleBookmark: A bound is a bookmark of another listing.
    """
    low, high = _edge_of(after, "after", path), _edge_of(before, "before", path)
    if low and high and low.ts is not None and high.ts is not None and low.ts > high.ts:
        later, earlier = format_nanoseconds(_writable(low.ts)), format_nanoseconds(_writable(high.ts))
        raise ValueError(f"after={later} is later than before={earlier}")
    return low, high


def _edge_of(bound: Bound | None, name: Literal["after", "before"], path: str) -> Edge | None:
    if bound is None:
        return None
    if isinstance(bound, Message):
        return Edge(bound.id, bound.ts)
    if isinstance(bound, datetime):
        if bound.utcoffset() is None:
            raise ValueError(f"{name}={bound.isoformat()} has no time zone; use an aware datetime")
        return Edge(None, min(max(to_nanoseconds(bound), _EARLIEST), _LATEST + NANOSECONDS - 1))
    if isinstance(bound, Bookmark):
        bound = _bookmarked(bound, name, path)
    ts, id = bound if _is_key(bound) else (None, bound)
    if not isinstance(id, str):
        raise TypeError(
            f"{name} must be a message id, a Message, an aware datetime, a key (ts, id) or a Bookmark, "
            f"not {type(bound).__name__}: {bound!r:.100}"
        )
    if ts is not None and not _EARLIEST - _DAY <= ts <= _LATEST + _DAY:
        raise ValueError(f"{name}={bound!r} is outside the years 1 to 9999; expected (nanoseconds, message id)")
    if not can_be_encoded(id):
        raise ValueError(f"{name}={bound!r} cannot be encoded as UTF-8")
    if id:
        return Edge(id, ts)
    if ts is None:
        raise ValueError(f"{name} is an empty message id")
    # Between the messages of this nanosecond and those before. An edge without an id excludes its own moment.
    return Edge(None, _writable(ts - 1 if name == "after" else ts))


def _is_key(bound: object) -> TypeGuard[Key]:
    return isinstance(bound, tuple) and len(bound) == 2 and isinstance(bound[0], int)


def _bookmarked(bookmark: Bookmark, name: str, path: str) -> Key:
    """Return the key of a bookmarked message."""
    if (bookmark.query.get("kind"), bookmark.query.get("path")) != (KIND, path):
        raise StaleBookmark(f"{name} is a bookmark of another listing, not of {path}")
    if not bookmark.place:
        raise ValueError(f"{name} is a bookmark of the start of a listing, which names no message")
    return key_in(bookmark)


def key_in(bookmark: Bookmark) -> Key:
    """Return the key that is the position of a bookmark of a history.

    Raises:
        StaleBookmark: The position is not a key.
    """
    # An offset from UTC may put a message up to a day outside the years that can be written.
    ts, id = number_in(bookmark, "ts", _EARLIEST - _DAY, _LATEST + _DAY), text_in(bookmark, "id")
    if not id:
        raise StaleBookmark("the bookmark has an empty id")
    return ts, id


def _writable(ts: int) -> int:
    return min(max(ts, _EARLIEST), _LATEST)


@attrs.frozen(eq=False, repr=False)
class Window:
    """The range of keys that may still be returned: from `floor` to below `ceiling`, where these are known."""

    floor: Key | None
    ceiling: Key | None
    ids: frozenset[str]  # of the bounds, which are excluded even if their time is unknown

    @classmethod
    def between(cls, after: Edge | None, before: Edge | None) -> Window:
        """Return the window between two bounds."""
        ids = frozenset(edge.id for edge in (after, before) if edge and edge.id is not None)
        return cls(after.floor() if after else None, before.ceiling() if before else None, ids)

    def above(self, floor: Key) -> Window:
        """Return the part from a key up."""
        return self if self.floor is not None and self.floor >= floor else Window(floor, self.ceiling, self.ids)

    def below(self, ceiling: Key) -> Window:
        """Return the part below a key."""
        if self.ceiling is not None and self.ceiling <= ceiling:
            return self
        return Window(self.floor, ceiling, self.ids)

    def holds(self, key: Key) -> bool:
        """Return whether a message with this key may be returned."""
        return (
            (self.floor is None or key >= self.floor)
            and (self.ceiling is None or key < self.ceiling)
            and key[1] not in self.ids
        )

    def part(self, messages: list[M]) -> list[M]:
        """Return those of the sorted messages that lie within."""
        if not messages:
            return messages
        if not self.ids and self.holds(key_of(messages[0])) and self.holds(key_of(messages[-1])):
            return messages
        return [message for message in messages if self.holds(key_of(message))]
