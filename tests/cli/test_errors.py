"""Test exit codes and error messages: one line, and never a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stride_async import StrideClient, __version__
from stride_async.server import LocalServer
from tests.cli.conftest import NOTHING_SET, Run, Started, on_terminal
from tests.conftest import client_of
from tests.export.exporting import exported


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("history", "https://example.com/"),
            [
                "Error: 'https://example.com/' is not the URL of a conversation. Expected",
                "https://app.stride.com/SITE/chat/CONVERSATION",
            ],
        ),
        (
            ("history", "general", "--after", "2018-06-01"),
            [
                "Error: Invalid value for '--after': '2018-06-01' has no time zone. Write",
                "2018-06-01T00:00:00Z, or add --tz.",
            ],
        ),
        (
            ("history", "xyzxyz"),
            [
                "Error: No conversation is named 'xyzxyz' (1 available). Run",
                "`stride list conversations --archived` to see them.",
            ],
        ),
    ],
    ids=["an error", "a usage error", "a command in backticks"],
)
async def test_messages_are_wrapped_between_words(
    start: Started, server: LocalServer, environment: dict[str, str], args: tuple[str, ...], message: list[str]
):
    """On a terminal of 80 columns, no word and no command is broken."""
    server.add_conversation("general")
    variables = dict(os.environ) | environment | {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}

    _, shown = await on_terminal(start, *args, env=variables)

    assert message == shown.splitlines()[-len(message) :]


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"STRIDE_BASE_URL": None}, 2, "set STRIDE_BASE_URL"),
        ({"STRIDE_BASE_URL": "localhost:8080"}, 2, "is not a valid http(s) URL, such as http://127.0.0.1:8080"),
        ({"STRIDE_CLOUD_ID": None}, 2, "set STRIDE_CLOUD_ID"),
        ({"STRIDE_CLIENT_SECRET": None}, 2, "set STRIDE_CLIENT_SECRET, or STRIDE_TOKEN"),
        ({"STRIDE_CLIENT_SECRET": "wrong"}, 4, "STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET"),
        ({"STRIDE_TOKEN": "wrong"}, 4, "STRIDE_TOKEN"),
        ({"STRIDE_CLOUD_ID": "another"}, 3, "no such site: another"),
        ({"STRIDE_BASE_URL": "http://127.0.0.1:1"}, 7, "cannot connect to 127.0.0.1:1: Connection refused"),
        ({"STRIDE_BASE_URL": "http://no-such-host.invalid"}, 7, "no-such-host.invalid"),
    ],
    ids=lambda value: " ".join(f"{name}={set_to}" for name, set_to in value.items()) if isinstance(value, dict) else "",
)
async def test_a_wrong_environment_is_reported_in_one_line(
    run: Run, changes: dict[str, str | None], code: int, message: str
):
    """The message names the variable to set, or the server that could not be reached."""
    result = await run("list", "users", **changes)

    assert (code, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert 1 == len(result.stderr.splitlines())


async def test_variables_may_come_from_a_file_with_windows_line_ends(run: Run, environment: dict[str, str]):
    """A shell leaves a carriage return at the end of each."""
    result = await run("list", "users", **{name: f"{value}\r" for name, value in environment.items()})

    assert (0, "") == (result.exit_code, result.stderr)


async def test_a_wrong_secret_does_not_blame_the_token(run: Run):
    """Only the variables that were used are named."""
    assert "STRIDE_TOKEN" not in (await run("list", "users", STRIDE_CLIENT_SECRET="wrong")).stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("history", "96eac726-79e5-45ae-bcbb-153089954d08"), 3, "no such conversation"),
        (("history", "https://app.stride.com/elsewhere/chat/x"), 2, "STRIDE_CLOUD_ID is"),
        (("history", "https://example.com/"), 2, "not the URL of a conversation"),
        (("hsitory", "general"), 2, "No such command 'hsitory'. Did you mean 'history'"),
        (("lst", "users"), 2, "Did you mean 'list'"),
        (("list", "user"), 2, "No such command 'user'. Did you mean 'users'"),
        (("bot", "rn"), 2, "No such command 'rn'. Did you mean 'run'"),
        (("migrate", "matrx"), 2, "Did you mean 'matrix'?"),
        (("help",), 2, "No such command 'help'."),
        (("history", "general", "--limit", "0"), 2, "--limit"),
        (("history", "general", "--after", "2018-06-01"), 2, "Write 2018-06-01T00:00:00Z"),
        (("history", "general", "--after", "2018-06-01T08:00"), 2, "time zone"),
        (("history", "general", "--after", "2018-02-30T08:00Z"), 2, "'2018-02-30T08:00Z' is not a valid time"),
        (("history", "general", "--after", "2018-06-02T00:00Z", "--before", "2018-06-01T00:00Z"), 2, "later than"),
        (("history", "general", "--after", "no-such-message"), 3, "no such message: no-such-message"),
        (("download", "general", "no-such-media", "-o", "/tmp"), 3, "no such media: no-such-media"),
        (("send", "--user", "unknown@example.com", "hi"), 3, "unknown@example.com"),
        (("send", "--user", "unknown", "hi"), 3, "no such user: unknown"),
        (("send", "--user", "", "hi"), 2, "CONVERSATION"),
        (("download", "general", ""), 2, "MEDIA_ID"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_errors_name_what_was_not_found_or_not_understood(
    run: Run, server: LocalServer, args: tuple[str, ...], code: int, message: str
):
    """Exit 3 means that something was not found, exit 2 that the input is invalid."""
    server.add_conversation("general")

    result = await run(*args)

    assert (code, "") == (result.exit_code, result.stdout)
    assert message in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("history general --limit x", "'x' is not a whole number of 1 or more."),
        ("history general --limit 0", "'0' is not a whole number of 1 or more."),
        ("verify site --sample 1.5", "'1.5' is not a whole number of 1 or more."),
        ("verify site --seed x", "'x' is not a whole number of 0 or more."),
        ("export -o site --concurrency -1", "'-1' is not a whole number of 1 or more."),
        ("demo --rooms 10001", "'10001' is not a whole number from 1 to 10000."),
        ("demo --messages many", "'many' is not a whole number from 0 to 10000000."),
    ],
)
async def test_a_bad_number_is_reported_with_what_is_expected(run: Run, line: str, message: str):
    """The sentence names no type of a program."""
    result = await run(*line.split())

    assert 2 == result.exit_code
    assert result.stderr.endswith(f": {message}\n")


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        ({"status": 503}, 7, "answered 503"),
        ({"drop": "before"}, 7, "connection broke"),
        ({"status": 403}, 4, "answered 403"),
        ({"status": 400}, 1, "answered 400"),
        ({"body": b"<html>", "headers": {"Content-Type": "text/html"}}, 1, "JSON"),
        ({"status": 429, "headers": {"Retry-After": "4000"}}, 7, "4000 s"),
    ],
    ids=str,
)
async def test_the_exit_code_depends_on_the_failure(
    run: Run, server: LocalServer, fault: dict[str, object], code: int, message: str
):
    """A script can tell failures that may go away (7) from others."""
    room = server.add_conversation("general")
    server.faults.add("GET", f"*/conversation/{room}/roster", **fault)

    result = await run("list", "roster", room)

    assert (code, "") == (result.exit_code, result.stdout)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_send_without_a_response_says_to_check_first(run: Run, server: LocalServer):
    """The message may have been sent, so the user must not simply repeat the command."""
    room = server.add_conversation("general")
    server.faults.add("POST", "*/message", drop="after")

    result = await run("send", room, "hi")

    assert 7 == result.exit_code
    assert "may have processed the call anyway" in result.stderr
    assert 1 == len(server.calls.matching("POST", "*/message"))


@pytest.mark.parametrize("args", [("-v", "list", "roster"), ("list", "roster", "-v")], ids=" ".join)
async def test_verbose_lists_every_attempt(run: Run, server: LocalServer, args: tuple[str, ...]):
    """The option works before and after the name of the command."""
    room = server.add_conversation("general")
    server.faults.add("GET", "*/roster", status=404)

    result = await run(*args, room)

    assert 3 == result.exit_code
    assert "attempt 1 at" in result.stderr


async def test_a_bug_is_reported_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch):
    """A traceback is shown only when STRIDE_DEBUG is set."""

    def broken(self: StrideClient, **_: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr(StrideClient, "conversations", broken)

    quiet = await run("history", "general")
    loud = await run("history", "general", STRIDE_DEBUG="1")

    assert (1, 1) == (quiet.exit_code, len(quiet.stderr.splitlines()))
    assert "STRIDE_DEBUG=1" in quiet.stderr
    assert isinstance(loud.exception, ZeroDivisionError)


async def test_a_closed_pipe_is_not_an_error(start: Started, server: LocalServer):
    """`stride history … | head` ends silently."""
    server.fill(server.add_conversation("general"), 200)
    reading, writing = os.pipe()
    os.close(reading)

    process = await start("history", "general", stdout=writing)
    os.close(writing)
    _, stderr = await process.communicate()

    assert (0, b"") == (process.returncode, stderr)


@pytest.mark.parametrize("args", [("send", "general", "hi"), ("list", "conversations"), ("--help",)], ids=" ".join)
async def test_a_closed_stdout_is_reported_before_any_call(
    environment: dict[str, str], server: LocalServer, args: tuple[str, ...]
):
    """The result could not be shown."""
    server.add_conversation("general")

    result = await asyncio.to_thread(redirected, ">&-", args, environment)

    message = "Error: stdout is closed. To discard the output, write >/dev/null.\n"
    assert (2, "", message) == (result.returncode, result.stdout, result.stderr)
    assert 0 == len(server.calls)


async def test_a_closed_stderr_does_not_change_the_data(environment: dict[str, str], server: LocalServer):
    """Only messages are lost."""
    room = server.add_conversation("general")

    result = await asyncio.to_thread(redirected, "2>&-", ("list", "conversations"), environment)

    assert 0 == result.returncode
    assert room == json.loads(result.stdout)["id"]


@pytest.mark.parametrize("closed", ["2>&-", "2>&- >&-", "<&- 2>&- >&-"])
async def test_without_stderr_an_error_is_only_an_exit_code(environment: dict[str, str], closed: str):
    """The message does not end up in the data."""
    result = await asyncio.to_thread(redirected, closed, ("history", "nowhere"), environment)

    assert (3 if closed == "2>&-" else 2, "", "") == (result.returncode, result.stdout, result.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
async def test_help_on_a_full_disk_is_reported_in_one_line(environment: dict[str, str]):
    """No traceback is shown."""
    result = await asyncio.to_thread(redirected, ">/dev/full", ("--help",), environment)

    assert (1, "Error: stdout: No space left on device\n") == (result.returncode, result.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize(
    "args",
    [
        ("list", "conversations"),
        ("history", "general"),
        ("send", "general", "hi"),
        ("status", "site"),
        ("export", "-o", "new"),
    ],
)
async def test_output_to_a_full_disk_is_reported_in_one_line(
    server: LocalServer, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args
):
    """Nothing fails a second time when the interpreter exits. On a full stderr, only messages are lost."""
    monkeypatch.chdir(tmp_path)
    server.fill(server.add_conversation("general"), 3)
    async with client_of(server) as client:
        await exported(client, tmp_path / "site")

    full = await asyncio.to_thread(redirected, ">/dev/full", args, environment)
    silent = await asyncio.to_thread(redirected, "2>/dev/full", args, environment)

    assert (1, 1) == (full.returncode, full.stderr.count("Error: ")), full.stderr
    assert full.stderr.endswith("Error: stdout: No space left on device\n")
    assert (0, "") == (silent.returncode, silent.stderr)


def redirected(how: str, args: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command with its streams redirected by a shell."""
    shell = ["bash", "-c", f'exec "$@" {how}', "bash", sys.executable, "-m", "stride_async", *args]
    variables = {name: value for name, value in os.environ.items() if name not in NOTHING_SET} | environment
    return subprocess.run(shell, capture_output=True, text=True, timeout=60, env=variables, check=False)


