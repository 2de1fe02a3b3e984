"""Deliveries are read, or refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async import Message
from stride_async.bot._read import Incoming, read_delivery, read_press
from stride_async.bot._refusal import Refusal
from stride_async.bot._text import text_for_bot

MESSAGE: dict[str, Any] = {
    "cloudId": "C",
    "message": {
        "id": "M",
        "body": {"version": 1, "type": "doc", "content": []},
        "text": "hi",
        "sender": {"id": "U"},
        "ts": "2017-10-24T22:16:30.243693008Z",
    },
    "conversation": {"id": "V"},
}
LIFECYCLE: dict[str, Any] = {"cloudId": "C", "resourceId": "V", "userId": "U"}


def read(kind: str, body: dict[str, Any] | bytes, module: str = "bot") -> Incoming:
    return read_delivery(kind, module, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_a_message_is_recognized_by_site_module_and_id():
    """Mentions and direct messages share a module; each message module is one of its own."""
    first = read("mention", MESSAGE).identity

    assert first == read("mention", MESSAGE | {"recipients": ["x"]}).identity
    assert first == read("direct_message", MESSAGE).identity
    others = [
        read("message", MESSAGE, "bot").identity,
        read("message", MESSAGE, "other").identity,
        read("mention", MESSAGE | {"cloudId": "D"}).identity,
        read("mention", MESSAGE | {"message": MESSAGE["message"] | {"id": "N"}}).identity,
    ]
    assert 5 == len({first, *others})


def test_a_message_is_ordered_by_its_time():
    """The order is exact to the nanosecond, and bounded by what the store can hold."""
    far = MESSAGE | {"message": MESSAGE["message"] | {"ts": "9999-01-01T00:00:00Z"}}
    early = MESSAGE | {"message": MESSAGE["message"] | {"ts": "0001-01-01T00:00:00Z"}}

    assert 1_508_883_390_243_693_008 == read("mention", MESSAGE).order
    assert (2**63 - 1, -(2**63)) == (read("mention", far).order, read("mention", early).order)


def test_lifecycle_calls_of_one_installation_share_a_subject():
    """The URL distinguishes installed from uninstalled, even if their bodies are equal."""
    installed, uninstalled = read("installed", LIFECYCLE), read("uninstalled", LIFECYCLE)

    assert installed.subject == uninstalled.subject
    assert installed.digest != uninstalled.digest


@pytest.mark.parametrize(
    ("field", "value", "expected"), [("version", 1, "1"), ("relayState", {"a": 1}, '{"a":1}'), ("version", None, None)]
)
def test_fields_of_other_types_are_taken_as_text(field, value, expected):
    """A delivery is not refused because its version is a number."""
    installation = read("installed", LIFECYCLE | {field: value}).installation

    name = {"version": "version", "relayState": "relay_state"}[field]
    assert expected == getattr(installation, name)


def test_a_person_may_be_missing():
    """The user is empty if the service itself is the cause."""
    body = {"cloudId": "C", "conversation": {"id": "V"}, "action": "archive", "initiator": None}

    assert "" == read("conversation", body).user_id
    assert "" == read("installed", {"cloudId": "C", "resourceId": "V"}).user_id


@given(
    case=st.sampled_from(
        [("conversation", "initiator"), ("conversation", "type"), ("roster", "type"), ("installed", "userId"),
         ("uninstalled", "userId"), ("installed", "oauthClientId"), ("installed", "version"),
         ("installed", "relayState"), ("mention", "recipients"), ("mention", "sender"), ("mention", "type")]
    ),
    value=st.none() | st.integers() | st.booleans() | st.just({"id": 7}) | st.lists(st.integers(), max_size=2),
)  # fmt: skip
def test_a_malformed_field_that_is_not_needed_loses_nothing(case, value):
    """The event comes as if the field were missing."""
    kind, field = case
    body = MESSAGE | LIFECYCLE | {"user": {"id": "U"}, "action": "add"}

    assert "V" == read(kind, body | {field: value}).conversation_id
    if field in ("initiator", "userId"):
        assert "" == read(kind, body | {field: value}).user_id


@pytest.mark.parametrize("broken", [rb"\ud800", b"\xff", b"\x01"])
def test_malformed_text_is_repaired(broken):
    """An unpaired surrogate, invalid UTF-8 or a raw control character does not lose the event."""
    body = json.dumps(MESSAGE | {"x": "HERE"}).replace('"hi"', '"HERE"').encode().replace(b"HERE", broken)

    incoming = read("mention", body)

    assert incoming == read("mention", incoming.body)
    for kind, fields in (("installed", LIFECYCLE), ("roster", MESSAGE | {"user": {"id": "U"}, "action": "add"})):
        assert read(kind, json.dumps(fields | {"relayState": "HERE"}).encode().replace(b"HERE", broken)).digest


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    kind=st.sampled_from(["mention", "message", "roster", "conversation", "installed"]),
    path=st.sampled_from(
        ["cloudId", "message", "message.id", "message.ts", "message.sender", "message.body", "message.text",
         "conversation", "conversation.id", "user", "user.id", "action", "initiator", "resourceId", "userId", "version"]
    ),
    value=anything,
)  # fmt: skip
def test_any_field_may_hold_anything(kind, path, value):
    """The body is read or refused with 400, and a body that is read can be stored."""
    body = json.loads(json.dumps(MESSAGE | LIFECYCLE | {"user": {"id": "U"}, "action": "add"}))
    *parents, last = path.split(".")
    holder = body
    for name in parents:
        holder = holder[name]
    holder[last] = value
    try:
        incoming = read(kind, body)
    except Refusal as refusal:
        assert 400 == refusal.status  # noqa: PT017 -- or none is raised
        return
    for text in (incoming.cloud_id, incoming.conversation_id, incoming.user_id, incoming.subject or ""):
        text.encode()
    assert -(2**63) <= (incoming.order or 0) < 2**63


@given(st.binary(max_size=40))
def test_any_bytes_are_refused(body):
    """They are not a JSON object with the required fields."""
    for kind in ("mention", "installed"):
        with pytest.raises(Refusal):
            read(kind, body)


@given(anything)
def test_any_press_is_read_or_refused(body):
    """A browser can send any JSON."""
    try:
        press = read_press(json.dumps(body).encode())
    except Refusal as refusal:
        assert refusal.status in (400, 403)  # noqa: PT017 -- or none is raised
    else:
        assert isinstance(press.parameters, dict)


def test_a_press_in_a_message_with_malformed_text_is_read():
    """Half a surrogate pair, as of a cut emoji, becomes U+FFFD; a browser escapes it."""
    body = b'{"context":{"message":{"mid":"M","body":{"text":"cut \\ud83d"}}},"parameters":{"for":"\\ude00 \xff"}}'

    press = read_press(body)

    assert "M" == press.message_id
    assert "cut \N{REPLACEMENT CHARACTER}" == json.loads(press.body)["context"]["message"]["body"]["text"]
    assert {"text": "cut \N{REPLACEMENT CHARACTER}"} == press.document
    assert {"for": "\N{REPLACEMENT CHARACTER} \N{REPLACEMENT CHARACTER}"} == press.parameters


# Texts


def mention(id: str, text: str = "@Bot") -> dict[str, Any]:
    return {"type": "mention", "attrs": {"id": id, "text": text}}


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def message_of(*inline: dict[str, Any], said: str = "said") -> Message:
    document = {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": list(inline)}]}
    raw = json.dumps({"id": "M", "body": document, "text": said, "sender": {"id": "U"}, "ts": "x"}).encode()
    return Message("M", "U", 0, said, raw)


@pytest.mark.parametrize(
    ("inline", "expected"),
    [
        ([mention("bot"), text(" deploy api")], "deploy api"),
        ([text("please "), mention("bot"), text(" deploy")], "please deploy"),
        ([text("deploy "), mention("bot")], "deploy"),
        ([mention("bot"), text(" "), mention("bot"), text("\N{NO-BREAK SPACE}twice ")], "twice"),
        ([mention("bot"), text("deploy")], "deploy"),
        ([text("("), mention("bot"), text(")")], "()"),
        ([mention("bot", ""), text(" ask "), mention("ann", "@Bot's friend")], "ask @Bot's friend"),
        ([mention("bot")], ""),
    ],
)
def test_the_mention_of_the_bot_is_not_part_of_the_text(inline, expected):
    """It is recognized by its id and removed with an adjacent space; other mentions stay."""
    found = text_for_bot(message_of(*inline), "bot")

    assert (expected, True) == (found.text, found.mentions_bot)


def test_a_message_without_the_mention_has_the_text_of_the_service():
    """The service's own text is used, without surrounding white space."""
    found = text_for_bot(message_of(text("x"), said="  as told\n"), "bot")

    assert ("as told", False) == (found.text, found.mentions_bot)


@pytest.mark.parametrize("body", [None, [], "text", {"type": "paragraph"}, {"type": "doc", "content": None}])
def test_a_message_without_a_document_still_has_its_text(body):
    """A body that is not a document has no mentions."""
    raw = json.dumps({"id": "M", "body": body, "text": "told", "sender": {"id": "U"}, "ts": "x"}).encode()

    assert "told" == text_for_bot(Message("M", "U", 0, "told", raw), "bot").text


def test_a_deep_document_harms_nothing():
    """Beyond the depth that can be read, the service's own text is used."""
    for depth, expected in ((400, "deep"), (100_000, "@Bot deep")):
        inner = json.dumps({"type": "paragraph", "content": [mention("bot"), text(" deep")]})
        nested = '{"type":"blockquote","content":[' * depth + inner + "]}" * depth
        raw = f'{{"body":{{"version":1,"type":"doc","content":[{nested}]}}}}'.encode()

        assert expected == text_for_bot(Message("M", "U", 0, "@Bot deep", raw), "bot").text
