"""How the command ends: exit codes, one sentence, no traceback."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stride_async import StrideClient, __version__
from stride_async._cli.main import stride
from stride_async.server import LocalServer
from tests.cli.conftest import NOTHING_SET, Run, Started, on_terminal


def commands(group: click.Group = stride, name: str = "stride") -> list[tuple[str, ...]]:
    """The words of every command there is."""
    found: list[tuple[str, ...]] = []
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        found.append((word,))
        if isinstance(command, click.Group):
            found += [(word, *words) for words in commands(command, word)]
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_help_has_an_example_that_exists(words: tuple[str, ...]):
    """Each example is a line that begins with a command there is."""
    result = CliRunner().invoke(stride, [*words, "--help"], terminal_width=120)

    assert 0 == result.exit_code
    _, _, examples = result.stdout.partition("Examples:\n")
    first = examples.splitlines()[0].split()
    assert ["stride", *words] == first[: len(words) + 1]


@pytest.mark.parametrize("words", [(), *commands()], ids=" ".join)
def test_help_fits_80_columns(words: tuple[str, ...]):
    """No line is longer, no word is broken, and no summary in a list of commands is cut off."""
    narrow = CliRunner().invoke(stride, [*words, "--help"], terminal_width=80)
    wide = CliRunner().invoke(stride, [*words, "--help"], terminal_width=1000, max_content_width=1000)

    assert wide.stdout.split() == narrow.stdout.split()
    assert max(map(len, narrow.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
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
                "2018-06-01T00:00:00Z for UTC.",
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
    start: Started, server: LocalServer, environment: dict[str, str], words: tuple[str, ...], message: list[str]
):
    """On a terminal of 80 columns, no word and no command is broken."""
    server.add_conversation("general")
    variables = dict(os.environ) | environment | {"NO_COLOR": "1", "COLUMNS": "80", "TERM": "xterm"}

    _, shown = await on_terminal(start, *words, env=variables)

    assert message == shown.splitlines()[-len(message) :]


def test_version_is_the_packages():
    """One place tells the version."""
    assert f"stride {__version__}\n" == CliRunner().invoke(stride, ["--version"]).stdout


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"STRIDE_BASE_URL": None}, 2, "set STRIDE_BASE_URL"),
        ({"STRIDE_BASE_URL": "localhost:8080"}, 2, "expected something like http://127.0.0.1:8080"),
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
async def test_a_wrong_environment_is_one_sentence(run: Run, changes: dict[str, str | None], code: int, told: str):
    """Each names what to set or what could not be reached, and has the exit code of its kind."""
    result = await run("list", "users", **changes)

    assert (code, "") == (result.exit_code, result.stdout)
    assert told in result.stderr
    assert 1 == len(result.stderr.splitlines())


async def test_a_wrong_secret_does_not_blame_the_token(run: Run):
    """Only the variables that were used are named."""
    assert "STRIDE_TOKEN" not in (await run("list", "users", STRIDE_CLIENT_SECRET="wrong")).stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("history", "96eac726-79e5-45ae-bcbb-153089954d08"), 3, "no such conversation"),
        (("history", "https://app.stride.com/elsewhere/chat/x"), 2, "STRIDE_CLOUD_ID is"),
        (("history", "https://example.com/"), 2, "not the URL of a conversation"),
        (("history", "general", "--limit", "0"), 2, "--limit"),
        (("history", "general", "--after", "2018-06-01"), 2, "Write 2018-06-01T00:00:00Z"),
        (("history", "general", "--after", "2018-06-01T08:00"), 2, "time zone"),
        (("history", "general", "--after", "2018-02-30T08:00Z"), 2, "'2018-02-30T08:00Z' is not a valid time"),
        (("history", "general", "--after", "2018-06-02T00:00Z", "--before", "2018-06-01T00:00Z"), 2, "later than"),
        (("history", "general", "--after", "no-such-message"), 3, "no such message: no-such-message"),
        (("download", "general", "no-such-media", "-o", "/tmp"), 3, "no such media: no-such-media"),
        (("send", "--user", "nobody@example.com", "hi"), 3, "nobody@example.com"),
        (("send", "--user", "nobody", "hi"), 3, "no such user: nobody"),
        (("send", "--user", "", "hi"), 2, "CONVERSATION"),
        (("download", "general", ""), 2, "MEDIA_ID"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_what_is_not_there_is_told_by_its_name(
    run: Run, server: LocalServer, words: tuple[str, ...], code: int, told: str
):
    """Not found is exit 3, not understood exit 2."""
    server.add_conversation("general")

    result = await run(*words)

    assert (code, "") == (result.exit_code, result.stdout)
    assert told in result.stderr


@pytest.mark.parametrize(
    ("fault", "code", "told"),
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
async def test_what_the_service_does_decides_the_exit_code(
    run: Run, server: LocalServer, fault: dict[str, object], code: int, told: str
):
    """A script can tell what is worth another try (7) from what is not."""
    room = server.add_conversation("general")
    server.faults.add("GET", f"*/conversation/{room}/roster", **fault)

    result = await run("list", "roster", room)

    assert (code, "") == (result.exit_code, result.stdout)
    assert told in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_send_without_answer_says_to_look_first(run: Run, server: LocalServer):
    """It may have been done, so a user must not simply repeat it."""
    room = server.add_conversation("general")
    server.faults.add("POST", "*/message", drop="after")

    result = await run("send", room, "hi")

    assert 7 == result.exit_code
    assert "may have processed the call anyway" in result.stderr
    assert 1 == len(server.calls.matching("POST", "*/message"))


@pytest.mark.parametrize("words", [("-v", "list", "roster"), ("list", "roster", "-v")], ids=" ".join)
async def test_verbose_tells_every_attempt(run: Run, server: LocalServer, words: tuple[str, ...]):
    """Whether it stands before the command or behind it."""
    room = server.add_conversation("general")
    server.faults.add("GET", "*/roster", status=404)

    result = await run(*words, room)

    assert 3 == result.exit_code
    assert "attempt 1 at" in result.stderr


async def test_a_defect_is_a_sentence_that_tells_how_to_see_more(run: Run, monkeypatch: pytest.MonkeyPatch):
    """Only on request does a user get a traceback."""

    def broken(self: StrideClient, **_: object) -> None:
        raise ZeroDivisionError("by accident")

    monkeypatch.setattr(StrideClient, "conversations", broken)

    quiet = await run("history", "general")
    loud = await run("history", "general", STRIDE_DEBUG="1")

    assert (1, 1) == (quiet.exit_code, len(quiet.stderr.splitlines()))
    assert "STRIDE_DEBUG=1" in quiet.stderr
    assert isinstance(loud.exception, ZeroDivisionError)


async def test_a_reader_who_has_had_enough_is_no_failure(start: Started, server: LocalServer):
    """`stride history … | head` ends silently."""
    server.fill(server.add_conversation("general"), 200)
    reading, writing = os.pipe()
    os.close(reading)

    process = await start("history", "general", stdout=writing)
    os.close(writing)
    _, told = await process.communicate()

    assert (0, b"") == (process.returncode, told)


@pytest.mark.parametrize("words", [("send", "general", "hi"), ("list", "conversations"), ("--help",)], ids=" ".join)
async def test_a_closed_stdout_is_told_before_anything_is_done(
    environment: dict[str, str], server: LocalServer, words: tuple[str, ...]
):
    """What came of it could not be shown."""
    server.add_conversation("general")

    result = await asyncio.to_thread(redirected, ">&-", words, environment)

    told = "Error: stdout is closed. To discard the output, write >/dev/null.\n"
    assert (2, "", told) == (result.returncode, result.stdout, result.stderr)
    assert 0 == len(server.calls)


async def test_without_stderr_the_data_are_the_same(environment: dict[str, str], server: LocalServer):
    """Only what would stand beside them is lost."""
    room = server.add_conversation("general")

    result = await asyncio.to_thread(redirected, "2>&-", ("list", "conversations"), environment)

    assert 0 == result.returncode
    assert room == json.loads(result.stdout)["id"]


@pytest.mark.parametrize("closed", ["2>&-", "2>&- >&-", "<&- 2>&- >&-"])
async def test_a_failure_that_cannot_be_told_is_an_exit_code(environment: dict[str, str], closed: str):
    """Its sentence does not get among the data."""
    result = await asyncio.to_thread(redirected, closed, ("history", "nowhere"), environment)

    assert (3 if closed == "2>&-" else 2, "", "") == (result.returncode, result.stdout, result.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
async def test_help_that_cannot_be_written_is_one_sentence(environment: dict[str, str]):
    """As everything else that cannot."""
    result = await asyncio.to_thread(redirected, ">/dev/full", ("--help",), environment)

    assert (1, "Error: No space left on device\n") == (result.returncode, result.stderr)


def redirected(how: str, words: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command, with its streams as the shell was told."""
    shell = ["bash", "-c", f'exec "$@" {how}', "bash", sys.executable, "-m", "stride_async", *words]
    variables = {name: value for name, value in os.environ.items() if name not in NOTHING_SET} | environment
    return subprocess.run(shell, capture_output=True, text=True, timeout=60, env=variables, check=False)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("aiohttp", ["list", "users"]),
        ("click", ["list", "users"]),
        ("stride_async._cli.listing", ["list", "users"]),
        ("stride_async._cli.verify", ["--help"]),
    ],
    ids=["the client", "the command line", "one command", "the help"],
)
async def test_ctrl_c_while_the_command_is_still_loading_is_one_word(module: str, words: list[str]):
    """Whoever changes their mind at once sees no traceback."""
    result = await asyncio.to_thread(interrupted_at, module, words)

    assert (130, "", "Interrupted.\n") == (result.returncode, result.stdout, result.stderr)


