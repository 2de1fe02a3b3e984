"""What is held and what is still to fetch, decided without files, sockets or clocks."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stride_async._models import just_above
from stride_async.export._archive.commits import (
    BEGINNING,
    HIGHEST,
    Commit,
    Failed,
    Held,
    LegBegun,
    LegEnded,
    Mended,
    Met,
    Raw,
    Roster,
    Sealed,
    Unlisted,
    read_commit,
)
from stride_async.export._archive.months import Differences, merged, month_of
from stride_async.export._archive.state import Span, State, content_digest, joined, whole_digest
from stride_async.export._fetch.plan import Window, next_leg

keys = st.tuples(st.integers(0, 40), st.sampled_from("abc"))
spans = st.tuples(keys, keys).map(lambda pair: Span(min(pair), max(pair)))
EVERY_KEY = [(ts, id) for ts in range(41) for id in "abc"]


def held(digest: str, rows: int = 1) -> Held:
    return Held(f"sealed/{digest}", digest, rows, digest)


def state_after(*ops, run: str = "run") -> State:
    state = State()
    for n, op in enumerate(ops, 1):
        state.take(Commit(1, n, n - 1, "", run, 0.0, (op,)))
    return state


@given(st.lists(spans, max_size=8))
def test_joined_spans_hold_what_each_of_them_held(given_spans):
    """No key more, no key less; apart from each other, the newest first."""
    together: list[Span] = []
    for span in given_spans:
        together = joined(together, span)

    for key in EVERY_KEY:
        assert any(span.holds(key) for span in given_spans) == any(span.holds(key) for span in together)
    assert all(newer.low > older.high for newer, older in pairwise(together))


@given(keys)
def test_nothing_lies_between_a_key_and_the_one_just_above(key):
    """So a span may end right behind a message, and the next one begin there."""
    assert Span(key, just_above(key)).holds(key)
    assert not any(Span(key, just_above(key)).holds(other) for other in EVERY_KEY if other != key)


contents = st.dictionaries(keys, st.sampled_from([b"one", b"other"]), max_size=12)


@given(contents, contents, spans)
def test_a_new_revision_is_what_was_walked_within_the_span_and_what_was_held_elsewhere(before, walked, span):
    """In order, each once; what is new, changed and gone is counted so."""
    walked = {key: line for key, line in walked.items() if span.holds(key)}
    expected = {key: line for key, line in before.items() if not span.holds(key)} | walked
    found = Differences()

    got = list(merged(iter(sorted(before.items())), iter(sorted(walked.items())), span, found))

    assert [expected[key] for key in sorted(expected)] == got
    assert len(walked.keys() - before.keys()) == found.new
    assert sorted(key for key in walked.keys() & before.keys() if walked[key] != before[key]) == found.changed
    assert sorted(key for key in before if span.holds(key) and key not in walked) == found.gone


@given(st.lists(spans, max_size=5), st.none() | st.integers(0, 40), st.none() | st.integers(0, 40))
def test_walking_what_is_missing_ends_with_everything_held(given_spans, since, until):
    """Each walk reaches the next span or the floor; then nothing of the window is missing."""
    window = Window(since, until)
    state = State()
    for span in given_spans:
        state.spans = joined(state.spans, span)
    walks, looked = 0, False
    while (leg := next_leg(state, window, looked=looked)) is not None:
        walks, looked = walks + 1, True
        upper = leg.upper or just_above((40, "c"))
        below = [span.high for span in state.spans if span.high < upper]
        state.spans = joined(state.spans, Span(min(upper, max([*below, window.floor])), upper))
        assert walks <= len(given_spans) + 2

    wanted = [key for key in EVERY_KEY if key >= window.floor and (window.ceiling is None or key < window.ceiling)]
    assert all(any(span.holds(key) for span in state.spans) for key in wanted)


def test_a_leg_belongs_to_the_run_that_began_it():
    """A run that goes on knows whether it has looked at the newest messages already."""
    state = state_after(LegBegun(1, None, looks=True), Raw(1, held("a"), None, (9, "a"), (5, "a"), 1), run="first")

    assert "first" == state.looked
    assert (1, 1) == (state.legs, len(state.raws))


def test_an_ended_leg_is_part_of_what_is_held_and_clears_the_failure():
    """Its raw groups count no more."""
    state = state_after(
        Failed("history", "", "503", final=False),
        LegBegun(1, None, looks=True),
        Raw(1, held("a"), None, (9, "a"), (5, "a"), 1),
        LegEnded(1, BEGINNING, just_above((9, "a")), "an empty page"),
    )

    assert ([], None, {}) == (state.raws, state.leg, state.failed)
    assert [Span(BEGINNING, (9, "a\0"))] == state.spans


def test_what_is_mended_is_no_failure_any_more():
    """The others stay."""
    state = state_after(
        Failed("message", "1", "odd", final=True, ts=1, leg=1),
        Failed("message", "2", "odd", final=True, ts=2, leg=1),
        Mended("message", "1"),
    )

    assert ["2"] == [failed.id for failed in state.failed_messages()]


def test_the_content_digest_knows_messages_and_rosters_only():
    """Revisions, runs, people met and the way it came say nothing of content; an empty month is none."""
    roster = Roster(held("r"), 1.0)
    first = state_after(Sealed("2018-01", 1, held("x"), 1, BEGINNING, HIGHEST), roster)
    other = state_after(
        Sealed("2018-02", 1, held("z"), 1, BEGINNING, HIGHEST),
        Sealed("2018-01", 7, held("x"), 3, BEGINNING, HIGHEST),
        Sealed("2018-02", 2, None, 3, BEGINNING, HIGHEST, gone=((1, "a"),)),
        Met(("ann",), ()),
        Roster(held("r"), 2.0),
        run="another",
    )

    assert content_digest(first) == content_digest(other)
    assert content_digest(first) != content_digest(state_after(Sealed("2018-01", 1, held("y"), 1, BEGINNING, HIGHEST)))


def test_the_digest_of_a_site_does_not_know_in_which_order_it_came():
    """Conversations are taken by id."""
    assert whole_digest([("a", "1"), ("b", "2")]) == whole_digest([("b", "2"), ("a", "1")])
    assert whole_digest([("a", "1")]) != whole_digest([("a", "2")])


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_month_is_that_of_the_calendar(moment):
    """In UTC, from the first year to the last."""
    ts = (moment - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400_000_000_000 + 123

    assert f"{moment.year:04d}-{moment.month:02d}" == month_of(ts)


def test_a_moment_beyond_the_calendar_has_the_month_at_its_edge():
    """An offset may carry a message out of the years that can be written."""
    assert ("0001-01", "9999-12") == (month_of(-(10**20)), month_of(10**21))


def test_a_commit_comes_back_as_it_was_written():
    """With ids of any kind."""
    commit = Commit(1, 2, 1, "digest", "run", 1.5, (LegEnded(1, BEGINNING, (5, "ü\0"), "why"), Unlisted()))

    assert commit == read_commit(msgspec.json.encode(commit))
