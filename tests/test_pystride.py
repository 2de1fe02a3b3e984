"""Other clients on the local server: the published `pystride`, and the requests that others are known to send."""

import asyncio
import json

import aiohttp
import pytest
import requests
import stride.stride as pystride

DOCUMENT = {
    "version": 1,
    "type": "doc",
    "content": [{"type": "paragraph", "content": [{"type": "text", "text": "hi"}]}],
}


def use_server(monkeypatch, server):
    """Let `pystride` and what is built on it call a server instead of the service."""
    urls = {
        "BEARER_TOKEN_URL": "/oauth/token",
        "SITE_API_URL": "/site",
        "USER_API_URL": "/scim/site",
        "IDENTITY_USER_API_URL": "/users",
        "MODULE_API_URL": "/app/module",
    }
    for name, path in urls.items():
        monkeypatch.setattr(pystride, name, server.url + path)


@pytest.fixture
def pystride_client(server, monkeypatch):
    """Return `pystride`, unmodified except for the URL of the service."""
    use_server(monkeypatch, server)
    return pystride.Stride(server.cloud_id, server.client_id, server.client_secret)


@pytest.fixture
async def http(server):
    """Yield a plain HTTP session for the server, with a valid token."""
    async with aiohttp.ClientSession(server.url) as session:
        credentials = {
            "grant_type": "client_credentials",
            "client_id": server.client_id,
            "client_secret": server.client_secret,
        }
        async with session.post("/oauth/token", json=credentials) as answer:
            session.headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"
        yield session


@pytest.fixture
def room(server):
    return server.add_conversation("general")


@pytest.fixture
def path(server, room):
    return f"/site/{server.cloud_id}/conversation/{room}"


async def test_pystride_finds_rooms_by_their_exact_name(server, pystride_client):
    """The server matches parts of names; the library compares complete ones."""
    server.add_conversation("general chat")
    room = server.add_conversation("general")

    assert room == await asyncio.to_thread(pystride_client.get_room_id, "general")
    assert await asyncio.to_thread(pystride_client.get_room_id, "gener") is None


@pytest.mark.parametrize("way", ["send_message", "message_room"])
async def test_pystride_sends_to_rooms(server, pystride_client, client, room, way):
    """Its current and its older method both work, and return the id of the message."""
    send = {
        "send_message": lambda: pystride_client.send_message(DOCUMENT, room_id=room),
        "message_room": lambda: pystride_client.message_room(room, DOCUMENT),
    }[way]

    answer = await asyncio.to_thread(send)

    assert 201 == answer.status_code
    assert "hi" == (await client.conversation(room).message(answer.json()["id"])).text


@pytest.mark.parametrize("way", ["send_message", "message_user"])
async def test_pystride_sends_to_people(server, pystride_client, client, way):
    """It requests the direct conversation first, with an unescaped colon in the user id."""
    ann = server.add_user("Ann", id="557058:89bc337e-c8d5-4010-bc57-20de11d148d3")
    send = {
        "send_message": lambda: pystride_client.send_message(DOCUMENT, user_id=ann),
        "message_user": lambda: pystride_client.message_user(ann, DOCUMENT),
    }[way]

    answer = await asyncio.to_thread(send)

    direct = await client.user(ann).conversation()
    assert direct.id == await asyncio.to_thread(pystride_client.get_user_room_id, ann)
    assert ["hi"] == [message.text async for message in client.conversation(direct.id).history()]
    assert answer.json()["id"] == (await client.conversation(direct.id).recent(1))[0].id


async def test_pystride_finds_people(server, pystride_client):
    """It looks them up by address, and then requests their profile."""
    ann = server.add_user("Ann", email="ann@example.invalid")

    found = await asyncio.to_thread(pystride_client.get_user_id_from_email, "ann@example.invalid")
    profile = await asyncio.to_thread(pystride_client.user_details, found)

    assert ann == found
    assert "Ann" == profile.json()["displayName"]
    with pytest.raises(requests.HTTPError, match="404"):
        await asyncio.to_thread(pystride_client.get_user_id_from_email, "unknown@example.invalid")


@pytest.mark.parametrize("personal", [True, False])
async def test_pystride_updates_glances(server, pystride_client, room, personal):
    """It uses the earlier form of the call, with a plain string as label and null for what it does not name."""
    ann = server.add_user("Ann") if personal else None

    answer = await asyncio.to_thread(pystride_client.glance_update, "builds", room, ann, "3 failed")

    state = server.module_state("chat:glance", "builds", conversation_id=room, user_id=ann or "")
    assert 204 == answer.status_code
    assert {"value": "3 failed"} == state["label"]


async def test_pystride_requests_one_token_and_accepts_room_tokens(server, pystride_client, room):
    """A token serves its calls until it expires. A room token needs no credentials."""
    guest = pystride.Stride(server.cloud_id, access_token=server.room_token(room))

    await asyncio.to_thread(pystride_client.send_message, DOCUMENT, room)
    await asyncio.to_thread(pystride_client.send_message, DOCUMENT, room)
    await asyncio.to_thread(guest.send_message, DOCUMENT, room)

    assert 1 == len(server.calls.matching("POST", "/oauth/token"))
    assert [201] * 3 == [call.status for call in server.calls.matching("POST", "*/message")]
    with pytest.raises(requests.HTTPError, match="403"):
        await asyncio.to_thread(guest.get_user_room_id, server.add_user("Ann"))


