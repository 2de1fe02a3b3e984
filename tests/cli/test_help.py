"""Test what `--help` and `--version` print."""

from __future__ import annotations

import shutil
import subprocess

import click
import pytest
from click.testing import CliRunner

from stride_async import __version__
from stride_async._cli.exits import Exit
from stride_async._cli.main import stride
from tests import man_page
from tests.cli_help import EXIT_CODES


def commands(group: click.Group = stride, name: str = "stride") -> list[tuple[str, ...]]:
    """Return the path of every command."""
    found: list[tuple[str, ...]] = []
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        found.append((word,))
        if isinstance(command, click.Group):
            found += [(word, *args) for args in commands(command, word)]
    return found


@pytest.mark.parametrize("args", commands(), ids=" ".join)
def test_every_help_has_an_example(args: tuple[str, ...]):
    """The first example begins with the command itself."""
    result = CliRunner().invoke(stride, [*args, "--help"], terminal_width=120)

    assert 0 == result.exit_code
    _, _, examples = result.stdout.partition("Examples:\n")
    first = examples.splitlines()[0].split()
    assert ["stride", *args] == first[: len(args) + 1]


@pytest.mark.parametrize("args", [(), *commands()], ids=" ".join)
def test_help_fits_80_columns(args: tuple[str, ...]):
    """No line is longer, no word is broken, and no summary in a list of commands is cut off."""
    # Of the 80 columns of a terminal, click leaves 2 free.
    narrow = CliRunner().invoke(stride, [*args, "--help"], terminal_width=78)
    wide = CliRunner().invoke(stride, [*args, "--help"], terminal_width=1000, max_content_width=1000)

    assert wide.stdout.split() == narrow.stdout.split()
    assert max(map(len, narrow.stdout.splitlines())) <= 80


def test_help_of_all_commands_fits_a_screen():
    """A terminal of 80 by 24 shows it with the next prompt; each command is in it once, in its group."""
    lines = CliRunner().invoke(stride, ["--help"], terminal_width=78).stdout.splitlines()

    assert len(lines) < 24
    commands = [line[9:].split()[0] for line in lines[4:20]]
    assert stride.list_commands(click.Context(stride)) == commands
    assert ["Begin", "Site", "Archive", "Bots"] == [line.split()[0] for line in lines[4:20] if line[0] != " "]


def test_man_page_is_current():
    """`docs/stride.1` has the same help, and every exit code; `python -m tests.cli_page` updates it."""
    assert man_page.rendered() == man_page.PAGE.read_text()
    assert set(EXIT_CODES) == set(Exit)


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_man_page_has_no_mistakes():
    """The formatter of man warns of nothing."""
    formatting = ["groff", "-man", "-ww", "-Tutf8", "-z", man_page.PAGE]

    done = subprocess.run(formatting, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)


def test_version_is_that_of_the_package():
    """The command has no version of its own."""
    assert f"stride {__version__}\n" == CliRunner().invoke(stride, ["--version"]).stdout
