"""The walks through a conversation's messages, against a conversation in memory."""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stride_async import Bookmark, DecodeError, Message, PaginationLoop, StaleBookmark
from stride_async._wire.history import HELD_PAGES, history
from tests.wire.service import Refused, Scripted, Talk, cut, items_of, walked

SECOND = 1_000_000_000
NOON = 1_519_819_200 * SECOND
"""28 February 2018, 12:00 UTC."""
examples = partial(settings, deadline=None, max_examples=150)

moments = st.one_of(
    st.integers(0, 3).map(lambda ns: NOON + ns),
    st.sampled_from([NOON, NOON + SECOND - 1, NOON + SECOND, NOON - 5 * 365 * 86_400 * SECOND]),
    st.integers(NOON, NOON + 4 * SECOND),
)
"""Close together, equal often, years apart sometimes."""
keys = st.tuples(moments, st.integers(0, 10**6).map("{:06x}".format))
talks = st.lists(keys, max_size=40, unique_by=lambda key: key[1])
orders = st.sampled_from([sorted, partial(sorted, reverse=True), partial(sorted, key=lambda key: key[1][::-1])])
page_sizes = st.integers(1, 9)
cuts = st.integers(0, 41)


def listing(after=None, before=None, *, oldest_first=False):
    return history("/m", "room", after, before, oldest_first=oldest_first)


def message(key) -> Message:
    return Message(key[1], "u", key[0], "", b"")


