"""What the commits of a conversation add up to."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stride_async._models import just_above
from stride_async.export._archive.commits import (
    BEGINNING,
    HIGHEST,
    Commit,
    Failed,
    LegEnded,
    LegStarted,
    RawGroup,
    Referenced,
    Resolved,
    Roster,
    Sealed,
    Stored,
)
from stride_async.export._archive.state import Span, State, content_digest, join, site_digest
from tests.export.archive.keys import EVERY_KEY, keys, spans


def stored(digest: str) -> Stored:
    return Stored(f"sealed/{digest}", digest, 1, digest)


def state_after(*ops, run: str = "run") -> State:
    """Apply operations, each in a commit of its own."""
    state = State()
    for number, op in enumerate(ops, 1):
        state.apply(Commit(1, number, number - 1, "", run, 0.0, (op,)))
    return state


@given(st.lists(spans, max_size=20))
def test_joined_spans_contain_the_same_keys(given_spans):
    """They are disjoint, with a gap between any two, and the newest comes first."""
    joined: list[Span] = []
    for span in given_spans:
        joined = join(joined, span)

    for key in EVERY_KEY:
        assert any(span.contains(key) for span in given_spans) == any(span.contains(key) for span in joined)
    assert all(newer.low > older.high for newer, older in pairwise(joined))


@given(keys)
def test_no_key_lies_between_a_key_and_the_one_just_above(key):
    """A span can therefore end right after a message, and the next one start there."""
    assert Span(key, just_above(key)).contains(key)
    assert not any(Span(key, just_above(key)).contains(other) for other in EVERY_KEY if other != key)


def test_a_leg_remembers_the_run_that_started_it():
    """A run that continues can tell whether it has read the newest messages already."""
    state = state_after(
        LegStarted(1, None, from_newest=True), RawGroup(1, stored("a"), None, (9, "a"), (5, "a"), 1), run="first"
    )

    assert "first" == state.newest_read_by
    assert (1, 1) == (state.legs, len(state.raw_groups))


@given(st.lists(spans, max_size=8), spans)
def test_a_raw_group_counts_unless_a_span_overlaps_it(given_spans, raw):
    """What was read where nothing is held is held now."""
    ended = [LegEnded(1, span.low, span.high, "an empty page") for span in given_spans]
    state = state_after(
        *ended, LegStarted(1, None, from_newest=True), RawGroup(1, stored("a"), raw.high, raw.high, raw.low, 1)
    )

    overlaps = any(span.low < raw.high and raw.low < span.high for span in state.spans)
    assert (0 if overlaps else 1) == state.messages


def test_a_range_that_ends_below_its_beginning_holds_nothing():
    """Only a commit that was tampered with has one."""
    assert [] == state_after(LegEnded(1, (9, "a"), (5, "a"), "an empty page")).spans


def test_an_ended_leg_becomes_a_span_and_resolves_the_failure():
    """Its raw groups no longer count."""
    state = state_after(
        Failed("history", "", "503", final=False),
        LegStarted(1, None, from_newest=True),
        RawGroup(1, stored("a"), None, (9, "a"), (5, "a"), 1),
        LegEnded(1, BEGINNING, just_above((9, "a")), "an empty page"),
    )

    assert ([], None, {}) == (state.raw_groups, state.leg, state.failed)
    assert [Span(BEGINNING, (9, "a\0"))] == state.spans


def test_a_resolved_failure_no_longer_applies():
    """Other failures stay."""
    state = state_after(
        Failed("message", "1", "undecodable", final=True, ts=1, leg=1),
        Failed("message", "2", "undecodable", final=True, ts=2, leg=1),
        Resolved("message", "1"),
    )

    assert ["2"] == [failed.id for failed in state.failed_messages()]


def test_the_content_digest_covers_messages_and_rosters_only():
    """It ignores revisions, runs, references and the order of commits; an empty month counts as none."""
    roster = Roster(stored("r"), 1.0)
    first = state_after(Sealed("2018-01", 1, stored("x"), 1, BEGINNING, HIGHEST), roster)
    other = state_after(
        Sealed("2018-02", 1, stored("z"), 1, BEGINNING, HIGHEST),
        Sealed("2018-01", 7, stored("x"), 3, BEGINNING, HIGHEST),
        Sealed("2018-02", 2, None, 3, BEGINNING, HIGHEST, gone=((1, "a"),)),
        Referenced(("ann",), ()),
        Roster(stored("r"), 2.0),
        run="another",
    )
    different = state_after(Sealed("2018-01", 1, stored("y"), 1, BEGINNING, HIGHEST))

    assert content_digest(first) == content_digest(other)
    assert content_digest(first) != content_digest(different)


def test_the_digest_of_a_site_ignores_the_order_of_its_conversations():
    """Their content counts."""
    assert site_digest([("a", "1"), ("b", "2")]) == site_digest([("b", "2"), ("a", "1")])
    assert site_digest([("a", "1")]) != site_digest([("a", "2")])
