from __future__ import annotations

import io
import uuid

import pytest

from stride_async.server import Choices

from .calling import log_in

DOCUMENT = {
    "version": 1,
    "type": "doc",
    "content": [
        {"type": "paragraph", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
        {"type": "paragraph", "content": [{"type": "text", "text": "three"}]},
    ],
}


def words(text, kind="text/plain"):
    return {"data": io.BytesIO(text if isinstance(text, bytes) else text.encode()), "headers": {"Content-Type": kind}}


@pytest.mark.parametrize(
    "options",
    [
        {"json": DOCUMENT},
        {"json": {"body": DOCUMENT}},
        {"json": {name: value for name, value in DOCUMENT.items() if name != "version"}},
        {"json": {"body": {name: value for name, value in DOCUMENT.items() if name != "version"}}},
        {"json": DOCUMENT, "headers": {"Content-Type": "Application/Json; charset=utf-8"}},
        words("one two\n\nthree", "text/markdown"),
    ],
)
async def test_a_document_can_be_sent_in_every_form_that_clients_used(api, server, room, options):
    """It is bare or wrapped, with or without a version, or Markdown; one and the same document is stored."""
    sent = await api.call("POST", f"{api.room(room)}/message", **options)
    message = (await api.get(f"{api.room(room)}/message/{sent.json['id']}")).json

    assert 201 == sent.status
    assert {"id"} == sent.json.keys()
    assert "one two\nthree" == message["text"]
    assert (1, "doc", 2) == (message["body"]["version"], message["body"]["type"], len(message["body"]["content"]))
    assert {"id": server.app_account_id} == message["sender"]


async def test_plain_text_becomes_one_paragraph(api, room):
    """Markup in it has no meaning."""
    sent = await api.call("POST", f"{api.room(room)}/message", **words("**42** und Grüße"))
    message = (await api.get(f"{api.room(room)}/message/{sent.json['id']}")).json

    assert "**42** und Grüße" == message["text"]
    assert [{"type": "paragraph", "content": [{"type": "text", "text": "**42** und Grüße"}]}] == message["body"][
        "content"
    ]


async def test_message_ids_are_time_based_and_their_times_ascend(api, room):
    """Each id is a version 1 UUID of the time of its message, which no other message has."""
    sent = [(await api.call("POST", f"{api.room(room)}/message", **words("x"))).json["id"] for _ in range(20)]
    messages = (await api.get(f"{api.room(room)}/message")).json["messages"]

    assert sent == [message["id"] for message in messages]
    assert {1} == {uuid.UUID(one).version for one in sent}
    assert sorted({uuid.UUID(one).time for one in sent}) == [uuid.UUID(one).time for one in sent]


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (words(b""), 400),
        (words(" \n"), 400),
        (words(b"\xff\xfe"), 400),
        (words("x" * 20_001), 413),
        (words("<b>x</b>", "text/html"), 415),
        (words(b"{", "application/json"), 400),
        (words(b"[" * 100_000, "application/json"), 400),
        (words(b'"%b"' % (b"x" * 1_100_000), "application/json"), 413),
        ({"json": []}, 400),
        (words(b"null", "application/json"), 400),
        ({"json": {"body": 5}}, 400),
        ({"json": {"version": 2, "type": "doc", "content": []}}, 400),
        (
            {
                "json": {
                    "type": "doc",
                    "content": [{"type": "paragraph", "content": [{"type": "text", "text": "\ud800"}]}],
                }
            },
            400,
        ),
    ],
)
async def test_an_invalid_message_is_rejected(api, server, room, options, status):
    """Nothing is stored, and the body has a reason."""
    reply = await api.call("POST", f"{api.room(room)}/message", **options)

    assert status == reply.status
    assert {"code", "message"} == reply.json.keys()
    assert 0 == server.truth().conversations[room].messages


async def test_the_error_for_an_invalid_document_has_the_path_of_the_problem(api, room):
    """The path leads from the root of the document to the field."""
    document = {
        "version": 1,
        "type": "doc",
        "content": [{"type": "paragraph", "content": [{"type": "text", "text": ""}]}],
    }

    reply = await api.call("POST", f"{api.room(room)}/message", json=document)

    assert "$.content[0].content[0].text" in reply.json["message"]


async def test_the_check_of_documents_can_be_lenient(start):
    """How strict the service was is unknown."""
    api = await start(choices=Choices(lenient_documents=True))
    room = api.server.add_conversation("general")

    taken = await api.call("POST", f"{api.room(room)}/message", json={"type": "doc", "content": [{"type": "novel"}]})
    refused = await api.call("POST", f"{api.room(room)}/message", json={"type": "doc", "content": None})

    assert [201, 400] == [taken.status, refused.status]


