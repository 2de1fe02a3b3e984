"""A bot that is killed at any instant and started again handles every acknowledged event once and in order."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from stride_async._moments import format_nanoseconds
from tests.bot.delivering import Scene


@attrs.define(eq=False)
class Process:
    """The process of the bot, which is started again after each kill."""

    scene: Scene
    journal: Path
    up: asyncio.Event = attrs.field(factory=asyncio.Event)
    url: str = ""
    process: asyncio.subprocess.Process | None = None

    async def start(self, *, kill_at: int = 0) -> None:
        words = {"store": str(self.scene.store), "journal": str(self.journal), "kill_at": kill_at}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.bot.killable",
            json.dumps(words),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ
            | {
                "STRIDE_BASE_URL": self.scene.server.url,
                "STRIDE_CLIENT_ID": self.scene.server.client_id,
                "STRIDE_CLIENT_SECRET": self.scene.server.client_secret,
            },
        )
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if line:  # Empty if it was killed before it was reachable.
            self.url = json.loads(line)["url"]
            self.up.set()

    async def kill(self, when: Awaitable[object]) -> None:
        """Kill it at a moment, unless it has killed itself before."""
        assert self.process is not None
        moment, ended = asyncio.ensure_future(when), asyncio.ensure_future(self.process.wait())
        await asyncio.wait([moment, ended], return_when=asyncio.FIRST_COMPLETED)
        with suppress(ProcessLookupError):
            # Process.kill() may collect the exit status of a process that has just ended, and asyncio then lacks it.
            os.kill(self.process.pid, signal.SIGKILL)
        code = await ended
        self.up.clear()
        assert -signal.SIGKILL == code


@attrs.define(eq=False)
class Service:
    """Delivers messages until each is acknowledged, some of them several times."""

    scene: Scene
    process: Process
    rng: random.Random
    acknowledged: list[str] = attrs.field(factory=list)

    async def deliver(self, room: str, body: dict[str, Any]) -> None:
        """Deliver a message until it is acknowledged."""
        place = {"cloudId": self.scene.server.cloud_id, "resourceType": "conversation", "resourceId": room}
        while True:
            await self.process.up.wait()
            headers = {"Authorization": f"Bearer {self.scene.token(context=place)}"}
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self.scene.http.post(f"{self.process.url}/mention", json=body, headers=headers) as response:
                    if response.status == 204:
                        self.acknowledged.append(body["message"]["id"])
                        return
                    assert 503 == response.status
            await asyncio.sleep(0)

    async def deliver_all(self, room: str, count: int) -> list[str]:
        """Send and deliver messages one after the other, with twins and late redeliveries; return their ids."""
        bodies: list[dict[str, Any]] = []
        for number in range(count):
            bodies.append(new_message(self.scene, room, number))
            copies = self.rng.choice((1, 1, 1, 2, 3))
            await asyncio.gather(*(self.deliver(room, bodies[-1]) for _ in range(copies)))
            if self.rng.random() < 0.1:
                await self.deliver(room, self.rng.choice(bodies))
        return [body["message"]["id"] for body in bodies]


def new_message(scene: Scene, room: str, number: int) -> dict[str, Any]:
    """Add a message to a conversation and return the body of its delivery."""
    ts = time.time_ns()
    document = scene.mention_document(f"message {number}")
    id = scene.say(document, room=room, ts=ts)
    return {
        "cloudId": scene.server.cloud_id,
        "message": {
            "id": id,
            "body": document,
            "text": f"@Bot message {number}",
            "sender": {"id": scene.ann},
            "ts": format_nanoseconds(ts),
        },
        "recipients": None,
        "sender": {"id": scene.ann},
        "conversation": {"id": room, "name": "room", "type": "group"},
        "type": "chat_message_sent",
    }


def fail_some_calls(scene: Scene) -> None:
    """Let a tenth of the calls fail, in three ways."""
    for seed, fault in enumerate(({"status": 503}, {"drop": "before"}, {"drop": "after"})):
        scene.server.faults.add("*", "/site/*", probability=0.034, seed=seed, **fault)


async def broken_promises(scene: Scene, folder: Path, *, kills: int, deliveries: int, seed: int) -> list[str]:
    """Deliver to a bot that is killed repeatedly, let it finish, and return which promises it did not keep."""
    rng = random.Random(seed)
    rooms = [scene.server.add_conversation(f"room {number}", roster=[scene.ann]) for number in range(3)]
    fail_some_calls(scene)
    process = Process(scene, folder / "journal")
    service = Service(scene, process, rng)
    delivering = [asyncio.create_task(service.deliver_all(room, deliveries // 3)) for room in rooms]
    all_delivered = asyncio.gather(*delivering)
    try:
        for _ in range(kills):
            if rng.random() < 0.5:
                await process.start(kill_at=rng.randint(10, 400))
                await process.kill(asyncio.shield(all_delivered))
            else:
                await process.start()
                await process.kill(asyncio.sleep(rng.uniform(0.0, 0.5)))
        await process.start()
        delivered = await all_delivered
        await until_idle(process)
    finally:
        for task in delivering:
            task.cancel()
        await asyncio.gather(*delivering, return_exceptions=True)
        if process.process is not None and process.process.returncode is None:
            process.process.terminate()
            assert 0 == await process.process.wait()
    scene.server.faults.clear()
    return [*broken_in(process.journal, service, delivered), *await broken_by_replies(scene, rooms)]


async def until_idle(process: Process) -> None:
    """Wait until no event waits in the bot or is under way."""
    async with asyncio.timeout(60):
        while True:
            async with process.scene.http.get(f"{process.url}/health") as response:
                health = await response.json()
            if not health["waiting"] and not health["running"]:
                return


def broken_in(journal: Path, service: Service, delivered: list[list[str]]) -> Iterator[str]:
    lines = [line.split() for line in journal.read_text().splitlines()]
    begun: dict[str, int] = {}
    ended: set[str] = set()
    noted: set[str] = set()
    for word, name, *_ in lines:
        if word == "begin":
            if name in noted:
                yield f"{name} was handled again after its end was noted"
            begun.setdefault(name, len(begun))
        elif word in ("end", "error"):
            ended.add(name)
        elif word == "noted":
            noted.add(name)
    for ids in delivered:
        yield from (f"{id} was acknowledged and is lost" for id in {*ids, *service.acknowledged} - ended)
        yield from (f"{id} was never acknowledged" for id in {*ids} - {*service.acknowledged})
        if ids != sorted(ids, key=lambda name: begun.get(name, -1)):
            yield "the order of a conversation was not kept"


async def broken_by_replies(scene: Scene, rooms: list[str]) -> list[str]:
    replies = Counter[str]()
    for room in rooms:
        async for message in scene.client.conversation(room).history():
            if message.sender_id == scene.server.app_account_id:
                replies[message.text] += 1
    return [f"the reply {text!r} was sent {count} times" for text, count in replies.items() if count > 1] + (
        [] if replies else ["there is no reply"]
    )


async def test_kills_lose_nothing_and_double_nothing(scene, tmp_path):
    """It is killed at random statements of its store and at random moments."""
    assert [] == await broken_promises(scene, tmp_path, kills=4, deliveries=120, seed=11)


@pytest.mark.slow
async def test_sixty_kills_lose_nothing_and_double_nothing(scene, tmp_path):
    """It is killed sixty times during two thousand deliveries."""
    assert [] == await broken_promises(scene, tmp_path, kills=60, deliveries=2000, seed=12)
