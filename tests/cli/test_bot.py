"""Test `stride bot`: a conversation in a pipe or on a terminal, a bot that a server calls, and what failed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

from stride_async import ClientCredentials, Settings, StrideClient
from stride_async._cli.main import stride
from stride_async._rehearsal import Rehearsal, settings_for
from stride_async.bot import Bot, Mention
from stride_async.bot._store import APPLICATION_ID as STORE
from stride_async.server import AppCallError, LocalServer
from tests.bot.delivering import until
from tests.cli.conftest import NOTHING_SET, Run, Started, on_terminal

BOT = """
import asyncio
import sys

from stride_async.bot import Bot
from stride_async.document import action_mark, doc, paragraph

bot = Bot("deployer")
not_a_bot = 7

@bot.command("deploy")
async def deploy(event, what: str, times: int = 1):
    button = action_mark("cancel", title="cancel", target="cancel")
    await event.reply(doc(paragraph(f"{what} {times} ", button)))

@bot.command("fail")
async def fail(event):
    raise ZeroDivisionError("on purpose")

drafts = []

@bot.command("draft")
async def draft(event):
    drafts[:] = await event.reply("draft"), await event.reply("nonsense")

@bot.command("finish")
async def finish(event):
    await event.room.edit(drafts[0], "final")
    await event.room.delete(drafts[1])

@bot.command("wait")
async def wait(event):
    await event.reply("waiting")
    await asyncio.Event().wait()

@bot.action("wait")
async def wait_for_ever(event):
    print("waits for a browser", file=sys.stderr, flush=True)
    await asyncio.Event().wait()

@bot.command("room")
async def room(event):
    other = await event.client.create_conversation("operations")
    await other.send("in another room")

@bot.direct_message()
async def direct(event):
    await event.reply(f"{(await event.sender.profile()).display_name} wrote {event.text}")

@bot.message("hello")
async def hello(event):
    await event.reply("hello, " + (await event.sender.profile()).display_name)

@bot.action("cancel")
async def cancel(event):
    await event.reply(f"canceled in {event.message_id}")
    return "done"

