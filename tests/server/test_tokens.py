from __future__ import annotations

import pytest

from stride_async.server import Choices

from .calling import log_in


def credentials(server, **changed):
    fields = {"grant_type": "client_credentials", "client_id": server.client_id, "client_secret": server.client_secret}
    return {name: value for name, value in (fields | changed).items() if value is not None}


@pytest.mark.parametrize("encoding", ["json", "data"])
async def test_a_token_call_accepts_json_and_form_bodies(api, server, encoding):
    """Clients sent either; the response has all four fields."""
    reply = await api.call("POST", "/oauth/token", **{encoding: credentials(server, audience="http://127.0.0.1:9")})

    assert 200 == reply.status
    assert {"access_token", "scope", "expires_in", "token_type"} == reply.json.keys()
    assert (3600, "Bearer") == (reply.json["expires_in"], reply.json["token_type"])
    assert "participate:conversation" in reply.json["scope"].split()


async def test_a_token_call_ignores_a_null_authorization(api, server):
    """A published client sends the literal word null."""
    reply = await api.call("POST", "/oauth/token", json=credentials(server), headers={"Authorization": "null"})

    assert 200 == reply.status


async def test_earlier_tokens_stay_valid(api, server):
    """A client that fetches a token for each call does not lock itself out."""
    again = await log_in(api.http, server, server.client_id, server.client_secret)

    assert again.token != api.token
    assert 200 == (await api.get("/me")).status
    assert 200 == (await again.get("/me")).status


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "access_denied"),
        ({"client_id": "unknown"}, 401, "access_denied"),
        ({"client_secret": "ein Schlüssel"}, 401, "access_denied"),
        ({"grant_type": "password"}, 403, "unauthorized_client"),
        ({"grant_type": None}, 400, "invalid_request"),
        ({"client_secret": None}, 400, "invalid_request"),
    ],
)
async def test_an_invalid_token_call_gets_an_oauth_error(api, server, changed, status, error):
    """The response has an error and a description, and must not be cached."""
    reply = await api.call("POST", "/oauth/token", json=credentials(server, **changed))

    assert (status, error) == (reply.status, reply.json["error"])
    assert "no-store" in reply.headers["Cache-Control"]


async def test_an_audience_can_be_required(start):
    """The old token host refused other audiences."""
    api = await start(choices=Choices(audiences=frozenset({"api.atlassian.com", None})))

    taken = await api.call("POST", "/oauth/token", json=credentials(api.server, audience="api.atlassian.com"))
    refused = await api.call("POST", "/oauth/token", json=credentials(api.server, audience="elsewhere"))

    assert [200, 403] == [taken.status, refused.status]


async def test_the_reset_of_the_token_limit_is_in_epoch_seconds(start):
    """The token endpoint has a limit of its own."""
    api = await start(choices=Choices(token_limit=2))

    second, third = [await api.call("POST", "/oauth/token", json=credentials(api.server)) for _ in range(2)]

    assert [200, 429] == [second.status, third.status]
    assert third.headers["X-RateLimit-Reset"].isdigit()
    assert "0" == third.headers["X-RateLimit-Remaining"]


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer nonsense", "Basic abc", "null"])
async def test_a_call_without_a_valid_token_is_unauthorized(api, authorization):
    """The response is the 401 of the gateway."""
    reply = await api.get("/me", headers={"Authorization": authorization})

    assert 401 == reply.status
    assert {"code": 401, "message": "Unauthorized"} == reply.json


async def test_the_word_bearer_is_case_insensitive(api):
    """Clients take it from the type of the token."""
    reply = await api.get("/me", headers={"Authorization": f"bearer {api.token}"})

    assert 200 == reply.status


async def test_an_expired_token_is_unauthorized_and_a_new_one_works(api, server):
    """`expire_tokens` invalidates all tokens."""
    await server.expire_tokens()
    refused = await api.get("/me")
    again = await log_in(api.http, server, server.client_id, server.client_secret)

    assert 401 == refused.status
    assert 200 == (await again.get("/me")).status


async def test_a_token_expires_after_its_lifetime(start):
    """With a lifetime of 0 seconds, the first call is unauthorized."""
    api = await start(choices=Choices(token_seconds=0))

    assert 401 == (await api.get("/me")).status


async def test_a_room_token_works_only_in_its_room(api, server, room):
    """It can read and write there, but neither manage the room nor send direct messages."""
    other, person = server.add_conversation("other"), server.add_user("Ann")
    token = server.room_token(room)
    say = {"data": "hello", "headers": {"Content-Type": "text/plain"}}

    def authorized(options):
        return options | {"headers": options.get("headers", {}) | {"Authorization": f"Bearer {token}"}}

    statuses = [
        (await api.call(method, path, **authorized(options))).status
        for method, path, options in [
            ("POST", f"{api.room(room)}/message", say),
            ("GET", f"{api.room(room)}/message", {}),
            ("GET", f"{api.room(other)}/message", {}),
            ("POST", f"{api.site}/user/{person}/message", say),
            ("PUT", f"{api.room(room)}/archive", {}),
            ("POST", api.site, {"json": {"name": "x"}}),
        ]
    ]

    assert [201, 200, 403, 403, 403, 403] == statuses
    assert 20 == len(token)


@pytest.mark.parametrize(
    ("scopes", "statuses"),
    [
        (["participate:conversation"], [200, 200, 403, 403]),
        (["manage:conversation"], [200, 403, 201, 403]),
        (["view:userprofile"], [403, 403, 403, 200]),
    ],
)
async def test_each_scope_allows_its_own_calls(api, server, scopes, statuses):
    """Sites need either conversation scope; lists, creation and people need one scope each."""
    person = server.add_user("Ann")
    limited = await log_in(api.http, server, *server.add_app(scopes=scopes))

    replies = [
        await limited.get("/site/"),
        await limited.get(api.site),
        await limited.call("POST", api.site, json={"name": "new"}),
        await limited.get(f"/scim/site/{server.cloud_id}/Users/{person}"),
    ]

    assert statuses == [reply.status for reply in replies]


async def test_an_app_sees_only_its_own_conversations(api, server, room):
    """A member of one room can neither list nor read the other."""
    other = server.add_conversation("other")
    limited = await log_in(api.http, server, *server.add_app(conversations=[room]))

    listed = await limited.get(api.site)

    assert [room] == [found["id"] for found in listed.json["values"]]
    assert 403 == (await limited.get(api.room(other))).status
