"""The life of a client: how it is created, what it shares, what it refuses, and how it is closed."""

import asyncio
import json

import aiohttp
import attrs
import pytest
from aiohttp import web

from stride_async import (
    AccessToken,
    ClientClosed,
    ClientCredentials,
    Markdown,
    NotFound,
    NotSent,
    ServerError,
    Settings,
    StaticToken,
    StrideClient,
    WrongLoop,
)
from tests.conftest import client_of, variables_of
from tests.net.peers import free_port

VARIABLES = ("STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET", "STRIDE_TOKEN", "STRIDE_CLOUD_ID", "STRIDE_BASE_URL")


@pytest.fixture
def environment(server, monkeypatch):
    """Set the environment variables for this server, which a test can change."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables_of(server).items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
async def prefixed(server):
    """Yield the URL of a gateway that serves the server below `/stride/api`."""

    async def passed_on(request):
        url = server.url + request.raw_path.removeprefix("/stride/api")
        async with (
            aiohttp.ClientSession() as http,
            http.request(request.method, url, headers=request.headers, data=await request.read()) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)

    app = web.Application()
    app.router.add_route("*", "/stride/api/{rest:.*}", passed_on)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/stride/api"
    await runner.cleanup()


def settings_for(url, **options):
    return Settings(**{"base_url": url, "backoff": 0.0, "calls_per_minute": None, **options})


def client_at(url, **options):
    return StrideClient(StaticToken("token"), cloud_id="site", settings=settings_for(url, **options))


async def test_a_client_can_be_configured_by_the_environment(environment, server):
    """Four variables are sufficient."""
    async with StrideClient.from_env() as client:
        assert server.app_account_id == (await client.me()).account_id
    assert (server.cloud_id, server.url) == (client.cloud_id, client.settings.base_url)


async def test_a_token_in_the_environment_replaces_the_credentials(environment, server):
    """A room token needs neither id nor secret."""
    room_id = server.add_conversation("general")
    environment.setenv("STRIDE_TOKEN", server.room_token(room_id))
    environment.delenv("STRIDE_CLIENT_ID")

    async with StrideClient.from_env() as client:
        await client.conversation(room_id).send("hi")

    assert ["POST"] == [call.method for call in server.calls]


async def test_settings_take_precedence_over_the_environment(environment, server):
    """The base URL is the one of the settings."""
    environment.setenv("STRIDE_BASE_URL", "http://127.0.0.1:1")

    async with StrideClient.from_env(settings=Settings(base_url=server.url, page_size=5)) as client:
        await client.me()

    assert 5 == client.settings.page_size


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["STRIDE_BASE_URL"], "no server given: start `stride server` and set STRIDE_BASE_URL"),
        (["STRIDE_CLOUD_ID"], "no site given: set STRIDE_CLOUD_ID"),
        (["STRIDE_CLIENT_ID"], "no credentials given: set STRIDE_CLIENT_ID, or STRIDE_TOKEN"),
        (["STRIDE_CLIENT_SECRET"], "no credentials given: set STRIDE_CLIENT_SECRET, or STRIDE_TOKEN"),
        (
            ["STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET"],
            "no credentials given: set STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET, or STRIDE_TOKEN",
        ),
    ],
)
def test_each_missing_variable_is_named(environment, missing, message):
    """The error is raised before anything is opened."""
    for name in missing:
        environment.delenv(name)

    with pytest.raises(ValueError) as caught:
        StrideClient.from_env()

    assert message == str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "no server given: start `stride server` and set STRIDE_BASE_URL"),
        ("127.0.0.1:8080", "is not a valid http(s) URL, such as http://127.0.0.1:8080"),
        ("localhost", "is not a valid http(s) URL"),
        ("ftp://127.0.0.1", "is not a valid http(s) URL"),
        ("http://", "is not a valid http(s) URL"),
        ("http://127.0.0.1:0", "is not a valid http(s) URL"),
        ("http://127.0.0.1:99999", "is not a valid URL: Port out of range"),
        ("http://[::1", "is not a valid URL"),
        ("http://" + "x" * 64 + ".invalid", "is not a valid URL: "),
        ("http://ann:word@127.0.0.1", "contains a user name or password"),
        ("http://127.0.0.1/?a=b", "has a query or fragment"),
        ("http://127.0.0.1/#a", "has a query or fragment"),
    ],
)
def test_an_invalid_base_url_is_refused_in_one_line(url, message):
    """There is no default, so a missing one is refused too."""
    with pytest.raises(ValueError) as caught:
        Settings(base_url=url)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("page_size", 0),
        ("page_size", 76),
        ("attempts", 0),
        ("deadline", -1.0),
        ("attempt_timeout", 0.0),
        ("attempt_timeout", 10**400),
        ("deadline", 10**400),
        pytest.param("deadline", 10**5000, id="deadline-thousands of digits"),
        pytest.param("attempts", -(10**5000), id="attempts-thousands of digits below zero"),
        ("idle_timeout", 0.0),
        ("longest_wait", -0.1),
        ("longest_wait", float("nan")),
        ("backoff", -1.0),
        ("retry_ratio", 1.1),
        ("priority", "urgent"),
        ("calls_per_minute", 0),
        ("concurrency", 0),
        ("media_concurrency", 0),
        ("allowed_origins", ("media.example.com",)),
        ("token_url", "oauth/token"),
        ("user_agent", "two\r\nlines"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(option, value):
    """The error is raised at once, not by the first call."""
    with pytest.raises(ValueError, match=f"^{option} .*(expected|is not a valid)"):
        Settings(base_url="http://127.0.0.1:8080", **{option: value})


def test_an_empty_cloud_id_is_refused():
    """It would change the path of every call."""
    with pytest.raises(ValueError, match="the cloud id is empty"):
        StrideClient(StaticToken("t"), cloud_id="", settings=Settings(base_url="http://127.0.0.1:8080"))


async def test_a_path_prefix_of_the_base_url_is_kept(server, prefixed):
    """Calls, pages, media and the token are all requested below it. A trailing slash makes no difference."""
    room_id = server.add_conversation("general")
    server.fill(room_id, messages=3)
    credentials = ClientCredentials(server.client_id, server.client_secret)

    async with StrideClient(
        credentials, cloud_id=server.cloud_id, settings=settings_for(prefixed + "/", page_size=2)
    ) as client:
        room = client.conversation(room_id)
        assert [server.cloud_id] == [site.id for site in await client.sites()]
        assert 3 == len(await room.history().collect(limit=None))
        media = await room.upload(b"data", name="a ü.txt")
        async with room.open_media(media.id) as body:
            assert b"data" == b"".join([chunk async for chunk in body.chunks()])

    assert "/oauth/token" == server.calls[0].path
    assert {"a ü.txt"} == {dict(call.query)["name"] for call in server.calls.matching("POST", "*/media")}


async def test_a_refused_connection_is_reported_in_one_line():
    """Nothing was sent, so any call may be retried."""
    port = free_port()

    async with client_at(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(NotSent) as caught:
            await client.create_conversation("room")

    assert f"cannot connect to 127.0.0.1:{port}: Connection refused" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (True, False) == (caught.value.retryable, caught.value.maybe_processed)
    assert client.settings.attempts == len(caught.value.attempts)


async def test_a_host_that_does_not_resolve_is_reported_in_one_line():
    """The message contains its name."""
    async with client_at("http://nowhere.invalid:8080", attempts=1) as client:
        with pytest.raises(NotSent) as caught:
            await client.me()

    assert "nowhere.invalid" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_nothing_is_sent_before_the_first_call(server):
    """Clients, handles and pagers open nothing when they are created."""
    async with client_of(server) as client:
        room = client.conversation("r")
        room.history(), room.roster(), client.conversations(), client.user("u")

    assert 0 == len(server.calls)


async def test_a_session_of_the_caller_is_used_and_never_closed(server):
    """Its headers are sent, and it still works after the client is closed."""
    async with aiohttp.ClientSession(headers={"X-Mine": "yes"}) as http:
        credentials = ClientCredentials(server.client_id, server.client_secret)
        async with StrideClient(
            credentials, cloud_id=server.cloud_id, settings=settings_for(server.url), session=http
        ) as client:
            await client.me()

        assert {"yes"} == {call.headers["X-Mine"] for call in server.calls}
        assert not http.closed
        async with http.get(f"{server.url}/me") as answer:
            assert 401 == answer.status
    with pytest.raises(ClientClosed):
        await client.me()


async def test_clients_with_other_settings_share_the_token_and_the_connections(server, client):
    """What the first client opened serves the second."""
    room_id = server.add_conversation("general")
    server.fill(room_id, messages=3)
    other = client.with_settings(attrs.evolve(client.settings, page_size=1, user_agent="other"))

    await client.me()
    await other.conversation(room_id).history().collect(limit=None)

    assert 1 == len(server.calls.matching("POST", "/oauth/token"))
    pages = server.calls.matching("GET", "*/message")
    assert [("1", "other")] * 4 == [(dict(call.query)["limit"], call.headers["User-Agent"]) for call in pages]
    assert 75 == client.settings.page_size
    assert 1 == len({call.headers["Authorization"] for call in server.calls if "Authorization" in call.headers})


async def test_clients_with_other_settings_share_the_rate_limits(server):
    """Together they stay below the limit of a conversation: the second waits for a slot that the first has used."""
    room = server.add_conversation("general")
    events = []
    async with client_of(server, calls_per_minute=3, deadline=None, on_event=events.append) as client:
        other = client.with_settings(attrs.evolve(client.settings, user_agent="other"))
        for _ in range(3):
            await client.conversation(room).get()
        waiting = asyncio.create_task(other.conversation(room).get())
        # Calls to another conversation do not wait. When one has ended, the waiting call could have run as well.
        await other.conversation(server.add_conversation("another")).get()

        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    assert 3 == len(server.calls.matching("GET", f"*/conversation/{room}"))


async def test_a_client_of_another_site_shares_the_token_and_the_connections(server, client):
    """An app has one token for all its sites; a sibling asks for none of its own."""
    other = client.for_site("another-site")

    await client.me()
    with pytest.raises(NotFound):
        await other.conversation("c1").get()

    assert "another-site" == other.cloud_id
    assert client.settings is other.settings
    assert 1 == len(server.calls.matching("POST", "/oauth/token"))
    assert 1 == len(server.calls.matching("GET", "/site/another-site/conversation/c1"))


async def test_closing_a_client_of_another_site_closes_nothing(client, server):
    """The first client owns what its siblings share."""
    async with client.for_site("another-site"):
        pass

    assert server.app_account_id == (await client.me()).account_id


async def test_a_client_of_a_site_without_an_id_is_refused(client):
    """An empty id would lead to another path of the service."""
    with pytest.raises(ValueError, match="cloud"):
        client.for_site("")


async def test_closing_a_client_with_other_settings_closes_nothing(client):
    """What they share belongs to the first client."""
    async with client.with_settings(attrs.evolve(client.settings, page_size=1)) as other:
        await other.me()

    assert await client.me() == await other.me()


@pytest.mark.parametrize(("option", "url"), [("base_url", "http://127.0.0.1:1"), ("token_url", "http://127.0.0.1:1/t")])
async def test_other_settings_cannot_send_the_token_elsewhere(client, option, url):
    """The shared token is valid for one URL."""
    with pytest.raises(ValueError, match=f"{option} is '{url}', but the shared token is for"):
        client.with_settings(attrs.evolve(client.settings, **{option: url}))


async def test_request_makes_any_other_call(client, server):
    """It uses the same token and raises the same errors. It returns decoded JSON, or None for an empty response."""
    room = server.add_conversation("general")
    path = f"/site/{server.cloud_id}/conversation/{room}"

    found = await client.request("get", f"/site/{server.cloud_id}/conversation", params={"query": "gen", "limit": 5})
    nothing = await client.request("PUT", f"{path}/archive", json={})
    with pytest.raises(NotFound, match="unknown"):
        await client.request("GET", f"/scim/site/{server.cloud_id}/Users/unknown")

    assert [room] == [value["id"] for value in found["values"]]
    assert nothing is None
    assert {"query": "gen", "limit": "5"} == dict(server.calls.matching("GET", "*/conversation")[0].query)
    assert (await client.conversation(room).get()).is_archived


async def test_request_keeps_the_limit_of_its_conversation(client, server):
    """A call to a path of a conversation or a person counts against the same limit as the methods of their handles."""
    client = client.with_settings(attrs.evolve(client.settings, calls_per_minute=100))
    room, ann = client.conversation(server.add_conversation("general")), client.user(server.add_user("Ann"))

    await client.request("GET", f"/site/{server.cloud_id}/conversation/{room.id}")
    await client.request("PUT", f"/site/{server.cloud_id}/conversation/{room.id}/archive", json={})
    await client.request("GET", f"/site/{server.cloud_id}/conversation/user/{ann.id.replace(':', '%3A')}")
    await client.request("GET", f"/site/{server.cloud_id}/conversation")

    assert (98, 99) == (room.calls_left(), ann.calls_left())


@pytest.mark.parametrize(("method", "sent"), [("GET", 4), ("PUT", 4), ("DELETE", 4), ("POST", 1), ("PATCH", 1)])
async def test_request_is_retried_depending_on_its_method(client, server, method, sent):
    """A call that could take effect twice is not retried."""
    server.faults.add(method, "/anything", status=503)

    with pytest.raises(ServerError):
        await client.request(method, "/anything")

    assert sent == len(server.calls.matching(method, "/anything"))


@pytest.mark.parametrize("path", ["me", "", "//other.example/me", "/me?a=b", "/a b", "/ü", "/me#x", "/\\other"])
async def test_request_accepts_only_paths(client, server, path):
    """It refuses what could lead to another server, and a query outside of `params`."""
    with pytest.raises(ValueError, match="must begin with one slash"):
        await client.request("GET", path)

    assert 0 == len(server.calls)


async def test_a_client_may_be_closed_twice_and_then_raises_client_closed(server):
    """This holds with and without `async with`. Handles and pagers are closed with their client."""
    client = client_of(server)
    room = client.conversation(server.add_conversation("general"))
    history = room.history()
    await room.send(Markdown("*hi*"))

    await client.close()
    await client.close()

    for call in (client.me(), room.get(), history.collect(limit=None), room.upload(b"x", name="x")):
        with pytest.raises(ClientClosed):
            await call
    assert 2 == len(server.calls)


async def test_a_client_that_was_never_used_may_be_closed(server):
    """It has opened nothing."""
    await client_of(server).close()

    assert 0 == len(server.calls)


async def test_closing_a_client_cancels_the_calls_in_flight(server):
    """Each raises `ClientClosed`, and no task remains."""
    arrived = asyncio.Barrier(2)
    server.faults.add("GET", "/me", do=lambda _: arrived.wait(), stall="headers")
    client = client_of(server)
    before = asyncio.all_tasks()
    calls = [asyncio.create_task(client.me()) for _ in range(3)]
    for _ in calls:
        await arrived.wait()

    await client.close()
    ended = await asyncio.gather(*calls, return_exceptions=True)

    assert [ClientClosed] * 3 == [type(error) for error in ended]
    assert not {task for task in asyncio.all_tasks() - before if "stride_async" in task.get_name()}


def test_a_client_in_another_event_loop_raises_wrong_loop():
    """Connections belong to the loop in which they were opened."""
    client = client_at(f"http://127.0.0.1:{free_port()}", attempts=1)

    async def first():
        with pytest.raises(NotSent):
            await client.me()

    async def second():
        with pytest.raises(WrongLoop, match="another event loop"):
            await client.me()

    with asyncio.Runner() as runner:
        runner.run(first())
        with asyncio.Runner() as another:
            another.run(second())
        runner.run(client.close())


async def test_a_token_provider_of_the_caller_is_used(server):
    """It is called again when the service has refused its token."""
    tokens = []

    class Provider:
        async def token(self):
            async with aiohttp.ClientSession() as http:
                fields = {
                    "grant_type": "client_credentials",
                    "client_id": server.client_id,
                    "client_secret": server.client_secret,
                }
                async with http.post(f"{server.url}/oauth/token", json=fields) as answer:
                    tokens.append((await answer.json())["access_token"])
            return AccessToken(tokens[-1])

    async with StrideClient(Provider(), cloud_id=server.cloud_id, settings=settings_for(server.url)) as client:
        await client.me()
        await server.expire_tokens()
        await client.me()

    used = [call.headers["Authorization"] for call in server.calls.matching("GET", "/me")]
    assert [f"Bearer {tokens[number]}" for number in (0, 0, 1)] == used


async def test_the_token_may_be_requested_elsewhere(server):
    """`token_url` is used unchanged; everything else stays below the base URL."""
    asked = []

    async def give(request):
        asked.append(await request.json())
        async with aiohttp.ClientSession() as http, http.post(f"{server.url}/oauth/token", json=asked[-1]) as answer:
            return web.Response(body=await answer.read(), content_type="application/json")

    app = web.Application()
    app.router.add_post("/other/token", give)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/other/token"
        async with client_of(server, token_url=url) as client:
            assert server.app_account_id == (await client.me()).account_id
    finally:
        await runner.cleanup()

    assert ["api.atlassian.com"] == [fields["audience"] for fields in asked]
    assert server.client_secret not in json.dumps([call.path for call in server.calls])
