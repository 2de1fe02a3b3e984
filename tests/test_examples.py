"""The programs in `examples/` run against the local server, each in a process of its own, as a reader starts them."""

from __future__ import annotations

import ast
import asyncio
import json
import math
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow.parquet
import pytest

from stride_async.server import LocalServer
from tests.conftest import variables_of
from tests.test_docs import commands, refused

EXAMPLES = Path(__file__).parents[1] / "examples"
LONGEST = 120  # lines
MONTH = re.compile(r"^\d{4}-\d\d +\d+$", re.MULTILINE)
URL = re.compile(r"http://127\.0\.0\.1:\d+")


def environment(server: LocalServer, **more: str) -> dict[str, str]:
    """Return the environment of a program that finds the server and lets the kernel pick a port."""
    return {**os.environ, **variables_of(server), "PORT": "0", **more}


@asynccontextmanager
async def started(name: str, server: LocalServer, folder: Path, *options: str) -> AsyncIterator[tuple[Process, str]]:
    """Start a program in an empty folder; yield the process and the first line that it prints."""
    command = [sys.executable, str(EXAMPLES / name), *options]
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment(server), stdout=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        yield process, line
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def until(condition: Callable[[], object]) -> None:
    """Look at the server until a condition holds that another process brings about."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 -- the server has no event to wait for
            await asyncio.sleep(0.01)


def by_app(server: LocalServer, room: str) -> list[dict[str, Any]]:
    """Return the messages of the app in a conversation."""
    return [each for each in server.messages(room) if each["sender"]["id"] == server.app_account_id]


def texts(server: LocalServer, room: str) -> list[str]:
    return [message["text"] for message in by_app(server, room)]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_says_how_to_start_it(path: Path):
    """Its first lines start a server, with options that the command accepts, and then the program itself."""
    usage = "".join(re.findall(r"^    (.*\n)", ast.get_docstring(ast.parse(path.read_text())) or "", re.MULTILINE))
    shown = [words for words in commands(usage.replace("(", "").replace(")", "")) if words]

    uses = [words[1:] for words in shown if words[0] == "stride"]
    assert "server" == uses[0][0]
    assert [] == [problem for words in uses if (problem := refused(words))]
    assert ["python", f"examples/{path.name}"] in [words[:2] for words in shown]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_can_be_read_in_one_sitting(path: Path):
    """A test of this file runs it, and it has at most 120 lines."""
    assert len(path.read_text().splitlines()) <= LONGEST
    assert f'"{path.name}"' in Path(__file__).read_text()


async def test_the_bot_that_answers_keeps_tasks(server: LocalServer, tmp_path: Path):
    """It sends a card, which a person presses; it lists tasks and sends them as a file; a signal ends it."""
    ann = server.add_user("Ann Adler")
    room = server.add_conversation("general", roster=[ann])

    async def answer(text: str) -> dict[str, Any]:
        before = len(by_app(server, room))
        server.add_message(room, text, sender_id=ann, mention_app=True)
        await until(lambda: len(by_app(server, room)) > before)
        return by_app(server, room)[-1]

    async with started("bot_answers.py", server, tmp_path) as (process, line):
        await server.register_app(json.loads(line)["descriptor"])
        await server.install(room, by=ann)
        await until(lambda: texts(server, room) == ["Hello! I know: todo TEXT, list, file"])
        card = await answer("todo Water the plants")
        await answer("todo Sleep")
        pressed = await server.press("done", room, card["id"], by=ann)
        shown = await answer("list")
        sent = await answer("file")
        other = await answer("good morning")
        process.terminate()
        async with asyncio.timeout(60):
            ended = await process.wait()

    [file] = server.truth().conversations[room].media.values()
    assert ("Water the plants", {"message": "Well done!"}) == (card["text"], pressed)
    assert "Water the plants\nSleep" == shown["text"]
    assert ("2 tasks:", "tasks.tsv") == (sent["text"], file.name)
    assert "I know: todo TEXT, list, file" == other["text"]
    assert 0 == ended


async def test_the_bot_behind_a_firewall_reminds(server: LocalServer, tmp_path: Path):
    """It is not called. Killed and started again, it handles what it missed, and reminds once."""
    ann = server.add_user("Ann Adler")
    room = server.add_conversation("general", roster=[ann])
    server.add_message(room, "remind 0 Stretch", sender_id=ann, mention_app=True)
    once = ["I will remind you in 0 minutes.", "Reminder: Stretch"]

    async with started("bot_behind_firewall.py", server, tmp_path, "--every", "0.05"):
        await until(lambda: texts(server, room) == once)
    server.add_message(room, "remind soon", sender_id=ann, mention_app=True)
    async with started("bot_behind_firewall.py", server, tmp_path, "--every", "0.05"):
        await until(lambda: len(texts(server, room)) > len(once))

    assert [*once, "Usage: remind <minutes: float> <text: str>"] == texts(server, room)


@asynccontextmanager
async def served(name: str, server: LocalServer, folder: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, Process]]:
    """Start a web app that looks for messages often; yield a session at its URL, and the process."""
    command, variables = [sys.executable, str(EXAMPLES / name)], environment(server, LOOK_SECONDS="0.3")
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=variables, stdout=PIPE, stderr=STDOUT)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while (url := URL.search((await process.stdout.readline()).decode())) is None:
                assert not process.stdout.at_eof(), f"{name} ended"
        async with aiohttp.ClientSession(url[0]) as http:
            yield http, process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def read_events(response: aiohttp.ClientResponse, count: int) -> tuple[list[str], str]:
    """Return the texts of the next events of a response, and the id of the last one."""
    texts: list[str] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(60):
        while len(texts) < count:
            line = await response.content.readline()
            assert line, "the response ended"
            field, _, value = line.decode().strip().partition(": ")
            fields[field] = value
            if not field and "data" in fields:
                texts.append(json.loads(fields.pop("data"))["text"])
    return texts, fields["id"]


@pytest.fixture(params=["web_app.py", "fastapi_app.py"])
async def web_app(
    request: pytest.FixtureRequest, server: LocalServer, tmp_path: Path
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session at the URL of each web app in turn."""
    async with served(request.param, server, tmp_path) as (http, _):
        yield http


