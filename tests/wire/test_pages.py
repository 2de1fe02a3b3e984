"""The walks through lists with cursors and lists with offsets, against lists in memory."""

import string
from functools import partial
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stride_async import Bookmark, Conversation, DecodeError, PaginationLoop, StaleBookmark, TooManyEmptyPages
from stride_async._wire.convert import id_at, object_at
from stride_async._wire.pages import MOST_EMPTY_PAGES, CursorListing, OffsetListing
from tests.wire.service import ConversationsService, RosterService, Scripted, cut, items_of, walked

ROOMS = CursorListing(
    kind="conversations",
    path="/c",
    read=lambda raw, path: object_at(raw, Conversation, path),
    identify=attrgetter("id"),
)
PEOPLE = OffsetListing(kind="roster", path="/r", read=id_at, identify=str)
examples = partial(settings, deadline=None, max_examples=150)

names = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=3), max_size=25, unique=True)
page_sizes = st.integers(1, 9)
cuts = st.integers(0, 26)


def ids(pages) -> list:
    """Return the ids of all items, which are ids themselves in a roster."""
    return [getattr(item, "id", item) for item in items_of(pages)]


def page(*names, cursor=""):
    """Return a page of conversations in the form of the service."""
    return {"values": [{"id": name} for name in names], "cursor": cursor, "size": len(names), "limit": 75}


@given(names, page_sizes, page_sizes, cuts, st.sampled_from([(ROOMS, ConversationsService), (PEOPLE, RosterService)]))
@examples()
def test_a_listing_that_is_cut_and_resumed_is_complete(names, size, other, count, kind):
    """The page size may change in between, and the bookmark is stored as text."""
    listing, service = kind[0], kind[1](names)
    expected = sorted(names) if listing is ROOMS else names

    before, bookmark = cut(walked(listing.walk(size, None), service), count)
    text = (bookmark or Bookmark(listing.query, {})).dumps()
    after = items_of(walked(listing.walk(other, Bookmark.loads(text)), service))

    assert expected == [getattr(item, "id", item) for item in [*before, *after]]


@given(names, page_sizes, page_sizes, cuts, names, st.data())
@examples()
def test_a_changed_list_with_cursors_is_resumed_without_loss_or_repetition(names, size, other, count, new, data):
    """Conversations appear and vanish anywhere, with fewer new ones than fit a page."""
    new = [name for name in new if name not in names][: other - 1]
    service = ConversationsService(names)
    before, bookmark = cut(walked(ROOMS.walk(size, None), service), count)
    gone = data.draw(st.sets(st.sampled_from(names))) if names else set()
    # The bookmarked item stays. Without it and others before it, its position would be a guess.
    gone -= {item.id for item in before[-1:]}
    service.names = [*(set(names) - gone), *new]

    after = ids(walked(ROOMS.walk(other, bookmark), service))

    returned = [*(item.id for item in before), *after]
    assert len(set(returned)) == len(returned)
    assert set(names) - gone <= set(returned)


@given(names, page_sizes, st.lists(st.tuples(st.integers(1, 9), st.text("amz", min_size=1, max_size=4)), max_size=8))
@examples()
def test_a_list_with_cursors_that_changes_between_pages_loses_nothing(names, size, changes):
    """Each change removes a conversation or adds one."""
    service = ConversationsService(names)

    def change(number):
        for at, name in changes:
            if at == number:
                service.names = list(set(service.names) ^ {name})

    service.before = change

    returned = ids(walked(ROOMS.walk(size, None), service))

    assert len(set(returned)) == len(returned)
    assert set(names) - {name for _, name in changes} <= set(returned)


def test_a_conversation_that_moved_to_a_later_page_is_returned_once():
    """It was renamed, or the cursor is a count and others were added before it."""
    service = Scripted(
        [page("a", "b", "b", cursor="x"), page("b", "c", "a", cursor="y"), page("a", cursor="z"), page("d")]
    )

    assert ["a", "b", "c", "d"] == ids(walked(ROOMS.walk(3, None), service))


