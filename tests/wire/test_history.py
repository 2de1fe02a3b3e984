"""The walks through a history, against a conversation in memory."""

import json
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stride_async import Bookmark, DecodeError, Message, PaginationLoop, StaleBookmark
from stride_async._wire.history import HELD_PAGES, history
from tests.wire.service import HistoryService, Refused, Scripted, cut, items_of, walked

SECOND = 1_000_000_000
NOON = 1_519_819_200 * SECOND  # 28 February 2018, 12:00 UTC
examples = partial(settings, deadline=None, max_examples=150)

# Close together, often equal, and sometimes years apart.
moments = st.one_of(
    st.integers(0, 3).map(lambda ns: NOON + ns),
    st.sampled_from([NOON, NOON + SECOND - 1, NOON + SECOND, NOON - 5 * 365 * 86_400 * SECOND]),
    st.integers(NOON, NOON + 4 * SECOND),
)
keys = st.tuples(moments, st.integers(0, 10**6).map("{:06x}".format))
histories = st.lists(keys, max_size=40, unique_by=lambda key: key[1])
orders = st.sampled_from([sorted, partial(sorted, reverse=True), partial(sorted, key=lambda key: key[1][::-1])])
page_sizes = st.integers(1, 9)
cuts = st.integers(0, 41)


def listing(after=None, before=None, *, oldest_first=False):
    return history("/m", "room", after, before, oldest_first=oldest_first)


def message_with(key) -> Message:
    return Message(key[1], "u", key[0], "", b"")