async def test_a_web_app_turns_errors_into_statuses(server: LocalServer, web_app: aiohttp.ClientSession):
    """It lists conversations and sends a message, and what the service refuses or leaves open becomes a status."""
    room = server.add_conversation("general")

    async def post(id: str, text: str) -> tuple[int, Any]:
        async with web_app.post(f"/conversations/{id}/messages", data=text) as response:
            return response.status, await response.json() if response.content_type == "application/json" else None

    async with web_app.get("/conversations") as response:
        listed = await response.json()
    sent, unknown, empty = await post(room, "Hello"), await post("no-such-room", "Hello"), await post(room, " ")
    server.faults.add("POST", "*/message", status=503)
    failed = await post(room, "Hello again")

    assert [{"id": room, "name": "general"}] == listed
    assert (201, "Hello") == (sent[0], by_app(server, room)[0]["text"])
    assert (404, {"error": "NotFound", "maybe_processed": False}) == unknown
    assert empty[0] in {400, 422}
    assert (502, {"error": "ServerError", "maybe_processed": True}) == failed
    assert [201, 503] == [call.status for call in server.calls.matching("POST", f"*/{room}/message")]


async def test_a_web_app_passes_files_through(server: LocalServer, web_app: aiohttp.ClientSession):
    """A visitor gets the bytes as a download, a status for what is not there, and an error if a file breaks off."""
    room = server.add_conversation("general")
    data = os.urandom(300_000)
    media_id = server.add_media(room, "plan & budget.html", data, mime_type="text/html")
    path = f"/conversations/{room}/files/"

    async with web_app.get(path + media_id) as response:
        body, headers = await response.read(), response.headers
    async with web_app.get(path + "unknown") as response:
        unknown = response.status
    async with web_app.head(path + media_id) as response:
        head = response.status
    server.faults.add("GET", "*/media/*", cut_after=200_000, times=1)
    server.faults.add("GET", "*/media/*", status=404)

    assert data == body
    assert "attachment; filename*=UTF-8''plan%20%26%20budget.html" == headers["Content-Disposition"]
    assert ("application/octet-stream", "300000") == (headers["Content-Type"], headers["Content-Length"])
    assert (404, 405) == (unknown, head)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with web_app.get(path + media_id) as response:
            await response.read()


async def test_events_of_a_web_app_resume_after_the_last_one(server: LocalServer, web_app: aiohttp.ClientSession):
    """A visitor gets the latest messages and new ones; after a break, all that came since, and each of them once."""
    room, other = server.add_conversation("general"), server.add_conversation("support")
    server.fill(room, messages=30)
    path = f"/conversations/{room}/events"

    async with web_app.get(path) as response:
        latest, _ = await read_events(response, 20)
        server.add_message(room, "one")
        new, last = await read_events(response, 1)
    server.add_message(room, "two")
    server.add_message(room, "three")
    async with web_app.get(path, headers={"Last-Event-ID": last}) as response:
        missed, _ = await read_events(response, 2)
    async with web_app.get(f"/conversations/{other}/events", headers={"Last-Event-ID": last}) as response:
        of_another = response.status
    async with web_app.get(path, headers={"Last-Event-ID": "7"}) as response:
        malformed = response.status
    async with web_app.get("/conversations/unknown/events") as response:
        unknown = response.status

    assert [message["text"] for message in server.messages(room)][10:30] == latest
    assert (["one"], ["two", "three"]) == (new, missed)
    assert (400, 400, 404) == (of_another, malformed, unknown)


