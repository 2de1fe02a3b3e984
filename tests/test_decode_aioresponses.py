"""Odd shapes of answers, one endpoint each, without a server: `aioresponses` stands in for the HTTP session.

It runs neither time-outs nor middlewares nor redirects, so nothing but decoding is tried here.
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
    """A response made the way aioresponses makes them, with the writer that aiohttp 3.14 asks for besides."""

    def __init__(self, method, url, **words):
        super().__init__(method, url, stream_writer=SimpleNamespace(output_size=0), **words)


@pytest.fixture
def answers():
    """`answers(method, url, body)`: what the service says next; a body that is no text or bytes goes out as JSON."""
    with aioresponses() as mocked:

        def add(method, url, body="", **words):
            text = body if isinstance(body, str | bytes) else json.dumps(body)
            mocked.add(url, method, body=text, response_class=Response, **words)

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
    ids=["bare", "message", "messages", "null beside", "empty beside"],
)
async def test_a_single_message_may_be_wrapped(answers, room, body):
    """Its form is unknown, so all three are read (protocol 5.14)."""
    answers("GET", f"{ROOM}/message/m", body)

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
async def test_times_have_nine_digits_in_ts_and_six_in_sent_at(answers, room, ts, nanoseconds, sent_at):
    """What a datetime cannot hold is cut, never rounded up into another second."""
    answers("GET", f"{ROOM}/message/m", MESSAGE | {"ts": ts})

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
async def test_a_message_without_text_is_told_from_its_body(answers, room, content, text):
    """Even from what the service itself delivers against its schema (protocol 4.3, 6.3)."""
    body = {"version": 1, "type": "doc", "content": content}
    answers("GET", f"{ROOM}/message/m", {name: MESSAGE[name] for name in ("id", "sender", "ts")} | {"body": body})

    assert text == (await room.message("m")).text


async def test_what_is_beyond_the_known_fields_of_a_message_is_kept(answers, room):
    """Decoded when it is looked at."""
    answers("GET", f"{ROOM}/message/m", MESSAGE | {"reactions": [{"👍": 2}], "edited": None})

    assert {"reactions": [{"👍": 2}], "edited": None} == (await room.message("m")).extra


async def test_a_body_that_is_no_document_is_told_when_it_is_looked_at(answers, room):
    """A listing goes on past it; its bytes are still there."""
    answers("GET", f"{ROOM}/message/m", MESSAGE | {"body": [1, 2]})

    message = await room.message("m")

    assert "hi" == message.text
    with pytest.raises(ValueError, match="list"):
        assert message.body
    assert [1, 2] == json.loads(message.raw)["body"]


@pytest.mark.parametrize("key", ["messages", "values"])
async def test_recent_messages_come_sorted_under_either_key(answers, room, key):
    """Order is by time to the nanosecond, then by id, never the service's own."""
    late = {"ts": "2017-10-24T22:16:30.243693009Z"}
    answers("GET", f"{ROOM}/message/recent?limit=75", {key: [MESSAGE | late, MESSAGE | {"id": "n"}, MESSAGE]})

    assert [("m", 8), ("n", 8), ("m", 9)] == [(message.id, message.ts % 10) for message in await room.recent()]


@pytest.mark.parametrize("body", [{"messages": None}, {"messages": []}, {"values": None}])
async def test_null_is_an_empty_list(answers, room, body):
    """Go writes an empty list so (protocol 1.1)."""
    answers("GET", f"{ROOM}/message/recent?limit=75", body)

    assert [] == await room.recent()


async def test_lists_without_values_are_empty(answers, client, room):
    """Whatever stands beside them."""
    filters = "include-private=true&include-archived=false&exclude-direct=false&limit=75"
    answers("GET", f"{HOST}/site/c/conversation?{filters}", {"values": None, "cursor": None, "size": 0})
    answers("GET", f"{ROOM}/roster?start=0&limit=75", {"values": None, "_links": None})
    answers("GET", f"{ROOM}/app/module/chat:bot?start=0&limit=75", {"values": None})

    assert [] == await client.conversations().collect(limit=None)
    assert [] == await room.roster().collect(limit=None)
    assert [] == await room.modules("chat:bot").collect(limit=None)


