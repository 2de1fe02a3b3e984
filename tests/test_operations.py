"""Every operation of the service through the client: what is sent, and what is returned."""

import asyncio
import hashlib
import json
import re
from datetime import datetime
from typing import get_args

import pytest
from attrs import fields

from stride_async import Forbidden, Markdown, Module, ModuleType, NotFound, Site
from stride_async.document import doc, mention, paragraph
from stride_async.server import Choices, LocalServer
from tests.conftest import client_of

# Method and path by the number in the table of the protocol (protocol 5).
OPERATIONS = {
    1: ("POST", "/oauth/token"),
    2: ("GET", "/site/"),
    3: ("GET", "/site/{site}/conversation"),
    4: ("POST", "/site/{site}/conversation"),
    5: ("GET", "/site/{site}/conversation/{room}"),
    6: ("PATCH", "/site/{site}/conversation/{room}"),
    7: ("PUT", "/site/{site}/conversation/{room}/archive"),
    8: ("PUT", "/site/{site}/conversation/{room}/unarchive"),
    9: ("GET", "/site/{site}/conversation/{room}/roster"),
    10: ("PATCH", "/site/{site}/conversation/{room}/roster"),
    11: ("GET", "/site/{site}/conversation/user/{user}"),
    12: ("POST", "/site/{site}/conversation/{room}/message"),
    13: ("POST", "/site/{site}/conversation/user/{user}/message"),
    14: ("PUT", "/site/{site}/conversation/{room}/message/{message}"),
    15: ("PUT", "/site/{site}/conversation/user/{user}/message/{message}"),
    16: ("DELETE", "/site/{site}/conversation/{room}/message/{message}"),
    17: ("DELETE", "/site/{site}/conversation/user/{user}/message/{message}"),
    18: ("GET", "/site/{site}/conversation/{room}/message/{message}"),
    19: ("GET", "/site/{site}/conversation/{room}/message"),
    20: ("GET", "/site/{site}/conversation/{room}/message/recent"),
    21: ("GET", "/site/{site}/conversation/{room}/message/{message}/context"),
    22: ("POST", "/site/{site}/conversation/{room}/media"),
    23: ("GET", "/site/{site}/conversation/{room}/media/{media}"),
    24: ("DELETE", "/site/{site}/conversation/{room}/media/{media}"),
    25: ("GET", "/site/{site}/conversation/{room}/app/module/{type}"),
    26: ("PUT", "/site/{site}/conversation/{room}/app/module/{type}/{key}"),
    27: ("DELETE", "/site/{site}/conversation/{room}/app/module/{type}/{key}"),
    28: ("PUT", "/site/{site}/conversation/{room}/app/module/chat:glance/{key}/state"),
    29: ("PUT", "/site/{site}/conversation/{room}/app/module/chat:configuration/{key}/state"),
    30: ("POST", "/app/module/chat/conversation/chat:glance/{key}/state"),
    31: ("POST", "/app/module/chat/conversation/chat:configuration/{key}/state"),
    32: ("GET", "/scim/site/{site}/Users/{user}"),
    33: ("GET", "/users/lookup"),
    34: ("GET", "/me"),
    35: ("POST", "/pf-editor-service/convert"),
    36: ("POST", "/pf-editor-service/render"),
}

# The operations that the first generation of the service's reference lists.
LISTED_FIRST = {3, 4, 5, 6, 7, 8, 9, 12, 13, 18, 19, 20, 21, 22, 23, 30, 31}

MODULE_TYPES = get_args(ModuleType)


@pytest.fixture
def room_id(server):
    return server.add_conversation("general")


@pytest.fixture
def room(client, room_id):
    return client.conversation(room_id)


@pytest.fixture
def here(server, room_id):
    return f"/site/{server.cloud_id}/conversation/{room_id}"


@pytest.fixture
def ann(server):
    return server.add_user("Ann", id="557058:89bc337e-c8d5-4010-bc57-20de11d148d3", email="ann@example.invalid")


def calls_of(server):
    return [call for call in server.calls if call.path != "/oauth/token"]


def the_call(server, *, content_type=None):
    """Return the only call besides the token call, after checking the headers that every call has."""
    [call] = calls_of(server)
    assert re.fullmatch(r"Bearer \S+", call.headers["Authorization"])
    assert "stride_async" == call.headers["User-Agent"]
    assert content_type == call.headers.get("Content-Type")
    return call