@bot.action("quiet")
async def quiet(event):
    return None
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a bot in it."""
    (tmp_path / "deployer.py").write_text(BOT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("deployer", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


Talk = Callable[..., Any]


@pytest.fixture
def talk(start: Started, folder: Path) -> Talk:
    """Return a function that pipes lines into `stride bot try`, and returns its exit code, its records and stderr."""

    async def talk(*lines: str | bytes) -> tuple[int | None, list[dict[str, Any]], str]:
        process = await start("bot", "try", "deployer:bot", cwd=folder, stdin=asyncio.subprocess.PIPE)
        data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
        out, err = await process.communicate(data)
        return process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()

    return talk


# try


async def test_a_bot_is_a_filter(talk: Talk):
    """Each line mentions the bot; what it sends comes out as JSON lines, in order, and nothing else."""
    code, said, err = await talk("deploy api 3", "", "deploy web", "deploy api x")

    assert (0, "") == (code, err)
    assert ["api 3 cancel", "web 1 cancel", "Usage: deploy <what: str> [times: int]"] == [one["text"] for one in said]
    assert [1, 2, 3] == [one["number"] for one in said]
    assert {"number", "conversation", "id", "text", "body"} == said[0].keys()


async def test_lines_with_a_slash_do_everything_a_person_does(talk: Talk):
    """They write directly, without a mention, and as another person; two slashes are text."""
    code, said, err = await talk(
        *("/say hello", "/say goodbye", "/direct hi", "/as Ben Berg", "/direct hi", "//deploy api", "/say //hello")
    )

    assert (0, "") == (code, err)
    texts = ["hello, Ann Adler", "Ann Adler wrote hi", "Ben Berg wrote hi", "hello, Ben Berg"]
    assert texts == [one["text"] for one in said]
    assert ["general", "direct", "direct", "general"] == [one["conversation"] for one in said]


async def test_an_action_is_pressed_by_the_number_of_its_message(talk: Talk):
    """The answer is a line of its own; without a number, the last message is used."""
    code, said, err = await talk("deploy api", "deploy web", "/press cancel 1", "/press quiet")

    assert (0, "") == (code, err)
    first, _, answer, reply, quiet = said
    assert {"action": "cancel", "message": "done", "error": None, "next_action": None} == answer
    assert f"canceled in {first['id']}" == reply["text"]
    assert {"action": "quiet", "message": None, "error": None, "next_action": None} == quiet


async def test_edited_and_deleted_messages_keep_their_number(talk: Talk):
    """Each change is a line of its own."""
    code, said, err = await talk("draft", "finish", "deploy api")

    assert (0, "") == (code, err)
    first, second, edited, deleted, last = said
    assert ("draft", "nonsense") == (first["text"], second["text"])
    assert {**first, "text": "final", "body": edited["body"], "edited": True} == edited
    assert {"number": 2, "id": second["id"], "deleted": True} == deleted
    assert 3 == last["number"]


async def test_messages_in_other_rooms_are_shown(talk: Talk):
    """They name their conversation."""
    code, [said], err = await talk("room")

    assert (0, "") == (code, err)
    assert ("operations", "in another room") == (said["conversation"], said["text"])


async def test_a_bot_that_is_removed_receives_nothing(talk: Talk):
    """Until it is installed again."""
    code, said, err = await talk("/uninstall", "deploy api", "/install", "deploy web")

    assert (0, "") == (code, err)
    assert ["web 1 cancel"] == [one["text"] for one in said]


async def test_a_handler_that_fails_is_shown_and_makes_the_exit_code_5(talk: Talk):
    """The traceback is on stderr, and the conversation continues."""
    code, said, err = await talk("fail", "deploy api")

    assert 5 == code
    assert ["api 1 cancel"] == [one["text"] for one in said]
    assert "ZeroDivisionError: on purpose" in err
    assert err.endswith("Error: 1 handler failed.\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/dance", "/dance is not one of /say, /direct, /press, /install, /uninstall, /as, /help."),
        (b"deploy \xff", "It is not UTF-8 text: byte 8 is 0xff."),
    ],
    ids=["command", "encoding"],
)
async def test_a_line_that_cannot_be_understood_ends_a_pipe(talk: Talk, line: str | bytes, message: str):
    """With its number and one sentence; what came before it was done."""
    code, said, err = await talk("deploy api", line, "deploy web")

    assert (2, f"Error: Line 2: {message}\n") == (code, err)
    assert ["api 1 cancel"] == [one["text"] for one in said]


async def test_a_stdin_that_cannot_be_read_is_reported(start: Started, folder: Path):
    """Such as one that was opened for writing."""
    with (folder / "out").open("wb") as out:
        process = await start("bot", "try", "deployer:bot", cwd=folder, stdin=out)
        _, err = await process.communicate()

    assert (2, "Error: Cannot read stdin: Bad file descriptor.\n") == (process.returncode, err.decode())


async def test_a_message_that_the_bot_refuses_is_reported(talk: Talk):
    """A message may fit the server, and be too large for the bot."""
    code, said, err = await talk("deploy " + "x" * 600_000, "deploy web")

    assert (0, ["web 1 cancel"]) == (code, [one["text"] for one in said])
    assert "The bot refused a call with 413: expected a body of at most 1048576 bytes.\n" == err


MISTAKES = {
    "/say": "Expected /say TEXT.",
    "/direct  ": "Expected /direct TEXT.",
    "/as": "Expected /as NAME.",
    "/install now": "Expected /install and nothing else.",
    "/help me": "Expected /help and nothing else.",
    "/press": "Expected /press KEY [N].",
    "/press cancel one": "Expected /press KEY [N], where N is the number of a message.",
    "/press cancel 7": "There is no message 7; the bot has sent 2 messages.",
    "/press dance 1": "The bot has no action 'dance'.",
    "/press cancel 2": "Message 2 is deleted.",
    f"/press cancel {'9' * 900}": "Expected /press KEY [N], where N is the number of a message.",
}


async def test_help_lists_what_can_be_typed(talk: Talk):
    """It goes to stderr, and nothing is sent."""
    code, said, err = await talk("/help")

    assert (0, []) == (code, said)
    assert all(command in err for command in ("/say TEXT", "/direct TEXT", "/press KEY [N]", "/as NAME", "/help"))


async def test_a_mistake_on_a_terminal_is_explained(start: Started, folder: Path):
    """Each in one sentence, and the conversation continues."""
    typed = "\n".join(["draft", "finish", *MISTAKES, "deploy api", "\x04"]).encode()

    code, screen = await on_terminal(start, "bot", "try", "deployer:bot", cwd=folder, asked=b"Ann Adler> ", typed=typed)

    shown = " ".join(screen.split())
    assert 0 == code
    assert [] == [message for message in MISTAKES.values() if message not in shown]
    assert "api 1 cancel" in shown


async def test_a_conversation_on_a_terminal(start: Started, folder: Path):
    """There is a prompt with the name of the person, actions are listed, and a mistake does not end it."""
    typed = b"deploy api\n/press cancel\n/dance\n/as Ben\n/direct hi\ndraft\nfinish\n\x04"

    code, screen = await on_terminal(
        start, "bot", "try", "deployer:bot", cwd=folder, asked=b"Ann Adler> ", typed=typed, encoding="utf-8"
    )

    assert 0 == code
    for shown in ("api 1 cancel", "actions: cancel", "cancel: done", "Ann Adler> ", "Ben> ", "Ben wrote hi", "final"):
        assert shown in screen
    assert "/dance is not one of /say" in screen


async def test_a_conversation_ends_at_ctrl_c(start: Started, folder: Path):
    """As every command does, although a thread waits for input."""
    process = await start("bot", "try", "deployer:bot", cwd=folder, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"deploy api\n")
    await process.stdout.readline()

    assert (130, "Interrupted.\n") == await ended(process, signal.SIGINT)


# Which bot


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("deployer", "'deployer' is not of the form MODULE:NAME, such as mybot:bot."),
        (":bot", "':bot' is not of the form"),
        ("../deployer:bot", "'../deployer:bot' is not of the form"),
        ("deployer.py:bot", "deployer.py is a file; name its module, as in deployer:bot."),
        ("sub/deployer.py", "sub/deployer.py is a file; name its module, as in sub.deployer:bot."),
        ("absent:bot", "There is no module 'absent' in "),
        ("deployer.absent:bot", "There is no module 'deployer.absent' in "),
        ("deployer:bto", "deployer contains no 'bto'. Did you mean 'bot'?"),
        ("deployer:not_a_bot", "deployer:not_a_bot is not a Bot, but of class int. Did you mean 'bot'?"),
    ],
)
@pytest.mark.parametrize("command", ["run", "try"])
def test_a_bot_that_is_not_there_is_explained(folder: Path, command: str, named: str, message: str):
    """The message is one sentence, with exit 2."""
    result = invoke("bot", command, named)

    assert 2 == result.exit_code
    assert f"Error: {message}" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n1 / 0\n", "Importing broken failed in broken.py, line 2: ZeroDivisionError: division by zero."),
        ("def f(:\n", "Importing broken failed: SyntaxError: "),
        ("import absent_package\n", "in broken.py, line 1: ModuleNotFoundError: No module named 'absent_package'."),
        ("raise SystemExit\n", "Importing broken failed in broken.py, line 1: SystemExit."),
        ("raise GeneratorExit\n", "Importing broken failed in broken.py, line 1: GeneratorExit."),
        ("def __getattr__(name): raise OSError(name)\n", "bot from broken failed in broken.py, line 1: OSError: bot."),
        (
            "from stride_async.bot import Bot\nbot = Bot('b')\n@bot.mention()\ndef f(event): ...\n",
            "in broken.py, line 3: TypeError: ",
        ),
        (
            "from stride_async.bot import Bot\nbot = Bot('b')\nbot.run(port=0)\n",
            "in broken.py, line 3: BotError: the module serves its bot when it is imported; do so below `if __name__",
        ),
    ],
    ids=["raises", "syntax", "import", "exit", "not an exception", "made when asked for", "registration", "runs"],
)
def test_a_module_that_cannot_be_imported_is_explained(folder: Path, text: str, message: str):
    """The message names the line; STRIDE_DEBUG=1 shows the traceback."""
    (folder / "broken.py").write_text(text)

    result = invoke("bot", "try", "broken:bot")

    assert 2 == result.exit_code
    assert message in result.stderr
    assert result.stderr.endswith("STRIDE_DEBUG=1 shows the traceback.\n")


def test_the_traceback_of_an_import_can_be_seen(folder: Path):
    """STRIDE_DEBUG is for those who debug their bot, too."""
    (folder / "broken.py").write_text("1 / 0")

    result = invoke("bot", "try", "broken:bot", STRIDE_DEBUG="1")

    assert isinstance(result.exception, ZeroDivisionError)


def invoke(*args: str, **variables: str) -> Result:
    return CliRunner().invoke(stride, args, env={**NOTHING_SET, **variables})


# run


@asynccontextmanager
async def forwarding() -> AsyncIterator[tuple[str, asyncio.Future[str]]]:
    """Listen on a port, and forward connections to the URL that the future will have. Yield the URL of the port."""
    target: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = (await target).removeprefix("http://").partition(":")
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    listening = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", target
    finally:
        listening.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def announced(process: asyncio.subprocess.Process) -> dict[str, str]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, await process.communicate()
    facts: dict[str, str] = json.loads(line)
    return facts


async def ended(process: asyncio.subprocess.Process, end: signal.Signals = signal.SIGTERM) -> tuple[int | None, str]:
    """End a process by a signal, and return its exit code and its messages."""
    process.send_signal(end)
    _, messages = await process.communicate()
    return process.returncode, messages.decode()


async def test_a_bot_replies_to_a_server_that_calls_it(start: Started, folder: Path):
    """Three processes talk to each other: `stride server --app`, `stride bot run`, and `stride send --as`."""
    options = ("--json", "--rate-limit", "0", "--generate", "conversations=1,messages=5,users=3,media=0")
    async with forwarding() as (url, bot_url):
        server = await start("server", *options, "--app", f"{url}/descriptor.json", "--install", "all")
        facts = await announced(server)
        names = {"url": "STRIDE_BASE_URL"}
        variables = {names.get(name, f"STRIDE_{name.upper()}"): value for name, value in facts.items()}
        environment = {**os.environ, **variables}
        bot = await start("bot", "run", "deployer:bot", "--port", "0", cwd=folder, env=environment)
        bot_url.set_result((await announced(bot))["url"])
        await until_line(server, b"installed it in 1 conversation")
        credentials = ClientCredentials(facts["client_id"], facts["client_secret"])
        settings = Settings(base_url=facts["url"], calls_per_minute=None)
        async with StrideClient(credentials, cloud_id=facts["cloud_id"], settings=settings) as client:
            [room] = await client.conversations().collect(limit=1)
            [person] = await client.conversation(room.id).roster().collect(limit=1)
            message = ("send", room.id, "deploy api 3", "--as", person, "--mention")
            assert 0 == await (await start(*message, env=environment)).wait()
            async with asyncio.timeout(20):
                while "api 3 cancel" != (await client.conversation(room.id).recent(1))[0].text:
                    pass
        code, messages = await ended(bot)

    assert 0 == code
    assert "POST /mention 204" in messages
    assert messages.endswith("Stopped.\n")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda end: end.name)
async def test_a_bot_runs_until_a_signal(start: Started, folder: Path, end: signal.Signals):
    """It prints one line in a pipe, and keeps the query of requests out of its log."""
    bot = await start("bot", "run", "deployer:bot", "--port", "0", cwd=folder)
    facts = await announced(bot)
    async with aiohttp.ClientSession() as http, http.get(facts["descriptor"]) as response:
        descriptor = await response.json()
    async with aiohttp.ClientSession() as http, http.get(f"{facts['url']}/glance/a%0Ab?jwt=secret") as response:
        assert 401 == response.status

    code, messages = await ended(bot, end)

    assert {"url": facts["url"], "descriptor": f"{facts['url']}/descriptor.json"} == facts
    assert ("deployer", facts["url"]) == (descriptor["key"], descriptor["baseUrl"])
    assert 0 == code
    assert "GET /descriptor.json 200" in messages
    assert "GET /glance/a%0Ab 401" in messages
    assert "secret" not in messages
    assert messages.endswith("Stopped.\n")
    assert (folder / "bot.sqlite").exists()


async def test_a_second_signal_does_not_wait_for_handlers(start: Started, server: LocalServer, folder: Path):
    """The first one gives them time to end, and says how much. A browser that waits for one is refused."""
    ann = server.add_user("Ann Adler")
    room = server.add_conversation("general", roster=[ann])
    bot = await start("bot", "run", "deployer:bot", "--port", "0", cwd=folder)
    await server.register_app((await announced(bot))["descriptor"])
    server.add_message(room, "wait", sender_id=ann, mention_app=True)
    await until(lambda: "waiting" == server.messages(room)[-1]["text"])

    press = asyncio.create_task(server.press("wait", room, server.messages(room)[-1]["id"], by=ann))
    await until_line(bot, b"waits for a browser")

    bot.send_signal(signal.SIGINT)
    await until_line(bot, b"waiting up to 30 s for 1 running handlers to end")
    code, messages = await ended(bot, signal.SIGINT)

    with pytest.raises(AppCallError, match="responded 503"):
        await press
    assert 130 == code
    assert messages.endswith("Interrupted.\n")
    assert "HandlerTimeout" not in messages


async def test_a_bot_on_a_terminal_says_what_to_do_next(start: Started, folder: Path):
    """It shows the URL for the service, the command for a local server, and how to stop it."""
    ours, theirs = pty.openpty()
    bot = await start("bot", "run", "deployer:bot", "--port", "0", cwd=folder, stdout=theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as screen:
        await until_line(bot, b"Press Ctrl-C to stop it.")
        shown = await asyncio.to_thread(screen.read, 4096)
        code, messages = await ended(bot)

    assert (0, "Stopped.\n") == (code, messages)
    assert b"/descriptor.json" in shown.splitlines()[1]


async def test_a_public_url_that_leads_nowhere_is_a_warning(start: Started, folder: Path):
    """The bot runs nevertheless, and its descriptor has that URL."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    bot = await start("bot", "run", "deployer:bot", "--port", "0", "--public-url", url, cwd=folder)

    facts = await announced(bot)
    await until_line(bot, f"Warning: the public URL {url} cannot be reached from here".encode())
    async with aiohttp.ClientSession() as http, http.get(f"{facts['url']}/descriptor.json") as response:
        descriptor = await response.json()
    code, _ = await ended(bot)

    assert 0 == code
    assert f"{url}/descriptor.json" == facts["descriptor"]
    assert url == descriptor["baseUrl"]


