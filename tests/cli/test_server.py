"""stride server: it answers, it stops, it says why it does not start."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from stride_async import ClientCredentials, Settings, StrideClient
from stride_async._cli.main import stride
from tests.cli.conftest import Started


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda end: end.name)
async def test_it_answers_from_its_first_line_on_until_told_to_stop(start: Started, end: signal.Signals):
    """The line has all that a client needs; either signal is a regular end."""
    process = await start("server", "--json", "--generate", "conversations=3,messages=5,media=0")
    assert process.stdout is not None

    told = json.loads(await process.stdout.readline())
    credentials = ClientCredentials(told["client_id"], told["client_secret"])
    settings = Settings(base_url=told["url"])
    async with StrideClient(credentials, cloud_id=told["cloud_id"], settings=settings) as client:
        rooms = await client.conversations(include_archived=True).collect(limit=None)
    process.send_signal(end)
    rest, words = await process.communicate()

    assert {"url", "cloud_id", "client_id", "client_secret"} == told.keys()
    assert told["url"].startswith("http://127.0.0.1:")
    assert 3 == len(rooms)
    assert (0, b"", b"Stopped.\n") == (process.returncode, rest, words)


async def test_it_warns_when_others_can_reach_it(start: Started):
    """Loopback is the rule; anything else is said."""
    process = await start("server", "--host", "0.0.0.0")
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, words = await process.communicate()

    assert b"Warning: listening on 0.0.0.0" in words


def test_a_taken_port_is_named():
    """One sentence and exit 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        result = CliRunner().invoke(stride, ["server", "--port", str(port)])

    assert (2, f"Error: port {port} is taken on 127.0.0.1\n") == (result.exit_code, result.stderr)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seed", "site.jsonl"], "site.jsonl, line 2: expected"),
        (["--seed", "absent.jsonl"], "absent.jsonl"),
        (["--generate", "rooms=3"], "expected one of conversations"),
        (["--seed", "site.jsonl", "--generate", "users=1"], "not from both"),
        (["--faults", "faults.json"], "entry 1: unknown option 'sleep'"),
        (["--db", "site.jsonl"], "site.jsonl"),
        (["--host", "192.0.2.1"], "192.0.2.1"),
        (["--port", "70000"], "--port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_it_says_why_it_does_not_start(words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever an option brings, it is a sentence about it and exit 2."""
    monkeypatch.chdir(tmp_path)
    Path("site.jsonl").write_text('{"type":"site","cloudId":"c","name":"n"}\n{"type":"user"}\n')
    Path("faults.json").write_text('[{"method": "GET", "sleep": 1}]')

    result = CliRunner().invoke(stride, ["server", *words])

    assert (2, "") == (result.exit_code, result.stdout)
    assert told in result.stderr
    assert "Traceback" not in result.stderr