def request_of(call):
    """Return method, path, query and JSON body as one value."""
    return call.method, call.path, dict(call.query), json.loads(call.body) if call.body else None


def operation_of(call):
    """Return the number of the operation of a call."""
    found = [
        (path.count("{"), number)
        for number, (method, path) in OPERATIONS.items()
        if call.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), call.path)
    ]
    return min(found)[1]  # A fixed segment wins over a parameter: `recent` is not a message id.


async def tour(client, server):
    """Make every call once, in a sensible order, and check the results in passing."""
    ann = server.add_user("Ann", id="557058:89bc337e-c8d5-4010-bc57-20de11d148d3", email="ann@example.invalid")
    assert server.app_account_id == (await client.me()).account_id
    assert [server.cloud_id] == [site.id for site in await client.sites()]
    room = await client.create_conversation("tour", topic="all of it")
    assert "on tour" == (await room.update(name="on tour")).name
    assert ["on tour"] == [found.name async for found in client.conversations(query="tour")]
    assert "all of it" == (await room.get()).topic
    await room.invite(ann)
    assert ann in await room.roster().collect(limit=None)
    await room.remove(ann)
    assert ann not in await room.roster().collect(limit=None)
    first, second = await room.send("first"), await room.send(Markdown("*second*"))
    await room.edit(first, "changed")
    assert "changed" == (await room.message(first)).text
    assert [second, first] == [message.id async for message in room.history()]
    assert [second] == [message.id for message in await room.recent(1)]
    assert [first, second] == [message.id for message in await room.context(first, after=1)]
    await room.delete(second)
    assert [first] == [message.id async for message in room.history()]
    media = await room.upload(b"bytes", name="a.txt")
    async with room.open_media(media.id) as body:
        assert b"bytes" == b"".join([chunk async for chunk in body.chunks()])
    await room.delete_media(media.id)
    for kind in MODULE_TYPES:
        await room.put_module(kind, "key", {"url": "/u"})
        assert ["key"] == [module.key async for module in room.modules(kind)]
        await room.delete_module(kind, "key")
        assert [] == await room.modules(kind).collect(limit=None)
    await room.set_glance("glance", label="a")
    await room.set_configuration("configuration", configured=True)
    await client.update_glance("glance", label="b", conversation_id=room.id, user_id=ann)
    await client.update_configuration("configuration", configured=False, conversation_id=room.id)
    assert "Ann" == (await client.user(ann).profile()).display_name
    assert ann == await client.find_user("ann@example.invalid")
    assert await client.find_user("unknown@example.invalid") is None
    direct = await client.user(ann).conversation()
    note = await client.user(ann).send("hello")
    await client.user(ann).edit(note, "hello again")
    assert ["hello again"] == [message.text async for message in client.conversation(direct.id).history()]
    await client.user(ann).delete(note)
    document = await client.markdown_to_document("**bold**")
    assert "bold" == await client.render_text(document)
    await room.archive()
    await room.unarchive()
    assert not (await room.get()).is_archived


def changed_names(choices):
    return " ".join(field.name for field in fields(Choices) if getattr(choices, field.name) != field.default)


async def test_the_client_makes_every_call_of_the_protocol(client, server):
    """A tour of the entire client makes exactly the calls in the protocol's table."""
    await tour(client, server)

    assert set(OPERATIONS) == {operation_of(call) for call in server.calls}
    assert LISTED_FIRST < set(OPERATIONS)
    assert {
        kind
        for kind in MODULE_TYPES
        for method in ("GET", "PUT", "DELETE")
        if server.calls.matching(method, f"*/app/module/{kind}*")
    } == set(MODULE_TYPES)


@pytest.mark.parametrize(
    "choices",
    [
        Choices(single_message="message", history_key="values", newest_first=True, chunked_json=True),
        Choices(single_message="messages", edit_answers_id=False, upload_details=False, site_list="objects"),
        Choices(update_answers_object=False, direct_answers_object=False, list_links=True, last_cursor="absent"),
        Choices(direct_open_failures=2, module_list_details=False, unknown_email_status=200, last_cursor="same"),
        Choices(create_status=200, state_status=200, roster_status=200, media_delete_status=200, last_cursor="null"),
        Choices(roster_paging=False, roster_lists_app=False, direct_named=False, scim_content_type="text/plain"),
    ],
    ids=changed_names,
)
async def test_the_client_reads_every_possible_form_of_a_response(choices):
    """Where the form is unknown, the tour also works with the other readings."""
    async with LocalServer(rate_limit=None, choices=choices) as server, client_of(server) as client:
        await tour(client, server)