async def test_a_bot_waits_for_its_store_and_says_so(start: Started, folder: Path):
    """A signal ends the wait at once."""
    with held(folder / "bot.sqlite"):
        bot = await start("bot", "run", "deployer:bot", "--port", "0", cwd=folder)
        await until_line(bot, b"another process uses the store bot.sqlite")
        code, messages = await ended(bot)

    assert (0, "Stopped.\n") == (code, messages)


@pytest.mark.parametrize(
    ("args", "variables", "code", "message"),
    [
        ([], {"STRIDE_CLIENT_ID": ""}, 2, "no credentials given: set STRIDE_CLIENT_ID. A local server writes them"),
        ([], {"STRIDE_BASE_URL": ""}, 2, "no server given: start `stride server` and set STRIDE_BASE_URL"),
        ([], {"STRIDE_BASE_URL": "stride"}, 2, "base_url 'stride' is not a valid http(s) URL"),
        (["--public-url", "bot.example.com"], {}, 2, "public_url 'bot.example.com' is not a valid http(s) URL"),
        ([], {"STRIDE_BOT_URL": "bot.example.com"}, 2, "public_url 'bot.example.com' is not a valid http(s) URL"),
        (["--store", "deployer.py"], {}, 8, "The store deployer.py cannot be used: file is not a database."),
        (["--store", "newer.sqlite"], {}, 8, "The store newer.sqlite is of version 99; this release reads version 1."),
        (["--store", "other.sqlite"], {}, 8, "The file other.sqlite is a database, but not the store of a bot."),
        (["--store", "absent/bot.sqlite"], {}, 8, "The store absent/bot.sqlite cannot be used: unable to open"),
        (["--host", ""], {}, 2, "Cannot listen on an empty host. For all addresses, use 0.0.0.0."),
        (["--host", "no.such.host.invalid"], {}, 2, "Cannot listen on no.such.host.invalid: "),
        (["--host", "a" * 70], {}, 2, "Cannot listen on aaa"),
    ],
)
async def test_what_prevents_a_bot_from_running_is_explained(
    run: Run, folder: Path, args: list[str], variables: dict[str, str], code: int, message: str
):
    """The message is one sentence, with the exit code of its kind."""
    for name, kind, version in (("newer", STORE, 99), ("other", 1, 0)):
        with closing(sqlite3.connect(folder / f"{name}.sqlite")) as connection:
            connection.execute(f"PRAGMA application_id = {kind}")
            connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("CREATE TABLE t (x)")

    result = await run("bot", "run", "deployer:bot", "--port", "0", *args, **variables)

    assert code == result.exit_code
    assert f"Error: {message}" in result.stderr


