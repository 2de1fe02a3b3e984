"""A person speaks through the local server's own route, as `stride send --as` lets them."""

import pytest

from stride_async.server import Choices

from .calling import ids, log_in

ROUTE = "/local-server/message"


async def speak(api, **content):
    return await api.call("POST", ROUTE, json=content)


async def test_a_person_speaks_in_a_conversation(api, server, room):
    """The message has the person as its sender; the response has the ids of message, conversation and sender."""
    ann = server.add_user("Ann Adler")

    reply = await speak(api, **{"as": ann}, conversation=room, text="Good morning")

    message = (await api.get(f"{api.room(room)}/message/{reply.json['id']}")).json
    assert (201, room, {"id": ann}) == (reply.status, reply.json["conversationId"], reply.json["sender"])
    assert ("Good morning", {"id": ann}) == (message["text"], message["sender"])


@pytest.mark.parametrize(
    "name",
    [
        "557058:ann",
        " Ann.Adler@example.invalid",
        "ann ädler",
        "@ANN ÄDLER",
        "ann a\N{COMBINING DIAERESIS}dler",
        " Ann  Ädler\n",
    ],
)
async def test_a_person_is_named_by_id_email_address_or_name(api, server, room, name):
    """Case, white space and the encoding of accents do not matter, and neither does an @ in front."""
    ann = server.add_user("Ann Ädler", id="557058:ann", email="ann.adler@example.invalid")
    server.add_user("Bob Baker")

    reply = await speak(api, **{"as": name}, conversation=room, text="Hi")

    assert {"id": ann} == reply.json["sender"]


async def test_a_person_is_named_by_mention_name(start):
    """Generated people have mention names."""
    api = await start(generate="conversations=1,messages=0,users=3,media=0")
    (room,) = api.server.truth().conversations

    reply = await speak(api, **{"as": "@member2"}, conversation=room, text="Hi")

    assert {"id": api.server.truth().users[2]} == reply.json["sender"]


async def test_a_name_of_several_people_is_refused(api, server, room):
    """The error lists them with their ids, and nothing is sent."""
    first, second = (server.add_user("Ann", email=f"{number}@example.invalid") for number in range(2))

    reply = await speak(api, **{"as": "ann"}, conversation=room, text="Hi")

    assert 400 == reply.status
    assert f"'ann' is the name of 2 people, give an id: Ann ({first}), Ann ({second})" in reply.json["message"]
    assert 0 == server.truth().conversations[room].messages


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"text": "deploy"}, "@Local app deploy"),
        ({"markdown": "**deploy**"}, "@Local app deploy"),
        ({"markdown": "# deploy"}, "@Local app\ndeploy"),
        (
            {
                "document": {
                    "type": "doc",
                    "content": [{"type": "paragraph", "content": [{"type": "text", "text": "x"}]}],
                }
            },
            "@Local app x",
        ),
        ({"document": {"type": "doc", "content": [{"type": "paragraph", "content": []}]}}, "@Local app "),
    ],
    ids=["text", "Markdown", "Markdown heading", "document", "empty paragraph"],
)
async def test_a_message_may_mention_the_app(api, server, room, content, text):
    """The mention begins the first paragraph, or is a paragraph of its own."""
    ann = server.add_user("Ann")

    sent = await speak(api, **{"as": ann}, conversation=room, mention=True, **content)

    message = (await api.get(f"{api.room(room)}/message/{sent.json['id']}")).json
    mention = message["body"]["content"][0]["content"][0]
    assert (text, "mention", server.app_account_id) == (message["text"], mention["type"], mention["attrs"]["id"])