async def test_token_1(client, server):
    """The token is requested as JSON with an audience and without a token, once for all waiting calls."""
    await asyncio.gather(*(client.me() for _ in range(5)))

    [call] = server.calls.matching("POST", "/oauth/token")
    assert {
        "grant_type": "client_credentials",
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "audience": "api.atlassian.com",
    } == json.loads(call.body)
    assert "application/json" == call.headers["Content-Type"]
    assert "Authorization" not in call.headers


async def test_sites_2(client, server):
    """The path ends in a slash, and a site has its URL."""
    sites = await client.sites()

    assert ("GET", "/site/", {}, None) == request_of(the_call(server))
    assert [Site(id=server.cloud_id, url=f"{server.url}/site/{server.cloud_id}")] == sites


async def test_list_conversations_3(client, server):
    """Every filter is sent with the protocol's name, and the next page is requested with the cursor."""
    wanted = [server.add_conversation(f"team {letter}") for letter in "cab"]
    server.add_conversation("other")
    server.add_conversation("team z", privacy="private")
    listing = client.conversations(
        query="TEAM", include_private=False, include_archived=True, exclude_direct=True, sort="desc", page_size=2
    )

    found = await listing.collect(limit=None)

    first, second = calls_of(server)
    filters = {
        "include-private": "false",
        "include-archived": "true",
        "exclude-direct": "true",
        "query": "TEAM",
        "sort": "desc",
        "limit": "2",
    }
    path = f"/site/{server.cloud_id}/conversation"
    assert ("GET", path, filters, None) == request_of(first)
    assert {*filters, "cursor"} == set(dict(second.query))
    assert dict(second.query).items() > filters.items()
    assert ["team c", "team b", "team a"] == [room.name for room in found]
    assert set(wanted) == {room.id for room in found}


async def test_list_conversations_defaults_3(client, server, ann):
    """By default private rooms are included and archived ones are not. Direct conversations can be excluded."""
    server.add_conversation("archived", archived=True)
    server.add_conversation("private", privacy="private")
    server.add_conversation("Ann", type="direct", privacy="private", roster=[ann])

    assert ["Ann", "private"] == [room.name async for room in client.conversations()]
    assert ["private"] == [room.name async for room in client.conversations(exclude_direct=True)]
    assert [] == [room.name async for room in client.conversations(include_private=False)]
    assert ["archived"] == [room.name async for room in client.conversations(query="chive", include_archived=True)]


@pytest.mark.parametrize("name", ["R&D = 100 % of it + a/b?#c", "%41", "a_b.c-d~e", "Größe 日本", "x\ny"])
async def test_a_query_may_contain_any_character_3(client, server, name):
    """What has a meaning in a URL is percent-encoded, and the rest is sent as it is."""
    server.add_conversation(name)
    server.add_conversation("another")

    assert [name] == [room.name async for room in client.conversations(query=name)]


async def test_create_conversation_4(client, server):
    """Name, privacy and topic are sent, and a handle to the new room is returned."""
    room = await client.create_conversation("plans", privacy="private", topic="what next")

    path = f"/site/{server.cloud_id}/conversation"
    body = {"name": "plans", "privacy": "private", "topic": "what next"}
    assert ("POST", path, {}, body) == request_of(the_call(server, content_type="application/json"))
    made = await room.get()
    assert ("plans", "private", "what next", "group") == (made.name, made.privacy, made.topic, made.type)


async def test_get_conversation_5(room, server, here):
    """Every documented field is read, times are aware datetimes, and the link is kept in `extra`."""
    found = await room.get()

    assert ("GET", here, {}, None) == request_of(the_call(server))
    assert (room.id, server.cloud_id, "general", "", "group", "public", False) == (
        found.id,
        found.cloud_id,
        found.name,
        found.topic,
        found.type,
        found.privacy,
        found.is_archived,
    )
    assert found.created == found.modified
    assert found.created.utcoffset() is not None
    assert found.avatar_url.startswith("https://static.stride.com/default-room-avatars/")
    assert {"_links": {room.id: server.url + here}} == found.extra


