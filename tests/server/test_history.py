from __future__ import annotations

import pytest

from stride_async.server import Choices

from .calling import ids


@pytest.fixture
def filled(server, room):
    """The ids of 200 messages, oldest first."""
    return server.fill(room, 200)


async def test_a_history_without_bounds_has_the_latest_messages(api, room, filled):
    """It has at most 75, oldest first; `recent` returns the same."""
    history = await api.get(f"{api.room(room)}/message")
    recent = await api.get(f"{api.room(room)}/message/recent", params={"limit": 3})

    assert filled[-75:] == ids(history)
    assert filled[-3:] == ids(recent)
    assert {"messages"} == history.json.keys()


async def test_a_backward_walk_returns_every_message_once(api, room, filled):
    """It asks for the messages before the oldest one seen, until a page is empty."""
    seen, page = [], ids(await api.get(f"{api.room(room)}/message"))
    while page:
        seen = page + seen
        page = ids(await api.get(f"{api.room(room)}/message", params={"beforeMessage": page[0]}))

    assert filled == seen


async def test_an_after_bound_alone_returns_the_latest_messages_not_the_next(api, room, filled):
    """A forward walk by the newest message seen would miss the messages in between."""
    page = ids(await api.get(f"{api.room(room)}/message", params={"afterMessage": filled[9]}))

    assert filled[-75:] == page


async def test_bounds_are_exclusive_and_can_be_combined(api, room, filled):
    """They are messages or times; of two bounds on the same side, the narrower one applies."""
    by_message = {"afterMessage": filled[10], "beforeMessage": filled[20]}
    # Messages are one second apart, starting at eight o'clock.
    by_time = {"afterTimestamp": "2018-06-01T08:00:10Z", "beforeTimestamp": "2018-06-01T10:00:20+02:00"}
    path = f"{api.room(room)}/message"

    assert filled[11:20] == ids(await api.get(path, params=by_message))
    assert filled[11:20] == ids(await api.get(path, params=by_time))
    assert filled[11:15] == ids(await api.get(path, params=by_message | {"beforeTimestamp": "2018-06-01T08:00:15Z"}))
    assert filled[18:20] == ids(await api.get(path, params=by_message | {"limit": 2}))
    assert [] == ids(await api.get(path, params={"afterMessage": filled[20], "beforeMessage": filled[20]}))


async def test_messages_with_equal_times_are_ordered_by_id(api, server, room):
    """A page that ends between them loses none."""
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
async def test_an_invalid_bound_is_rejected(api, room, query, status):
    """An unknown message is a 404 and an invalid time a 400; times of any year are accepted."""
    assert status == (await api.get(f"{api.room(room)}/message", params=query)).status


async def test_parameters_without_a_name_and_repeated_parameters_are_ignored(api, room, filled):
    """A published client sends `&10` for its limit; of two values, the first applies."""
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
async def test_a_context_has_its_message_and_at_most_74_others(api, room, filled, query, first, last):
    """If both sides together exceed the limit, the messages before are kept."""
    reply = await api.get(f"{api.room(room)}/message/{filled[100]}/context", params=query)

    assert filled[first : last + 1] == ids(reply)


async def test_a_page_can_have_another_order_and_another_key(start):
    """Both are unknown of the service."""
    api = await start(choices=Choices(newest_first=True, history_key="values"))
    room = api.server.add_conversation("general")
    filled = api.server.fill(room, 5)

    page = (await api.get(f"{api.room(room)}/message")).json["values"]

    assert filled[::-1] == [message["id"] for message in page]
