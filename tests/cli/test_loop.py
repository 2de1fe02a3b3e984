"""The event loop of the command: uvloop where it is installed, asyncio's own elsewhere."""

from __future__ import annotations

import sys
from importlib.metadata import version
from importlib.util import find_spec

import pytest

FASTER = find_spec("uvloop") is not None


@pytest.mark.skipif(not FASTER, reason="the extra `speed` is not installed")
async def test_verbose_names_uvloop_if_it_is_installed(run):
    """With its version, on stderr, so that the data stays the same."""
    result = await run("list", "conversations", "--verbose")

    assert f"Event loop: uvloop {version('uvloop')}.\n" in result.stderr
    assert "Event loop" not in result.stdout


async def test_the_command_works_without_uvloop(run, monkeypatch):
    """Then it runs on the event loop of asyncio, and says so."""
    monkeypatch.setitem(sys.modules, "uvloop", None)

    result = await run("list", "conversations", "--verbose")

    assert "Event loop: asyncio.\n" in result.stderr


async def test_the_event_loop_is_named_only_on_request(run):
    """Without `--verbose`, stderr has nothing to say about it."""
    result = await run("list", "conversations")

    assert "Event loop" not in result.stderr


async def test_commands_that_need_no_service_run_on_the_same_event_loop(run, server, tmp_path):
    """`verify` and `convert` work on an archive, and name the event loop as all commands do."""
    server.add_conversation("general")
    archive = str(tmp_path / "site")
    exported = await run("export", "-o", archive, "--verbose")

    verified = await run("verify", archive, "--verbose")
    converted = await run("convert", "seed", archive, "-o", str(tmp_path / "seed"), "--verbose")

    [named] = {line for line in exported.stderr.splitlines() if line.startswith("Event loop: ")}
    assert (0, 0) == (verified.exit_code, converted.exit_code)
    assert named in verified.stderr.splitlines()
    assert named in converted.stderr.splitlines()