async def test_without_a_conversation_a_person_writes_to_the_app_directly(api, server):
    """The direct conversation is created once."""
    ann = server.add_user("Ann")

    first, second = [await speak(api, **{"as": ann}, text=text) for text in ("Psst", "Hello?")]

    direct = (await api.get(f"{api.site}/user/{ann}")).json
    assert ("direct", direct["id"]) == (direct["type"], first.json["conversationId"])
    history = await api.get(f"{api.room(direct['id'])}/message")
    assert [first.json["id"], second.json["id"]] == ids(history)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, "as: expected a string, found nothing"),
        ({"as": 5, "text": "x"}, "as: expected a string, found int"),
        ({"as": "", "text": "x"}, "no person of this site has the id, email address or name ''"),
        ({"as": "@", "text": "x"}, "no person of this site has the id, email address or name '@'"),
        ({"as": "zoe", "text": "x"}, "no person of this site has the id, email address or name 'zoe'"),
        ({"as": "@an", "text": "x"}, "name '@an'; a similar name is 'Ann'"),
        ({"as": "Anm", "text": "x"}, "name 'Anm'; a similar name is 'Ann'"),
        ({"as": "ann"}, "expected exactly one of text, markdown, document, found none"),
        ({"as": "ann", "text": "x", "markdown": "y"}, "found text and markdown"),
        ({"as": "ann", "text": " "}, "the message is empty"),
        ({"as": "ann", "text": 1}, "text: expected a string, found int"),
        ({"as": "ann", "document": {"type": "doc"}}, "content"),
        ({"as": "ann", "text": "x", "conversation": "elsewhere"}, "has the id 'elsewhere'"),
        ({"as": "ann", "text": "x", "conversation": 7}, "conversation: expected a string"),
        ({"as": "ann", "text": "x", "mention": "yes"}, "mention: expected true or false, found str"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
async def test_an_invalid_request_is_refused_with_a_sentence(start, content, problem):
    """The status is 400, never 404, and the body is JSON even if other errors are not."""
    api = await start(choices=Choices(error_body="html"))
    api.server.add_user("Ann")

    reply = await speak(api, **content)

    assert (400, 400) == (reply.status, reply.json["code"])
    assert problem in reply.json["message"]


async def test_a_body_that_is_not_a_json_object_is_refused(api):
    """The sentence says what was found."""
    replies = [await api.call("POST", ROUTE, data=data) for data in (b"{", b"[]", b"\xff", b"[" * 100_000)]

    assert [400] * 4 == [reply.status for reply in replies]
    assert "expected a JSON object, found list" == replies[1].json["message"]


async def test_the_app_must_be_able_to_use_the_conversation(api, server):
    """It must be installed there, and the conversation must not be archived."""
    server.add_user("Ann")
    foreign = server.add_conversation("foreign", app_is_member=False)
    archived = server.add_conversation("archived", archived=True)

    replies = [await speak(api, **{"as": "ann"}, conversation=room, text="x") for room in (foreign, archived)]

    assert [403, 403] == [reply.status for reply in replies]


async def test_speaking_requires_a_token(api, server):
    """An unknown token and an expired one are refused in the same way."""
    unknown = await api.call("POST", ROUTE, token="unknown", json={})
    await server.expire_tokens()
    expired = await api.call("POST", ROUTE, json={})

    assert [401, 401] == [unknown.status, expired.status]


async def test_each_app_is_mentioned_by_its_own_token(api, server, room):
    """The mention is of the app whose token the caller has."""
    server.add_user("Ann")
    other = await log_in(api.http, server, *server.add_app(name="Other app"))

    sent = await speak(other, **{"as": "ann"}, conversation=room, text="hi", mention=True)

    message = (await api.get(f"{api.room(room)}/message/{sent.json['id']}")).json
    assert "@Other app hi" == message["text"]


async def test_other_methods_and_paths_do_not_exist(api):
    """405 names the method that is allowed; 404 is the response to any other path."""
    other_method, other_path = await api.get(ROUTE), await api.get("/local-server/messages")

    assert (405, "POST", 404) == (other_method.status, other_method.headers["Allow"], other_path.status)


async def test_speaking_is_not_a_call_to_the_service(start):
    """It is not recorded, no fault or rate limit applies to it, and the second origin does not offer it."""
    api = await start(rate_limit=1, choices=Choices(rate_limit_elsewhere=1))
    api.server.add_user("Ann")
    room = api.server.add_conversation("general")
    api.server.faults.add("*", "*", status=503)
    api.server.calls.clear()

    replies = [await speak(api, **{"as": "ann"}, conversation=room, text="x") for _ in range(3)]
    async with api.http.post(api.server.media_url + ROUTE) as elsewhere:
        status = elsewhere.status

    assert ([201] * 3, 503) == ([reply.status for reply in replies], status)
    assert "X-RateLimit-Limit" not in replies[0].headers
    assert [api.server.media_url + ROUTE] == [api.server.media_url + call.path for call in api.server.calls]