@given(names, page_sizes, cuts, st.integers(0, 25), st.integers(0, 25), page_sizes)
@examples()
def test_a_changed_roster_is_resumed_after_the_bookmarked_person(names, size, count, removed, added, other):
    """Any number of people before them may have left or joined, as long as they are still members."""
    service = RosterService(names)
    before, bookmark = cut(walked(PEOPLE.walk(size, None), service), count)
    stays = max(0, len(before) - 1)
    service.ids = [f"new {n}" for n in range(added)] + names[min(removed, stays) :]

    after = ids(walked(PEOPLE.walk(other, bookmark), service))

    assert not before or names[len(before) :] == after


def test_a_roster_without_the_bookmarked_person_is_resumed_by_count():
    """If no one else left, the next person is the one who followed."""
    service = RosterService(list("abcdefgh"))
    _, bookmark = cut(walked(PEOPLE.walk(3, None), service), 4)
    service.ids.remove("d")

    assert list("efgh") == ids(walked(PEOPLE.walk(2, bookmark), service))


def test_a_list_without_the_bookmarked_conversation_is_resumed_by_count():
    """Its page is returned once the next page does not have it either, or at once if it is the last page."""
    for size, other in [(3, 2), (3, 8), (8, 3), (8, 8), (1, 1)]:
        service = ConversationsService(list("abcdefgh"))
        _, bookmark = cut(walked(ROOMS.walk(size, None), service), 4)
        service.names.remove("d")
        service.names.append("e" if size == 1 else "bb")

        assert set("efgh") <= set(ids(walked(ROOMS.walk(other, bookmark), service)))


def test_the_bookmark_before_the_first_new_item_is_the_one_resumed_from():
    """An error before that item must not lead back to the beginning of the page."""
    for listing, service in ((ROOMS, ConversationsService(list("abcdef"))), (PEOPLE, RosterService(list("abcdef")))):
        _, bookmark = cut(walked(listing.walk(3, None), service), 3)

        first = next(walked(listing.walk(3, bookmark), service))

        assert list("def") == ids(walked(listing.walk(3, first.bookmark_after(0)), service))


def test_a_last_page_with_only_the_bookmarked_person_is_not_returned_again():
    """The walk still looks for people after them before it ends."""
    for count, rest in ((3, []), (2, ["c"])):
        for size in (1, 2, 3):
            service = RosterService(list("abc"))
            _, bookmark = cut(walked(PEOPLE.walk(size, None), service), count)

            assert rest == ids(walked(PEOPLE.walk(size, bookmark), service))


@pytest.mark.parametrize("end", [{}, {"cursor": None}, {"cursor": ""}, {"cursor": "b"}])
def test_a_list_ends_without_a_cursor_or_with_the_one_just_requested(end):
    """The cursor is missing, null, empty, or the same again."""
    service = Scripted([page("a", cursor="b"), {"values": [{"id": "c"}], **end}])

    assert ["a", "c"] == ids(walked(ROOMS.walk(5, None), service))
    assert 2 == len(service.requests)


@pytest.mark.parametrize("length", [2, 3, 50])
@pytest.mark.parametrize("start", [0, 5])
def test_a_cycle_of_cursors_is_detected(length, start):
    """It may have any length and begin anywhere; the items before its end are returned."""
    cursors = [*range(start), *range(start, start + length), start]
    service = Scripted([page(f"{n}", cursor=f"c{cursor}") for n, cursor in enumerate(cursors)])
    returned = []

    with pytest.raises(PaginationLoop):
        returned.extend(item.id for page in walked(ROOMS.walk(5, None), service) for item in page.items)

    assert [f"{n}" for n in range(start + length + 1)] == returned
    assert start + length + 1 == len(service.requests)


@pytest.mark.parametrize("empty", [1, MOST_EMPTY_PAGES])
def test_empty_pages_with_a_cursor_are_followed(empty):
    """A hundred may follow each other, and a hundred more after a page with items."""
    blank = [page(cursor=f"e{n}") for n in range(2 * empty)]
    service = Scripted([*blank[:empty], page("a", cursor="x"), *blank[empty:], page("b")])

    assert ["a", "b"] == ids(walked(ROOMS.walk(5, None), service))


