"""Test `stride server`: that it responds, that it stops, and what it reports if it cannot start."""

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
async def test_the_server_responds_until_a_signal_stops_it(start: Started, end: signal.Signals):
    """Its first line holds everything a client needs; either signal is a regular end."""
    process = await start("server", "--json", "--generate", "conversations=3,messages=5,media=0")
    assert process.stdout is not None

    facts = json.loads(await process.stdout.readline())
    credentials = ClientCredentials(facts["client_id"], facts["client_secret"])
    settings = Settings(base_url=facts["url"])
    async with StrideClient(credentials, cloud_id=facts["cloud_id"], settings=settings) as client:
        rooms = await client.conversations(include_archived=True).collect(limit=None)
    process.send_signal(end)
    rest, messages = await process.communicate()

    assert {"url", "cloud_id", "client_id", "client_secret"} == facts.keys()
    assert facts["url"].startswith("http://127.0.0.1:")
    assert 3 == len(rooms)
    assert (0, b"", b"Stopped.\n") == (process.returncode, rest, messages)


async def test_the_server_warns_when_others_can_reach_it(start: Started):
    """Any address but a loopback one has a warning."""
    process = await start("server", "--host", "0.0.0.0")
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, messages = await process.communicate()

    assert b"Warning: listening on 0.0.0.0" in messages


def test_a_port_in_use_is_reported():
    """The message is one line, with exit 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        result = CliRunner().invoke(stride, ["server", "--port", str(port)])

    assert (2, f"Error: port {port} is taken on 127.0.0.1\n") == (result.exit_code, result.stderr)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seed", "site.jsonl"], "site.jsonl, line 2: expected"),
        (["--seed", "absent.jsonl"], "absent.jsonl"),
        (["--generate", "rooms=3"], "expected one of conversations"),
        (["--seed", "site.jsonl", "--generate", "users=1"], "not from both"),
        (["--faults", "faults.json"], "entry 1: unknown option 'sleep'"),
        (["--db", "site.jsonl"], "site.jsonl"),
        (["--host", "192.0.2.1"], "192.0.2.1"),
        (["--host", "no-such-host.invalid"], "Cannot listen on no-such-host.invalid: "),
        (["--port", "70000"], "--port"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_server_reports_why_it_cannot_start(
    args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Any invalid option is a message about it, with exit 2."""
    monkeypatch.chdir(tmp_path)
    Path("site.jsonl").write_text('{"type":"site","cloudId":"c","name":"n"}\n{"type":"user"}\n')
    Path("faults.json").write_text('[{"method": "GET", "sleep": 1}]')

    result = CliRunner().invoke(stride, ["server", *args])

    assert (2, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
