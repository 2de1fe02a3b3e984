"""The programs in `examples/` run against the local server, each in a process of its own, as a reader starts them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stride_async.server import LocalServer

EXAMPLES = Path(__file__).parents[1] / "examples"
LONGEST = 120  # lines


@asynccontextmanager
async def started(name: str, server: LocalServer, folder: Path, *options: str) -> AsyncIterator[tuple[Process, str]]:
    """Start a program in an empty folder; yield the process and the first line that it prints."""
    environment = {
        **os.environ,
        "STRIDE_BASE_URL": server.url,
        "STRIDE_CLOUD_ID": server.cloud_id,
        "STRIDE_CLIENT_ID": server.client_id,
        "STRIDE_CLIENT_SECRET": server.client_secret,
        "PORT": "0",
    }
    command = [sys.executable, str(EXAMPLES / name), *options]
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stdout=PIPE)
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
