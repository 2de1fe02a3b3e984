"""The group of all commands, and the one place where an exception becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

import click

from stride_async import __version__
from stride_async._cli import show
from stride_async._cli.escape import printable
from stride_async._cli.exits import (
    DEBUG_VARIABLE,
    CommandError,
    Exit,
    command_error,
    first_error,
    os_exit_code,
    os_message,
)
from stride_async._cli.lazy import LazyGroup
from stride_async._cli.options import VERBOSE, verbose_option

# Commands with their modules, by what they are about, in the order of the help.
_COMMANDS = {
    "Begin": {"demo": "demo", "server": "server", "completion": "completion"},
    "Site": {"list": "listing", "history": "history", "send": "send", "upload": "upload", "download": "download"},
    "Archive": {
        "export": "export",
        "status": "status",
        "verify": "verify",
        "view": "view",
        "convert": "convert",
        "migrate": "migrate",
        "restore": "restore",
    },
    "Bots": {"bot": "bot"},
}
_MODULES = {name: module for modules in _COMMANDS.values() for name, module in modules.items()}
_EXTRAS = {"demo": "server,export,view", "restore": "server,export", "server": "server", "view": "view"}


class CommandGroup(LazyGroup):
    """The commands, which the help lists by what they are about."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands. The few options are in the first line, so that the help fits a screen of 24 lines."""
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line for each command, with the heading of its group in front of the first."""
        width = 2 + max(map(len, _COMMANDS))
        rows = []
        for heading, modules in _COMMANDS.items():
            for number, name in enumerate(modules):
                rows.append((f"{'' if number else heading:<{width}}{name}", self.summary(ctx, name)))
        formatter.write_paragraph()
        formatter.write_dl(rows)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line. The help is printed here, which imports all commands."""
        try:
            return super().make_context(*args, **kwargs)
        except (CommandError, click.exceptions.NoArgsIsHelpError):
            raise
        except click.ClickException as error:
            raise _escaped(error) from error
        except KeyboardInterrupt:
            show.message("Interrupted.")
            raise click.exceptions.Exit(Exit.INTERRUPTED) from None
        except BrokenPipeError:
            raise
        except OSError as error:
            error.filename = error.filename or "stdout"
            raise CommandError(os_exit_code(error), os_message(error)) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn every exception into one of the exit codes in `docs/cli.md`."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (CommandError, click.exceptions.NoArgsIsHelpError):
            raise
        except click.ClickException as error:
            raise _escaped(error) from error
        except click.exceptions.Exit:
            raise
        except (KeyboardInterrupt, click.Abort):
            show.message("Interrupted.")
            ctx.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            # The reader has closed the pipe. What is still buffered must not fail again when the interpreter exits.
            show.discard(sys.stdout)
            ctx.exit(Exit.DONE)
        except Exception as error:
            first = first_error(error)
            reported = command_error(first, verbose=ctx.meta.get(VERBOSE, False))
            if reported is not None:
                raise reported from error
            if os.environ.get(DEBUG_VARIABLE):
                raise
            show.message(
                f"Error: Unexpected {first!r}. This is a bug in stride: please report it, with the traceback that "
                f"{DEBUG_VARIABLE}=1 shows."
            )
            ctx.exit(Exit.UNEXPECTED)


class _UsageError(click.UsageError):
    """A usage error whose message is written as all messages are."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Write how the command is used, and the message, to stderr."""
        usage = f"{self.ctx.get_usage()}\nTry '{self.ctx.command_path} --help' for help.\n\n" if self.ctx else ""
        show.message(f"{usage}Error: {self.format_message()}")


def _escaped(error: click.ClickException) -> click.ClickException:
    """Return an error of click as one whose message is escaped, and wrapped on a terminal."""
    message = printable(error.format_message().replace("\n\t", " "))  # click puts each choice on a line of its own.
    if isinstance(error, click.UsageError):
        return _UsageError(message, error.ctx)
    return CommandError(Exit(error.exit_code), message)


@click.group(
    cls=CommandGroup,
    modules=_MODULES,
    extras=_EXTRAS,
    otherwise="export",
    options_metavar="[-h] [-v] [--version]",
    epilog="More about a command, with examples: stride COMMAND --help. Environment variables and exit codes: "
    "`man stride`, or the documentation.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="stride", message="%(prog)s %(version)s")
@verbose_option
def stride() -> None:
    """Work with a Stride site, or with a local server that stands in for one."""


def run_command() -> None:
    """Run the command with this process's arguments, and exit.

    With stdout closed it does nothing, since the result could not be shown. With stderr closed it runs silently.
    """
    stdout_is_open = sys.stdout is not None
    show.prepare_streams()
    if not stdout_is_open:
        show.message("Error: stdout is closed. To discard the output, write >/dev/null.")
        sys.exit(Exit.USAGE)
    stride(prog_name="stride")
