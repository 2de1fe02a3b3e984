"""A published bot framework on the local server: Flask-Stride receives real deliveries and replies to them.

Its bot is a Flask application in a thread of its own, as it was deployed. Only the URLs of the service are changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import flask
import flask_stride
import jwt
import pytest
from werkzeug.serving import make_server

from stride_async import ConversationClient, StrideClient
from stride_async.server import Choices, LocalServer
from tests.test_pystride import use_server


def flask_app(server: LocalServer, received: list[tuple[str, Any]]) -> flask.Flask:
    """Return a bot that says what it received."""
    app = flask.Flask("deployer")
    app.config.update(
        STRIDE_CLOUD_ID=server.cloud_id,
        STRIDE_CLIENT_ID=server.client_id,
        STRIDE_CLIENT_SECRET=server.client_secret,
    )
    bot = flask_stride.Stride(key="deployer", url_prefix="/stride")

    def reply(text: str) -> tuple[str, int]:
        body = flask.request.get_json()
        received.append((flask.request.path, body))
        paragraph = {"type": "paragraph", "content": [{"type": "text", "text": text.format(**body)}]}
        room = body["resourceId"] if "resourceId" in body else body["conversation"]["id"]
        bot.send_message({"version": 1, "type": "doc", "content": [paragraph]}, room_id=room)
        return "", 204

    @bot.installed()
    def installed() -> tuple[str, int]:
        return reply("Hello, I am {key}")

    @bot.chat_bot("bot", "/mention", "/direct")
    def answer() -> tuple[str, int]:
        return reply("You said: {message[text]}")

    @bot.chat_bot_messages("weather", "(?i)weather", "/weather")
    def weather() -> tuple[str, int]:
        return reply("It rains in {conversation[name]}")

    bot.chat_glance(key="builds", name="Builds", icon_1x="/icon.png", icon_2x="/icon@2x.png")

    @bot.chat_glance_query(key="builds", path="/builds")
    def builds() -> Any:
        claims = jwt.decode(
            flask.request.args["jwt"], server.client_secret, algorithms=["HS256"], options={"verify_iat": False}
        )
        response = flask.jsonify({"label": {"value": f"3 builds for {claims['sub']}"}})
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    bot.init_app(app)
    return app


@contextlib.contextmanager
def serving(app: flask.Flask) -> Iterator[str]:
    """Serve an application from a thread of its own on a port that the kernel picks, and yield its URL."""
    served = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        thread.join()
        served.server_close()


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    """Yield a server that redelivers at once."""
    async with LocalServer(rate_limit=None, choices=Choices(redelivery_spans=(0.0, 0.0, 0.0))) as server:
        yield server


@pytest.fixture
def ann(server: LocalServer) -> str:
    return server.add_user("Ann Adler")


@pytest.fixture
def room(server: LocalServer, ann: str) -> str:
    return server.add_conversation("general", roster=[ann])


@pytest.fixture
async def received(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[tuple[str, Any]]]:
    """Yield what the registered bot has received."""
    use_server(monkeypatch, server)
    received: list[tuple[str, Any]] = []
    with contextlib.ExitStack() as stack:
        url = await asyncio.to_thread(stack.enter_context, serving(flask_app(server, received)))
        await server.register_app(f"{url}/stride/app-descriptor.json")
        yield received
        await server.delivered()
        await asyncio.to_thread(stack.close)


async def latest(server: LocalServer, room: ConversationClient) -> str:
    """Return the text of the latest message, which the bot sent, once all deliveries have ended."""
    await server.delivered()
    [message] = await room.recent(1)
    assert server.app_account_id == message.sender_id
    return message.text


async def test_it_replies_to_a_mention(server, client, received, room, ann):
    """It is called once, and its reply is in the conversation."""
    server.add_message(room, "deploy api 3", sender_id=ann, mention_app=True)

    text = await latest(server, client.conversation(room))

    assert text.startswith("You said: @")
    assert text.endswith(" deploy api 3")
    assert ["/stride/mention"] == [path for path, _ in received]
    assert [204] == [one.status for delivery in server.deliveries for one in delivery.tries]


async def test_it_replies_to_a_direct_message(server, client, received, ann):
    """A direct message needs no mention."""
    direct = server.add_conversation("Ann Adler", type="direct", roster=[ann])
    await server.delivered()
    server.add_message(direct, "good morning", sender_id=ann)

    assert "You said: good morning" == await latest(server, client.conversation(direct))
    assert ["/stride/direct"] == [path for path, _ in received]


async def test_it_replies_to_a_message_that_matches_its_pattern(server, client, received, room, ann):
    """It gets no other messages."""
    server.add_message(room, "hello", sender_id=ann)
    server.add_message(room, "How is the Weather?", sender_id=ann)

    assert "It rains in general" == await latest(server, client.conversation(room))
    assert ["/stride/weather"] == [path for path, _ in received]


async def test_it_says_hello_when_it_is_installed(server, client, received, ann):
    """It posts while it is being called about the installation."""
    room = server.add_conversation("releases", roster=[ann], app_is_member=False)
    await server.install(room, by=ann)

    assert "Hello, I am deployer" == await latest(server, client.conversation(room))
    assert [("/stride/installed", ann)] == [(path, body["userId"]) for path, body in received]


async def test_a_browser_gets_the_label_of_its_glance(server, received, room, ann):
    """The token is in the query, as browsers send it, and names the person."""
    answer = await server.ask_glance("builds", room, by=ann)

    assert {"label": {"value": f"3 builds for {ann}"}} == answer


async def test_it_handles_a_redelivered_message_twice(server, client: StrideClient, received, room, ann):
    """It keeps no record of what it handled: if its response is lost, the person gets two replies."""
    server.faults.add("DELIVER", "mention", lose_answer=True, times=1)
    server.add_message(room, "deploy api 3", sender_id=ann, mention_app=True)

    await server.delivered()

    assert ["/stride/mention"] * 2 == [path for path, _ in received]
    assert 3 == len(await client.conversation(room).recent())
