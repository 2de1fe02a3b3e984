"""Bookmarks as text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async import Bookmark, StaleBookmark
from stride_async._wire.bookmark import check_listing

QUERY = {"kind": "history", "path": "/site/s/conversation/c/message", "after": None, "order": "newest first"}
scalars = st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.none())
dicts = st.dictionaries(st.text(), scalars, max_size=4)


@given(dicts, dicts)
def test_a_bookmark_survives_storage_as_text(query, place):
    """The text is one line of JSON; it is accepted as str or bytes."""
    text = Bookmark(query, place).dumps()

    assert Bookmark(query, place) == Bookmark.loads(text) == Bookmark.loads(text.encode())
    assert "\n" not in text
    assert 1 == json.loads(text)["v"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "{",
        "bookmark",
        '{"v":1}',
        '{"v":1,"query":{},"place":null}',
        '{"v":1,"query":{},"place":{"ts":1.5}}',
        '{"v":1,"query":{},"place":{"ts":1e999}}',
        '{"v":1,"query":{},"place":{"ts":{}}}',
        '{"v":1,"query":{},"place":{},"more":1}',
        '{"v":1,"query":{"kind":["history"]},"place":{}}',
        '{"v":1,"query":' + "[" * 20_000,
        '{"v":1,"query":{},"place":{"ts":' + "9" * 20_000 + "}}",
        '{"v":1,"query":{},"place":{"id":"\ud800"}}',
        '{"v":1,"query":{},"place":{"id":"\\ud800"}}',
        b"\xff\xfe",
        b"\0",
    ],
)
def test_text_that_is_not_a_bookmark_is_refused(text):
    """The error is the same for every kind of text."""
    with pytest.raises(StaleBookmark, match="the text is not a bookmark"):
        Bookmark.loads(text)


@pytest.mark.parametrize("version", ["0", "2", '"1"', "1.0", "null", "true", "[1]"])
def test_a_bookmark_of_another_version_is_refused(version):
    """The error names the version, even if nothing else in the text is readable."""
    with pytest.raises(StaleBookmark) as caught:
        Bookmark.loads(f'{{"v":{version},"where":[]}}')

    assert f"the bookmark has version {version}; this client reads 1" == str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "roster"}, "kind is 'roster', here 'history'"),
        ({"path": "/site/s/conversation/d/message"}, "path is '/site/s/conversation/d/message', here '/site/s/"),
        ({"after": "m"}, "after is 'm', here None"),
        ({"order": "oldest first"}, "order is 'oldest first', here 'newest first'"),
        ({"query": "x", "after": "m"}, "after is 'm', here None; query is 'x', here None"),
    ],
)
def test_the_error_for_a_bookmark_of_another_listing_names_the_differences(change, message):
    """It shows each part that differs, with both values."""
    with pytest.raises(StaleBookmark, match="the bookmark is of another listing") as caught:
        check_listing(Bookmark({**QUERY, **change}, {}), QUERY)

    assert message in str(caught.value)


def test_a_part_of_the_query_that_is_null_counts_as_missing():
    """A filter that is added later does not invalidate older bookmarks."""
    check_listing(Bookmark({**QUERY, "new": None}, {}), QUERY)
    check_listing(Bookmark(QUERY, {}), {**QUERY, "new": None})
