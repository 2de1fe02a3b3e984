"""Test what `--help` and `--version` print."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from stride_async import __version__
from stride_async._cli.main import stride


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
    narrow = CliRunner().invoke(stride, [*args, "--help"], terminal_width=80)
    wide = CliRunner().invoke(stride, [*args, "--help"], terminal_width=1000, max_content_width=1000)

    assert wide.stdout.split() == narrow.stdout.split()
    assert max(map(len, narrow.stdout.splitlines())) <= 80


def test_version_is_that_of_the_package():
    """The command has no version of its own."""
    assert f"stride {__version__}\n" == CliRunner().invoke(stride, ["--version"]).stdout
