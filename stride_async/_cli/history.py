"""`stride history`: show the messages of a conversation."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.table import Table

from stride_async import Message, StrideClient
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.find import find_conversation
from stride_async._cli.options import conversation_argument, json_option, verbose_option
from stride_async._cli.people import People

Bound = str | datetime

# How a time begins. Ids are opaque, but the service has none like this.
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")
# On a narrower terminal, the text of a message goes below its time and its sender.
_SIDE_BY_SIDE_COLUMNS = 64


def _parse_bound(_: click.Context, __: click.Parameter, value: str | None) -> Bound | None:
    """Parse a bound: a time if it looks like one, otherwise the id of a message."""
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        if _DATE.match(value):
            raise click.BadParameter(f"{value!r} is not a valid time: {error}.") from None
        return value
    if time.tzinfo is None:
        raise click.BadParameter(f"{value!r} has no time zone. Write {time.isoformat()}Z for UTC.")
    return time


@click.command(name="history")
@conversation_argument
@click.option("--after", metavar="ID|TIME", callback=_parse_bound, help="Only messages after this message or time.")
@click.option("--before", metavar="ID|TIME", callback=_parse_bound, help="Only messages before this message or time.")
@click.option("--oldest-first", is_flag=True, help="Show the oldest message first instead of the newest.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show at most N messages.")
@json_option
@verbose_option
def command(
    *,
    conversation: str,
    after: Bound | None,
    before: Bound | None,
    oldest_first: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show the messages of a conversation.

    CONVERSATION is an id, an exact name or a URL. TIME is ISO 8601 with a time zone, such as 2018-06-01T08:00:00Z. Both
    bounds are exclusive. JSON lines are the messages as the service sends them, byte for byte.

    \b
    Examples:
        stride history general --limit 20
        stride history general --after 2018-06-01T08:00:00Z --oldest-first
        stride history https://app.stride.com/SITE/chat/CONVERSATION
        stride history general | jq -r .text | grep -i release
    """

    async def work(client: StrideClient) -> None:
        room = await find_conversation(client, conversation)
        try:
            messages = room.history(after=after, before=before, oldest_first=oldest_first, max_items=limit)
        except ValueError as error:
            raise CommandError(Exit.USAGE, str(error)) from error
        people = People(client)
        async for page in messages.pages():
            if show.for_people(as_json=as_json):
                await _show(page.items, people)
            else:
                show.json_lines(message.raw for message in page.items)

    with_client(work)


async def _show(messages: Sequence[Message], people: People) -> None:
    senders = await people.look_up(message.sender_id for message in messages)
    narrow = show.console(sys.stdout).width < _SIDE_BY_SIDE_COLUMNS
    rows = Table.grid(padding=(0, 2, 0, 0), expand=True)
    rows.add_column(no_wrap=True, style="dim", width=20)
    rows.add_column(no_wrap=True, width=18, overflow="ellipsis")
    rows.add_column(ratio=1, overflow="fold")
    for message, sender in zip(messages, senders, strict=True):
        when = f"{message.sent_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        who = show.styled(sender.display_name or sender.id, "cyan")
        what = show.styled(_text_of(message), lines=True)
        if narrow:
            show.rendered(show.styled(when, "dim"), who, what, sep="\n")
        else:
            rows.add_row(when, who, what)
    if not narrow:
        show.rendered(rows)


def _text_of(message: Message) -> str:
    """Return the text of a message, with a line for each of its files."""
    try:
        files = message.body.media()
    except ValueError:  # The body is not a document: the plain text is all there is.
        files = ()
    return "\n".join(filter(None, (message.text.rstrip("\n"), *(f"[file {media_id}]" for media_id in files))))