async def test_an_interrupt_that_is_to_be_ignored_is_ignored():
    """A command in the background of a script is not ended by the Ctrl-C that ends another one."""
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"

    result = await asyncio.to_thread(interrupted_at, "aiohttp", ["--version"], ignore)

    assert (0, f"stride {__version__}\n", "") == (result.returncode, result.stdout, result.stderr)


def interrupted_at(module: str, words: list[str], before: str = "") -> subprocess.CompletedProcess[str]:
    """The command, which gets SIGINT when it is about to import a module."""
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
    python = [sys.executable, "-c", code, *words]
    return subprocess.run(python, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("missing", "words", "told"),
    [
        ("click", ["list", "users"], "pip install 'stride-async[cli]'"),
        ("rich", ["list", "users"], "pip install 'stride-async[cli]'"),
        ("jsonschema", ["server", "--port", "0"], "pip install 'stride-async[server]'"),
        ("markdown_it", ["demo"], "pip install 'stride-async[server,export]'"),
        ("zstandard", ["export", "-o", "site"], "pip install 'stride-async[export]'"),
    ],
)
async def test_a_missing_extra_is_named(missing: str, words: list[str], told: str):
    """One sentence says what to install."""
    result = await asyncio.to_thread(without, missing, words)

    assert 1 == result.returncode
    assert told in result.stderr
    assert 1 == len(result.stderr.splitlines())


async def test_a_missing_extra_harms_no_other_command():
    """The help lists all commands, and says which of them need more."""
    result = await asyncio.to_thread(without, "jsonschema", ["--help"])

    assert 0 == result.returncode
    assert 2 == result.stdout.count("(requires pip install")
    assert "  history " in result.stdout


def without(package: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """The command where a package is not installed."""
    code = (
        f"import sys; sys.modules[{package!r}] = None; import runpy; runpy.run_module('stride_async', None, '__main__')"
    )
    variables = {name: value for name, value in os.environ.items() if name not in NOTHING_SET}
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, env=variables, check=False
    )