async def test_a_mention_adds_the_person_to_the_roster(api, server, room):
    """A mention without text gets the name of the person."""
    ann = server.add_user("Ann Example")
    mention = {"type": "mention", "attrs": {"id": ann}}
    document = {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": [mention]}]}

    sent = await api.call("POST", f"{api.room(room)}/message", json=document)

    assert "@Ann Example" == (await api.get(f"{api.room(room)}/message/{sent.json['id']}")).json["text"]
    assert (ann,) == server.truth().conversations[room].roster


async def test_an_edit_changes_only_the_content(api, server, room):
    """Id, time, sender and position stay the same."""
    first, _ = server.fill(room, 2)
    before = (await api.get(f"{api.room(room)}/message/{first}")).json

    reply = await api.call("PUT", f"{api.room(room)}/message/{first}", **words("better"))
    after = (await api.get(f"{api.room(room)}/message")).json["messages"][0]

    assert (200, {"id": first}) == (reply.status, reply.json)
    assert "better" == after["text"]
    assert (before["id"], before["ts"], before["sender"]) == (after["id"], after["ts"], after["sender"])


async def test_a_deleted_message_is_not_found(api, server, room):
    """It is no longer part of the history."""
    gone = server.add_message(room, "x")

    statuses = [
        (await api.call(method, f"{api.room(room)}/message/{gone}")).status for method in ("DELETE", "GET", "DELETE")
    ]

    assert [204, 404, 404] == statuses
    assert [] == (await api.get(f"{api.room(room)}/message")).json["messages"]


async def test_only_the_author_can_edit_and_delete_a_message(api, server, room):
    """Messages of a person or of another app are forbidden."""
    other = await log_in(api.http, server, *server.add_app())
    theirs = (await other.call("POST", f"{api.room(room)}/message", **words("mine"))).json["id"]
    persons = server.add_message(room, "hello", sender_id=server.add_user("Ann"))

    statuses = {
        (await api.call(method, f"{api.room(room)}/message/{message}", **words("x"))).status
        for method in ("PUT", "DELETE")
        for message in (theirs, persons)
    }

    assert {403} == statuses
    assert 2 == server.truth().conversations[room].messages


async def test_direct_messages_are_sent_edited_and_deleted_by_user_id(api, server):
    """The first one creates the direct conversation, which shows the edit."""
    path = f"{api.site}/user/{server.add_user('Ann')}"

    sent = await api.call("POST", f"{path}/message", **words("hello"))
    room = (await api.get(path)).json["id"]
    edited = await api.call("PUT", f"{path}/message/{sent.json['id']}", json={"body": DOCUMENT})
    text = (await api.get(f"{api.room(room)}/message/recent")).json["messages"][0]["text"]
    deleted = await api.call("DELETE", f"{path}/message/{sent.json['id']}")

    assert [201, 200, 204] == [sent.status, edited.status, deleted.status]
    assert "one two\nthree" == text
    assert 0 == server.truth().conversations[room].messages


async def test_a_message_is_found_only_in_its_own_conversation(api, server, room):
    """In another one it can be neither read nor changed."""
    elsewhere = server.add_message(server.add_conversation("other"), "x")

    statuses = {
        (await api.call(method, f"{api.room(room)}/message/{elsewhere}{rest}", **options)).status
        for method, rest, options in [
            ("GET", "", {}),
            ("GET", "/context", {}),
            ("PUT", "", words("y")),
            ("DELETE", "", {}),
        ]
    }

    assert {404} == statuses


@pytest.mark.parametrize(("form", "path"), [("message", ["message"]), ("messages", ["messages", 0])])
async def test_a_single_message_can_be_wrapped(start, form, path):
    """Which form the service used is unknown."""
    api = await start(choices=Choices(single_message=form))
    room = api.server.add_conversation("general")
    sent = api.server.add_message(room, "x")

    found = (await api.get(f"{api.room(room)}/message/{sent}")).json
    for step in path:
        found = found[step]

    assert sent == found["id"]


@pytest.mark.parametrize("form", ["oauth", "text", "html", "empty"])
async def test_error_bodies_can_have_other_forms(start, form):
    """The status stays the same."""
    api = await start(choices=Choices(error_body=form))

    reply = await api.get("/nowhere")

    assert 404 == reply.status
    assert {"oauth": b'{"error"', "text": b"no such path", "html": b"<html>", "empty": b""}[form] in reply.body
    assert b'"code"' not in reply.body
