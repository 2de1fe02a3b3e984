"""The users and media that messages reference are found however the messages are written."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from stride_async import Message
from stride_async.export._archive.months import as_line
from stride_async.export._fetch.references import add_references

ids = st.text(min_size=1, max_size=8) | st.sampled_from(['"', "me", '"mention"', "557058:1", "\\u006d"])
texts = st.builds(lambda text: {"type": "text", "text": text}, ids)


def mention(id: str) -> dict[str, object]:
    return {"type": "mention", "attrs": {"id": id, "text": "@x"}}


def mention_in_another_order(id: str) -> dict[str, object]:
    return {"attrs": {"text": "}", "id": id}, "type": "mention"}


def file(id: str) -> dict[str, object]:
    return {"type": "media", "attrs": {"type": "file", "id": id, "collection": "c"}}


malformed = st.sampled_from([{"type": "mention"}, {"type": "mention", "attrs": None}, {"type": 7, "attrs": {"id": 3}}])
nodes = st.recursive(
    st.one_of(texts, malformed, *(st.builds(node, ids) for node in (mention, mention_in_another_order, file))),
    lambda inner: st.builds(lambda content: {"type": "paragraph", "content": content}, st.lists(inner, max_size=4)),
    max_leaves=8,
)


def message(content: list[object], ascii: bool, spaces: bool) -> Message:
    """Make a message as the service might write it."""
    body = {"version": 1, "type": "doc", "content": content}
    value = {"id": "1", "sender": {"id": "sender"}, "body": body}
    separators = None if spaces else (",", ":")
    raw = json.dumps(value, ensure_ascii=ascii, separators=separators, indent=1 if spaces else None).encode()
    return Message("1", "sender", 0, "", raw)


@given(st.lists(st.builds(message, st.lists(nodes, max_size=4), st.booleans(), st.booleans()), max_size=4))
def test_references_are_those_of_the_documents(messages):
    """The order of members and the white space do not matter."""
    users, media = set(), set()

    add_references(messages, b"\n".join(as_line(each.raw) for each in messages), users, media)

    mentioned = {id for each in messages for id in each.body.mentions()}
    assert {each.sender_id for each in messages} | mentioned == users
    assert {id for each in messages for id in each.body.media()} == media


def test_escaped_letters_are_read_and_malformed_bodies_are_skipped():
    """The type of a node may be escaped; a body that is not a document references no one."""
    raws = [
        rb'{"body":{"type":"doc","content":[{"type":"\u006dention","attrs":{"id":"ann"}}]}}',
        rb'{"body":{"type":"doc","content":[{"type":"mention","attrs":{"id":"b\u006fb"}}]}}',
        rb'{"body":["mention","media"]}',
        rb'{"body":"mention"}',
    ]
    messages = [Message("1", "sender", 0, "", raw) for raw in raws]
    users: set[str] = set()

    add_references(messages, b"\n".join(raws), users, set())

    assert {"sender", "ann", "bob"} == users
