"""The walks through lists with a cursor and lists by start and limit, against lists in memory."""

import string
from functools import partial
from operator import attrgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stride_async import Bookmark, DecodeError, PaginationLoop, StaleBookmark, TooManyEmptyPages
from stride_async._models import Conversation
from stride_async._wire.convert import id_at, object_at
from stride_async._wire.pages import MOST_EMPTY_PAGES, CursorListing, OffsetListing
from tests.wire.service import People, Rooms, Scripted, cut, items_of, walked

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
    """The items' names, whatever they are."""
    return [getattr(item, "id", item) for item in items_of(pages)]


def page(*names, cursor=""):
    """A page of conversations as the service gives it."""
    return {"values": [{"id": name} for name in names], "cursor": cursor, "size": len(names), "limit": 75}


@given(names, page_sizes, page_sizes, cuts, st.sampled_from([(ROOMS, Rooms), (PEOPLE, People)]))
@examples()
def test_what_was_given_before_a_cut_and_after_resuming_is_the_whole(names, size, other, count, kind):
    """Whatever the page size before and after, the bookmark having been text in between."""
    listing, service = kind[0], kind[1](names)
    whole = sorted(names) if listing is ROOMS else names

    before, bookmark = cut(walked(listing.walk(size, None), service), count)
    text = (bookmark or Bookmark(listing.query, {})).dumps()
    after = items_of(walked(listing.walk(other, Bookmark.loads(text)), service))

    assert whole == [getattr(item, "id", item) for item in [*before, *after]]


@given(names, page_sizes, page_sizes, cuts, names, st.data())
@examples()
def test_a_cursor_list_that_moved_before_it_was_resumed_loses_nothing(names, size, other, count, new, data):
    """Rooms come and go anywhere, fewer new ones than a page: nothing that stays is missed or comes again."""
    new = [name for name in new if name not in names][: other - 1]
    service = Rooms(names)
    before, bookmark = cut(walked(ROOMS.walk(size, None), service), count)
    gone = data.draw(st.sets(st.sampled_from(names))) if names else set()
    # The item the bookmark stands on stays: without it, and with others before it, its place is a guess.
    gone -= {item.id for item in before[-1:]}
    service.names = [*(set(names) - gone), *new]

    after = ids(walked(ROOMS.walk(other, bookmark), service))

    given = [*(item.id for item in before), *after]
    assert len(set(given)) == len(given)
    assert set(names) - gone <= set(given)


@given(names, page_sizes, st.lists(st.tuples(st.integers(1, 9), st.text("amz", min_size=1, max_size=4)), max_size=8))
@examples()
def test_a_cursor_list_that_changes_between_pages_loses_nothing(names, size, changes):
    """Each change takes a room away or brings one."""
    service = Rooms(names)

    def change(number):
        for at, name in changes:
            if at == number:
                service.names = list(set(service.names) ^ {name})

    service.before = change

    given = ids(walked(ROOMS.walk(size, None), service))

    assert len(set(given)) == len(given)
    assert set(names) - {name for _, name in changes} <= set(given)


def test_a_room_that_moved_behind_the_cursor_comes_once():
    """It was renamed, or the service's cursor counts and others came in before it."""
    service = Scripted(
        [page("a", "b", "b", cursor="x"), page("b", "c", "a", cursor="y"), page("a", cursor="z"), page("d")]
    )

    assert ["a", "b", "c", "d"] == ids(walked(ROOMS.walk(3, None), service))


@given(names, page_sizes, cuts, st.integers(0, 25), st.integers(0, 25), page_sizes)
@examples()
def test_a_roster_that_moved_is_resumed_behind_the_bookmarked_person(names, size, count, taken, brought, other):
    """However many left before them or came before them, as long as they are still there."""
    service = People(names)
    before, bookmark = cut(walked(PEOPLE.walk(size, None), service), count)
    stays = max(0, len(before) - 1)
    service.ids = [f"new {n}" for n in range(brought)] + names[min(taken, stays) :]

    after = ids(walked(PEOPLE.walk(other, bookmark), service))

    assert not before or names[len(before) :] == after


def test_a_person_who_left_is_resumed_from_by_count():
    """Nobody else moved: who stood behind them is next."""
    service = People(list("abcdefgh"))
    _, bookmark = cut(walked(PEOPLE.walk(3, None), service), 4)
    service.ids.remove("d")

    assert list("efgh") == ids(walked(PEOPLE.walk(2, bookmark), service))


def test_a_room_that_left_is_resumed_from_by_count():
    """Its page is given when the page behind it does not have it either; one that ends the list, at once."""
    for size, other in [(3, 2), (3, 8), (8, 3), (8, 8), (1, 1)]:
        service = Rooms(list("abcdefgh"))
        _, bookmark = cut(walked(ROOMS.walk(size, None), service), 4)
        service.names.remove("d")
        service.names.append("e" if size == 1 else "bb")

        assert set("efgh") <= set(ids(walked(ROOMS.walk(other, bookmark), service)))


