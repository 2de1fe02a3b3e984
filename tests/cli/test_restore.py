"""`stride restore` runs a local server with the site of an archive."""

from __future__ import annotations

import json

import pytest

from tests.export.exporting import exported
from tests.formats.archives import archive_of, snapshot


@pytest.fixture
async def archive(server, client, tmp_path):
    return await archive_of(server, client, tmp_path / "site")


async def test_the_site_of_the_archive_is_served(start, archive, server, tmp_path):
    """The command prints how to reach it, and writes nothing to the archive."""
    before = snapshot(archive)
    process = await start("restore", str(archive), "--rate-limit", "0")

    started = json.loads(await process.stdout.readline())
    process.terminate()
    _, messages = await process.communicate()

    assert server.cloud_id == started["cloud_id"]
    assert started["url"].startswith("http://127.0.0.1:")
    assert f"Loading {archive}.".encode() in messages
    assert before == snapshot(archive)


async def test_what_the_server_cannot_hold_is_listed(start, server, client, tmp_path):
    """The rest is restored."""
    room = server.add_conversation("general")
    page = {"messages": [{"id": "malformed", "ts": "2030-01-01T00:00:00Z", "sender": "no object", "text": "hello"}]}
    server.faults.add("GET", f"*/{room}/message", body=json.dumps(page).encode(), times=1)
    await exported(client, tmp_path / "site")
    process = await start("restore", str(tmp_path / "site"))

    await process.stdout.readline()
    process.terminate()
    _, messages = await process.communicate()

    assert b"Not restored: 1 message (malformed)" in messages


async def test_a_damaged_archive_is_refused(start, archive):
    """The message names the file."""
    [segment] = archive.rglob("sealed/2018-05/r*.zst")
    segment.unlink()

    process = await start("restore", str(archive))
    _, messages = await process.communicate()

    assert 6 == process.returncode
    assert f"{segment.name} is missing. Run `stride verify {archive}`".encode() in messages


async def test_a_folder_that_is_not_an_archive_is_refused(start, tmp_path):
    """Nothing is made in its place."""
    process = await start("restore", str(tmp_path / "nothing"))
    _, messages = await process.communicate()

    assert 8 == process.returncode
    assert b"is not an archive" in messages
    assert [] == list(tmp_path.iterdir())