def test_over_a_hundred_consecutive_empty_pages_are_an_error():
    """Resuming from the last bookmark follows a hundred more."""
    service = Scripted([page("a", cursor="x"), *(page(cursor=f"e{n}") for n in range(150)), page("b")])
    bookmarks = []

    with pytest.raises(TooManyEmptyPages):
        bookmarks.extend(one.bookmark for one in walked(ROOMS.walk(5, None), service))
    rest = Scripted(service.pages[1 + MOST_EMPTY_PAGES :])

    assert 1 + MOST_EMPTY_PAGES == len(bookmarks)
    assert ["b"] == ids(walked(ROOMS.walk(5, bookmarks[-1]), rest))
    assert {"cursor": f"e{MOST_EMPTY_PAGES - 1}"}.items() <= dict(rest.requests[0].query).items()


@pytest.mark.parametrize("listing", [ROOMS, PEOPLE])
def test_a_page_larger_than_requested_is_accepted(listing):
    """A service that ignores `limit` returns everything at once."""
    values = [{"id": f"{n}"} if listing is ROOMS else f"{n}" for n in range(200)]
    service = Scripted([{"values": values}, {"values": []}])

    assert [f"{n}" for n in range(200)] == ids(walked(listing.walk(5, None), service, wanted=3))


@pytest.mark.parametrize("honors", [set(), {"limit"}, {"start"}])
def test_a_roster_of_a_service_that_ignores_parameters_ends(honors):
    """It returns the same page again, which has nothing new."""
    service = RosterService(list("abcdefg"), honors=frozenset(honors))

    returned = ids(walked(PEOPLE.walk(3, None), service))

    assert list("abc" if honors == {"limit"} else "abcdefg") == returned
    assert len(service.requests) <= 2


def test_a_page_is_short_only_compared_with_the_limit_of_the_service():
    """The response may state a smaller limit than the request."""
    everyone = [f"{n}" for n in range(25)]

    class Modest(RosterService):
        def page(self, query):
            return {**super().page(query), "limit": 10}

    assert everyone == ids(walked(PEOPLE.walk(75, None), Modest(everyone, most=10)))


def test_no_one_is_returned_twice_when_a_list_with_offsets_shifts():
    """People join at the front between the pages."""
    service = RosterService(list("abcdef"))
    service.before = lambda number: service.ids.insert(0, f"new {number}") if number in {2, 3} else None

    assert list("abcdef") == ids(walked(PEOPLE.walk(3, None), service))


def test_an_undecodable_element_that_repeats_forever_ends_the_list():
    """The service ignores `start` and returns the same page each time."""
    reported = []
    service = Scripted([{"values": ["a", 5, "b"]}])

    assert ["a", "b"] == ids(walked(PEOPLE.walk(3, None), service, on_undecodable=reported.append))
    assert ["$.values[1]"] == [error.path for error in reported]


@pytest.mark.parametrize("kind", [(ROOMS, ConversationsService), (PEOPLE, RosterService)])
@given(st.lists(st.booleans(), max_size=12), page_sizes, page_sizes, cuts)
@examples(max_examples=60)
def test_an_undecodable_element_is_reported_once_across_a_cut(kind, good, size, other, count):
    """It counts in the positions of the others, and a page of nothing else does not end the list."""
    listing, base = kind
    reported = []

    class Damaged(base):
        def page(self, query):
            page = super().page(query)
            of = [value["id"] if listing is ROOMS else value for value in page["values"]]
            values = [v if good[int(name)] else {"no": name} for v, name in zip(page["values"], of, strict=True)]
            return {**page, "values": values}

    everyone = [f"{n:02}" for n in range(len(good))]
    service = Damaged(everyone)

    before, bookmark = cut(walked(listing.walk(size, None), service, on_undecodable=reported.append), count)
    reported_before = len(reported)
    after = ids(walked(listing.walk(other, bookmark), service, on_undecodable=reported.append))

    assert [name for name in everyone if good[int(name)]] == [getattr(i, "id", i) for i in before] + after
    # The walk that resumes begins after the last item, so it reports what lies between that item and the cut again.
    assert good.count(False) <= len(reported) <= good.count(False) + reported_before