def test_the_place_before_anything_new_is_behind_the_one_resumed_from():
    """An error before the first item must not lead back to the page's beginning."""
    for listing, service in ((ROOMS, Rooms(list("abcdef"))), (PEOPLE, People(list("abcdef")))):
        _, bookmark = cut(walked(listing.walk(3, None), service), 3)

        first = next(walked(listing.walk(3, bookmark), service))

        assert list("def") == ids(walked(listing.walk(3, first.bookmark_after(0)), service))


def test_a_last_page_of_nothing_but_the_bookmarked_person_is_not_given_again():
    """Nor is the list given up before it was looked at behind them."""
    for count, rest in ((3, []), (2, ["c"])):
        for size in (1, 2, 3):
            service = People(list("abc"))
            _, bookmark = cut(walked(PEOPLE.walk(size, None), service), count)

            assert rest == ids(walked(PEOPLE.walk(size, bookmark), service))


@pytest.mark.parametrize("end", [{}, {"cursor": None}, {"cursor": ""}, {"cursor": "b"}])
def test_a_list_ends_on_no_cursor_or_the_one_asked_with(end):
    """Absent, null, empty, or the same again."""
    service = Scripted([page("a", cursor="b"), {"values": [{"id": "c"}], **end}])

    assert ["a", "c"] == ids(walked(ROOMS.walk(5, None), service))
    assert 2 == len(service.requests)


@pytest.mark.parametrize("length", [2, 3, 50])
@pytest.mark.parametrize("start", [0, 5])
def test_a_cycle_of_cursors_is_found(length, start):
    """Of any length, from anywhere in the list; what came before it was given."""
    cursors = [*range(start), *range(start, start + length), start]
    service = Scripted([page(f"{n}", cursor=f"c{cursor}") for n, cursor in enumerate(cursors)])
    given = []

    with pytest.raises(PaginationLoop):
        given.extend(item.id for page in walked(ROOMS.walk(5, None), service) for item in page.items)

    assert [f"{n}" for n in range(start + length)] == given
    assert start + length + 1 == len(service.requests)


@pytest.mark.parametrize("empty", [1, MOST_EMPTY_PAGES])
def test_empty_pages_with_a_cursor_go_on(empty):
    """A hundred in a row, and a hundred more behind a page that is not."""
    blank = [page(cursor=f"e{n}") for n in range(2 * empty)]
    service = Scripted([*blank[:empty], page("a", cursor="x"), *blank[empty:], page("b")])

    assert ["a", "b"] == ids(walked(ROOMS.walk(5, None), service))


def test_a_hundred_and_one_empty_pages_in_a_row_are_too_many():
    """Going on from the last place asks for a hundred more."""
    service = Scripted([page("a", cursor="x"), *(page(cursor=f"e{n}") for n in range(150)), page("b")])
    places = []

    with pytest.raises(TooManyEmptyPages):
        places.extend(got.bookmark for got in walked(ROOMS.walk(5, None), service))
    rest = Scripted(service.pages[1 + MOST_EMPTY_PAGES :])

    assert 1 + MOST_EMPTY_PAGES == len(places)
    assert ["b"] == ids(walked(ROOMS.walk(5, places[-1]), rest))
    assert {"cursor": f"e{MOST_EMPTY_PAGES - 1}"}.items() <= dict(rest.requests[0].query).items()


@pytest.mark.parametrize("listing", [ROOMS, PEOPLE])
def test_a_page_with_more_than_was_asked_for_is_taken(listing):
    """A service that ignores `limit` gives everything at once."""
    values = [{"id": f"{n}"} if listing is ROOMS else f"{n}" for n in range(200)]
    service = Scripted([{"values": values}, {"values": []}])

    assert [f"{n}" for n in range(200)] == ids(walked(listing.walk(5, None), service, wanted=3))


@pytest.mark.parametrize("honours", [set(), {"limit"}, {"start"}])
def test_a_roster_that_ignores_its_parameters_ends(honours):
    """It gives the same again, which is nothing new."""
    service = People(list("abcdefg"), honours=frozenset(honours))

    given = ids(walked(PEOPLE.walk(3, None), service))

    assert list("abc" if honours == {"limit"} else "abcdefg") == given
    assert len(service.requests) <= 2


def test_a_list_by_start_is_short_only_against_what_the_service_gives_at_most():
    """It may say a smaller limit than was asked for."""
    whole = [f"{n}" for n in range(25)]

    class Modest(People):
        def page(self, query):
            return {**super().page(query), "limit": 10}

    assert whole == ids(walked(PEOPLE.walk(75, None), Modest(whole, most=10)))


