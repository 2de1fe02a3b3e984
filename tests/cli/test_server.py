"""Test `stride server`: that it responds, that it stops, and what it reports if it cannot start."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import stat
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from stride_async import ClientCredentials, Settings, StrideClient
from stride_async._cli import server
from stride_async._cli.main import stride
from tests.cli.conftest import Started, on_terminal
from tests.server.app import running_app


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


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
    generating = b"Generating 3 conversations with 15 messages in total.\n"
    assert (0, b"", generating + b"Stopped.\n") == (process.returncode, rest, messages)


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
        (["--generate", "users=999999999999"], "users: expected a number from 1 to 100,000"),
        (["--seed", "."], "site.jsonl, line 2: expected an object as user, found None"),
        (["--seed", "loop"], "loop: Too many levels of symbolic links"),
        (["--db", "loop"], "loop: Too many levels of symbolic links"),
        (["--faults", "loop"], "loop: Too many levels of symbolic links"),
        (["--seed", "n" * 300], "File name too long"),
        (["--db", "n" * 300], "File name too long"),
        (["--faults", "n" * 300], "File name too long"),
        (["--env-file", "n" * 300], "File name too long"),
        (["--env-file", "loop"], "loop: Too many levels of symbolic links"),
        (["--env-file", "."], "Cannot write .: it is not a regular file"),
        (["--env-file", "absent/.env"], "Cannot write absent/.env: "),
        (["--env-file", "faults.json"], "faults.json contains other lines, which would be lost"),
        (["--app", "descriptor.json"], "It must be an http or https URL."),
        (["--install", "all"], "--install requires --app."),
        (["--latency", "nan"], "'--latency': 'nan' is not a number of seconds of 0 or more."),
        (["--latency", "soon"], "'--latency': 'soon' is not a number of seconds of 0 or more."),
        (["--window", "inf"], "'--window': 'inf' is not a number of seconds above 0."),
        (["--window", "0"], "'--window': '0' is not a number of seconds above 0."),
        (["--rate-limit", "1.5"], "'--rate-limit': '1.5' is not a whole number of 0 or more."),
        (["--host", ""], "host is empty"),
        (["--host", "192.0.2.1"], "192.0.2.1"),
        (["--host", "n" * 300], "it is not a valid host name"),
        (["--host", "no-such-host.invalid"], "Cannot listen on no-such-host.invalid: "),
        (["--port", "70000"], "'--port': '70000' is not a whole number from 0 to 65535."),
        (["--db", ""], "A path must not be empty."),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_the_server_reports_why_it_cannot_start(
    args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Any invalid option is a message about it, with exit 2."""
    monkeypatch.chdir(tmp_path)
    Path("site.jsonl").write_text('{"type":"site","cloudId":"c","name":"n"}\n{"type":"user"}\n')
    Path("faults.json").write_text('[{"method": "GET", "sleep": 1}]')
    Path("loop").symlink_to("loop")

    result = CliRunner().invoke(stride, ["server", *args])

    assert (2, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert {"site.jsonl", "faults.json", "loop"} == names(tmp_path)


async def test_ctrl_c_ends_the_generation_of_a_site(start: Started, tmp_path: Path):
    """It is a regular end, and no database is left."""
    plan = "conversations=1000000,messages=100"
    process = await start("server", "--generate", plan, "--db", str(tmp_path / "site.db"))
    assert process.stderr is not None
    line = await process.stderr.readline()

    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        out, messages = await process.communicate()

    assert b"Generating 1,000,000 conversations with 100,000,000 messages in total.\n" == line
    assert (0, b"", b"Stopped.\n") == (process.returncode, out, messages)
    assert set() == names(tmp_path)


async def test_a_terminal_shows_what_is_loaded_so_far(start: Started):
    """The counts are redrawn in place, below a line that says what is generated."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        code, shown = await on_terminal(start, "server", "--generate", "conversations=9,media=0", "--port", port)

    assert 2 == code
    assert "Generating 9 conversations with 2,250 messages in total." in shown
    assert re.search(r"[\d,]+ messages? · \d conversations? · 0 files · \d+ users?", shown)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda end: end.name)
async def test_an_env_file_exists_while_the_server_runs(start: Started, tmp_path: Path, end: signal.Signals):
    """A shell can read it, only the user may, and it is removed at the end."""
    (tmp_path / "site.jsonl").write_text(json.dumps({"type": "site", "cloudId": "it's $HOME", "name": "n"}))
    env = tmp_path / ".env"
    process = await start("server", "--json", "--seed", str(tmp_path / "site.jsonl"), "--env-file", str(env))
    assert process.stdout is not None

    facts = json.loads(await process.stdout.readline())
    mode = stat.S_IMODE(env.stat().st_mode)
    script = f"set -a; . {env}; {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    shell = await asyncio.create_subprocess_exec("sh", "-c", script, env={}, stdout=asyncio.subprocess.PIPE)
    output, _ = await shell.communicate()
    process.send_signal(end)
    await process.communicate()

    variables = {name: value for name, value in json.loads(output).items() if name.startswith("STRIDE_")}
    assert {f"STRIDE_{name.upper()}".replace("_URL", "_BASE_URL"): value for name, value in facts.items()} == variables
    assert ("it's $HOME", 0o600) == (facts["cloud_id"], mode)
    assert {"site.jsonl"} == names(tmp_path)


async def test_an_env_file_of_a_killed_server_is_replaced(start: Started, tmp_path: Path):
    """It holds nothing but the variables, so nothing is lost."""
    env = tmp_path / ".env"
    first = await start("server", "--env-file", str(env))
    assert first.stdout is not None
    await first.stdout.readline()
    first.kill()
    await first.wait()
    stale = env.read_text()

    second = await start("server", "--env-file", str(env))
    assert second.stdout is not None
    facts = json.loads(await second.stdout.readline())

    assert stale != env.read_text()
    assert f"STRIDE_CLIENT_ID={facts['client_id']}\n" in env.read_text()


async def test_an_env_file_that_was_changed_is_kept(start: Started, tmp_path: Path):
    """What the user added is not lost when the server stops."""
    env = tmp_path / ".env"
    process = await start("server", "--env-file", str(env))
    assert process.stdout is not None
    await process.stdout.readline()
    env.write_text(env.read_text() + "OTHER=1\n")

    process.send_signal(signal.SIGTERM)
    await process.communicate()

    assert env.read_text().endswith("OTHER=1\n")


async def test_a_server_that_cannot_start_writes_no_env_file(start: Started, tmp_path: Path):
    """The file would announce a server that does not run."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        process = await start("server", "--port", port, "--env-file", str(tmp_path / ".env"))
        await process.communicate()

    assert (2, set()) == (process.returncode, names(tmp_path))


@pytest.mark.parametrize("app_first", [True, False], ids=["app first", "server first"])
async def test_an_app_is_registered_and_installed(start: Started, app_first: bool):
    """App and server may start in any order; the server calls the app for its installation in each conversation."""
    async with AsyncExitStack() as stack:
        if app_first:
            app = await stack.enter_async_context(running_app())
            url = app.url
        else:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            url = f"http://127.0.0.1:{port}"
        plan = ("--generate", "conversations=3,messages=0,media=0")
        options = ("--app", f"{url}/descriptor.json", "--install", "all")
        process = await start("server", "--json", *plan, *options)
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readline()
        if not app_first:
            app = await stack.enter_async_context(running_app(port=port))

        await process.stderr.readline()
        line = await process.stderr.readline()

    message = f"Registered the app at {url}/descriptor.json and installed it in 2 conversations.\n"
    assert message == line.decode()
    assert ["/installed", "/installed"] == app.paths()


def test_an_app_that_does_not_start_ends_the_server(monkeypatch: pytest.MonkeyPatch):
    """The message says what was tried, with exit 7."""
    monkeypatch.setattr(server, "_SECONDS_FOR_APP", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/descriptor.json"

    result = CliRunner().invoke(stride, ["server", "--app", url])

    assert 7 == result.exit_code
    assert f"Error: The app did not start within 0.1 s: cannot fetch {url}" in result.stderr


async def test_a_wrong_descriptor_ends_the_server(start: Started):
    """The message names the place, with exit 2."""
    async with running_app(descriptor={"baseUrl": 5}) as app:
        process = await start("server", "--app", f"{app.url}/descriptor.json")
        _, messages = await process.communicate()

    assert 2 == process.returncode
    assert b"Error: The app cannot be registered: baseUrl: expected an http or https URL, found 5\n" == messages