def test_the_error_of_a_malformed_element_has_its_path_and_bytes():
    """Without a callback, the first one is raised, and the walk is unchanged."""
    service = Scripted([{"values": [{"id": "a"}, {"id": "b", "name": 7}, {"id": 5}]}])
    walk = ROOMS.walk(5, None)

    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            items_of(walked(walk, service))

        assert "$.values[1].name" == caught.value.path
        assert b'{"id": "b", "name": 7}' == caught.value.raw
    reported = []

    assert ["a"] == ids(walked(walk, service, on_undecodable=reported.append))
    assert ["$.values[1].name", "$.values[2].id"] == [error.path for error in reported]


@pytest.mark.parametrize("listing", [ROOMS, PEOPLE])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b"{}", b'{"values":5}', b'{"values":[', b"\xff", b"[" * 9999]
)
def test_a_response_that_is_not_a_page_is_a_decode_error(listing, body):
    """The error has the bytes of the response."""
    with pytest.raises(DecodeError) as caught:
        items_of(walked(listing.walk(5, None), Scripted([body])))

    assert body == caught.value.raw


def test_a_cursor_that_is_not_a_string_is_a_decode_error():
    """Cursors are opaque, but strings."""
    with pytest.raises(DecodeError) as caught:
        items_of(walked(ROOMS.walk(5, None), Scripted([{"values": [], "cursor": 5}])))

    assert "$.cursor" == caught.value.path


@pytest.mark.parametrize("listing", [ROOMS, PEOPLE])
@pytest.mark.parametrize(
    "more", [{}, {"size": None, "limit": None, "cursor": None}, {"limit": "75", "more": [{}], "_links": 5}]
)
def test_other_fields_of_a_page_are_ignored(listing, more):
    """They may be missing, null or unknown."""
    value = {"id": "a", "new": {}} if listing is ROOMS else "a"

    assert ["a"] == ids(walked(listing.walk(5, None), Scripted([{"values": [value], **more}])))
    assert [] == ids(walked(listing.walk(5, None), Scripted([{"values": None, **more}])))


@pytest.mark.parametrize(
    "place",
    [
        {"cursor": "c", "count": -1, "last": "a"},
        {"cursor": "c", "count": 2**31, "last": "a"},
        {"cursor": "c", "count": 10**30, "last": "a"},
        {"cursor": "c", "count": True, "last": "a"},
        {"cursor": "c", "count": "1", "last": "a"},
        {"cursor": None, "count": 1, "last": "a"},
        {"cursor": "\ud800", "count": 1, "last": "a"},
        {"cursor": "c", "count": 1},
        {"offset": 1, "last": "a"},
    ],
)
def test_a_bookmark_with_an_invalid_cursor_position_is_refused(place):
    """Nothing is sent, and the error names the invalid part."""
    with pytest.raises(StaleBookmark, match="the bookmark has"):
        ROOMS.walk(5, Bookmark(ROOMS.query, place))


@pytest.mark.parametrize(
    "place",
    [
        {"offset": 0, "last": "a"},
        {"offset": -5, "last": "a"},
        {"offset": 10**30, "last": "a"},
        {"offset": "1", "last": "a"},
        {"offset": 1, "last": None},
        {"offset": 1},
        {"cursor": "c", "count": 1, "last": "a"},
    ],
)
def test_a_bookmark_with_an_invalid_offset_position_is_refused(place):
    """Nothing is sent, and the error names the invalid part."""
    with pytest.raises(StaleBookmark, match="the bookmark has"):
        PEOPLE.walk(5, Bookmark(PEOPLE.query, place))


def test_a_bookmark_beyond_the_end_still_finds_its_item():
    """The id takes precedence over the count."""
    rooms, people = ConversationsService(list("abc")), RosterService(list("abc"))

    assert ["c"] == ids(walked(ROOMS.walk(5, Bookmark(ROOMS.query, {"cursor": "", "count": 999, "last": "b"})), rooms))
    assert ["c"] == ids(walked(PEOPLE.walk(1, Bookmark(PEOPLE.query, {"offset": 999, "last": "b"})), people))
    assert [] == ids(walked(PEOPLE.walk(1, Bookmark(PEOPLE.query, {"offset": 999, "last": "\0"})), people))
