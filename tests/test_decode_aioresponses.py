"""Unusual forms of responses, without a server: `aioresponses` replaces the HTTP session.

It supports neither timeouts nor middlewares nor redirects, so only decoding is tested here.
"""

import json
from datetime import UTC, datetime
from types import SimpleNamespace

import aiohttp
import pytest
from aioresponses import aioresponses

from stride_async import (
    ClientCredentials,
    Conversation,
    DecodeError,
    Module,
    Settings,
    Site,
    StaticToken,
    StrideClient,
)

HOST = "http://stride.invalid"
ROOM = f"{HOST}/site/c/conversation/r"
MESSAGE = {
    "id": "m",
    "body": {"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": []}]},
    "text": "hi",
    "sender": {"id": "u"},
    "ts": "2017-10-24T22:16:30.243693008Z",
}


class Response(aiohttp.ClientResponse):
    """A response as aioresponses creates it, with the writer that aiohttp 3.14 also requires."""

    def __init__(self, method, url, **options):
        super().__init__(method, url, stream_writer=SimpleNamespace(output_size=0), **options)


@pytest.fixture
def respond():
    """Return a function that sets the next response. A body that is not text or bytes is sent as JSON."""
    with aioresponses() as mocked:

        def add(method, url, body="", **options):
            text = body if isinstance(body, str | bytes) else json.dumps(body)
            mocked.add(url, method, body=text, response_class=Response, **options)

        yield add


@pytest.fixture
async def client():
    settings = Settings(base_url=HOST, backoff=0.0, attempts=1)
    async with StrideClient(StaticToken("a room token"), cloud_id="c", settings=settings) as client:
        yield client


@pytest.fixture
def room(client):
    return client.conversation("r")


@pytest.mark.parametrize(
    "body",
    [MESSAGE, {"message": MESSAGE}, {"messages": [MESSAGE]}, MESSAGE | {"message": None}, MESSAGE | {"messages": []}],
    ids=["bare", "message", "messages", "null next to it", "empty list next to it"],
)
async def test_a_single_message_may_be_wrapped(respond, room, body):
    """The form is unknown, so all three are read (protocol 5.14)."""
    respond("GET", f"{ROOM}/message/m", body)

    message = await room.message("m")

    assert ("m", "u", "hi") == (message.id, message.sender_id, message.text)
    assert MESSAGE.items() <= json.loads(message.raw).items()


@pytest.mark.parametrize(
    ("ts", "nanoseconds", "sent_at"),
    [
        ("2017-10-24T22:16:30Z", 1_508_883_390_000_000_000, datetime(2017, 10, 24, 22, 16, 30, 0, UTC)),
        ("2017-10-24T22:16:30.2Z", 1_508_883_390_200_000_000, datetime(2017, 10, 24, 22, 16, 30, 200_000, UTC)),
        ("2017-10-24T22:16:30.243693Z", 1_508_883_390_243_693_000, datetime(2017, 10, 24, 22, 16, 30, 243_693, UTC)),
        ("2017-10-24T22:16:30.243693008Z", 1_508_883_390_243_693_008, datetime(2017, 10, 24, 22, 16, 30, 243_693, UTC)),
        ("2017-10-24T22:16:30.999999999Z", 1_508_883_390_999_999_999, datetime(2017, 10, 24, 22, 16, 30, 999_999, UTC)),
        ("2017-10-25T00:16:30.5+02:00", 1_508_883_390_500_000_000, datetime(2017, 10, 24, 22, 16, 30, 500_000, UTC)),
        ("1969-12-31T23:59:59.999999999Z", -1, datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)),
    ],
)
async def test_times_have_nine_digits_in_ts_and_six_in_sent_at(respond, room, ts, nanoseconds, sent_at):
    """What a datetime cannot hold is dropped, never rounded up."""
    respond("GET", f"{ROOM}/message/m", MESSAGE | {"ts": ts})

    message = await room.message("m")

    assert (nanoseconds, sent_at) == (message.ts, message.sent_at)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "paragraph", "content": [{"type": "text", "text": "one"}]}], "one"),
        ([{"type": "mediaGroup", "attrs": {}, "content": [{"type": "media", "attrs": {}, "content": None}]}], ""),
        ([{"type": "news from 2019", "content": None}], ""),
        (None, ""),
    ],
)
async def test_the_text_of_a_message_without_text_is_made_from_its_body(respond, room, content, text):
    """This works even for bodies that violate the schema, as the service sends them (protocol 4.3, 6.3)."""
    body = {"version": 1, "type": "doc", "content": content}
    respond("GET", f"{ROOM}/message/m", {name: MESSAGE[name] for name in ("id", "sender", "ts")} | {"body": body})

    assert text == (await room.message("m")).text