async def test_every_public_method_of_pystride_is_tested():
    """The tests above call all of them."""
    tried = {
        "access_token",
        "get_room_id",
        "get_user_id_from_email",
        "get_user_room_id",
        "glance_update",
        "headers",
        "message_room",
        "message_user",
        "send_message",
        "user_details",
    }

    assert tried == {name for name in vars(pystride.Stride) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", json.dumps(DOCUMENT)),
        ("application/json", json.dumps({"body": DOCUMENT})),
        ("application/json", json.dumps({"body": {key: DOCUMENT[key] for key in ("type", "content")}})),
        ("Application/Json", json.dumps(DOCUMENT)),
        ("application/json; charset=utf-8", json.dumps(DOCUMENT)),
        ("text/plain", "hi"),
        ("Text/Markdown; charset=UTF-8", "hi"),
    ],
)
async def test_messages_are_accepted_in_every_form_that_clients_send(server, http, path, content_type, body):
    """These are bare and wrapped documents, with and without a version, and content types in any case."""
    async with http.post(f"{path}/message", data=body, headers={"Content-Type": content_type}) as answer:
        response = await answer.json()

    async with http.get(f"{path}/message/{response['id']}") as read:
        assert "hi" == (await read.json())["text"]
    assert (201, "application/json") == (answer.status, answer.content_type)


@pytest.mark.parametrize("query", ["?start=0&10", "?10", "?start=0&=10", "?&&start=0"])
async def test_parameters_without_a_name_are_ignored(server, http, path, room, query):
    """A Node client forgets the name of its limit."""
    async with http.get(f"{path}/app/module/chat:bot{query}") as answer:
        assert {"values": [], "start": 0, "limit": 10, "size": 0} == await answer.json()


@pytest.mark.parametrize("rest", ["", "/roster", "/message", "/message/recent", "/app/module/chat:glance"])
async def test_a_content_type_without_a_body_does_no_harm(http, path, rest):
    """Clients send the content type of JSON with reads."""
    async with http.get(path + rest, headers={"Content-Type": "application/json"}) as answer:
        assert 200 == answer.status


@pytest.mark.parametrize("body", [b"", b"{}"])
@pytest.mark.parametrize("verb", ["archive", "unarchive"])
async def test_archiving_accepts_an_empty_body_and_an_empty_object(http, path, verb, body):
    """The same Node client sends both, with the content type of JSON."""
    async with http.put(f"{path}/{verb}", data=body, headers={"Content-Type": "application/json"}) as answer:
        assert (204, b"") == (answer.status, await answer.read())


@pytest.mark.parametrize("form", ["json", "form"])
async def test_the_token_call_accepts_what_clients_send(server, form):
    """It accepts JSON or a form, any audience, and the header `Authorization: null`."""
    fields = {
        "grant_type": "client_credentials",
        "client_id": server.client_id,
        "client_secret": server.client_secret,
        "audience": server.url,
    }
    sent = {"json": fields} if form == "json" else {"data": fields}

    async with (
        aiohttp.ClientSession(server.url) as http,
        http.post("/oauth/token", headers={"Authorization": "null"}, **sent) as answer,
    ):
        response = await answer.json()

    assert {"access_token", "scope", "expires_in", "token_type"} == set(response)
    assert (3600, "Bearer") == (response["expires_in"], response["token_type"])


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
async def test_bearer_is_accepted_in_any_case(server, http, scheme):
    """One client copies it from `token_type`."""
    token = http.headers["Authorization"].removeprefix("Bearer ")

    async with http.get("/me", headers={"Authorization": f"{scheme} {token}"}) as answer:
        assert server.app_account_id == (await answer.json())["account_id"]


async def test_colons_in_paths_are_accepted_raw_and_escaped(server, http, path):
    """User ids and module types contain them."""
    ann = server.add_user("Ann", id="557058:89bc337e-c8d5-4010-bc57-20de11d148d3")
    site = f"/site/{server.cloud_id}/conversation/user"

    ids = set()
    for user in (ann, ann.replace(":", "%3A"), ann.replace(":", "%3a")):
        async with http.get(f"{site}/{user}") as answer:
            ids.add((await answer.json())["id"])
    async with http.get(f"{path}/app/module/chat%3Abot%3Amessages") as answer:
        assert 200 == answer.status

    assert 1 == len(ids)


async def test_uploads_may_be_chunked_and_have_spaces_in_their_name(http, path):
    """Node streams have no length, and names are not escaped in the query. The response is JSON all the same."""

    async def parts():
        yield b"one "
        yield b"two"

    async with http.post(
        f"{path}/media?name=a%20b.txt", data=parts(), headers={"Content-Type": "application/octet-stream"}
    ) as answer:
        response = (await answer.json())["data"]

    async with http.get(f"{path}/media/{response['id']}") as body:
        assert b"one two" == await body.read()
    assert ("a b.txt", 7) == (response["name"], response["size"])