async def test_update_conversation_6(room, server, here):
    """Only changes are sent, and the changed conversation is returned."""
    changed = await room.update(topic="lunch", privacy="private")

    body = {"topic": "lunch", "privacy": "private"}
    assert ("PATCH", here, {}, body) == request_of(the_call(server, content_type="application/json"))
    assert ("general", "lunch", "private") == (changed.name, changed.topic, changed.privacy)
    assert changed.modified >= changed.created


@pytest.mark.parametrize(("verb", "archived"), [("archive", True), ("unarchive", False)])
async def test_archive_and_unarchive_7_and_8(room, server, here, verb, archived):
    """An empty object is sent, nothing is returned, and a second call is not an error."""
    server.archive(room.id, archived=not archived)

    assert await getattr(room, verb)() is None

    call = the_call(server, content_type="application/json")
    assert ("PUT", f"{here}/{verb}", "2") == (call.method, call.path, call.headers["Content-Length"])
    await getattr(room, verb)()
    assert archived == (await room.get()).is_archived


async def test_roster_9(room, server, here):
    """It is requested by offset and limit, in the service's order. A full page is not the end."""
    people = [server.add_user(f"Person {number}") for number in range(4)]
    server.set_roster(room.id, people)

    found = await room.roster(page_size=2).collect(limit=None)

    assert [{"start": "0", "limit": "2"}, {"start": "2", "limit": "2"}, {"start": "4", "limit": "2"}] == [
        dict(call.query) for call in calls_of(server)
    ]
    assert {("GET", f"{here}/roster")} == {(call.method, call.path) for call in calls_of(server)}
    assert people == found


@pytest.mark.parametrize(("verb", "name"), [("invite", "add"), ("remove", "remove")])
async def test_change_roster_10(room, server, here, ann, verb, name):
    """The ids are sent as a list under one of two names."""
    bob = server.add_user("Bob")
    server.set_roster(room.id, [] if verb == "invite" else [ann, bob])

    await getattr(room, verb)(ann, bob)

    body = {name: [ann, bob]}
    assert ("PATCH", f"{here}/roster", {}, body) == request_of(the_call(server, content_type="application/json"))
    assert ([ann, bob] if verb == "invite" else []) == await room.roster().collect(limit=None)


async def test_direct_conversation_11(client, server, ann):
    """The colon of the user id is not escaped, and the conversation is created once."""
    found = await client.user(ann).conversation()

    assert ("GET", f"/site/{server.cloud_id}/conversation/user/{ann}", {}, None) == request_of(the_call(server))
    assert ("direct", "Ann", "private") == (found.type, found.name, found.privacy)
    assert found.id == (await client.user(ann).conversation()).id


@pytest.mark.parametrize(
    ("content", "content_type", "body", "text"),
    [
        ("naïve 🎉", "text/plain; charset=utf-8", "naïve 🎉", "naïve 🎉"),
        (Markdown("**bold** `x`"), "text/markdown; charset=utf-8", "**bold** `x`", "bold x"),
        (
            doc(paragraph("hi ", mention("557058:aa", "@Ann"))),
            "application/json",
            (
                '{"version":1,"type":"doc","content":[{"type":"paragraph","content":[{"type":"text","text":"hi "},'
                '{"type":"mention","attrs":{"id":"557058:aa","text":"@Ann"}}]}]}'
            ),
            "hi @Ann",
        ),
    ],
    ids=["text", "markdown", "document"],
)
@pytest.mark.parametrize("verb", ["send", "edit"])
async def test_send_12_and_edit_14_in_all_three_content_types(
    room, server, here, verb, content, content_type, body, text
):
    """Text and Markdown are sent unchanged and a document bare; the id of the message is returned."""
    message_id = server.add_message(room.id, "before") if verb == "edit" else None

    sent = await (room.send(content) if verb == "send" else room.edit(message_id, content))

    call = the_call(server, content_type=content_type)
    where = ("POST", f"{here}/message") if verb == "send" else ("PUT", f"{here}/message/{message_id}")
    assert where == (call.method, call.path)
    assert body == call.body.decode()
    message = await room.message(sent or message_id)
    assert (text, server.app_account_id) == (message.text, message.sender_id)