async def test_unknown_fields_of_a_message_are_kept(respond, room):
    """They are decoded on access."""
    respond("GET", f"{ROOM}/message/m", MESSAGE | {"reactions": [{"👍": 2}], "edited": None})

    assert {"reactions": [{"👍": 2}], "edited": None} == (await room.message("m")).extra


async def test_a_body_that_is_not_a_document_is_an_error_on_access(respond, room):
    """Listings are not affected, and the bytes are kept."""
    respond("GET", f"{ROOM}/message/m", MESSAGE | {"body": [1, 2]})

    message = await room.message("m")

    assert "hi" == message.text
    with pytest.raises(ValueError, match="list"):
        assert message.body
    assert [1, 2] == json.loads(message.raw)["body"]


@pytest.mark.parametrize("key", ["messages", "values"])
async def test_recent_messages_are_sorted_under_either_name(respond, room, key):
    """They are ordered by time to the nanosecond and then by id, not by the service."""
    late = {"ts": "2017-10-24T22:16:30.243693009Z"}
    respond("GET", f"{ROOM}/message/recent?limit=75", {key: [MESSAGE | late, MESSAGE | {"id": "n"}, MESSAGE]})

    assert [("m", 8), ("n", 8), ("m", 9)] == [(message.id, message.ts % 10) for message in await room.recent()]


@pytest.mark.parametrize("body", [{"messages": None}, {"messages": []}, {"values": None}])
async def test_null_is_an_empty_list(respond, room, body):
    """The service is written in Go, which encodes an empty list as null (protocol 1.1)."""
    respond("GET", f"{ROOM}/message/recent?limit=75", body)

    assert [] == await room.recent()


async def test_lists_without_values_are_empty(respond, client, room):
    """Other fields make no difference."""
    filters = "include-private=true&include-archived=false&exclude-direct=false&limit=75"
    respond("GET", f"{HOST}/site/c/conversation?{filters}", {"values": None, "cursor": None, "size": 0})
    respond("GET", f"{ROOM}/roster?start=0&limit=75", {"values": None, "_links": None})
    respond("GET", f"{ROOM}/app/module/chat:bot?start=0&limit=75", {"values": None})

    assert [] == await client.conversations().collect(limit=None)
    assert [] == await room.roster().collect(limit=None)
    assert [] == await room.modules("chat:bot").collect(limit=None)


async def test_a_conversation_needs_only_its_id(respond, room):
    """In webhooks the site is outside of the object. Null counts as missing."""
    respond("GET", ROOM, {"id": "r", "cloudId": None, "topic": None, "created": None})

    assert Conversation(id="r") == await room.get()


async def test_a_conversation_keeps_unknown_fields_and_microseconds(respond, room):
    """Nine fraction digits are reduced to the six that a datetime holds."""
    body = {
        "id": "r",
        "name": "general",
        "isArchived": True,
        "created": "2018-02-27T08:54:23.197999999Z",
        "modified": "2018-02-27T10:54:23+02:00",
        "_links": {"r": ROOM},
        "colour": "red",
    }
    respond("GET", ROOM, body)

    room = await room.get()

    assert (True, {"_links": {"r": ROOM}, "colour": "red"}) == (room.is_archived, room.extra)
    assert datetime(2018, 2, 27, 8, 54, 23, 197_999, UTC) == room.created
    assert datetime(2018, 2, 27, 8, 54, 23, 0, UTC) == room.modified


async def test_sites_are_ids_or_objects(respond, client):
    """The form is unknown, so strings and objects with either name of the id are read (protocol 4.10)."""
    values = ["a", {"id": "b", "url": "https://b"}, {"cloudId": "c", "name": "C"}]
    respond("GET", f"{HOST}/site/", {"values": values, "_links": {"a": "https://a", "c": "https://c"}})

    assert [
        Site(id="a", url="https://a"),
        Site(id="b", url="https://b"),
        Site(id="c", url="https://c", extra={"name": "C"}),
    ] == await client.sites()


