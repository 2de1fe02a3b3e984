from __future__ import annotations

import pytest

from stride_async.server import Choices

from .calling import ids


@pytest.fixture
def filled(server, room):
    """Ids of 200 messages, oldest first."""
    return server.fill(room, 200)


async def test_history_without_bounds_gives_the_latest(api, room, filled):
    """At most 75, oldest first within the page; recent is the same."""
    history = await api.get(f"{api.room(room)}/message")
    recent = await api.get(f"{api.room(room)}/message/recent", params={"limit": 3})

    assert filled[-75:] == ids(history)
    assert filled[-3:] == ids(recent)
    assert {"messages"} == history.json.keys()


async def test_walking_backwards_sees_every_message_once(api, room, filled):
    """The one safe walk: before the oldest seen, until a page is empty."""
    seen, page = [], ids(await api.get(f"{api.room(room)}/message"))
    while page:
        seen = page + seen
        page = ids(await api.get(f"{api.room(room)}/message", params={"beforeMessage": page[0]}))

    assert filled == seen


async def test_an_after_bound_alone_gives_the_latest_not_the_next(api, room, filled):
    """The trap: a walk forward by the newest seen would lose what lies between."""
    page = ids(await api.get(f"{api.room(room)}/message", params={"afterMessage": filled[9]}))

    assert filled[-75:] == page


async def test_both_bounds_make_a_window_without_its_edges(api, room, filled):
    """By message and by time alike, and mixed; the narrower of two bounds of one side counts."""
    by_message = {"afterMessage": filled[10], "beforeMessage": filled[20]}
    # Messages are a second apart, from eight o'clock on.
    by_time = {"afterTimestamp": "2018-06-01T08:00:10Z", "beforeTimestamp": "2018-06-01T10:00:20+02:00"}
    path = f"{api.room(room)}/message"

    assert filled[11:20] == ids(await api.get(path, params=by_message))
    assert filled[11:20] == ids(await api.get(path, params=by_time))
    assert filled[11:15] == ids(await api.get(path, params=by_message | {"beforeTimestamp": "2018-06-01T08:00:15Z"}))
    assert filled[18:20] == ids(await api.get(path, params=by_message | {"limit": 2}))
    assert [] == ids(await api.get(path, params={"afterMessage": filled[20], "beforeMessage": filled[20]}))


async def test_equal_times_are_ordered_by_id(api, server, room):
    """A page may end among messages of one time without losing any."""
    burst = server.fill(room, 10, same_ts=True)
    path = f"{api.room(room)}/message"

    last = ids(await api.get(path, params={"limit": 4}))
    earlier = ids(await api.get(path, params={"limit": 75, "beforeMessage": last[0]}))

    assert burst == earlier + last
    assert [] == ids(await api.get(path, params={"afterTimestamp": "2018-06-01T08:00:00Z"}))
    assert [] == ids(await api.get(path, params={"beforeTimestamp": "2018-06-01T08:00:00Z"}))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": 0}, 400),
        ({"limit": 76}, 400),
        ({"limit": "x"}, 400),
        ({"afterTimestamp": "yesterday"}, 400),
        ({"beforeTimestamp": "2018-02-30T00:00:00Z"}, 400),
        ({"beforeMessage": "unknown"}, 404),
        ({"afterMessage": "unknown"}, 404),
        ({"afterTimestamp": "0001-01-01T00:00:00Z"}, 200),
        ({"beforeTimestamp": "9999-12-31T23:59:59.999999999Z"}, 200),
    ],
)
async def test_bounds_are_checked(api, room, query, status):
    """An unknown message is not found, an unreadable bound refused, any year taken."""
    assert status == (await api.get(f"{api.room(room)}/message", params=query)).status


async def test_nameless_and_repeated_parameters_do_no_harm(api, room, filled):
    """One published client sends `&10` for its limit; the first of two counts."""
    reply = await api.get(f"{api.room(room)}/message?limit=2&10&=&limit=5&%ff")

    assert filled[-2:] == ids(reply)


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ({}, 100, 100),
        ({"before": 2, "after": 3}, 98, 103),
        ({"before": 74, "after": 74}, 26, 100),
        ({"before": 50, "after": 50}, 50, 124),
        ({"before": 10_000}, 26, 100),
        ({"after": 74}, 100, 174),
    ],
)
async def test_a_context_holds_its_message_and_at_most_74_others(api, room, filled, query, first, last):
    """In order; what is before is kept first when both are too many."""
    reply = await api.get(f"{api.room(room)}/message/{filled[100]}/context", params=query)

    assert filled[first : last + 1] == ids(reply)


async def test_order_and_key_of_a_page_can_be_otherwise(start):
    """Both are unknown of the real service."""
    api = await start(choices=Choices(newest_first=True, history_key="values"))
    room = api.server.add_conversation("general")
    filled = api.server.fill(room, 5)

    page = (await api.get(f"{api.room(room)}/message")).json["values"]

    assert filled[::-1] == [message["id"] for message in page]