def moment(ts: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts // 1000)


def keys_of(pages) -> list:
    return [(m.ts, m.id) for m in items_of(pages)]


@given(histories, orders, page_sizes, page_sizes, cuts, st.booleans())
@examples()
def test_a_listing_that_is_cut_and_resumed_is_complete(keys, order, size, other, count, oldest_first):
    """The page size may change in between, and the bookmark is stored as text."""
    expected = sorted(keys, reverse=not oldest_first)
    service, listed = HistoryService(keys, order), listing(oldest_first=oldest_first)

    before, bookmark = cut(walked(listed.walk(size, None), service), count)
    text = (bookmark or Bookmark(listed.query, {})).dumps()
    after = items_of(walked(listed.walk(other, Bookmark.loads(text)), service))

    assert expected == [(m.ts, m.id) for m in [*before, *after]]


@st.composite
def bounds(draw, keys):
    """Draw a bound and the key that it stands for. The key of a datetime has None for an id."""
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
    return {"id": key[1], "message": message_with(key), "key": key, "bookmark": bookmark}[kind], key


@given(st.data(), histories, orders, page_sizes, cuts, st.booleans())
@examples()
def test_both_bounds_are_exclusive_whatever_their_kind(data, keys, order, size, count, oldest_first):
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
    service, listed = HistoryService(keys, order), listing(after, before, oldest_first=oldest_first)

    first, bookmark = cut(walked(listed.walk(size, None), service), count)
    rest = items_of(walked(listed.walk(size, bookmark), service))

    assert inside == [(m.ts, m.id) for m in [*first, *rest]]


# Before the n-th request, the message at an index is deleted, or a new one arrives, which may have an old time.
changes = st.lists(
    st.tuples(st.integers(1, 12) | st.integers(13, 70), st.integers(0, 39), st.none() | moments), max_size=12
)


@given(histories, page_sizes, changes, cuts, st.booleans())
@examples(max_examples=300)
def test_a_changing_conversation_is_listed_without_loss_or_repetition(keys, size, changes, count, oldest_first):
    """Messages, including anchors, appear and vanish between any two pages and while the walk is interrupted."""
    service, listed = HistoryService(keys), listing(oldest_first=oldest_first)
    there, once_there = set(keys), set(keys)

    def change(number):
        for serial, (at, index, ts) in enumerate(changes):
            if at == number and ts is not None:
                new = ts, f"{index:03}{serial:03}x"
                service.messages.add(new)
                once_there.add(new)
            elif at == number and index < len(keys):
                service.messages.discard(keys[index])
                there.discard(keys[index])

    service.before = change

    first, bookmark = cut(walked(listed.walk(size, None), service), count)
    rest = items_of(walked(listed.walk(size, bookmark), service))
    returned = [(m.ts, m.id) for m in [*first, *rest]]

    assert sorted(set(returned), reverse=not oldest_first) == returned
    assert there <= set(returned) <= once_there


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_deleted_anchor_among_equal_times_is_replaced_by_its_time(oldest_first):
    """More than a page of messages has its very nanosecond. They are requested again, and returned once."""
    keys = [(NOON, f"{n:04}") for n in range(60)] + [(NOON + 1, "last")]
    service = HistoryService(keys)
    service.before = lambda n: service.messages.discard((NOON, "0031")) if n == 7 else None

    returned = keys_of(walked(listing(oldest_first=oldest_first).walk(5, None), service))

    assert sorted(keys, reverse=not oldest_first) == returned


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_listing_is_resumed_after_a_deleted_message_by_its_time(oldest_first):
    """The bookmarked message is deleted before the listing is resumed."""
    keys = [(NOON + n // 4, f"{n:04}") for n in range(40)]
    listed = listing(oldest_first=oldest_first)
    service = HistoryService(keys)
    first, bookmark = cut(walked(listed.walk(6, None), service), 20)
    service.messages.discard((first[-1].ts, first[-1].id))

    rest = keys_of(walked(listed.walk(3, bookmark), service))

    assert sorted(keys, reverse=not oldest_first)[20:] == rest


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_deleted_message_is_still_a_bound(oldest_first):
    """The time of a `Message` is known, so the service need not have it any more."""
    keys = [(NOON + n, f"{n:04}") for n in range(20)]
    service = HistoryService(keys[:4] + keys[5:15] + keys[16:])

    returned = keys_of(
        walked(listing(message_with(keys[4]), message_with(keys[15]), oldest_first=oldest_first).walk(4, None), service)
    )

    assert sorted(keys[5:15], reverse=not oldest_first) == returned


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_deleted_bound_excludes_no_other_message_of_its_time(oldest_first):
    """The request is in whole seconds, which must include the messages of that moment on either side."""
    keys = [(NOON, name) for name in "bcdxyz"]
    service = HistoryService(keys)

    above = keys_of(walked(listing(after=message_with((NOON, "a")), oldest_first=oldest_first).walk(4, None), service))
    below = keys_of(
        walked(listing(before=message_with((NOON, "zz")), oldest_first=oldest_first).walk(4, None), service)
    )

    assert sorted(keys, reverse=not oldest_first) == above == below


def test_a_span_that_has_grown_is_requested_until_it_is_complete():
    """Messages with old times arrive after the walk back, so that a span holds more than a page."""
    keys = [(NOON + n * SECOND, f"{n:04}") for n in range(60)]
    late = [(NOON + 50 * SECOND + n, f"late {n}") for n in range(1, 8)]
    service = HistoryService(keys)
    service.before = lambda n: service.messages.update(late if n == 32 else [])

    returned = keys_of(walked(listing(oldest_first=True).walk(2, None), service))

    assert sorted([*keys, *late]) == returned


def test_a_deleted_id_is_not_a_bound():
    """The time of an id is unknown, so the refusal of the service is raised."""
    with pytest.raises(Refused):
        items_of(walked(listing(after="gone").walk(4, None), HistoryService([(NOON, "a"), (NOON, "b")])))


def test_the_lower_bound_may_be_deleted_after_the_walk_back():
    """The requests for the spans do not name it."""
    keys = [(NOON + n, f"{n:04}") for n in range(80)]
    service = HistoryService(keys)
    back = 81 // 3 + 1
    service.before = lambda n: service.messages.discard(keys[0]) if n > back else None

    returned = keys_of(walked(listing(after="0000", oldest_first=True).walk(3, None), service))

    assert keys[1:] == returned


def test_a_datetime_within_a_crowded_second_is_exact():
    """The request is in whole seconds, the result exact to the nanosecond. More than a page lies beyond the bound."""
    keys = [(NOON + n * 1000, f"{n:04}") for n in range(300)]
    service = HistoryService(keys)

    returned = keys_of(walked(listing(moment(NOON + 19_000), moment(NOON + 150_000)).walk(75, None), service))
    first = next(walked(listing(None, moment(NOON + 150_000)).walk(75, None), HistoryService(keys[:160]), wanted=1))

    assert keys[149:19:-1] == returned
    assert keys[149] == (first.items[0].ts, first.items[0].id)


def test_no_more_messages_are_requested_than_wanted():
    """The exception is an upper bound in whole seconds, where a small page might contain nothing that is wanted."""
    service = HistoryService([(NOON + n, f"{n:04}") for n in range(9)])

    limits = []
    for listed in (listing(), listing("0001", "0007"), listing(moment(NOON)), listing(None, moment(NOON + 9000))):
        next(walked(listed.walk(50, None), service, wanted=2))
        limits.append(dict(service.requests[-1].query)["limit"])

    assert ["2", "2", "2", "50"] == limits


@pytest.mark.parametrize(
    "bound", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))]
)
def test_the_first_and_last_datetime_are_bounds(bound):
    """A moment that has no year of four digits is not requested."""
    keys = [(NOON, "a"), (NOON + 1, "b")]

    above = keys_of(walked(listing(after=bound).walk(5, None), HistoryService(keys)))
    below = keys_of(walked(listing(before=bound).walk(5, None), HistoryService(keys)))

    assert [] == (below if bound.year == 1 else above)
    assert keys[::-1] == (above if bound.year == 1 else below)


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_a_repeated_page_is_a_loop(oldest_first, size):
    """A service that ignores the bounds returns the same messages forever."""
    page = {"messages": [HistoryService().element((NOON + n, f"{n}")) for n in range(size)]}

    with pytest.raises(PaginationLoop, match="contains no older message"):
        items_of(walked(listing(oldest_first=oldest_first).walk(size, None), Scripted([page])))