@pytest.mark.parametrize(
    ("module", "args"),
    [
        ("aiohttp", ["list", "users"]),
        ("click", ["list", "users"]),
        ("stride_async._cli.listing", ["list", "users"]),
        ("stride_async._cli.verify", ["--help"]),
    ],
    ids=["the client", "the command line", "one command", "the help"],
)
async def test_ctrl_c_during_the_imports_shows_no_traceback(module: str, args: list[str]):
    """Only one word is printed."""
    result = await asyncio.to_thread(interrupted_at, module, args)

    assert (130, "", "Interrupted.\n") == (result.returncode, result.stdout, result.stderr)


async def test_an_ignored_interrupt_stays_ignored():
    """Ctrl-C does not end a script's background job."""
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"

    result = await asyncio.to_thread(interrupted_at, "aiohttp", ["--version"], ignore)

    assert (0, f"stride {__version__}\n", "") == (result.returncode, result.stdout, result.stderr)


def interrupted_at(module: str, args: list[str], before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command with SIGINT raised when a module is about to be imported."""
    code = f"""
import runpy, signal, sys
{before}

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
runpy.run_module("stride_async", None, "__main__")
"""
    python = [sys.executable, "-c", code, *args]
    return subprocess.run(python, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("missing", "args", "message"),
    [
        ("click", ["list", "users"], "pip install 'stride-async[cli]'"),
        ("rich", ["list", "users"], "pip install 'stride-async[cli]'"),
        ("jsonschema", ["server", "--port", "0"], "pip install 'stride-async[server]'"),
        ("jwt", ["bot", "run", "mybot:bot"], "pip install 'stride-async[bot]'"),
        ("jsonschema", ["bot", "try", "mybot:bot"], "pip install 'stride-async[server,bot]'"),
        ("markdown_it", ["demo"], "pip install 'stride-async[server,export,view]'"),
        ("zstandard", ["export", "-o", "site"], "pip install 'stride-async[export]'"),
    ],
)
async def test_a_missing_extra_is_named(missing: str, args: list[str], message: str):
    """One line says what to install."""
    result = await asyncio.to_thread(without, missing, args)

    assert 2 == result.returncode
    assert message in result.stderr
    assert 1 == len(result.stderr.splitlines())


async def test_a_missing_extra_does_not_affect_other_commands():
    """The help lists all commands, and says which of them require more packages."""
    result = await asyncio.to_thread(without, "jsonschema", ["--help"])

    assert 0 == result.returncode
    assert 3 == result.stdout.count("(requires pip install")
    assert "  history " in result.stdout


def without(package: str, args: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command as if a package were not installed."""
    code = (
        f"import sys; sys.modules[{package!r}] = None; import runpy; runpy.run_module('stride_async', None, '__main__')"
    )
    variables = {name: value for name, value in os.environ.items() if name not in NOTHING_SET}
    return subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, env=variables, check=False
    )