async def test_a_conversation_needs_only_its_id(answers, room):
    """In webhooks the site stands beside it; null counts as absent."""
    answers("GET", ROOM, {"id": "r", "cloudId": None, "topic": None, "created": None})

    assert Conversation(id="r") == await room.get()


async def test_a_conversation_keeps_what_it_does_not_know_and_cuts_its_times(answers, room):
    """Nine fraction digits are cut to the six a datetime holds."""
    body = {
        "id": "r",
        "name": "general",
        "isArchived": True,
        "created": "2018-02-27T08:54:23.197999999Z",
        "modified": "2018-02-27T10:54:23+02:00",
        "_links": {"r": ROOM},
        "colour": "red",
    }
    answers("GET", ROOM, body)

    room = await room.get()

    assert (True, {"_links": {"r": ROOM}, "colour": "red"}) == (room.is_archived, room.extra)
    assert datetime(2018, 2, 27, 8, 54, 23, 197_999, UTC) == room.created
    assert datetime(2018, 2, 27, 8, 54, 23, 0, UTC) == room.modified


async def test_sites_are_ids_or_objects(answers, client):
    """Their shape is unknown, so strings and objects with either name of the id are read (protocol 4.10)."""
    values = ["a", {"id": "b", "url": "https://b"}, {"cloudId": "c", "name": "C"}]
    answers("GET", f"{HOST}/site/", {"values": values, "_links": {"a": "https://a", "c": "https://c"}})

    assert [
        Site(id="a", url="https://a"),
        Site(id="b", url="https://b"),
        Site(id="c", url="https://c", extra={"name": "C"}),
    ] == await client.sites()


@pytest.mark.parametrize("links", [None, [], "x", {"a": 1}])
async def test_links_of_another_shape_do_no_harm(answers, client, links):
    """They are a convenience."""
    answers("GET", f"{HOST}/site/", {"values": ["a"], "_links": links})

    assert [Site(id="a")] == await client.sites()


async def test_a_user_of_whom_little_is_known(answers, client):
    """Lists may be null, names may be parts."""
    body = {"id": "u", "emails": None, "photos": None, "name": {"givenName": "Ann", "familyName": None}, "meta": {}}
    answers("GET", f"{HOST}/scim/site/c/Users/u", body)

    user = await client.user("u").profile()

    assert ((), (), "Ann", None, True) == (
        user.emails,
        user.photos,
        user.name.given_name,
        user.name.family_name,
        user.active,
    )
    assert {"meta": {}} == user.extra


async def test_an_answer_is_json_whatever_its_type_says(answers, room):
    """A text message's reply is JSON all the same, and so is an upload's (protocol 10)."""
    answers("POST", f"{ROOM}/message", '{"id":"m","more":1}', status=201, content_type="text/plain")
    answers("POST", f"{ROOM}/media?name=x", '{"data":{"id":"f"}}', status=201, content_type="application/octet-stream")

    assert "m" == await room.send("hi")
    media = await room.upload(b"x", name="x")
    assert ("f", "r", None, None) == (media.id, media.conversation_id, media.name, media.size)


@pytest.mark.parametrize("body", ["", "{}", '{"id":"m"}', "null", "<html>"])
async def test_a_good_answer_to_a_change_may_say_anything(answers, room, body):
    """Edits, deletes, archiving and states only need to succeed (protocol 5.12)."""
    answers("PUT", f"{ROOM}/message/m", body)
    answers("DELETE", f"{ROOM}/message/m", body)
    answers("PUT", f"{ROOM}/archive", body)
    answers("PATCH", f"{ROOM}/roster", body)

    assert [None] * 4 == [
        await room.edit("m", "hi"),
        await room.delete("m"),
        await room.archive(),
        await room.invite("u"),
    ]


async def test_an_update_without_an_answer_asks_for_the_conversation(answers, room):
    """So that the caller gets it either way (protocol 5.5)."""
    answers("PATCH", ROOM, "", status=204)
    answers("GET", ROOM, {"id": "r", "name": "new"})

    assert "new" == (await room.update(name="new")).name