async def test_direct_messages_13_15_17(client, server, ann):
    """They are sent, edited and deleted by the id of the person, and are in the direct conversation."""
    person = client.user(ann)

    note = await person.send("one")
    await person.edit(note, Markdown("*two*"))
    read = await client.conversation((await person.conversation()).id).message(note)
    await person.delete(note)

    path = f"/site/{server.cloud_id}/conversation/user/{ann}/message"
    sent, edited, _, _, deleted = calls_of(server)
    assert ("POST", path, b"one") == (sent.method, sent.path, sent.body)
    assert ("PUT", f"{path}/{note}", b"*two*") == (edited.method, edited.path, edited.body)
    assert ("DELETE", f"{path}/{note}", b"") == (deleted.method, deleted.path, deleted.body)
    assert "two" == read.text
    with pytest.raises(NotFound, match=note):
        await person.edit(note, "three")


async def test_delete_message_16(room, server, here):
    """Nothing is sent, and the message is gone. A second call raises `NotFound`."""
    message_id = server.add_message(room.id, "away with it")

    await room.delete(message_id)

    assert ("DELETE", f"{here}/message/{message_id}", {}, None) == request_of(the_call(server))
    with pytest.raises(NotFound, match=message_id):
        await room.delete(message_id)


async def test_messages_of_others_cannot_be_edited_or_deleted_14_and_16(room, server, ann):
    """Only the author may do that."""
    message_id = server.add_message(room.id, "hers", sender_id=ann)

    with pytest.raises(Forbidden, match=message_id):
        await room.edit(message_id, "mine")
    with pytest.raises(Forbidden, match=message_id):
        await room.delete(message_id)
    assert "hers" == (await room.message(message_id)).text


async def test_get_message_18(room, server, here, ann):
    """All five fields are read: the time to the nanosecond, the body on access, and the exact bytes."""
    message_id = server.add_message(room.id, "hi there", sender_id=ann, ts="2017-10-24T22:16:30.243693008Z")

    message = await room.message(message_id)

    assert ("GET", f"{here}/message/{message_id}", {}, None) == request_of(the_call(server))
    assert (message_id, ann, "hi there") == (message.id, message.sender_id, message.text)
    assert 1_508_883_390_243_693_008 == message.ts
    assert datetime.fromisoformat("2017-10-24T22:16:30.243693+00:00") == message.sent_at
    assert doc(paragraph("hi there")) == message.body
    assert "2017-10-24T22:16:30.243693008Z" == json.loads(message.raw)["ts"]


async def test_history_19(room, server, here):
    """It is requested newest first, before the oldest message so far, until a page is empty."""
    ids = server.fill(room.id, messages=5)

    found = await room.history(page_size=2).collect(limit=None)

    assert [
        {"limit": "2"},
        {"beforeMessage": ids[3], "limit": "2"},
        {"beforeMessage": ids[1], "limit": "2"},
        {"beforeMessage": ids[0], "limit": "2"},
    ] == [dict(call.query) for call in calls_of(server)]
    assert {("GET", f"{here}/message")} == {(call.method, call.path) for call in calls_of(server)}
    assert ids[::-1] == [message.id for message in found]


async def test_history_between_bounds_19(room, server):
    """Both bounds are exclusive, and give the same by message and by time."""
    ids = server.fill(room.id, messages=9, ts="2018-06-01T08:00:00Z")
    moments = [datetime.fromisoformat(f"2018-06-01T08:00:0{second}+00:00") for second in (2, 6)]

    by_id = await room.history(after=ids[2], before=ids[6]).collect(limit=None)
    by_time = await room.history(after=moments[0], before=moments[1]).collect(limit=None)

    assert [ids[5], ids[4], ids[3]] == [message.id for message in by_id] == [message.id for message in by_time]
    queries = [set(dict(call.query)) for call in calls_of(server)]
    assert {"afterMessage", "beforeMessage", "limit"} == queries[0]
    assert {"afterTimestamp", "beforeTimestamp", "limit"} in queries


async def test_recent_20(room, server, here):
    """The latest messages are returned oldest first."""
    ids = server.fill(room.id, messages=5)

    found = await room.recent(3)

    assert ("GET", f"{here}/message/recent", {"limit": "3"}, None) == request_of(the_call(server))
    assert ids[2:] == [message.id for message in found]


async def test_context_21(room, server, here):
    """The message and its neighbors are returned oldest first."""
    ids = server.fill(room.id, messages=9)

    found = await room.context(ids[4], before=2, after=1)

    query = {"before": "2", "after": "1"}
    assert ("GET", f"{here}/message/{ids[4]}/context", query, None) == request_of(the_call(server))
    assert ids[2:6] == [message.id for message in found]
    assert [ids[4]] == [message.id for message in await room.context(ids[4])]