@pytest.mark.parametrize("links", [None, [], "x", {"a": 1}])
async def test_malformed_links_do_no_harm(respond, client, links):
    """They are only a convenience."""
    respond("GET", f"{HOST}/site/", {"values": ["a"], "_links": links})

    assert [Site(id="a")] == await client.sites()


async def test_a_user_with_few_fields_is_read(respond, client):
    """Lists may be null, and names incomplete."""
    body = {"id": "u", "emails": None, "photos": None, "name": {"givenName": "Ann", "familyName": None}, "meta": {}}
    respond("GET", f"{HOST}/scim/site/c/Users/u", body)

    user = await client.user("u").profile()

    assert ((), (), "Ann", None, True) == (
        user.emails,
        user.photos,
        user.name.given_name,
        user.name.family_name,
        user.active,
    )
    assert {"meta": {}} == user.extra


async def test_a_response_is_json_whatever_its_content_type_is(respond, room):
    """The responses to a text message and to an upload are JSON too (protocol 10)."""
    respond("POST", f"{ROOM}/message", '{"id":"m","more":1}', status=201, content_type="text/plain")
    respond("POST", f"{ROOM}/media?name=x", '{"data":{"id":"f"}}', status=201, content_type="application/octet-stream")

    assert "m" == await room.send("hi")
    media = await room.upload(b"x", name="x")
    assert ("f", "r", None, None) == (media.id, media.conversation_id, media.name, media.size)


@pytest.mark.parametrize("body", ["", "{}", '{"id":"m"}', "null", "<html>"])
async def test_the_body_of_a_successful_change_is_ignored(respond, room, body):
    """Edits, deletions, archiving and states only have to succeed (protocol 5.12)."""
    respond("PUT", f"{ROOM}/message/m", body)
    respond("DELETE", f"{ROOM}/message/m", body)
    respond("PUT", f"{ROOM}/archive", body)
    respond("PATCH", f"{ROOM}/roster", body)

    assert [None] * 4 == [
        await room.edit("m", "hi"),
        await room.delete("m"),
        await room.archive(),
        await room.invite("u"),
    ]


async def test_an_update_without_a_response_body_requests_the_conversation(respond, room):
    """The caller gets the conversation either way (protocol 5.5)."""
    respond("PATCH", ROOM, "", status=204)
    respond("GET", ROOM, {"id": "r", "name": "new"})

    assert "new" == (await room.update(name="new")).name


@pytest.mark.parametrize(("body", "found"), [({"id": "u"}, "u"), ({}, None), ({"id": None}, None), ({"id": 5}, None)])
async def test_a_lookup_without_an_id_is_none(respond, client, body, found):
    """A successful response may lack one (protocol 5.21)."""
    respond("GET", f"{HOST}/users/lookup?email=a@b.invalid&site=c&product=chat", body)

    assert found == await client.find_user("a@b.invalid")


async def test_a_module_is_its_descriptor_without_the_key(respond, room):
    """A list of modules may have no other fields (protocol 4.11)."""
    values = [{"key": "k", "name": {"value": "K"}}, {"key": "l"}]
    respond("GET", f"{ROOM}/app/module/chat:glance?start=0&limit=75", {"values": values})

    assert [
        Module(key="k", type="chat:glance", descriptor={"name": {"value": "K"}}),
        Module(key="l", type="chat:glance"),
    ] == await room.modules("chat:glance").collect(limit=None)


@pytest.mark.parametrize("text", ["42", "null", '"quoted"', "", "naïve"])
async def test_rendered_text_stays_text(respond, client, text):
    """This holds even if it looks like JSON (protocol 5.22)."""
    respond("POST", f"{HOST}/pf-editor-service/convert?from=markdown&to=adf", MESSAGE["body"])
    respond("POST", f"{HOST}/pf-editor-service/render", text, content_type="application/json")

    assert text == await client.render_text(await client.markdown_to_document("x"))


@pytest.mark.parametrize(("body", "value"), [("", None), (" \n", None), ("null", None), ("[1]", [1]), ("5", 5)])
async def test_request_returns_any_json(respond, client, body, value):
    """An empty response is None."""
    respond("GET", f"{HOST}/anything", body)

    assert value == await client.request("GET", "/anything")