@pytest.mark.parametrize(("body", "found"), [({"id": "u"}, "u"), ({}, None), ({"id": None}, None), ({"id": 5}, None)])
async def test_a_lookup_without_an_id_is_nobody(answers, client, body, found):
    """A good answer need not hold one (protocol 5.21)."""
    answers("GET", f"{HOST}/users/lookup?email=a@b.invalid&site=c&product=chat", body)

    assert found == await client.find_user("a@b.invalid")


async def test_a_module_is_its_descriptor_without_the_key(answers, room):
    """Nothing else may stand beside the values (protocol 4.11)."""
    values = [{"key": "k", "name": {"value": "K"}}, {"key": "l"}]
    answers("GET", f"{ROOM}/app/module/chat:glance?start=0&limit=75", {"values": values})

    assert [
        Module(key="k", type="chat:glance", descriptor={"name": {"value": "K"}}),
        Module(key="l", type="chat:glance"),
    ] == await room.modules("chat:glance").collect(limit=None)


@pytest.mark.parametrize("text", ["42", "null", '"quoted"', "", "naïve"])
async def test_rendered_text_stays_text(answers, client, text):
    """Even where it looks like JSON (protocol 5.22)."""
    answers("POST", f"{HOST}/pf-editor-service/convert?from=markdown&to=adf", MESSAGE["body"])
    answers("POST", f"{HOST}/pf-editor-service/render", text, content_type="application/json")

    assert text == await client.render_text(await client.markdown_to_document("x"))


@pytest.mark.parametrize(("body", "value"), [("", None), (" \n", None), ("null", None), ("[1]", [1]), ("5", 5)])
async def test_request_gives_any_json(answers, client, body, value):
    """An empty answer is None."""
    answers("GET", f"{HOST}/anything", body)

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
        ("", lambda r: r.get(), {"name": "x"}, "$.id"),
        ("", lambda r: r.get(), {"id": "r", "isArchived": "no"}, "$.is_archived"),
        ("", lambda r: r.get(), {"id": "r", "created": "soon"}, "$.created"),
        ("", lambda r: r.get(), [], "$"),
    ],
)
async def test_a_misfit_is_told_by_its_path_with_the_bytes(answers, room, url, call, body, path):
    """Where in the answer, what was expected, and what the service really sent."""
    answers("GET", f"{ROOM}/{url}".rstrip("/"), body)

    with pytest.raises(DecodeError) as caught:
        await call(room)

    sent = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    assert path == caught.value.path
    assert str(caught.value).endswith(f"@ {path}")
    assert caught.value.raw in sent
    assert not caught.value.maybe_processed


async def test_a_sent_message_whose_id_cannot_be_read_may_have_been_sent(answers, room):
    """Sending it again could send it twice."""
    answers("POST", f"{ROOM}/message", "{}", status=201)

    with pytest.raises(DecodeError, match=r"POST /site/c/conversation/r/message: .* @ \$\.id") as caught:
        await room.send("hi")

    assert caught.value.maybe_processed
    assert not caught.value.retryable


@pytest.mark.parametrize("told", [{}, {"expires_in": None}, {"expires_in": 86400, "scope": 5, "token_type": None}])
async def test_a_token_needs_nothing_beside_itself(answers, told):
    """Its scope and type are not looked at (protocol 2.2)."""
    answers("POST", f"{HOST}/oauth/token", {"access_token": "given to us"} | told)
    answers("GET", f"{HOST}/me", {"account_id": "bot"})

    async with StrideClient(
        ClientCredentials("id", "a secret of 64 characters"), cloud_id="c", settings=Settings(base_url=HOST)
    ) as client:
        assert "bot" == (await client.me()).account_id


@pytest.mark.parametrize("body", ["", "[]", "<html>", '{"access_token":""}', '{"access_token":5}', '{"token":"abc"}'])
async def test_a_token_call_without_a_token_is_undecodable(answers, body):
    """The body is neither quoted nor kept: it might hold one after all."""
    answers("POST", f"{HOST}/oauth/token", body)

    async with StrideClient(
        ClientCredentials("id", "a secret of 64 characters"), cloud_id="c", settings=Settings(base_url=HOST)
    ) as client:
        with pytest.raises(DecodeError, match="the token call's answer") as caught:
            await client.me()

    assert b"" == caught.value.raw