async def test_upload_22(room, server, here, tmp_path):
    """The raw bytes are sent with their length and the name in the query, and the `Media` is returned."""
    data = bytes(range(256)) * 1000
    path = tmp_path / "grün & co.png"
    path.write_bytes(data)

    media = await room.upload(path)

    call = the_call(server, content_type="application/octet-stream")
    assert ("POST", f"{here}/media", {"name": path.name}) == (call.method, call.path, dict(call.query))
    assert (str(len(data)), len(data)) == (call.headers["Content-Length"], call.body_bytes)
    assert (path.name, len(data), "image/png", "image", room.id) == (
        media.name,
        media.size,
        media.mime_type,
        media.media_type,
        media.conversation_id,
    )
    assert hashlib.sha256(data).hexdigest() == server.truth().conversations[room.id].media[media.id].sha256


@pytest.mark.parametrize("redirect", [False, True])
async def test_download_23(redirect, tmp_path):
    """It is read as a stream and into a file. Another host does not receive the token."""
    data = bytes(range(256)) * 1000
    async with LocalServer(rate_limit=None, media_redirect=redirect) as server, client_of(server) as client:
        room = client.conversation(server.add_conversation("general"))
        media_id = server.add_media(room.id, "a b.bin", data, mime_type="image/png")

        async with room.open_media(media_id) as media:
            about = (media.name, media.size, media.content_type)
            streamed = b"".join([chunk async for chunk in media.chunks(1000)])
        file = await room.download(media_id, tmp_path / "here.bin")

        path = f"/site/{server.cloud_id}/conversation/{room.id}/media/{media_id}"
        assert 2 == len(server.calls.matching("GET", path))
        elsewhere = [call for call in server.calls if call.origin == "media"]
        assert (2 if redirect else 0) == len(elsewhere)
        assert not any("Authorization" in call.headers for call in elsewhere)
    assert ("a b.bin", len(data), "image/png") == about
    assert data == streamed == (tmp_path / "here.bin").read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest(), True) == (file.size, file.sha256, file.verified)
    assert ["here.bin"] == [path.name for path in tmp_path.iterdir()]


async def test_delete_media_24(room, server, here):
    """The file is gone, and the message that displays it stays."""
    media_id = server.add_media(room.id, "a.txt", b"data")

    await room.delete_media(media_id)

    assert ("DELETE", f"{here}/media/{media_id}", {}, None) == request_of(the_call(server))
    with pytest.raises(NotFound, match=media_id):
        async with room.open_media(media_id):
            pass


@pytest.mark.parametrize("kind", MODULE_TYPES)
async def test_modules_25_26_27(room, server, here, kind):
    """A module is created, listed with its descriptor, replaced and deleted. It is not listed under other types."""
    await room.put_module(kind, "my key", {"url": "/one", "name": {"value": "One"}})
    await room.put_module(kind, "my key", {"url": "/two"})
    await room.put_module(kind, "other", {})
    listed = await room.modules(kind, page_size=1).collect(limit=None)
    await room.delete_module(kind, "other")

    where = f"{here}/app/module/{kind}"
    body = {"url": "/one", "name": {"value": "One"}}
    first, *_, last = calls_of(server)
    assert ("PUT", f"{where}/my key", {}, body) == request_of(first)
    assert [{"start": "0", "limit": "1"}, {"start": "1", "limit": "1"}] == [
        dict(call.query) for call in server.calls.matching("GET", where)
    ][:2]
    assert ("DELETE", f"{where}/other", {}, None) == request_of(last)
    assert [Module(key="my key", type=kind, descriptor={"url": "/two"}), Module(key="other", type=kind)] == listed
    assert ["my key"] == [module.key async for module in room.modules(kind)]
    another = MODULE_TYPES[MODULE_TYPES.index(kind) - 1]
    assert [] == await room.modules(another).collect(limit=None)