@pytest.mark.parametrize(
    ("url", "call", "body", "path"),
    [
        ("message/m", lambda r: r.message("m"), "<html>", "$"),
        ("message/m", lambda r: r.message("m"), "", "$"),
        ("message/m", lambda r: r.message("m"), "[1]", "$"),
        ("message/m", lambda r: r.message("m"), MESSAGE | {"sender": None}, "$.sender"),
        ("message/m", lambda r: r.message("m"), MESSAGE | {"ts": "yesterday"}, "$.ts"),
        ("message/m", lambda r: r.message("m"), MESSAGE | {"ts": "2017-02-30T00:00:00Z"}, "$.ts"),
        ("message/m", lambda r: r.message("m"), {"message": MESSAGE | {"id": 5}}, "$.message.id"),
        ("message/m", lambda r: r.message("m"), b'{"id":"\xff"}', "$"),
        ("message/m", lambda r: r.message("m"), "[" * 100_000, "$"),
        ("message/recent?limit=75", lambda r: r.recent(), {"messages": [MESSAGE, {"id": "n"}]}, "$.messages[1]"),
        ("message/recent?limit=75", lambda r: r.recent(), {"messages": {}}, "$.messages"),
        ("message/recent?limit=75", lambda r: r.recent(), {"items": []}, "$"),
        (
            "roster?start=0&limit=75",
            lambda r: r.roster().collect(limit=None),
            {"values": ["u", {"id": "v"}]},
            "$.values[1]",
        ),
        (
            "app/module/chat:bot?start=0&limit=75",
            lambda r: r.modules("chat:bot").collect(limit=None),
            {"values": [{"url": "/u"}]},
            "$.values[0]",
        ),
        ("", lambda r: r.get(), {"name": "x"}, "$"),
        ("", lambda r: r.get(), {"id": "r", "isArchived": "no"}, "$.isArchived"),
        ("", lambda r: r.get(), {"id": "r", "created": "soon"}, "$.created"),
        ("", lambda r: r.get(), [], "$"),
    ],
)
async def test_a_decode_error_has_a_path_and_the_bytes(respond, room, url, call, body, path):
    """It names the position, what was expected, and what the service sent."""
    respond("GET", f"{ROOM}/{url}".rstrip("/"), body)

    with pytest.raises(DecodeError) as caught:
        await call(room)

    sent = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert path == caught.value.path
    assert str(caught.value).endswith(f"@ {path}")
    assert caught.value.raw in sent
    assert not caught.value.maybe_processed


async def test_a_message_whose_new_id_is_unreadable_may_have_been_sent(respond, room):
    """Sending it again could create a second message."""
    respond("POST", f"{ROOM}/message", "{}", status=201)

    with pytest.raises(DecodeError, match=r"POST /site/c/conversation/r/message: .* @ \$\.id") as caught:
        await room.send("hi")

    assert caught.value.maybe_processed
    assert not caught.value.retryable


@pytest.mark.parametrize("fields", [{}, {"expires_in": None}, {"expires_in": 86400, "scope": 5, "token_type": None}])
async def test_a_token_response_needs_only_the_token(respond, fields):
    """Scope and type are ignored (protocol 2.2)."""
    respond("POST", f"{HOST}/oauth/token", {"access_token": "given to us"} | fields)
    respond("GET", f"{HOST}/me", {"account_id": "bot"})

    async with StrideClient(
        ClientCredentials("id", "a secret of 64 characters"), cloud_id="c", settings=Settings(base_url=HOST)
    ) as client:
        assert "bot" == (await client.me()).account_id


@pytest.mark.parametrize("body", ["", "[]", "<html>", '{"access_token":""}', '{"access_token":5}', '{"token":"abc"}'])
async def test_a_token_call_without_a_token_is_undecodable(respond, body):
    """The body is neither quoted nor kept, because it might contain a token after all."""
    respond("POST", f"{HOST}/oauth/token", body)

    async with StrideClient(
        ClientCredentials("id", "a secret of 64 characters"), cloud_id="c", settings=Settings(base_url=HOST)
    ) as client:
        with pytest.raises(DecodeError, match="the response of the token call") as caught:
            await client.me()

    assert b"" == caught.value.raw