@pytest.mark.parametrize("name", ["web_app.py", "fastapi_app.py"])
async def test_a_web_app_ends_although_visitors_wait(name: str, server: LocalServer, tmp_path: Path):
    """A signal ends the streams of events, and then the program."""
    room = server.add_conversation("general")
    server.add_message(room, "one")

    async with served(name, server, tmp_path) as (http, process), http.get(f"/conversations/{room}/events") as response:
        shown, _ = await read_events(response, 1)
        process.terminate()
        async with asyncio.timeout(60):
            await process.wait()

    assert ["one"] == shown


def env_file(path: Path, server: LocalServer) -> str:
    """Write what `stride server --env-file` writes for a server, and return the name of the file."""
    variables = environment(server).items()
    path.write_text("".join(f"{name}={value}\n" for name, value in variables if name.startswith("STRIDE_")))
    return path.name


def shown(server: LocalServer, room: str) -> list[str]:
    return [message["text"] for message in server.messages(room)]


async def test_a_copy_of_a_site_has_each_message_once(tmp_path: Path):
    """A lost response ends it and a kill interrupts it; started again, it completes the copy and adds what is new."""
    plan = "conversations=5,messages=20,media=4,media_max=20000,users=5,seed=7"
    async with LocalServer(generate=plan) as source, LocalServer(rate_limit=None) as target:
        files = [env_file(tmp_path / "from.env", source), env_file(tmp_path / "to.env", target)]

        async def copy(until_calls: float = math.inf) -> tuple[int | None, str]:
            command = [sys.executable, str(EXAMPLES / "copy_site.py"), *files]
            process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=PIPE, stderr=STDOUT)
            ended = asyncio.create_task(process.communicate())
            await until(lambda: ended.done() or len(target.calls.matching("POST", "*/message")) >= until_calls)
            with suppress(ProcessLookupError):
                process.kill()
            return process.returncode, (await ended)[0].decode()

        target.faults.add("POST", "*/message", drop="after", times=1, after=10)
        lost, reason = await copy()
        killed, _ = await copy(until_calls=40)
        completed, _ = await copy()
        longest = max(source.truth().conversations.values(), key=lambda room: room.messages)
        source.add_message(longest.id, "This is new")
        again, news = await copy()

        before, after = source.truth().conversations.values(), target.truth().conversations.values()
        texts = {room.name: [message["text"] for message in source.messages(room.id)] for room in before}
        copies = {
            room.name: [message["text"].partition("\n")[2] for message in target.messages(room.id)] for room in after
        }
        assert (1, None, 0, 0) == (lost, killed, completed, again)
        assert "Start the program again to resume." in reason
        assert texts == copies
        assert f"{longest.name}: 1 messages\n" == news
        assert {file.sha256 for room in before for file in room.media.values()} == {
            file.sha256 for room in after for file in room.media.values()
        }
        assert {room.name: room.archived for room in before} == {room.name: room.archived for room in after}


async def test_an_export_to_parquet_writes_what_is_new(tmp_path: Path):
    """It says what each month holds, what could not be fetched, and at the next run what was added."""
    async with LocalServer(generate="conversations=3,messages=20,media=0,users=5,seed=7", rate_limit=None) as server:

        async def run() -> tuple[int | None, dict[str, int], str]:
            command = [sys.executable, str(EXAMPLES / "export_to_parquet.py"), "site", "tables"]
            process = await asyncio.create_subprocess_exec(
                *command, cwd=tmp_path, env=environment(server), stdout=PIPE, stderr=STDOUT
            )
            output = (await process.communicate())[0].decode()
            return process.returncode, {line[:7]: int(line[7:]) for line in MONTH.findall(output)}, output

        room = next(iter(server.truth().conversations))
        first, months, _ = await run()
        server.add_message(room, "Hello", ts="2019-02-01T08:00:00Z")
        server.faults.add("GET", f"*/{room}/roster", status=403)
        second, later, output = await run()

        count = sum(one.messages for one in server.truth().conversations.values())
        written = pyarrow.parquet.read_table(tmp_path / "tables" / "messages", columns=["text"])

    assert (0, 5) == (first, second)
    assert {**months, "2019-02": 1} == later
    assert count == sum(later.values()) == written.num_rows
    assert f"Not fetched: roster {room}" in output


async def test_an_export_to_parquet_of_a_site_without_conversations_says_so(tmp_path: Path):
    """The program ends with one sentence."""
    async with LocalServer() as server:
        command = [sys.executable, str(EXAMPLES / "export_to_parquet.py"), "site", "tables"]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment(server), stdout=PIPE, stderr=STDOUT
        )
        output = (await process.communicate())[0].decode()

    assert (1, "the site has no conversations that this app may see\n") == (process.returncode, output)
