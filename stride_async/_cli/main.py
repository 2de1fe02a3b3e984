"""The tree of commands, and the one place where a failure becomes a sentence and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from stride_async import __version__
from stride_async._cli.exits import DEBUG_VARIABLE, Ended, Exit, code_of_os, ended, first_of
from stride_async._cli.options import VERBOSE, verbose_option

_MODULES = {
    "demo": "demo",
    "server": "server",
    "list": "listing",
    "history": "history",
    "send": "send",
    "upload": "upload",
    "download": "download",
    "export": "export",
    "status": "status",
    "verify": "verify",
}
"""Commands in the order of the help, each with its module, which is imported when it is wanted."""
_EXTRAS = {"demo": "server,export", "server": "server"}
"""What a command needs beside the extra `cli`; the others that need anything need `export`."""


class Tree(click.Group):
    """The commands. One whose packages are not installed says so when it is called, and harms no other."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which a newcomer needs them."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in _MODULES:
            return None
        try:
            command = importlib.import_module(f"stride_async._cli.{_MODULES[cmd_name]}").command
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("stride_async"):
                raise
            return _unavailable(cmd_name)
        assert isinstance(command, click.Command)
        return command

    def make_context(self, *words: Any, **how: Any) -> click.Context:
        """Read the words of the command line; the help is made here, from all commands."""
        try:
            return super().make_context(*words, **how)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            raise click.exceptions.Exit(Exit.INTERRUPTED) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Ended(code_of_os(error), error.strerror or str(error)) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for, and end as `docs/cli.md` says."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (click.ClickException, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            ctx.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            # Whoever read has had enough. What is still buffered must not fail again at the interpreter's end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(Exit.DONE)
        except Exception as error:
            first = first_of(error)
            end = ended(first, verbose=ctx.meta.get(VERBOSE, False))
            if end is not None:
                raise end from error
            if os.environ.get(DEBUG_VARIABLE):
                raise
            click.echo(
                f"Error: a defect of stride itself: {first!r}; set {DEBUG_VARIABLE}=1 to see where, and report it",
                err=True,
            )
            ctx.exit(Exit.UNEXPECTED)


def _unavailable(name: str) -> click.Command:
    needed = f"pip install 'stride-async[{_EXTRAS.get(name, 'export')}]'"

    def refuse() -> None:
        raise click.ClickException(f"stride {name} needs more packages: {needed}")

    return click.Command(
        name,
        callback=refuse,
        short_help=f"(needs {needed})",
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@click.group(cls=Tree, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="stride", message="%(prog)s %(version)s")
@verbose_option
def stride() -> None:
    """Talk to a Stride site, or to a local stand-in for one.

    Data goes to stdout: a table on a terminal, JSON lines in a pipe. All else goes to stderr. The site and the
    secrets come from the environment: STRIDE_BASE_URL, STRIDE_CLOUD_ID, and STRIDE_CLIENT_ID with
    STRIDE_CLIENT_SECRET, or STRIDE_TOKEN. A secret that is missing is asked for on a terminal.

    \b
    Exit codes:
        0  done                     5  partial: what is missing is listed
        1  unexpected               6  verification failed
        2  usage                    7  service unavailable, or limit not clearing
        3  nothing selected         8  archive busy, newer, or not one
        4  authentication         130  interrupted

    \b
    Examples:
        stride demo
        stride server --generate conversations=20,messages=250,seed=7
        stride list conversations
        stride history general --limit 20
        stride export -o site
    """


def run_command() -> None:
    """Run the command with the words this process was given, and exit.

    Without stdout nothing is begun, since nobody would see what came of it. Without stderr it runs in silence.
    """
    told = sys.stdout is not None
    _replace_closed_streams()
    if not told:
        click.echo("Error: stdout is closed; to see nothing of it write >/dev/null", err=True)
        sys.exit(Exit.USAGE)
    stride(prog_name="stride")


def _replace_closed_streams() -> None:
    """Open what was closed, on nothing. Else the next file or connection would get its number, and what is said."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123 -- to the end of the process
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 -- to the end of the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 -- to the end of the process