def test_a_service_that_refuses_the_id_of_a_listed_message_is_not_asked_forever():
    """By time, the walk comes to the same message again."""

    class Forgetful(HistoryService):
        def page(self, query):
            if query.get("beforeMessage") == "b":
                raise Refused
            return super().page(query)

    with pytest.raises(Refused):
        items_of(walked(listing().walk(1, None), Forgetful([(NOON, "a"), (NOON, "b")])))


def test_oldest_first_makes_at_most_twice_the_calls():
    """It makes no more calls than newest first while all pages can be held."""
    held = 10 * (HELD_PAGES + 1)
    for count in (0, 1, 10, held - 1, held, held + 1, 1_500):
        keys = [(NOON + n // 600 * 1_000 * 86_400 * SECOND, f"{n:05}") for n in range(count)]
        back, forth = HistoryService(keys), HistoryService(keys)

        expected = keys_of(walked(listing().walk(10, None), back))
        returned = keys_of(walked(listing(oldest_first=True).walk(10, None), forth))

        assert expected[::-1] == returned
        most = len(back.requests) if count <= held else 2 * len(back.requests)
        assert len(forth.requests) <= most


def test_oldest_first_holds_a_limited_number_of_pages():
    """Of the other pages it keeps two keys each, however long the conversation is."""
    service = HistoryService([(NOON + n, f"{n:06}") for n in range(300)], damaged={})
    service.damaged = {name: {**service.element((ts, name)), "more": "x" * 10_000} for ts, name in service.messages}
    walk, weights = listing(oldest_first=True).walk(2, None), []
    tracemalloc.start()

    def look(number):
        if number in (40, 150):
            held = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/wire/service.py")])
            weights.append(sum(trace.size for trace in held.statistics("filename")) // 20_000)

    service.before = look
    next(walked(walk, service))
    tracemalloc.stop()

    assert 2 * [HELD_PAGES + 1] == weights


def damaged(n, **changes):
    element = HistoryService().element((NOON + n, f"{n:04}"))
    return {name: value for name, value in {**element, **changes}.items() if value is not ...}


@pytest.mark.parametrize("oldest_first", [False, True])
def test_the_error_of_a_malformed_message_has_its_path_and_bytes(oldest_first):
    """The path is the one in the response."""
    service = HistoryService([(NOON + n, f"{n:04}") for n in range(6)], damaged={"0003": damaged(3, sender={"id": 7})})

    with pytest.raises(DecodeError, match="Expected `str`, got `int`") as caught:
        items_of(walked(listing(oldest_first=oldest_first).walk(9, None), service))

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
def test_an_undecodable_message_is_reported_once_and_the_others_are_returned(count, wrong, size, oldest_first, order):
    """This holds for any damage, in both orders, and where two pages meet."""
    # A full page without any readable id would be an error.
    size = max(size, 1 + sum(how == "everything" for how in wrong.values()))
    damages = {
        "sender": lambda n: damaged(n, sender=None),
        "ts": lambda n: damaged(n, ts="yesterday"),
        "ts and id": lambda n: damaged(n, ts=None, id=f"{n:04}"),
        "everything": lambda n: {"n": n},
    }
    bad = {f"{n:04}": damages[how](n) for n, how in wrong.items() if n < count}
    keys = [(NOON + n, f"{n:04}") for n in range(count)]
    service = HistoryService(keys, order, damaged=bad)
    reported = []

    returned = keys_of(
        walked(listing(oldest_first=oldest_first).walk(size, None), service, on_undecodable=reported.append)
    )

    assert [key for key in sorted(keys, reverse=not oldest_first) if key[1] not in bad] == returned
    assert sorted(json.dumps(element, sort_keys=True) for element in bad.values()) == sorted(
        json.dumps(json.loads(error.raw), sort_keys=True) for error in reported
    )


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_page_without_a_readable_id_is_requested_again(oldest_first):
    """If the second response has none either, older messages would be lost, so that is an error."""
    good, unreadable_page = {"messages": [damaged(1), damaged(2)]}, {"messages": [{}, None]}
    recovering = Scripted([good, unreadable_page, {"messages": [damaged(0)]}, {"messages": []}])
    lasting = Scripted([good, unreadable_page])
    reported = []

    returned = keys_of(
        walked(listing(oldest_first=oldest_first).walk(2, None), recovering, on_undecodable=reported.append)
    )
    with pytest.raises(DecodeError, match="the history cannot continue"):
        items_of(walked(listing(oldest_first=oldest_first).walk(2, None), lasting, on_undecodable=reported.append))

    assert sorted(((NOON + n, f"{n:04}") for n in range(3)), reverse=not oldest_first) == returned
    assert 2 * ["$.messages[0]", "$.messages[1]"] == [
        error.path.rpartition(".id")[0] or error.path for error in reported
    ]


def test_a_malformed_message_outside_the_bounds_is_not_reported():
    """A request in whole seconds returns more than was wanted."""
    keys = [(NOON + n * 1000, f"{n:04}") for n in range(9)]
    bad = {"0001": damaged(1000, id="0001", sender=None), "0008": damaged(8000, id="0008", text=5)}

    returned = keys_of(
        walked(listing(moment(NOON + 1000), moment(NOON + 8000)).walk(50, None), HistoryService(keys, damaged=bad))
    )

    assert keys[7:1:-1] == returned


@pytest.mark.parametrize("oldest_first", [False, True])
def test_an_error_in_a_page_leaves_the_walk_unchanged(oldest_first):
    """The page is requested again, or decoded again if it is held, and then returned."""
    keys = [(NOON + n, f"{n:04}") for n in range(200)]
    wrong = ("0012", "0112", "0199")
    service = HistoryService(keys, damaged={name: damaged(int(name), sender=None) for name in wrong})
    walk = listing(oldest_first=oldest_first).walk(4, None)
    returned, reported = [], []

    def refuse_twice(error):
        reported.append(error.path)
        if len(reported) % 3:
            raise error

    while len(reported) < 9:
        try:
            for page in walked(walk, service, on_undecodable=refuse_twice):
                returned += keys_of([page])
        except DecodeError:
            continue

    assert sorted((key for key in keys if key[1] not in wrong), reverse=not oldest_first) == returned
    assert 3 * [reported[0]] == reported[:3]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"messages":{}}', b'{"messages":[]', b"\xff", b"[" * 9999]
)
@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_response_that_is_not_a_page_is_a_decode_error(body, oldest_first):
    """The error has the bytes of the response."""
    with pytest.raises(DecodeError) as caught:
        items_of(walked(listing(oldest_first=oldest_first).walk(5, None), Scripted([body])))

    assert body == caught.value.raw


@pytest.mark.parametrize("key", ["messages", "values"])
def test_a_page_may_use_either_name_for_its_list(key):
    """Unknown fields are ignored, and null is an empty page."""
    page = {"x": [{"y": None}], key: [damaged(1, extra={"z": 1})], "size": "many", "limit": None}

    returned = keys_of(walked(listing().walk(5, None), Scripted([page, {key: None}])))

    assert [(NOON + 1, "0001")] == returned


def test_a_message_that_occurs_twice_in_a_page_is_returned_once():
    """It does not matter whether the two differ."""
    page = {"messages": [damaged(1), damaged(1, text="again"), damaged(2)]}

    returned = keys_of(walked(listing().walk(5, None), Scripted([page, {"messages": []}])))

    assert [(NOON + 2, "0002"), (NOON + 1, "0001")] == returned


@pytest.mark.parametrize("oldest_first", [False, True])
def test_one_id_at_two_times_is_two_messages_in_order(oldest_first):
    """A listing that is resumed after any of them continues with the next one."""
    sent = [(NOON + 3, "a"), (NOON + 2, "b"), (NOON + 1, "a")]
    page = {"messages": [HistoryService().element(key) for key in sent]}
    service = Scripted([page, {"messages": []}])

    found = items_of(walked(listing(oldest_first=oldest_first).walk(5, None), service))

    assert (sent[::-1] if oldest_first else sent) == [message.key for message in found]


@pytest.mark.parametrize(
    ("after", "before", "message"),
    [
        (datetime(2018, 3, 1), None, "after=2018-03-01T00:00:00 has no time zone"),
        (None, datetime(2018, 3, 1), "before=2018-03-01T00:00:00 has no time zone"),
        ("", None, "after is an empty message id"),
        (None, "\ud800", "cannot be encoded as UTF-8"),
        (moment(NOON + 1000), moment(NOON), "after=2018-02-28T12:00:00.000001Z is later than before="),
        (message_with((NOON + 1, "a")), moment(NOON), "is later than"),
        ((NOON + 1, "a"), (NOON, "b"), "after=2018-02-28T12:00:00.000000001Z is later than before="),
        ((10**30, "a"), None, "outside the years 1 to 9999"),
        (None, (NOON, "\ud800"), "cannot be encoded as UTF-8"),
    ],
)
def test_invalid_bounds_are_refused_at_once(after, before, message):
    """Two ids cannot be compared, because ids are opaque."""
    with pytest.raises(ValueError, match=message):
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
def test_a_bookmark_with_an_invalid_position_is_refused(place):
    """Nothing is sent, and the error names the invalid part."""
    listed = listing()

    with pytest.raises(StaleBookmark, match="the bookmark has"):
        listed.walk(5, Bookmark(listed.query, place))


def test_a_bookmarked_id_may_contain_anything_that_can_be_sent():
    """Ids are opaque; one that the service does not know is replaced by its time."""
    listed, keys = listing(), [(NOON + n, f"{n}") for n in range(4)]
    bookmark = Bookmark(listed.query, {"ts": NOON + 2, "id": "\0"})

    returned = keys_of(walked(listed.walk(2, bookmark), HistoryService(keys)))

    assert keys[1::-1] == returned
