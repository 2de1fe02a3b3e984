"""`stride bot`: run a bot, try it out, and look at what failed."""

from __future__ import annotations

import click

from stride_async._cli.lazy import LazyGroup


@click.group(
    name="bot",
    cls=LazyGroup,
    modules={"try": "bot_try", "run": "bot_run", "failed": "bot_failed", "retry": "bot_retry"},
    extras={"try": "server,bot"},
    otherwise="bot",
)
def command() -> None:
    """Run a bot, try it without a service, and see failures.

    MODULE:NAME says where the bot is: `mybot:bot` is the variable `bot` of `mybot.py` in the current folder, or of an
    installed module.

    \b
    Examples:
        stride bot try mybot:bot
        stride bot run mybot:bot
        stride bot failed
    """
