"""Options and arguments that several commands share."""

from __future__ import annotations

import click

# The key of `Context.meta` for whether `--verbose` was given.
VERBOSE = "stride_async.verbose"


def _remember(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[VERBOSE] = True


def not_empty(_: click.Context, __: click.Parameter, value: str) -> str:
    """Return the value; an empty one, as from an unset variable in a script, is an error."""
    if not value:
        raise click.BadParameter("It must not be empty.")
    return value


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="On failure, list every attempt.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON lines on a terminal too; elsewhere they are the default."
)
conversation_argument = click.argument("conversation", callback=not_empty)
