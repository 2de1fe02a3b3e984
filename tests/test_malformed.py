"""A malformed element of a response costs one element, and its exact bytes are kept."""

from __future__ import annotations

import json

import pytest

from stride_async import DecodeError, Message, PaginationLoop

GOOD = json.dumps({"id": "good", "sender": {"id": "ann"}, "ts": "2018-01-01T00:00:00Z", "text": "fine", "body": None})


def message(text: str, *, ts: str = '"2018-01-02T00:00:00Z"', sender: str = '"ann"', more: str = "") -> bytes:
    """A message whose text, time and sender are undecoded JSON."""
    return f'{{"id":"m","sender":{{"id":{sender}}},"ts":{ts},"text":{text}{more}}}'.encode("utf-8", "surrogateescape")


async def history(client, server, *elements: bytes) -> tuple[list[Message], list[DecodeError]]:
    """Read a history with these elements in its first page; return the messages and the errors of the others."""
    room = server.add_conversation("odd")
    body = b'\xef\xbb\xbf{"messages":[' + b",".join([*elements, GOOD.encode()]) + b"]}"
    server.faults.add("GET", "*/message", status=200, body=body, times=1)
    errors: list[DecodeError] = []
    async with client.conversation(room).history().stream(on_undecodable=errors.append) as messages:
        return [each async for each in messages], errors


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        (r'"cut \ud83d"', "cut \ufffd"),
        (r'"\ude00 first"', "\ufffd first"),
        ('"raw \x01 control"', "raw \x01 control"),
        ('"a\nb"', "a\nb"),
        ('"not UTF-8: \udcff"', "not UTF-8: \ufffd"),
    ],
)
async def test_malformed_text_decodes_with_replacement_characters(client, server, text, decoded):
    """The message is returned, `raw` has its exact bytes, and its neighbor is not affected."""
    element = message(text)

    messages, errors = await history(client, server, element)

    assert [decoded, "fine"] == [each.text for each in messages]
    assert (element, []) == (messages[0].raw, errors)


@pytest.mark.parametrize(
    ("element", "path"),
    [
        (message('"x"', ts='"0001-01-01T00:00:00+00:01"'), "$.messages[0].ts"),
        (message('"x"', ts='"9999-12-31T23:59:59-23:59"'), "$.messages[0].ts"),
        (message('"x"', sender='""'), "$.messages[0].sender.id"),
        (message('"x"', more=',"x":' + "[" * 20_000 + "]" * 20_000), "$.messages[0]"),
        (message('"x"', more=',"x":nope'), "$.messages[0]"),
        (message("5"), "$.messages[0].text"),
        (b'"text"', "$.messages[0]"),
    ],
)
async def test_an_undecodable_element_is_reported_once_with_its_path_and_bytes(client, server, element, path):
    """Its neighbor is returned."""
    messages, errors = await history(client, server, element)

    assert ["good"] == [each.id for each in messages]
    assert [(path, element)] == [(error.path, error.raw) for error in errors]


async def test_a_page_with_unbalanced_brackets_is_one_error(client, server):
    """Where its elements end is unknown."""
    with pytest.raises(DecodeError) as caught:
        await history(client, server, b'{"id":"m"')

    assert "$" == caught.value.path


async def test_a_field_that_cannot_be_decoded_does_not_cost_the_message(client, server):
    """Only accessing `extra` fails, with an error that can be expected."""
    [odd, _], errors = await history(client, server, message('"x"', more=',"size":1e400'))

    assert ("x", []) == (odd.text, errors)
    with pytest.raises(ValueError, match="cannot be decoded"):
        _ = odd.extra


@pytest.mark.parametrize("ts", [10**21, -(10**20), 10**30])
def test_a_time_outside_the_calendar_is_a_value_error(ts):
    """`repr` works all the same."""
    odd = Message("m", "ann", ts, "x", b"{}")

    assert str(ts) in repr(odd)
    with pytest.raises(ValueError, match="years 1 to 9999"):
        _ = odd.sent_at


@pytest.mark.parametrize("values", [r'{"id":"a","name":"\ud83d"}', '{"id":"a","topic":"\x02"}'])
async def test_names_and_topics_are_repaired_too(client, server, values):
    """Rooms, rosters, profiles and sites are read by the same decoder."""
    server.faults.add("GET", "*/conversation", status=200, body=f'{{"values":[{values},{{"id":"b"}}]}}', times=1)

    assert ["a", "b"] == [room.id for room in await client.conversations().collect(limit=None)]


async def test_an_empty_id_is_malformed(client, server):
    """It could not be used in any call."""
    server.faults.add("GET", "*/conversation", status=200, body='{"values":[{"id":""},{"id":"b"}]}', times=1)
    errors: list[DecodeError] = []

    async with client.conversations().stream(on_undecodable=errors.append) as rooms:
        assert ["b"] == [room.id async for room in rooms]
    assert [b'{"id":""}'] == [error.raw for error in errors]


@pytest.mark.parametrize("cursor", ["5", "true", "[]", '{"a":1}', "1e400"])
async def test_a_malformed_cursor_costs_no_item_of_its_page(client, server, cursor):
    """The error follows the items."""
    server.faults.add(
        "GET", "*/conversation", status=200, body=f'{{"values":[{{"id":"a"}}],"cursor":{cursor}}}', times=1
    )
    returned = []

    with pytest.raises(DecodeError) as caught:
        async for room in client.conversations():
            returned.append(room.id)  # noqa: PERF401 -- what came before the error counts

    assert (["a"], "$.cursor") == (returned, caught.value.path)


async def test_the_page_that_closes_a_cycle_is_returned_before_the_error(client, server):
    """It was received, so its items are not withheld."""
    for name, cursor in (("a", "1"), ("b", "2"), ("c", "1")):
        body = f'{{"values":[{{"id":"{name}"}}],"cursor":"{cursor}"}}'
        server.faults.add("GET", "*/conversation", status=200, body=body, times=1)
    returned = []

    with pytest.raises(PaginationLoop):
        async for room in client.conversations():
            returned.append(room.id)  # noqa: PERF401 -- what came before the error counts

    assert ["a", "b", "c"] == returned


async def test_text_that_cannot_be_sent_is_a_value_error_at_once(client, server):
    """Nothing is sent."""
    room = client.conversation(server.add_conversation("room"))

    for call in (
        lambda: client.conversations(query="\ud83d"),
        lambda: client.find_user("\ud83d"),
        lambda: room.send("\ud83d"),
        lambda: client.create_conversation("\ud83d"),
    ):
        with pytest.raises(ValueError, match=r"UTF-8|JSON"):
            await call()
    assert 0 == len(server.calls)
