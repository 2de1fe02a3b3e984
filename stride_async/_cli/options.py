"""Options and arguments that several commands share, and the types of their values."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from stride_async._cli.exits import CommandError, Exit, os_exit_code, os_message

# The key of `Context.meta` for whether `--verbose` was given.
VERBOSE = "stride_async.verbose"
# The argument that stands for stdin.
STDIN = Path("-")


class TextParam(click.types.StringParamType):
    """Text that can be encoded as UTF-8, which a command-line argument need not be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        text = str(value)
        if is_text(text):
            return text
        try:
            return os.fsencode(text).decode()  # It may be UTF-8 although the locale is not.
        except UnicodeError:
            self.fail("It is not valid UTF-8.", param, ctx)


class PathParam(click.Path):
    """A path that the system accepts, as `check_path` says."""

    def __init__(self, *, refusal: str = "", **how: Any) -> None:
        super().__init__(**how)
        self.refusal = refusal

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        check_path(os.fsdecode(value), self.refusal)
        return super().convert(value, param, ctx)


def check_path(path: str, refusal: str = "") -> None:
    """Check that the system accepts a path, whether or not something exists there.

    Raises:
        CommandError: The path is empty or the system refuses it. The message begins with `refusal`.
    """
    if not path:
        raise CommandError(Exit.USAGE, f"{refusal}A path must not be empty.")
    if "\0" in path:
        raise CommandError(Exit.USAGE, f"{refusal}A path cannot contain a null character.")
    try:
        Path(path).stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CommandError(os_exit_code(error), refusal + os_message(error)) from error


class WholeNumber(click.IntRange):
    """A whole number between two bounds, both of them included."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number{_between(self.min, self.max)}.", param, ctx)


class Seconds(click.FloatRange):
    """A finite number of seconds, at least `min`, or above it with `min_open`."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        try:
            seconds: float = super().convert(value, param, ctx)
        except click.BadParameter:
            seconds = math.nan
        if not math.isfinite(seconds):
            least = f"above {self.min}" if self.min_open else f"of {self.min} or more"
            self.fail(f"{value!r} is not a number of seconds {least}.", param, ctx)
        return seconds


def _between(least: float | None, most: float | None) -> str:
    return f" of {least} or more" if most is None else f" from {least} to {most}"


def is_text(value: str) -> bool:
    """Return whether the value can be encoded; the system may give the command any bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remember(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[VERBOSE] = True


def not_empty(_: click.Context, __: click.Parameter, value: str) -> str:
    """Return the value; an empty one, as from an unset variable in a script, is an error."""
    if not value:
        raise click.BadParameter("It must not be empty.")
    return value


def read_text(data: bytes, otherwise: str) -> str:
    """Return the text in UTF-8 data, without a byte order mark.

    Raises:
        CommandError: The data is not UTF-8. The message begins with `otherwise`.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{otherwise}: byte {error.start + 1:,} is 0x{error.object[error.start]:02x}."
        raise CommandError(Exit.USAGE, message) from error


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="Say which event loop is used, and on failure list every attempt.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON lines on a terminal too; elsewhere they are the default."
)
conversation_argument = click.argument("conversation", type=TextParam(), callback=not_empty)

kinds_option = click.option(
    "--type",
    "kinds",
    type=click.Choice(["public", "private", "direct", "group"]),
    multiple=True,
    help="Only conversations of this type; can be repeated.",
)
