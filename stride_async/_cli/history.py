"""`stride history`: show the messages of a conversation."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import click
from rich.table import Table

from stride_async import Message, StrideClient
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.export_input import parse_time, parse_zone
from stride_async._cli.find import find_conversation
from stride_async._cli.options import TextParam, WholeNumber, conversation_argument, json_option, verbose_option
from stride_async._cli.people import People

Bound = str | datetime

# What a person may type as a time, in a notation that is understood or another. Ids are opaque, but the service has
# none like these.
_TIME = re.compile(
    r"""
    \d{4}[-./]\d{1,3}(?:[-./]\d{1,2})?(?!\w).*  # 2018-06-01, 2018-6-1, 2018/06 and 2018-152
    | \d{4}-?W\d.*                             # 2018-W60
    | \d{1,2}([-./])\d{1,2}\1\d.*              # 1.6.2018, 06/01/18 and 01-06-2018
    | \d{1,2}[-.]?[^\W\d_]{3,9}[-.]?\d{2,4}    # 1-Jun-2018
    | T?\d{1,2}:\d\d.*                         # 8:30
    | @?(?:\d{4}|\d{10}|\d{13})(?:[.,]\d+)?   # 2018, and the seconds or milliseconds of a clock
    | [-+]?\d+[^\W\d_]{1,7}                    # 30d
    | [^\W\d_]+ | .*\s.*                       # yesterday, and "2 days ago"
    """,
    re.DOTALL | re.VERBOSE,
)
# On a narrower terminal, the text of a message goes below its time and its sender.
_SIDE_BY_SIDE_COLUMNS = 64


def _parse_bound(option: str, value: str | None, zone: ZoneInfo | None) -> Bound | None:
    """Parse a bound: a time if it looks like one, otherwise the id of a message."""
    return value if value and not _is_time(value) else parse_time(option, value, zone)


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return _TIME.fullmatch(value) is not None
    return True


@click.command(name="history")
@conversation_argument
@click.option("--after", type=TextParam(), metavar="ID|TIME", help="Only messages after this message or time.")
@click.option("--before", type=TextParam(), metavar="ID|TIME", help="Only messages before this message or time.")
@click.option("--tz", "zone", metavar="ZONE", callback=parse_zone, help="Time zone of a TIME that has none.")
@click.option("--oldest-first", is_flag=True, help="Show the oldest message first instead of the newest.")
@click.option("--limit", type=WholeNumber(1), metavar="N", help="Show at most N messages.")
@json_option
@verbose_option
def command(
    *,
    conversation: str,
    after: str | None,
    before: str | None,
    zone: ZoneInfo | None,
    oldest_first: bool,
    limit: int | None,
    as_json: bool,
) -> None:
    """Show the messages of a conversation.

    CONVERSATION is an id, an exact name or a URL. TIME is ISO 8601 with a time zone, such as 2018-06-01T08:00:00Z, or
    2018-06-01 with --tz. Both bounds are exclusive. JSON lines are the messages as the service sends them, byte for
    byte.

    \b
    Examples:
        stride history general --limit 20
        stride history general --after 2018-06-01T08:00:00Z --oldest-first
        stride history https://app.stride.com/SITE/chat/CONVERSATION
        stride history general | jq -r .text | grep -i release
    """
    lower, upper = _parse_bound("--after", after, zone), _parse_bound("--before", before, zone)

    async def work(client: StrideClient) -> None:
        room = await find_conversation(client, conversation)
        try:
            messages = room.history(after=lower, before=upper, oldest_first=oldest_first, max_items=limit)
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
            show.rendered(show.styled(when, "dim"), who, what, "", sep="\n")
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
