"""A running bot: its settings, its clients, protected pages, and a process of its own."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web

from stride_async import ClientCredentials, Settings, StaticToken
from stride_async.bot import RUNNING, ActionAnswer, Bot, BotSettings, Caller, Mention, RunningBot, TryAgain
from stride_async.bot import _http as http
from stride_async.bot._catch_up import OVERLAP_SECONDS
from stride_async.bot._dispatch import wait_before
from stride_async.bot._serve import serve
from stride_async.bot._settings import REMEMBERED_SECONDS, TWIN_SECONDS
from stride_async.bot._verify import LEEWAY
from stride_async.server import Choices
from tests.bot.delivering import Scene, served, serving, until
from tests.wrong_arguments import Argument, complaints

APP = ClientCredentials("id", "s" * 64)
CLIENT = Settings(base_url="http://127.0.0.1:9")
SETTINGS = BotSettings(credentials=APP, client=CLIENT, store=":memory:", catch_up=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"credentials": ClientCredentials("id", "")}, "secret"),
        ({"credentials": ClientCredentials("", "s")}, "client id"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"backlog": 0}, "backlog"),
        ({"attempts": 0}, "attempts"),
        ({"handler_timeout": 0}, "handler_timeout"),
        ({"shutdown_timeout": 10**400}, "shutdown_timeout"),
        ({"answer_timeout": float("nan")}, "answer_timeout"),
        ({"shutdown_timeout": -1}, "shutdown_timeout"),
        ({"store_wait": -1}, "store_wait"),
        ({"catch_up": 8 * 86_400}, "catch_up"),
        ({"store": ""}, "store is empty"),
        ({"public_url": "bot.example.com"}, "public_url"),
        ({"public_url": "https://bot.example.com?x=1"}, "public_url"),
        ({"public_url": "https://[bot"}, "public_url"),
    ],
)
def test_an_option_out_of_range_is_refused(options, words):
    """The error names the option."""
    with pytest.raises(ValueError, match=words):
        BotSettings(**{"credentials": APP, "client": CLIENT, **options})


def test_a_bot_needs_credentials_that_verify():
    """A static token cannot verify a caller, and sites must be a collection."""
    with pytest.raises(TypeError, match="ClientCredentials"):
        BotSettings(credentials=StaticToken("t"), client=CLIENT)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match="sites must be a list or the like, not str"):
        BotSettings(credentials=APP, client=CLIENT, sites="C")


@pytest.mark.parametrize(
    "options",
    [
        {"client": {}},
        {"store": 5},
        {"public_url": 5},
        {"sites": 5},
        {"concurrency": "64"},
        {"attempts": 2.5},
        {"catch_up": None},
        {"handler_timeout": True},
        {"on_event": "print"},
        {"on_event": asyncio.sleep},
    ],
    ids="-".join,
)
def test_a_setting_of_the_wrong_type_is_one_sentence(options):
    """It names the setting."""
    with pytest.raises(TypeError, match=f"^{next(iter(options))} must be .*, not \\w+: "):
        BotSettings(**{"credentials": APP, "client": CLIENT, **options})


async def _handler(event):
    raise AssertionError("it is never called")


def _glance(bot, **options):
    return bot.glance("k", **{"name": "n", "icon": "i", **options})(_handler)


ARGUMENTS = [
    Argument("key", lambda bot, value: Bot(value), (str,)),
    Argument("pattern", lambda bot, value: bot.mention(value)(_handler), (str, type(None))),
    Argument("pattern", lambda bot, value: bot.message(value)(_handler), (str,)),
    Argument("command", lambda bot, value: bot.command(value)(_handler), (str,)),
    Argument("key", lambda bot, value: bot.action(value)(_handler), (str,)),
    Argument("name", lambda bot, value: _glance(bot, name=value), (str,)),
    Argument("icon", lambda bot, value: _glance(bot, icon=value), (str,)),
    Argument("icon", lambda bot, value: _glance(bot, icon={"url": value}), (str,)),
    Argument("target", lambda bot, value: _glance(bot, target=value), (str, type(None))),
    Argument("weight", lambda bot, value: _glance(bot, weight=value), (int,)),
    Argument("conditions", lambda bot, value: _glance(bot, conditions=value), (type(None),)),
    Argument("conditions", lambda bot, value: _glance(bot, conditions=[value]), (dict,)),
    Argument("key", lambda bot, value: bot.configuration(value, page="p")(_handler), (str,)),
    Argument("page", lambda bot, value: bot.configuration("k", page=value)(_handler), (str,)),
    Argument("type", lambda bot, value: bot.module(value, "k", {}), (str,)),
    Argument("key", lambda bot, value: bot.module("chat:dialog", value, {}), (str,)),
    Argument("descriptor", lambda bot, value: bot.module("chat:dialog", "k", value), (dict,)),
    Argument("not an async function", lambda bot, value: bot.middleware(value), ()),
    Argument("kind", lambda bot, value: bot.error(value)(_handler), ()),
    Argument("base_url", lambda bot, value: bot.descriptor(value), (str,)),
    Argument("settings", lambda bot, value: bot.application(value), ()),
    Argument("settings", lambda bot, value: bot.running(value), ()),
    Argument("settings", lambda bot, value: bot.serve(value), ()),
    Argument("host", lambda bot, value: bot.serve(SETTINGS, host=value), (str,)),
    Argument("port", lambda bot, value: bot.serve(SETTINGS, port=value), (int,)),
    Argument("announce", lambda bot, value: bot.serve(SETTINGS, announce=value), (type(None),)),
    Argument("warn", lambda bot, value: bot.serve(SETTINGS, warn=value), (type(None),)),
    Argument("sites", lambda bot, value: attrs.evolve(SETTINGS, sites=[value]), (str,)),
    Argument("after", lambda bot, value: TryAgain(value), (int, float)),
    Argument("message", lambda bot, value: ActionAnswer(message=value), (str, type(None))),
    Argument("error", lambda bot, value: ActionAnswer(error=value), (str, type(None))),
    Argument("next_action", lambda bot, value: ActionAnswer(next_action=value), (dict, type(None))),
]


@pytest.mark.parametrize("argument", ARGUMENTS, ids=lambda argument: argument.name)
async def test_a_wrong_argument_of_a_bot_is_named_at_once(argument):
    """Nothing is registered, and nothing runs."""
    bot = Bot("b")

    assert [] == await complaints(argument, bot)
    assert Bot("b").descriptor("http://b") == bot.descriptor("http://b")


RUNNING_ARGUMENTS = [
    Argument("cloud id", RunningBot.client, (str,)),
    Argument("cloud id", lambda running, value: running.room(value, "r"), (str,)),
    Argument("conversation id", lambda running, value: running.room("c", value), (str,)),
    Argument("cloud id", RunningBot.account_id, (str,)),
    Argument("cloud id", RunningBot.installations, (str, type(None))),
    Argument("delivery id", RunningBot.retry, (str,)),
    Argument("cloud id", RunningBot.catch_up, (str,)),
    Argument("every", lambda running, value: running.catch_up("c", every=value), (int, float, type(None))),
    Argument("request", RunningBot.verify, ()),
]


async def test_a_wrong_argument_of_a_running_bot_is_named_at_once():
    """The bot runs on."""
    async with Bot("b").running(SETTINGS) as running:
        for argument in RUNNING_ARGUMENTS:
            assert [] == await complaints(argument, running)


def test_the_limits_are_those_that_are_documented():
    """They fit the service: a body may take as long as it waits, and its last redelivery is still recognized."""
    choices = Choices()
    numbers = {field.name: field.default for field in attrs.fields(BotSettings) if type(field.default) in (int, float)}

    assert ((1.0, 5.0, 25.0), 10.0, "bearer") == (
        choices.redelivery_spans,
        choices.delivery_seconds,
        choices.jwt_spelling,
    )
    assert (1024 * 1024, choices.delivery_seconds) == (http.BODY_BYTES, http.BODY_SECONDS)
    assert (15, 120.0, 7 * 86_400, 600) == (LEEWAY, TWIN_SECONDS, REMEMBERED_SECONDS, OVERLAP_SECONDS)
    assert TWIN_SECONDS > sum(choices.redelivery_spans) + 4 * choices.delivery_seconds
    assert [1, 2, 4, 8, 16, 30, 30] == [wait_before(number) for number in range(1, 8)]
    assert {
        "concurrency": 64,
        "backlog": 10_000,
        "handler_timeout": 60,
        "answer_timeout": 8,
        "shutdown_timeout": 30,
        "attempts": 3,
        "catch_up": 3600,
        "store_wait": 30,
    } == numbers


def test_settings_come_from_the_environment(monkeypatch):
    """A missing variable is named."""
    for name in ("STRIDE_CLIENT_ID", "STRIDE_CLIENT_SECRET", "STRIDE_BASE_URL", "STRIDE_BOT_STORE", "STRIDE_BOT_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET"):
        BotSettings.from_env()
    monkeypatch.setenv("STRIDE_CLIENT_ID", "id")
    monkeypatch.setenv("STRIDE_CLIENT_SECRET", "s" * 64)
    with pytest.raises(ValueError, match="STRIDE_BASE_URL"):
        BotSettings.from_env()
    monkeypatch.setenv("STRIDE_BASE_URL", CLIENT.base_url)

    assert BotSettings(credentials=APP, client=CLIENT) == BotSettings.from_env()

    monkeypatch.setenv("STRIDE_CLIENT_SECRET", "s" * 64 + "\r\n")

    assert BotSettings(credentials=APP, client=CLIENT) == BotSettings.from_env()

    monkeypatch.setenv("STRIDE_BOT_STORE", "/var/bot.sqlite")
    monkeypatch.setenv("STRIDE_BOT_URL", "https://bot.example.com/")
    found = BotSettings.from_env()
    assert ("/var/bot.sqlite", "https://bot.example.com") == (found.store, found.public_url)


async def test_a_running_bot_can_send_at_any_time(scene: Scene):
    """It needs no web server and no event, and uses one token for all sites."""
    async with Bot("deployer").running(scene.settings()) as running:
        await running.room(scene.server.cloud_id, scene.room).send("good morning")
        await running.client("another-site").request("GET", "/me")

        assert scene.server.app_account_id == await running.account_id(scene.server.cloud_id)
        assert running.client(scene.server.cloud_id) is running.client(scene.server.cloud_id)
    tokens = {call.headers["Authorization"] for call in scene.server.calls if "Authorization" in call.headers}

    assert ["good morning"] == [m.text for m in await scene.client.conversation(scene.room).recent()]
    assert 1 == len(tokens)


async def test_a_store_in_memory_is_for_tests(scene: Scene):
    """No file is created."""
    handled = []
    bot = Bot("deployer")

    @bot.mention()
    async def handler(event: Mention) -> None:
        handled.append(event.text)

    async with served(bot, scene, store=":memory:") as bot_app:
        await bot_app.mention("hi")
        await bot_app.running.idle()

    assert ["hi"] == handled
    assert not scene.store.exists()


async def test_other_pages_can_be_protected_by_the_same_token(scene: Scene):
    """`verify` returns the caller, or raises a response with status 401 or 403."""
    bot = Bot("deployer")
    inner = bot.application(scene.settings(sites={scene.server.cloud_id}))

    async def page(request: web.Request) -> web.Response:
        caller = await inner[RUNNING].verify(request)
        return web.json_response(attrs.asdict(caller))

    outer = web.Application()
    outer.add_subapp("/bot", inner)
    outer.router.add_get("/page", page)
    async with serving(outer) as url:
        answers = [
            await _get(scene, f"{url}/page?jwt={token}")
            for token in (scene.token(sub=scene.ann), "", "x", scene.token(context={"cloudId": "another"}))
        ]

    assert (200, attrs.asdict(Caller(scene.server.cloud_id, scene.room, scene.ann))) == answers[0]
    assert [401, 401, 403] == [status for status, _ in answers[1:]]
    assert all(["error"] == list(body) for _, body in answers[1:])


async def _get(scene: Scene, url: str) -> tuple[int, Any]:
    async with scene.http.get(url) as response:
        return response.status, await response.json()


async def test_one_bot_runs_many_times(scene: Scene, tmp_path):
    """Two runs with separate stores handle the same event independently."""
    handled = []
    bot = Bot("deployer")

    @bot.mention()
    async def handler(event: Mention) -> None:
        handled.append(event.text)

    async with served(bot, scene, store=tmp_path / "one") as one, served(bot, scene, store=tmp_path / "two") as two:
        message_id = await one.mention("hi")
        await two.deliver("/mention", message_id)
        await one.running.idle()
        await two.running.idle()

    assert ["hi", "hi"] == handled


# A process of its own

PROGRAM = """
from stride_async.bot import Bot, Mention

