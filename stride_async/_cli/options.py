"""Options that many commands share."""

from __future__ import annotations

import click

VERBOSE = "stride_async.verbose"
"""Where the context's `meta` says whether failures are told at length."""


def _remember(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.meta[VERBOSE] = True


def something(_: click.Context, __: click.Parameter, value: str) -> str:
    """The word itself; an empty one, as an unset variable of a script gives, names nothing."""
    if not value:
        raise click.BadParameter("it is empty")
    return value


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="When it fails, tell every attempt.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON lines on a terminal too; in a pipe they are the rule."
)
conversation_argument = click.argument("conversation", callback=something)