def moment(ts: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts // 1000)


def keys_of(pages) -> list:
    return [(m.ts, m.id) for m in items_of(pages)]


@given(talks, orders, page_sizes, page_sizes, cuts, st.booleans())
@examples()
def test_what_was_given_before_a_cut_and_after_resuming_is_the_whole(keys, order, size, other, count, oldest_first):
    """Whatever the page size before and after, the bookmark having been text in between."""
    whole = sorted(keys, reverse=not oldest_first)
    talk, asked = Talk(keys, order), listing(oldest_first=oldest_first)

    before, bookmark = cut(walked(asked.walk(size, None), talk), count)
    text = (bookmark or Bookmark(asked.query, {})).dumps()
    after = items_of(walked(asked.walk(other, Bookmark.loads(text)), talk))

    assert whole == [(m.ts, m.id) for m in [*before, *after]]


@st.composite
def bounds(draw, keys):
    """None, or the bound and the key it stands for; a datetime has None for an id."""
    kind = draw(st.sampled_from(["none", "id", "message", "moment", "key", "position", "bookmark"]))
    if kind == "none" or (kind == "id" and not keys):
        return None, None
    if kind == "moment":
        at = draw(moments)
        return moment(at), (at // 1000 * 1000, None)
    if kind == "position":
        at = draw(moments), ""
        return at, at
    key = draw(st.sampled_from(keys)) if kind == "id" or keys else draw(moments.map(lambda ts: (ts, "f")))
    bookmark = Bookmark(listing().query, {"ts": key[0], "id": key[1]})
    return {"id": key[1], "message": message(key), "key": key, "bookmark": bookmark}[kind], key


@given(st.data(), talks, orders, page_sizes, cuts, st.booleans())
@examples()
def test_both_bounds_are_excluded_whatever_they_are(data, keys, order, size, count, oldest_first):
    """A datetime excludes every message of its nanosecond; a key without an id lies before all of them."""
    after, low = data.draw(bounds(keys))
    before, high = data.draw(bounds(keys))
    if low and high and low[0] > high[0]:
        (after, low), (before, high) = (before, high), (after, low)
    inside = [
        key
        for key in sorted(keys, reverse=not oldest_first)
        if (low is None or (key[0] > low[0] if low[1] is None else key > low))
        and (high is None or (key[0] < high[0] if high[1] is None else key < high))
    ]
    talk, asked = Talk(keys, order), listing(after, before, oldest_first=oldest_first)

    first, bookmark = cut(walked(asked.walk(size, None), talk), count)
    rest = items_of(walked(asked.walk(size, bookmark), talk))

    assert inside == [(m.ts, m.id) for m in [*first, *rest]]


changes = st.lists(
    st.tuples(st.integers(1, 12) | st.integers(13, 70), st.integers(0, 39), st.none() | moments), max_size=12
)
"""Before the n-th request: the message at an index goes, or a new one comes, perhaps with an old time."""


@given(talks, page_sizes, changes, cuts, st.booleans())
@examples(max_examples=300)
def test_a_conversation_that_changes_loses_nothing_and_repeats_nothing(keys, size, changes, count, oldest_first):
    """Messages come and go between any two pages, the ones stood on too, and while the walk was interrupted."""
    talk, asked = Talk(keys), listing(oldest_first=oldest_first)
    there, once_there = set(keys), set(keys)

    def change(number):
        for serial, (at, index, ts) in enumerate(changes):
            if at == number and ts is not None:
                new = ts, f"{index:03}{serial:03}x"
                talk.messages.add(new)
                once_there.add(new)
            elif at == number and index < len(keys):
                talk.messages.discard(keys[index])
                there.discard(keys[index])

    talk.before = change

    first, bookmark = cut(walked(asked.walk(size, None), talk), count)
    rest = items_of(walked(asked.walk(size, bookmark), talk))
    given = [(m.ts, m.id) for m in [*first, *rest]]

    assert sorted(set(given), reverse=not oldest_first) == given
    assert there <= set(given) <= once_there


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_deleted_anchor_amid_equal_times_is_passed_by_time(oldest_first):
    """More messages than a page lie at its very nanosecond: they are gone through again, and given once."""
    keys = [(NOON, f"{n:04}") for n in range(60)] + [(NOON + 1, "last")]
    talk = Talk(keys)
    talk.before = lambda n: talk.messages.discard((NOON, "0031")) if n == 7 else None

    given = keys_of(walked(listing(oldest_first=oldest_first).walk(5, None), talk))

    assert sorted(keys, reverse=not oldest_first) == given


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_deleted_bookmark_is_passed_by_time(oldest_first):
    """The bookmarked message is gone when the listing is resumed."""
    keys = [(NOON + n // 4, f"{n:04}") for n in range(40)]
    asked = listing(oldest_first=oldest_first)
    talk = Talk(keys)
    first, bookmark = cut(walked(asked.walk(6, None), talk), 20)
    talk.messages.discard((first[-1].ts, first[-1].id))

    rest = keys_of(walked(asked.walk(3, bookmark), talk))

    assert sorted(keys, reverse=not oldest_first)[20:] == rest


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_deleted_message_still_bounds_a_listing(oldest_first):
    """A `Message` knows its time, so it need not exist any more."""
    keys = [(NOON + n, f"{n:04}") for n in range(20)]
    talk = Talk(keys[:4] + keys[5:15] + keys[16:])

    given = keys_of(walked(listing(message(keys[4]), message(keys[15]), oldest_first=oldest_first).walk(4, None), talk))

    assert sorted(keys[5:15], reverse=not oldest_first) == given


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_deleted_bound_excludes_nothing_of_its_very_time(oldest_first):
    """Asked for in whole seconds, which must take in what was sent at that moment, on either side."""
    keys = [(NOON, name) for name in "bcdxyz"]
    talk = Talk(keys)

    above = keys_of(walked(listing(after=message((NOON, "a")), oldest_first=oldest_first).walk(4, None), talk))
    below = keys_of(walked(listing(before=message((NOON, "zz")), oldest_first=oldest_first).walk(4, None), talk))

    assert sorted(keys, reverse=not oldest_first) == above == below


def test_a_span_that_grew_is_asked_for_until_it_is_whole():
    """Messages with old times came in after the way back: there are more than a page between two anchors."""
    keys = [(NOON + n * SECOND, f"{n:04}") for n in range(60)]
    late = [(NOON + 50 * SECOND + n, f"late {n}") for n in range(1, 8)]
    talk = Talk(keys)
    talk.before = lambda n: talk.messages.update(late if n == 32 else [])

    given = keys_of(walked(listing(oldest_first=True).walk(2, None), talk))

    assert sorted([*keys, *late]) == given


def test_a_deleted_id_cannot_bound_a_listing():
    """Of an id the time is unknown: the service's answer stands."""
    with pytest.raises(Refused):
        items_of(walked(listing(after="gone").walk(4, None), Talk([(NOON, "a"), (NOON, "b")])))


def test_an_id_as_lower_bound_may_go_once_the_way_back_is_done():
    """Oldest first asks forward from what it has given, not from the bound."""
    keys = [(NOON + n, f"{n:04}") for n in range(80)]
    talk = Talk(keys)
    back = 81 // 3 + 1
    talk.before = lambda n: talk.messages.discard(keys[0]) if n > back else None

    given = keys_of(walked(listing(after="0000", oldest_first=True).walk(3, None), talk))

    assert keys[1:] == given


def test_a_moment_amid_a_crowded_second_is_exact():
    """Asked for in whole seconds, given to the nanosecond, though more than a page lies beyond the bound."""
    keys = [(NOON + n * 1000, f"{n:04}") for n in range(300)]
    talk = Talk(keys)

    given = keys_of(walked(listing(moment(NOON + 19_000), moment(NOON + 150_000)).walk(75, None), talk))
    first = next(walked(listing(None, moment(NOON + 150_000)).walk(75, None), Talk(keys[:160]), wanted=1))

    assert keys[149:19:-1] == given
    assert keys[149] == (first.items[0].ts, first.items[0].id)


def test_no_more_is_asked_for_than_is_wanted():
    """Except beside an upper bound in whole seconds, where a small page might hold nothing wanted."""
    talk = Talk([(NOON + n, f"{n:04}") for n in range(9)])

    limits = []
    for asked in (listing(), listing("0001", "0007"), listing(moment(NOON)), listing(None, moment(NOON + 9000))):
        next(walked(asked.walk(50, None), talk, wanted=2))
        limits.append(dict(talk.requests[-1].query)["limit"])

    assert ["2", "2", "2", "50"] == limits


@pytest.mark.parametrize(
    "bound", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))]
)
def test_the_ends_of_the_calendar_are_bounds(bound):
    """What cannot be written with four digits of a year is not asked for."""
    keys = [(NOON, "a"), (NOON + 1, "b")]

    above = keys_of(walked(listing(after=bound).walk(5, None), Talk(keys)))
    below = keys_of(walked(listing(before=bound).walk(5, None), Talk(keys)))

    assert [] == (below if bound.year == 1 else above)
    assert keys[::-1] == (above if bound.year == 1 else below)


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_a_page_that_does_not_move_is_a_loop(oldest_first, size):
    """A service that ignores its bounds gives the same messages for ever."""
    page = {"messages": [Talk().element((NOON + n, f"{n}")) for n in range(size)]}

    with pytest.raises(PaginationLoop, match="contains no older message"):
        items_of(walked(listing(oldest_first=oldest_first).walk(size, None), Scripted([page])))


def test_a_service_that_denies_what_it_shows_is_not_asked_for_ever():
    """It lists a message and knows none by its id: by time the walk comes to the same message again."""

    class Forgetful(Talk):
        def page(self, query):
            if query.get("beforeMessage") == "b":
                raise Refused
            return super().page(query)

    with pytest.raises(Refused):
        items_of(walked(listing().walk(1, None), Forgetful([(NOON, "a"), (NOON, "b")])))


def test_oldest_first_costs_at_most_twice_the_calls():
    """And nothing beyond newest first as long as the pages can be held."""
    held = 10 * (HELD_PAGES + 1)
    for count in (0, 1, 10, held - 1, held, held + 1, 1_500):
        keys = [(NOON + n // 600 * 1_000 * 86_400 * SECOND, f"{n:05}") for n in range(count)]
        back, forth = Talk(keys), Talk(keys)

        expected = keys_of(walked(listing().walk(10, None), back))
        given = keys_of(walked(listing(oldest_first=True).walk(10, None), forth))

        assert expected[::-1] == given
        most = len(back.requests) if count <= held else 2 * len(back.requests)
        assert len(forth.requests) <= most


def test_oldest_first_holds_no_more_than_its_pages():
    """However long the conversation, what is kept of a page not held is two keys."""
    talk = Talk([(NOON + n, f"{n:06}") for n in range(300)], damaged={})
    talk.damaged = {name: {**talk.element((ts, name)), "more": "x" * 10_000} for ts, name in talk.messages}
    walk, weights = listing(oldest_first=True).walk(2, None), []
    tracemalloc.start()

    def look(number):
        if number in (40, 150):
            held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/wire/service.py")])
            weights.append(sum(trace.size for trace in held.statistics("filename")) // 20_000)

    talk.before = look
    next(walked(walk, talk))
    tracemalloc.stop()

    assert 2 * [HELD_PAGES + 1] == weights


def damaged(n, **changes):
    whole = Talk().element((NOON + n, f"{n:04}"))
    return {name: value for name, value in {**whole, **changes}.items() if value is not ...}


@pytest.mark.parametrize("oldest_first", [False, True])
def test_the_path_of_a_malformed_element_is_told(oldest_first):
    """Where it stood in the service's own answer, with its own bytes."""
    talk = Talk([(NOON + n, f"{n:04}") for n in range(6)], damaged={"0003": damaged(3, sender={"id": 7})})

    with pytest.raises(DecodeError, match="Expected `str`, got `int`") as caught:
        items_of(walked(listing(oldest_first=oldest_first).walk(9, None), talk))

    assert "$.messages[3].sender.id" == caught.value.path
    assert damaged(3, sender={"id": 7}) == json.loads(caught.value.raw)


unreadable = st.sampled_from(["sender", "ts", "ts and id", "everything"])


@given(
    st.integers(0, 60),
    st.dictionaries(st.integers(0, 59), unreadable, max_size=10),
    st.integers(1, 8),
    st.booleans(),
    st.sampled_from([sorted, partial(sorted, reverse=True)]),
)
@examples(max_examples=250)
def test_what_cannot_be_decoded_is_told_once_and_the_rest_is_given(count, wrong, size, oldest_first, order):
    """Whatever is wrong with them, at page borders too, in both orders."""
    # A full page of which nothing at all can be read cannot be stood on.
    size = max(size, 1 + sum(how == "everything" for how in wrong.values()))
    wrongs = {
        "sender": lambda n: damaged(n, sender=None),
        "ts": lambda n: damaged(n, ts="yesterday"),
        "ts and id": lambda n: damaged(n, ts=None, id=f"{n:04}"),
        "everything": lambda n: {"n": n},
    }
    bad = {f"{n:04}": wrongs[how](n) for n, how in wrong.items() if n < count}
    keys = [(NOON + n, f"{n:04}") for n in range(count)]
    talk = Talk(keys, order, damaged=bad)
    told = []

    given = keys_of(walked(listing(oldest_first=oldest_first).walk(size, None), talk, on_undecodable=told.append))

    assert [key for key in sorted(keys, reverse=not oldest_first) if key[1] not in bad] == given
    assert sorted(json.dumps(element, sort_keys=True) for element in bad.values()) == sorted(
        json.dumps(json.loads(error.raw), sort_keys=True) for error in told
    )


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_page_that_cannot_be_stood_on_is_asked_for_again(oldest_first):
    """It may come whole the next time; if not, older messages would be lost, and that is an error."""
    whole, nothing = {"messages": [damaged(1), damaged(2)]}, {"messages": [{}, None]}
    passing = Scripted([whole, nothing, {"messages": [damaged(0)]}, {"messages": []}])
    lasting = Scripted([whole, nothing])
    told = []

    given = keys_of(walked(listing(oldest_first=oldest_first).walk(2, None), passing, on_undecodable=told.append))
    with pytest.raises(DecodeError, match="the history cannot continue"):
        items_of(walked(listing(oldest_first=oldest_first).walk(2, None), lasting, on_undecodable=told.append))

    assert sorted(((NOON + n, f"{n:04}") for n in range(3)), reverse=not oldest_first) == given
    assert 2 * ["$.messages[0]", "$.messages[1]"] == [error.path.rpartition(".id")[0] or error.path for error in told]


def test_a_malformed_message_beyond_the_bounds_concerns_nobody():
    """Whole seconds take in more than was asked for."""
    keys = [(NOON + n * 1000, f"{n:04}") for n in range(9)]
    bad = {"0001": damaged(1000, id="0001", sender=None), "0008": damaged(8000, id="0008", text=5)}

    given = keys_of(walked(listing(moment(NOON + 1000), moment(NOON + 8000)).walk(50, None), Talk(keys, damaged=bad)))

    assert keys[7:1:-1] == given


@pytest.mark.parametrize("oldest_first", [False, True])
def test_an_error_at_a_page_leaves_the_walk_where_it_was(oldest_first):
    """The page is asked for again, or a held one looked at again, and then given."""
    keys = [(NOON + n, f"{n:04}") for n in range(200)]
    wrong = ("0012", "0112", "0199")
    talk = Talk(keys, damaged={name: damaged(int(name), sender=None) for name in wrong})
    walk = listing(oldest_first=oldest_first).walk(4, None)
    given, told = [], []

    def refuse_twice(error):
        told.append(error.path)
        if len(told) % 3:
            raise error

    while len(told) < 9:
        try:
            for page in walked(walk, talk, on_undecodable=refuse_twice):
                given += keys_of([page])
        except DecodeError:
            continue

    assert sorted((key for key in keys if key[1] not in wrong), reverse=not oldest_first) == given
    assert 3 * [told[0]] == told[:3]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"messages":{}}', b'{"messages":[]', b"\xff", b"[" * 9999]
)
@pytest.mark.parametrize("oldest_first", [False, True])
def test_an_answer_that_is_no_page_is_a_decode_error(body, oldest_first):
    """With the answer's own bytes, before the walk has moved."""
    with pytest.raises(DecodeError) as caught:
        items_of(walked(listing(oldest_first=oldest_first).walk(5, None), Scripted([body])))

    assert body == caught.value.raw


@pytest.mark.parametrize("key", ["messages", "values"])
def test_messages_may_stand_under_either_key(key):
    """Beside them stands what nobody knows; null is an empty page."""
    page = {"x": [{"y": None}], key: [damaged(1, extra={"z": 1})], "size": "many", "limit": None}

    given = keys_of(walked(listing().walk(5, None), Scripted([page, {key: None}])))

    assert [(NOON + 1, "0001")] == given


def test_a_message_that_comes_twice_in_a_page_is_given_once():
    """Whatever it says the second time."""
    page = {"messages": [damaged(1), damaged(1, text="again"), damaged(2)]}

    given = keys_of(walked(listing().walk(5, None), Scripted([page, {"messages": []}])))

    assert [(NOON + 2, "0002"), (NOON + 1, "0001")] == given


@pytest.mark.parametrize(
    ("after", "before", "words"),
    [
        (datetime(2018, 3, 1), None, "after=2018-03-01T00:00:00 has no time zone"),
        (None, datetime(2018, 3, 1), "before=2018-03-01T00:00:00 has no time zone"),
        ("", None, "after is an empty message id"),
        (None, "\ud800", "cannot be encoded as UTF-8"),
        (moment(NOON + 1000), moment(NOON), "after=2018-02-28T12:00:00.000001Z is later than before="),
        (message((NOON + 1, "a")), moment(NOON), "is later than"),
        ((NOON + 1, "a"), (NOON, "b"), "after=2018-02-28T12:00:00.000000001Z is later than before="),
        ((10**30, "a"), None, "outside the years 1 to 9999"),
        (None, (NOON, "\ud800"), "cannot be encoded as UTF-8"),
    ],
)
def test_bounds_that_cannot_be_are_refused_at_once(after, before, words):
    """Ids are opaque: of two ids nothing can be said."""
    with pytest.raises(ValueError, match=words):
        listing(after, before)


@pytest.mark.parametrize(
    "place",
    [
        {"ts": "1", "id": "a"},
        {"ts": True, "id": "a"},
        {"ts": 10**30, "id": "a"},
        {"ts": -(10**30), "id": "a"},
        {"ts": 1},
        {"ts": 1, "id": 1},
        {"ts": 1, "id": ""},
        {"id": "a"},
        {"ts": 1, "id": "\ud800"},
        {"cursor": "c", "count": 1, "last": "a"},
    ],
)
def test_a_place_that_cannot_be_is_stale(place):
    """Before anything is sent; says which part of it."""
    asked = listing()

    with pytest.raises(StaleBookmark, match="the bookmark has"):
        asked.walk(5, Bookmark(asked.query, place))


def test_a_bookmarked_id_may_hold_anything_that_can_be_sent():
    """Ids are opaque; one nobody has is passed by time."""
    asked, keys = listing(), [(NOON + n, f"{n}") for n in range(4)]

    given = keys_of(walked(asked.walk(2, Bookmark(asked.query, {"ts": NOON + 2, "id": "\0"})), Talk(keys)))

    assert keys[1::-1] == given