bot = Bot("deployer")


@bot.mention()
async def hello(event: Mention) -> None:
    await event.reply(f"Hello, you said {event.text}")


bot.run(port=0)
"""


async def started(scene: Scene, folder: Path, **environment: str) -> tuple[asyncio.subprocess.Process, dict[str, str]]:
    """Start a program that runs a bot, and return it with the line it prints."""
    program = folder / "mybot.py"
    program.write_text(PROGRAM)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(program)),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ
        | {
            "STRIDE_BASE_URL": scene.server.url,
            "STRIDE_CLIENT_ID": scene.server.client_id,
            "STRIDE_CLIENT_SECRET": scene.server.client_secret,
            **environment,
        },
    )
    assert process.stdout is not None
    return process, json.loads(await process.stdout.readline() or b"{}")


@pytest.mark.skipif(sys.platform == "win32", reason="signals end it otherwise there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_program_serves_its_bot_until_a_signal_ends_it(scene: Scene, tmp_path, number):
    """It is reachable when it prints its URL, and exits with code 0 without further output."""
    process, line = await started(scene, tmp_path)
    async with scene.http.get(line["descriptor"]) as response:
        descriptor = await response.json()
    message_id = scene.say_to_bot("hi")
    token = scene.token()
    async with scene.http.post(f"{line['url']}/mention", json=await scene.body(message_id),
                               headers={"Authorization": token}) as response:  # fmt: skip
        assert 204 == response.status
    await until(lambda: scene.server.calls.matching("POST", "*/message"))
    process.send_signal(number)
    out, err = await process.communicate()

    assert (0, b"", b"") == (process.returncode, out, err)
    assert ("deployer", line["url"]) == (descriptor["key"], descriptor["baseUrl"])
    assert (tmp_path / "bot.sqlite").exists()
    assert "Hello, you said hi" == (await scene.client.conversation(scene.room).recent())[-1].text


async def test_a_program_survives_malformed_requests(scene: Scene, tmp_path):
    """Its end does not wait for a body that no one reads, and no part of a token that is too long is logged."""
    process, line = await started(scene, tmp_path)
    port = int(line["url"].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /mention HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    token = scene.token(context={"filler": "x" * 10_000})
    async with scene.http.post(f"{line['url']}/mention", headers={"Authorization": token}) as response:
        assert 400 == response.status
    headers = {"Authorization": scene.token(), "Content-Encoding": "deflate", "Connection": "close"}
    async with scene.http.post(
        f"{line['url']}/mention", data=io.BytesIO(b"not compressed"), headers=headers
    ) as response:
        assert 400 == response.status
    process.terminate()
    began = time.monotonic()
    out, err = await process.communicate()
    writer.close()

    assert (0, b"") == (process.returncode, out)
    assert [f"refused a malformed HTTP request: {error}" for error in ("LineTooLong", "RequestPayloadError")] == [
        message.partition(" stride_async.bot.http: ")[2] for message in err.decode().splitlines()
    ]
    assert time.monotonic() - began < http.BODY_SECONDS - 2.0


async def test_a_public_url_that_leads_nowhere_is_reported(scene: Scene, tmp_path):
    """The warning goes to stderr, and the bot runs."""
    process, line = await started(scene, tmp_path, STRIDE_BOT_URL="http://127.0.0.1:9/bot")
    assert process.stderr is not None
    warning = (await process.stderr.readline()).decode()
    async with scene.http.get(f"{line['url']}/health") as response:
        assert 200 == response.status
    process.terminate()
    await process.communicate()

    assert "http://127.0.0.1:9/bot/descriptor.json" == line["descriptor"]
    assert "cannot be reached" in warning


async def test_a_public_url_that_leads_to_another_bot_is_reported(scene: Scene, tmp_path):
    """The descriptor at that URL has another key."""
    warnings: list[str] = []
    bot = Bot("deployer")
    async with served(Bot("another"), scene, store=tmp_path / "another") as another:
        settings = scene.settings(public_url=another.url)
        task = asyncio.create_task(
            serve(
                bot.key, bot._routes, settings, host="127.0.0.1", port=0, announce=lambda _: None, warn=warnings.append
            )
        )
        await until(lambda: warnings or task.done())
        task.cancel()
        await asyncio.wait([task])

    assert ["something else" in warning for warning in warnings] == [True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_does_not_wait_for_the_public_url(scene: Scene, tmp_path, number):
    """A proxy that accepts connections and never responds does not delay the end."""
    connected = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await closed.wait()
        writer.close()

    closed = asyncio.Event()
    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    process, _ = await started(scene, tmp_path, STRIDE_BOT_URL=url)
    await connected.wait()
    process.send_signal(number)
    out, err = await process.communicate()
    closed.set()
    silent.close()

    assert (0, b"", b"") == (process.returncode, out, err)


async def test_a_host_is_not_empty():
    """The system would listen on all addresses."""
    with pytest.raises(ValueError, match="host is empty"):
        await Bot("b").serve(SETTINGS, host="")


async def test_a_port_that_is_taken_is_an_error(scene: Scene):
    """The store is released."""
    bot = Bot("deployer")
    port = int(scene.server.url.rpartition(":")[2])

    with pytest.raises(OSError, match=str(port)):
        await bot.serve(scene.settings(), port=port)
    async with bot.running(scene.settings()) as running:
        assert isinstance(running, RunningBot)
