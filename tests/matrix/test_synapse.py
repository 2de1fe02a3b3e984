"""A real chat history in a real homeserver. `nox -s matrix` installs Synapse and runs this."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest

from stride_async.export import read
from stride_async.export.matrix import new_registration
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.export.exporting import exported
from tests.matrix.synapse import SERVER, Synapse

PYTHON = os.environ.get("STRIDE_SYNAPSE", "")
LARGEST_SHARE = 0.1  # of our CPU time in that of the homeserver

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PYTHON, reason="STRIDE_SYNAPSE is not set: run `nox -s matrix`")]


@pytest.fixture
async def history(meetup: Path, tmp_path: Path) -> Path:
    async with LocalServer(seed=meetup / "site.jsonl", rate_limit=None) as server, client_of(server) as client:
        await exported(client, tmp_path / "site")
    return tmp_path / "site"


def name_of(id: str) -> str:
    return f"stride_{hashlib.sha256(id.encode()).hexdigest()[:20]}:{SERVER}"


@attrs.frozen
class Ended:
    """How a run of the command ended."""

    code: int
    sent: int
    """The messages that it sent, as far as it said so."""
    cpu_seconds: float


async def migrated(arguments: list[str], *, kill_after: int | None = None) -> Ended:
    """Run the command, and kill it after so many messages were sent, or when this is cancelled."""
    command = [sys.executable, "-m", "stride_async", "migrate", "matrix", *arguments, "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    sent = 0
    try:
        async for line in process.stdout:
            event = json.loads(line)
            sent += event["sent"] if event["event"] == "MessagesMoved" else 0
            if kill_after is not None and sent >= kill_after:
                process.kill()
                break
    except asyncio.CancelledError:
        process.kill()
        raise
    finally:
        await process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ended(await process.wait(), sent, used)


async def test_a_chat_history_arrives_once_through_kills_and_restarts(history: Path, tmp_path: Path):
    """Senders, times, texts, order and the digests of all files are equal, after two kills and two restarts.

    Sending takes less than a tenth of the CPU time that it takes Synapse.
    """
    registration = new_registration(tmp_path / "stride.yaml", SERVER)
    async with Synapse(PYTHON, tmp_path / "synapse", registration.path, registration.token) as synapse:
        arguments = [str(history), "--homeserver", synapse.url, "--registration", str(registration.path)]
        assert -signal.SIGKILL == (await migrated(arguments, kill_after=150)).code
        await synapse.restart(signal.SIGKILL)
        assert -signal.SIGKILL == (await migrated(arguments, kill_after=250)).code
        await synapse.restart(signal.SIGTERM)
        before = synapse.cpu_seconds()
        third = await migrated(arguments)
        theirs = synapse.cpu_seconds() - before
        fourth = await migrated(arguments)

        assert (0, 0, 0) == (third.code, fourth.code, fourth.sent)
        assert third.sent > 0
        ours = third.cpu_seconds - fourth.cpu_seconds  # without starting, and without reading back
        sys.stdout.write(
            f"CPU time of {third.sent} messages: {ours:.1f} s of ours ({fourth.cpu_seconds:.1f} s more to start and to "
            f"read back), {theirs:.1f} s of Synapse\n"
        )
        assert ours < LARGEST_SHARE * theirs
        await require_everything(history, synapse)


async def test_rooms_that_a_stopped_homeserver_tore_are_completed(archive: Path, tmp_path: Path):
    """Synapse stores the alias first, then the creation, then that the owner joins, then the rest."""
    registration = new_registration(tmp_path / "stride.yaml", SERVER)
    async with Synapse(PYTHON, tmp_path / "synapse", registration.path, registration.token) as synapse:
        arguments = [str(archive), "--homeserver", synapse.url, "--registration", str(registration.path)]
        for stored in range(3):
            await synapse.tear_a_room(stored)
            running = asyncio.create_task(migrated(arguments))
            await synapse.ended()
            running.cancel()
            await asyncio.wait([running])
        await synapse.restart(signal.SIGTERM)

        assert 0 == (await migrated(arguments)).code
        await require_everything(archive, synapse)


async def require_everything(archive: Path, synapse: Synapse) -> None:
    """Require that the homeserver has what the archive has, in this order."""
    opened = read(archive)
    digests = {medium.id: medium.sha256 for medium in opened.media()}
    for room in opened.conversations():
        expected = []
        for message in opened.messages(room.id):
            origin = f"@{name_of(message.sender_id)}", message.ts // 1_000_000
            if message.text.strip():
                expected.append((*origin, message.text.strip()))
            expected += [(*origin, digests[id]) for id in message.body.media()]
        assert expected == await _there(synapse, f"#{name_of(room.id)}"), room.name


async def _there(synapse: Synapse, alias: str) -> list[tuple[str, int, str]]:
    """Return sender, time, and text or digest of the file of each message in a room."""
    found: list[tuple[str, int, str]] = []
    for event in await synapse.events(await synapse.room_of(alias)):
        if event["type"] != "m.room.message":
            continue
        content, origin = event["content"], (event["sender"], event["origin_server_ts"])
        if "url" in content:
            body = await synapse.body(f"media/v3/download/{quote(content['url'].removeprefix('mxc://'))}")
            found.append((*origin, hashlib.sha256(body).hexdigest()))
        elif content["com.atlassian.stride"]["part"] == 0:
            found.append((*origin, content["body"]))
        else:
            found[-1] = (*origin, f"{found[-1][2]} {content['body']}")
    return found