async def test_state_of_one_conversation_28_and_29(room, server, here):
    """This is the later form, with the conversation in the path."""
    await room.set_glance("builds", label="3 failed", metadata={"since": 5})
    await room.set_configuration("setup", configured=True)

    glance, configuration = calls_of(server)
    body = {"label": "3 failed", "metadata": {"since": 5}}
    assert ("PUT", f"{here}/app/module/chat:glance/builds/state", {}, body) == request_of(glance)
    assert ("PUT", f"{here}/app/module/chat:configuration/setup/state", {}, {"configured": True}) == request_of(
        configuration
    )
    assert {"label": {"value": "3 failed"}, "metadata": {"since": 5}} == server.module_state(
        "chat:glance", "builds", conversation_id=room.id
    )
    assert {"configured": True} == server.module_state("chat:configuration", "setup", conversation_id=room.id)


@pytest.mark.parametrize("narrowed", [{}, {"conversation_id"}, {"user_id"}, {"conversation_id", "user_id"}])
async def test_update_glance_30(client, server, room_id, ann, narrowed):
    """This is the earlier form. The context names the site, a conversation, a person, or a person in a conversation."""
    place = {name: {"conversation_id": room_id, "user_id": ann}[name] for name in narrowed}

    await client.update_glance("builds", label="all green", **place)

    context = {"cloudId": server.cloud_id}
    context |= {"conversationId": room_id} if "conversation_id" in narrowed else {}
    context |= {"userId": ann} if "user_id" in narrowed else {}
    path = "/app/module/chat/conversation/chat:glance/builds/state"
    body = {"context": context, "label": "all green", "metadata": {}}
    assert ("POST", path, {}, body) == request_of(the_call(server, content_type="application/json"))
    assert {"value": "all green"} == server.module_state("chat:glance", "builds", **place)["label"]


async def test_update_configuration_31(client, server, room_id):
    """This is the earlier form, with the conversation in the context."""
    await client.update_configuration("setup", configured=False, conversation_id=room_id)

    path = "/app/module/chat/conversation/chat:configuration/setup/state"
    body = {"context": {"cloudId": server.cloud_id, "conversationId": room_id}, "configured": False}
    assert ("POST", path, {}, body) == request_of(the_call(server, content_type="application/json"))
    assert {"configured": False} == server.module_state("chat:configuration", "setup", conversation_id=room_id)


async def test_profile_32(client, server, ann):
    """The path has a capital U. Name and addresses are read, and unknown fields are kept."""
    user = await client.user(ann).profile()

    assert ("GET", f"/scim/site/{server.cloud_id}/Users/{ann}", {}, None) == request_of(the_call(server))
    assert (ann, "ann@example.invalid", "Ann", True) == (user.id, user.user_name, user.display_name, user.active)
    assert [("ann@example.invalid", True)] == [(email.value, email.primary) for email in user.emails]
    assert ["urn:ietf:params:scim:schemas:core:2.0:User"] == user.extra["schemas"]


async def test_find_user_33(client, server, ann):
    """The address is escaped in the query. The result for an unknown address is None."""
    found = await client.find_user("ann@example.invalid")

    query = {"email": "ann@example.invalid", "site": server.cloud_id, "product": "chat"}
    assert ("GET", "/users/lookup", query, None) == request_of(the_call(server))
    assert ann == found
    assert await client.find_user("a+b&c=d@example.invalid") is None
    assert "a+b&c=d@example.invalid" == dict(server.calls[-1].query)["email"]


async def test_me_34(client, server):
    """It is the app's own account, by which it recognizes its own messages."""
    me = await client.me()

    assert ("GET", "/me", {}, None) == request_of(the_call(server))
    assert server.app_account_id == me.account_id
    assert me.name
    assert me.email.endswith("@connect.atlassian.com")


async def test_markdown_to_document_35(client, server):
    """The service converts the Markdown."""
    document = await client.markdown_to_document("# Title\n\n- a\n- b")

    path = "/pf-editor-service/convert"
    call = the_call(server, content_type="application/json")
    assert ("POST", path, {"from": "markdown", "to": "adf"}, {"input": "# Title\n\n- a\n- b"}) == request_of(call)
    assert ["heading", "bulletList"] == [node.type for node in document.content]


@pytest.mark.parametrize("text", ["42", "true", "two words"])
async def test_render_text_36(client, server, text):
    """Plain text is requested and returned, even if it looks like a number."""
    rendered = await client.render_text(doc(paragraph(text)))

    call = the_call(server, content_type="application/json")
    assert ("POST", "/pf-editor-service/render", {}, doc(paragraph(text)).to_json()) == request_of(call)
    assert "text/plain" == call.headers["Accept"]
    assert text == rendered