def test_nobody_comes_twice_when_a_list_by_start_moves():
    """Two came in at the front between the pages; offsets cannot promise more."""
    service = People(list("abcdef"))
    service.before = lambda number: service.ids.insert(0, f"new {number}") if number in {2, 3} else None

    assert list("abcdef") == ids(walked(PEOPLE.walk(3, None), service))


def test_a_hole_at_the_same_place_for_ever_ends():
    """A service that ignores `start` beside an element nobody can decode."""
    told = []
    service = Scripted([{"values": ["a", 5, "b"]}])

    assert ["a", "b"] == ids(walked(PEOPLE.walk(3, None), service, on_undecodable=told.append))
    assert ["$.values[1]"] == [error.path for error in told]


@pytest.mark.parametrize("kind", [(ROOMS, Rooms), (PEOPLE, People)])
@given(st.lists(st.booleans(), max_size=12), page_sizes, page_sizes, cuts)
@examples(max_examples=60)
def test_what_cannot_be_decoded_is_told_once_across_a_cut(kind, good, size, other, count):
    """It counts in the places of the others, and a page of nothing else goes on."""
    listing, base = kind
    told = []

    class Damaged(base):
        def page(self, query):
            whole = super().page(query)
            of = [value["id"] if listing is ROOMS else value for value in whole["values"]]
            values = [v if good[int(name)] else {"no": name} for v, name in zip(whole["values"], of, strict=True)]
            return {**whole, "values": values}

    everybody = [f"{n:02}" for n in range(len(good))]
    service = Damaged(everybody)

    before, bookmark = cut(walked(listing.walk(size, None), service, on_undecodable=told.append), count)
    told_before = len(told)
    after = ids(walked(listing.walk(other, bookmark), service, on_undecodable=told.append))

    assert [name for name in everybody if good[int(name)]] == [getattr(i, "id", i) for i in before] + after
    # What lay between the last item and the cut is told again by the walk that resumes: it begins behind that item.
    assert good.count(False) <= len(told) <= good.count(False) + told_before


def test_a_malformed_element_is_told_with_its_path_and_bytes():
    """The first of them, without a callback; the page was not taken."""
    service = Scripted([{"values": [{"id": "a"}, {"id": "b", "name": 7}, {"id": 5}]}])
    walk = ROOMS.walk(5, None)

    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            items_of(walked(walk, service))

        assert "$.values[1].name" == caught.value.path
        assert b'{"id": "b", "name": 7}' == caught.value.raw
    told = []

    assert ["a"] == ids(walked(walk, service, on_undecodable=told.append))
    assert ["$.values[1].name", "$.values[2].id"] == [error.path for error in told]


@pytest.mark.parametrize("listing", [ROOMS, PEOPLE])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b"{}", b'{"values":5}', b'{"values":[', b"\xff", b"[" * 9999]
)
def test_an_answer_that_is_no_page_is_a_decode_error(listing, body):
    """With the answer's own bytes."""
    with pytest.raises(DecodeError) as caught:
        items_of(walked(listing.walk(5, None), Scripted([body])))

    assert body == caught.value.raw


def test_a_cursor_of_another_kind_is_a_decode_error():
    """It is opaque, but a text."""
    with pytest.raises(DecodeError) as caught:
        items_of(walked(ROOMS.walk(5, None), Scripted([{"values": [], "cursor": 5}])))

    assert "$.cursor" == caught.value.path


@pytest.mark.parametrize("listing", [ROOMS, PEOPLE])
@pytest.mark.parametrize(
    "more", [{}, {"size": None, "limit": None, "cursor": None}, {"limit": "75", "more": [{}], "_links": 5}]
)
def test_what_else_a_page_says_is_ignored(listing, more):
    """Missing, null or unknown."""
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
def test_a_place_in_a_cursor_list_that_cannot_be_is_stale(place):
    """Before anything is sent; says which part of it."""
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
def test_a_place_in_a_list_by_start_that_cannot_be_is_stale(place):
    """Before anything is sent; says which part of it."""
    with pytest.raises(StaleBookmark, match="the bookmark has"):
        PEOPLE.walk(5, Bookmark(PEOPLE.query, place))


def test_a_place_far_beyond_the_end_finds_its_item_all_the_same():
    """The id comes before the count."""
    rooms, people = Rooms(list("abc")), People(list("abc"))

    assert ["c"] == ids(walked(ROOMS.walk(5, Bookmark(ROOMS.query, {"cursor": "", "count": 999, "last": "b"})), rooms))
    assert ["c"] == ids(walked(PEOPLE.walk(1, Bookmark(PEOPLE.query, {"offset": 999, "last": "b"})), people))
    assert [] == ids(walked(PEOPLE.walk(1, Bookmark(PEOPLE.query, {"offset": 999, "last": "\0"})), people))
