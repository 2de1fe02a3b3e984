"""Decide which of the waiting events is next. Pure: no clock, no tasks, no files.

Each conversation has a queue. Four rules hold:

1. At most one event of a conversation is under way; of those that wait in it, the one with the least order is next. An
   event that was begun before comes first, so that nothing else happens in its conversation between its attempts. Its
   replies are looked for after the last reply that was noted.
2. Conversations with waiting events take turns, so that a busy one does not starve another. At most `concurrency`
   events are under way in all.
3. A queue can be paused until a moment. Nothing of it begins before.
4. A *suspect* is an event that was under way when the process was killed. It may have killed it, so at most one
   suspect is under way at a time, along with any number of other events. If it kills the process again, the other
   suspects have lost no attempt.

A queue is in exactly one of five states: *busy* (one of its events is under way), *paused*, *ready* (in the line of
those that take turns), *held* (its next event is a suspect and another suspect is under way), or gone, when it has no
events. Each call moves queues between these states; `next` takes the first of the line. Every ready queue that is not
taken is moved to *held* at most once until a suspect ends, so `next` terminates.

A waiting event costs two integers and a tuple: bodies stay in the store.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush

import attrs

# Site and conversation.
Place = tuple[str, str]
FIRST = -(2**64)
"""The order of an event that was begun before. The store has no order as low as this."""


@attrs.frozen
class Turn:
    """An event whose turn it is."""

    place: Place
    order: int
    number: int
    suspect: bool


class _Queue:
    """The waiting events of one conversation, as a heap of (order, number)."""

    __slots__ = ("events", "paused_until", "place", "state")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.events: list[tuple[int, int]] = []
        self.paused_until = 0.0
        self.state = "new"


class Inbox:
    """The waiting events of all conversations."""

    def __init__(self, concurrency: int) -> None:
        self.waiting = 0
        self.under_way = 0
        self._concurrency = concurrency
        self._queues: dict[Place, _Queue] = {}
        self._ready: deque[_Queue] = deque()
        self._held: list[_Queue] = []
        self._paused: list[tuple[float, int, _Queue]] = []
        self._pauses = 0
        self._suspects: set[int] = set()
        self._suspect_under_way = False

    def add(self, place: Place, order: int, number: int, *, suspect: bool = False, not_before: float = 0.0) -> None:
        """Add a waiting event; its conversation is paused until `not_before`."""
        queue = self._queues.get(place)
        if queue is None:
            queue = self._queues[place] = _Queue(place)
        heappush(queue.events, (order, number))
        self.waiting += 1
        queue.paused_until = max(queue.paused_until, not_before)
        if suspect:
            self._suspects.add(number)
        if queue.state == "new":
            self._line_up(queue)

    def next(self, now: float) -> Turn | None:
        """Take the event whose turn it is, or None if none may begin now."""
        self._wake(now)
        while self._ready and self.under_way < self._concurrency:
            queue = self._ready.popleft()
            if queue.paused_until > now:
                self._pause(queue)
                continue
            order, number = queue.events[0]
            suspect = number in self._suspects
            if suspect and self._suspect_under_way:
                queue.state = "held"
                self._held.append(queue)
                continue
            heappop(queue.events)
            queue.state = "busy"
            self.waiting -= 1
            self.under_way += 1
            self._suspect_under_way = self._suspect_under_way or suspect
            return Turn(queue.place, order, number, suspect)
        return None

    def ended(self, turn: Turn) -> None:
        """Note that an event is no longer under way."""
        self._leave(turn)
        queue = self._queues[turn.place]
        if queue.events:
            self._line_up(queue)
        else:
            del self._queues[turn.place]

    def again(self, turn: Turn, until: float, *, suspect: bool = False, begun: bool = True) -> None:
        """Put an event that was under way back; its conversation waits until then. It is next, if it was begun."""
        self._leave(turn)
        queue = self._queues[turn.place]
        queue.state = "new"
        order = FIRST if begun else turn.order
        self.add(turn.place, order, turn.number, suspect=suspect, not_before=until)

    @property
    def wakes_at(self) -> float | None:
        """When the first pause ends, if a queue is paused."""
        return self._paused[0][0] if self._paused else None

    def first_place(self) -> Place:
        """Return the place of some waiting event; there must be one."""
        return next(iter(self._queues))

    def _leave(self, turn: Turn) -> None:
        self.under_way -= 1
        if turn.suspect:
            self._suspects.discard(turn.number)
            self._suspect_under_way = False
            for queue in self._held:
                self._line_up(queue)
            self._held.clear()

    def _line_up(self, queue: _Queue) -> None:
        queue.state = "ready"
        self._ready.append(queue)

    def _pause(self, queue: _Queue) -> None:
        queue.state = "paused"
        self._pauses += 1
        heappush(self._paused, (queue.paused_until, self._pauses, queue))

    def _wake(self, now: float) -> None:
        while self._paused and self._paused[0][0] <= now:
            _, _, queue = heappop(self._paused)
            self._line_up(queue)
