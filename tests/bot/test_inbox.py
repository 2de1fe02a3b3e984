"""The inbox decides which event is next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stride_async.bot._inbox import FIRST, Inbox

A, B, C = ("site", "a"), ("site", "b"), ("site", "c")


def numbers(inbox: Inbox, now: float = 0.0) -> list[int]:
    """Return every event that may begin now."""
    found = []
    while (turn := inbox.next(now)) is not None:
        found.append(turn.number)
    return found


def test_of_a_conversation_the_oldest_is_next():
    """Events of a conversation begin one at a time, by order and then by arrival."""
    inbox = Inbox(10)
    for number, order in enumerate([30, 10, 20, 10], 1):
        inbox.add(A, order, number)

    taken = []
    while (turn := inbox.next(0.0)) is not None:
        assert inbox.next(0.0) is None
        taken.append(turn.number)
        inbox.ended(turn)

    assert [2, 4, 3, 1] == taken


def test_conversations_take_turns():
    """A busy conversation does not starve another."""
    inbox = Inbox(1)
    for number in range(1, 101):
        inbox.add(A, number, number)
    inbox.add(B, 1000, 1000)

    first = inbox.next(0.0)
    inbox.ended(first)

    assert (1, [1000]) == (first.number, numbers(inbox))


def test_a_pause_holds_one_conversation():
    """Its events wait, and those of others begin."""
    inbox = Inbox(10)
    inbox.add(A, 1, 1)
    inbox.add(A, 2, 2)
    inbox.add(B, 3, 3)
    turn = inbox.next(0.0)
    inbox.again(turn, 5.0)

    assert [3] == numbers(inbox, 1.0)
    assert 5.0 == inbox.wakes_at
    assert [1] == numbers(inbox, 5.0)


def test_suspects_begin_one_at_a_time_along_with_other_events():
    """One of them may have killed the process, so the next waits until it has ended."""
    inbox = Inbox(10)
    inbox.add(A, 1, 1, suspect=True)
    inbox.add(B, 2, 2, suspect=True)
    inbox.add(B, 3, 3)
    inbox.add(C, 4, 4)

    first = inbox.next(0.0)
    others = numbers(inbox)
    inbox.ended(first)

    assert (1, [4], [2]) == (first.number, others, numbers(inbox))


def test_a_suspect_that_ended_is_no_longer_one():
    """An event that is put back by `TryAgain` did not kill the process."""
    inbox = Inbox(10)
    inbox.add(A, 1, 1, suspect=True)
    inbox.again(inbox.next(0.0), 0.0)
    inbox.add(B, 2, 2, suspect=True)

    assert [1, 2] == sorted(numbers(inbox))


class AnyInbox(RuleBasedStateMachine):
    """The four rules hold, and no event is lost, for any sequence of additions and ends."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox = Inbox(3)
        self.now = 0.0
        self.count = 0
        self.waiting: dict[int, tuple[tuple[str, str], int, float]] = {}
        self.suspects: set[int] = set()
        self.under_way = []

    @rule(place=st.sampled_from([A, B, C]), order=st.integers(0, 5), suspect=st.booleans(), delay=st.integers(0, 3))
    def add(self, place, order, suspect, delay):
        self.count += 1
        self.waiting[self.count] = (place, order, self.now + delay if delay else 0.0)
        if suspect:
            self.suspects.add(self.count)
        self.inbox.add(place, order, self.count, suspect=suspect, not_before=self.now + delay if delay else 0.0)

    @rule()
    def next(self):
        turn = self.inbox.next(self.now)
        if turn is None:
            return
        place, order, not_before = self.waiting.pop(turn.number)
        assert (turn.place, turn.order) == (place, order)
        assert not_before <= self.now
        assert turn.place not in [other.place for other in self.under_way]
        assert (order, turn.number) < min(
            ((o, n) for n, (p, o, _) in self.waiting.items() if p == place), default=(9, 0)
        )
        assert not (turn.suspect and any(other.suspect for other in self.under_way))
        self.under_way.append(turn)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def end(self, data):
        turn = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.inbox.ended(turn)

    @precondition(lambda self: self.under_way)
    @rule(delay=st.integers(0, 3), begun=st.booleans())
    def again(self, delay, begun):
        turn = self.under_way.pop()
        self.waiting[turn.number] = (turn.place, FIRST if begun else turn.order, self.now + delay)
        self.inbox.again(turn, self.now + delay, begun=begun)

    @rule()
    def time_passes(self):
        self.now += 1.0

    @invariant()
    def counts_agree(self):
        assert (len(self.waiting), len(self.under_way)) == (self.inbox.waiting, self.inbox.under_way)
        assert len(self.under_way) <= 3

    def teardown(self):
        """Check that every waiting event gets its turn."""
        self.now += 100.0
        while self.waiting or self.under_way:
            self.next()
            assert self.under_way
            self.inbox.ended(self.under_way.pop())


TestAnyInbox = AnyInbox.TestCase


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.integers()), max_size=30))
def test_nothing_is_lost_or_doubled(events):
    """Each event gets exactly one turn, in the order of its conversation."""
    inbox = Inbox(2)
    for number, (place, order) in enumerate(events):
        inbox.add(place, order, number)

    taken = []
    while (turn := inbox.next(0.0)) is not None:
        taken.append(turn)
        inbox.ended(turn)

    for place in (A, B, C):
        mine = [(turn.order, turn.number) for turn in taken if turn.place == place]
        assert mine == sorted((order, number) for number, (where, order) in enumerate(events) if where == place)