async def test_a_port_in_use_is_reported(run: Run, folder: Path):
    """As by `stride server`."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = await run("bot", "run", "deployer:bot", "--port", str(port))

    assert (2, f"Error: port {port} is taken on 127.0.0.1\n") == (result.exit_code, result.stderr)


# failed, retry


@pytest.fixture
async def failed_event(server: LocalServer, folder: Path) -> str:
    """Let a bot fail once, and return the id of the room in which it did."""
    bot = Bot("deployer")

    @bot.mention()
    async def fail(event: Mention) -> None:
        raise ZeroDivisionError("on purpose")

    ann = server.add_user("Ann Adler")
    room = server.add_conversation("general", roster=[ann])
    async with Rehearsal(bot, server, settings_for(server, store=folder / "bot.sqlite"), lambda _: None) as rehearsal:
        await rehearsal.say(room, "deploy api", by=ann, mention=True)
    return room


async def test_failed_events_are_listed(run: Run, folder: Path, failed_event: str):
    """Each is a line with the error and the body of the delivery. White space around the path is left out."""
    (folder / "bot.sqlite").rename(folder / "mine.sqlite")
    result = await run("bot", "failed", STRIDE_BOT_STORE="mine.sqlite\r")

    assert (0, "") == (result.exit_code, result.stderr)
    [failure] = [json.loads(line) for line in result.stdout.splitlines()]
    assert ("mention", "bot", failed_event) == (failure["kind"], failure["module"], failure["conversation_id"])
    assert ("ZeroDivisionError", "on purpose", 1) == (failure["error"], failure["message"], failure["attempts"])
    assert "@Local app deploy api" == failure["body"]["message"]["text"]


async def test_failed_events_are_a_table_on_a_terminal(start: Started, failed_event: str):
    """With the error in one column."""
    code, screen = await on_terminal(start, "bot", "failed")

    assert 0 == code
    assert "ZeroDivisionError: on purpose" in " ".join(screen.split())
    assert "FAILED AT" in screen or "KIND" in screen


async def test_a_failed_event_is_handled_again(run: Run, server: LocalServer, folder: Path, failed_event: str):
    """By the next start of the bot, as if it had never been begun. Then it has not failed any more."""
    [failure] = [json.loads(line) for line in (await run("bot", "failed")).stdout.splitlines()]

    result = await run("bot", "retry", failure["id"])

    assert (0, f"Event {failure['id']} is handled at the next start of the bot.\n") == (result.exit_code, result.stderr)
    assert "" == (await run("bot", "failed")).stdout
    bot = Bot("deployer")

    @bot.mention()
    async def reply(event: Mention) -> None:
        await event.reply(f"{event.text}, attempt {event.delivery.attempt}")

    async with Rehearsal(bot, server, settings_for(server, store=folder / "bot.sqlite"), lambda _: None) as rehearsal:
        await rehearsal.idle()
    assert "deploy api, attempt 1" == server.messages(failed_event)[-1]["text"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["retry", "7"], 3, "bot.sqlite contains no failed event '7'."),
        (["retry", "seven"], 3, "bot.sqlite contains no failed event 'seven'."),
        (["retry", "9" * 30], 3, "bot.sqlite contains no failed event '999"),
        (["retry", "1", "--store", "absent.sqlite"], 2, "File 'absent.sqlite' does not exist."),
        (["failed", "--store", "absent.sqlite"], 2, "File 'absent.sqlite' does not exist."),
        (["failed", "--store", "deployer.py"], 8, "The store deployer.py cannot be used: file is not a database."),
    ],
)
async def test_a_store_or_event_that_is_not_there_is_explained(
    run: Run, folder: Path, failed_event: str, args: list[str], code: int, message: str
):
    """No file is created."""
    before = names(folder)

    result = await run("bot", *args)

    assert code == result.exit_code
    assert message in result.stderr
    assert before == names(folder)


@pytest.mark.parametrize("args", [["failed"], ["retry", "1"]], ids=" ".join)
async def test_a_store_in_use_is_reported(run: Run, folder: Path, failed_event: str, args: list[str]):
    """The bot has it for itself, so the message says to stop it."""
    with held(folder / "bot.sqlite"):
        result = await run("bot", *args)

    message = "Error: The store bot.sqlite is used by another process. Stop the bot first.\n"
    assert (8, message) == (result.exit_code, result.stderr)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Lock a database as a running bot does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        yield


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def until_line(process: asyncio.subprocess.Process, part: bytes) -> None:
    """Read the messages of a process up to a line."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while part not in (line := await process.stderr.readline()):
            assert line, f"{part!r} was not written"
