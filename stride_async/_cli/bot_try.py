"""`stride bot try`: talk to a bot in a terminal, with a local server in place of the service."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import click

from stride_async._cli import progress, show
from stride_async._cli.bot_module import bot_argument, load_bot
from stride_async._cli.bot_talk import HOW_TO, Mistake, Talk
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.input_lines import input_lines
from stride_async._cli.logs import show_logs
from stride_async._cli.options import json_option
from stride_async._rehearsal import Rehearsal, settings_for
from stride_async.bot import Bot, Refused
from stride_async.server import Choices, LocalServer

_SECONDS_BETWEEN_LOOKS = 0.2


@click.command(name="try")
@bot_argument
@json_option
def command(*, bot: str, as_json: bool) -> None:
    """Talk to a bot in the terminal.

    A local server stands in for the service, in the same process and with an empty store. It needs no credentials, and
    nothing remains at the end but what the bot itself writes. The bot is installed in a room with one person, Ann
    Adler. Each line of stdin is sent as a message of that person that mentions the bot; what the bot sends is printed,
    with a number.

    Lines that begin with a slash do something else: /say TEXT does not mention the bot, /direct TEXT writes to it
    directly, /press KEY N presses the action KEY of its message N (by default the last one), /install and /uninstall
    install and remove it, /as NAME lets another person speak, and /help lists all of this. A second slash, as in //say,
    sends the line as text.

    JSON lines have number, conversation, id, text and body, and edited or deleted if that is what the bot did; those
    for an action have action, message, error and next_action. If a handler fails, its traceback is on stderr and the
    exit code is 5. The pauses of TryAgain are skipped. In a pipe, a line that cannot be understood ends it with exit
    code 2.

    \b
    Examples:
        stride bot try mybot:bot
        echo 'deploy api 3' | stride bot try mybot:bot
        stride bot try mybot:bot < messages.txt | jq -r .text
    """
    loaded = load_bot(bot)
    show_logs()
    errors: list[Exception] = []
    asyncio.run(_talk(loaded, errors, as_json=as_json))
    if errors:
        raise CommandError(Exit.PARTIAL, f"{show.counted(len(errors), 'handler')} failed.")


async def _talk(bot: Bot, errors: list[Exception], *, as_json: bool) -> None:
    choices = Choices(redelivery_spans=(0.0, 0.0, 0.0))
    prompt = _Prompt(sys.stdin.isatty())
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(LocalServer(rate_limit=None, choices=choices))
        settings = settings_for(server, store=":memory:", on_event=prompt.report)
        rehearsal = Rehearsal(bot, server, settings, errors.append)
        await stack.enter_async_context(rehearsal)
        talk = Talk(rehearsal, as_json=as_json, before_showing=prompt.leave)
        await talk.run("/install")
        if prompt.is_used:
            show.message(HOW_TO)

            def look() -> None:
                talk.show_news()
                prompt.show_again()

            await stack.enter_async_context(progress.repeating(look, _SECONDS_BETWEEN_LOOKS))
        prompt.show(talk.prompt)
        number = 0
        async for line in input_lines():
            number += 1
            prompt.answered()
            try:
                await talk.run(_text(line))
            except Mistake as mistake:
                if not prompt.is_used:
                    raise CommandError(Exit.USAGE, f"Line {number}: {mistake}") from mistake
                show.message(str(mistake))
            prompt.show(talk.prompt)
        prompt.leave()


class _Prompt:
    """The text before the line that is typed, on a terminal."""

    def __init__(self, is_used: bool) -> None:
        self.is_used = is_used
        self._text = ""
        self._is_open = False

    def show(self, text: str) -> None:
        """Ask for a line."""
        if self.is_used:
            self._text = text
            self._is_open = True
            show.prompt(text)

    def answered(self) -> None:
        """Note that a line was typed."""
        self._text = ""
        self._is_open = False

    def leave(self) -> None:
        """Begin a new line, so that something can be shown while a line is asked for."""
        if self._is_open:
            self._is_open = False
            show.message("")

    def report(self, event: object) -> None:
        """Say that the bot refused a call, which is otherwise not to be seen."""
        if isinstance(event, Refused):
            self.leave()
            show.message(f"The bot refused a call with {event.status}: {event.why}.")

    def show_again(self) -> None:
        """Ask once more for the line that was asked for when something was shown."""
        if self._text and not self._is_open:
            self.show(self._text)


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Mistake(f"It is not UTF-8 text: byte {error.start + 1:,} is 0x{line[error.start]:02x}.") from error
