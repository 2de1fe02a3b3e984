"""Months: which one a message belongs to, and how a revision is made."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from stride_async.export._archive.months import Differences, end_of_month, merge, month_of, split_by_month
from tests.export.archive.keys import keys, spans

contents = st.dictionaries(keys, st.sampled_from([b"one", b"other"]), max_size=12)
HOUR = 3_600_000_000_000


@given(contents, contents, spans)
def test_a_revision_has_what_was_read_within_the_span_and_what_was_held_outside(before, read, span):
    """It is sorted, has each key once, and counts what is new, changed and gone."""
    read = {key: line for key, line in read.items() if span.contains(key)}
    expected = {key: line for key, line in before.items() if not span.contains(key)} | read
    differences = Differences()

    got = list(merge(iter(sorted(before.items())), iter(sorted(read.items())), span, differences))

    assert [expected[key] for key in sorted(expected)] == got
    assert len(read.keys() - before.keys()) == differences.new
    assert sorted(key for key in read.keys() & before.keys() if read[key] != before[key]) == differences.changed
    assert sorted(key for key in before if span.contains(key) and key not in read) == differences.gone


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_month_is_one_of_the_calendar_in_utc(moment):
    """This holds from year 1 to year 9999."""
    ts = (moment - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400_000_000_000 + 123

    assert f"{moment.year:04d}-{moment.month:02d}" == month_of(ts)


def test_a_time_outside_the_calendar_belongs_to_the_month_at_its_edge():
    """An offset from UTC can move a message out of the years 1 to 9999."""
    assert ("0001-01", "9999-12") == (month_of(-(10**20)), month_of(10**21))


@given(st.lists(st.integers(0, 24 * 120), max_size=30))
def test_messages_are_cut_where_a_month_ends(hours):
    """Their order stays, and every part is of one month."""
    times = sorted(hour * HOUR for hour in hours)
    block = b"".join(b"%d\n" % ts for ts in times)

    parts = list(split_by_month([(times, block)]))

    assert block == b"".join(part for _, (_, part) in parts)
    assert all(rows == part.count(b"\n") for _, (rows, part) in parts)
    assert all({month} == {month_of(int(line)) for line in part.splitlines()} for month, (_, part) in parts)
    assert sorted({month for month, _ in parts}) == [month for month, _ in parts]
    assert all(month_of(end_of_month(month) - 1) == month < month_of(end_of_month(month)) for month, _ in parts)
