"""`stride send`: send a message to a conversation or a person."""

from __future__ import annotations

import json
import sys
from typing import BinaryIO

import click

from stride_async import ConversationClient, Document, Markdown, StrideClient, UserClient
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.find import find_conversation
from stride_async._cli.options import conversation_argument, verbose_option


@click.command(name="send")
@conversation_argument
@click.argument("text", required=False)
@click.option("--markdown", is_flag=True, help="Send TEXT as Markdown.")
@click.option("--document", type=click.File("rb"), metavar="FILE", help="Send the document in this JSON file.")
@click.option("--user", is_flag=True, help="Send to a person instead of a conversation.")
@click.option("--json", "as_json", is_flag=True, help='Print {"id": …} instead of the bare id.')
@verbose_option
def command(
    *, conversation: str, text: str | None, markdown: bool, document: BinaryIO | None, user: bool, as_json: bool
) -> None:
    """Send a message to a conversation or a person.

    CONVERSATION is an id, an exact name or a URL; with --user, a user id or an email address. Without TEXT, the message
    is read from stdin. Prints the id of the message.

    \b
    Examples:
        stride send general 'The release is out.'
        stride send general --markdown < notes.md
        stride send general --document document.json
        stride send --user ann@example.com 'Lunch?'
    """
    if document is not None and (markdown or text is not None):
        raise click.UsageError("--document cannot be combined with TEXT or --markdown.")
    content: str | Markdown | Document
    try:
        if document is not None:
            content = Document.from_json(json.load(document))
        else:
            plain = _stdin() if text is None else text
            content = Markdown(plain) if markdown else plain
    except ValueError as error:
        raise CommandError(Exit.USAGE, f"Cannot read the message: {error}") from error

    async def work(client: StrideClient) -> str:
        recipient = await _recipient(client, conversation, user=user)
        try:
            return await recipient.send(content)
        except ValueError as error:
            raise CommandError(Exit.USAGE, f"Nothing was sent: {error}") from error

    message_id = with_client(work)
    if as_json:
        show.json_lines([{"id": message_id}])
    else:
        show.line(message_id)


def _stdin() -> str:
    if sys.stdin.isatty():
        show.message("Type the message, then press Ctrl-D on an empty line.")
    return sys.stdin.buffer.read().decode().removesuffix("\n")


async def _recipient(client: StrideClient, given: str, *, user: bool) -> UserClient | ConversationClient:
    if not user:
        return await find_conversation(client, given)
    user_id = await client.find_user(given) if "@" in given else given
    if user_id is None:
        raise CommandError(Exit.NOTHING_SELECTED, f"No user has the email address {given!r}.")
    return client.user(user_id)
