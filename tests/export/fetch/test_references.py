"""Whom and what messages speak of is found as a document would tell it, however it is written."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from stride_async import Message
from stride_async.export._fetch.buffer import line_of
from stride_async.export._fetch.references import add_met

ids = st.text(min_size=1, max_size=8) | st.sampled_from(['"', "me", '"mention"', "557058:1", "\\u006d"])
texts = st.builds(lambda text: {"type": "text", "text": text}, ids)


def mention(id: str) -> dict[str, object]:
    return {"type": "mention", "attrs": {"id": id, "text": "@x"}}


def mention_the_other_way_round(id: str) -> dict[str, object]:
    return {"attrs": {"text": "}", "id": id}, "type": "mention"}


def file(id: str) -> dict[str, object]:
    return {"type": "media", "attrs": {"type": "file", "id": id, "collection": "c"}}


odd = st.sampled_from([{"type": "mention"}, {"type": "mention", "attrs": None}, {"type": 7, "attrs": {"id": 3}}])
nodes = st.recursive(
    st.one_of(texts, odd, *(st.builds(node, ids) for node in (mention, mention_the_other_way_round, file))),
    lambda inner: st.builds(lambda content: {"type": "paragraph", "content": content}, st.lists(inner, max_size=4)),
    max_leaves=8,
)


def message(content: list[object], ascii: bool, spaces: bool) -> Message:
    """One as the service might write it."""
    body = {"version": 1, "type": "doc", "content": content}
    value = {"id": "1", "sender": {"id": "sender"}, "body": body}
    separators = None if spaces else (",", ":")
    raw = json.dumps(value, ensure_ascii=ascii, separators=separators, indent=1 if spaces else None).encode()
    return Message("1", "sender", 0, "", raw)


@given(st.lists(st.builds(message, st.lists(nodes, max_size=4), st.booleans(), st.booleans()), max_size=4))
def test_people_and_media_are_those_of_the_documents(messages):
    """Whatever order and white space the service chooses."""
    users, media = set(), set()

    add_met(messages, b"\n".join(line_of(each.raw) for each in messages), users, media)

    assert {"sender"} & {each.sender_id for each in messages} | {
        id for each in messages for id in each.body.mentions()
    } == users
    assert {id for each in messages for id in each.body.media()} == media


def test_escaped_letters_and_odd_bodies_are_understood_or_passed_over():
    """A type may be written with escapes; a body that is no document speaks of nobody."""
    raws = [
        rb'{"body":{"type":"doc","content":[{"type":"\u006dention","attrs":{"id":"ann"}}]}}',
        rb'{"body":{"type":"doc","content":[{"type":"mention","attrs":{"id":"b\u006fb"}}]}}',
        rb'{"body":["mention","media"]}',
        rb'{"body":"mention"}',
    ]
    messages = [Message("1", "sender", 0, "", raw) for raw in raws]
    users: set[str] = set()

    add_met(messages, b"\n".join(raws), users, set())

    assert {"sender", "ann", "bob"} == users
