"""`stride send`: one message, to a conversation or a person."""

from __future__ import annotations

import json
import sys
from typing import BinaryIO

import click

from stride_async import ConversationClient, Document, Markdown, StrideClient, UserClient
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.exits import Ended, Exit
from stride_async._cli.find import find_conversation
from stride_async._cli.options import conversation_argument, verbose_option


@click.command(name="send")
@conversation_argument
@click.argument("text", required=False)
@click.option("--markdown", is_flag=True, help="TEXT is Markdown.")
@click.option("--document", type=click.File("rb"), metavar="FILE", help="Send the document in this JSON file.")
@click.option("--user", is_flag=True, help="CONVERSATION is a person: an id or an e-mail address.")
@click.option("--json", "as_json", is_flag=True, help='Print {"id": …} instead of the bare id.')
@verbose_option
def command(
    *, conversation: str, text: str | None, markdown: bool, document: BinaryIO | None, user: bool, as_json: bool
) -> None:
    """Send TEXT, or what comes on stdin, to CONVERSATION: an id, an exact name, or an address.

    Prints the id of the message.

    \b
    Examples:
        stride send general 'The release is out.'
        stride send general --markdown < notes.md
        stride send general --document document.json
        stride send --user ann@example.com 'Lunch?'
    """
    if document is not None and (markdown or text is not None):
        raise click.UsageError("--document brings its own content: give neither TEXT nor --markdown with it")
    content: str | Markdown | Document
    try:
        if document is not None:
            content = Document.from_json(json.load(document))
        else:
            plain = _stdin() if text is None else text
            content = Markdown(plain) if markdown else plain
    except ValueError as error:
        raise Ended(Exit.USAGE, f"what is to be sent cannot be read: {error}") from error

    async def work(client: StrideClient) -> str:
        to = await _recipient(client, conversation, user=user)
        try:
            return await to.send(content)
        except ValueError as error:
            raise Ended(Exit.USAGE, f"nothing was sent: {error}") from error

    message_id = with_client(work)
    if as_json:
        show.json_lines([{"id": message_id}])
    else:
        click.echo(message_id)


def _stdin() -> str:
    if sys.stdin.isatty():
        show.words("Write the message, then Ctrl-D on a line of its own.")
    return sys.stdin.buffer.read().decode().removesuffix("\n")


async def _recipient(client: StrideClient, words: str, *, user: bool) -> UserClient | ConversationClient:
    if not user:
        return await find_conversation(client, words)
    user_id = await client.find_user(words) if "@" in words else words
    if user_id is None:
        raise Ended(Exit.NOTHING_SELECTED, f"nobody has the e-mail address {words!r}")
    return client.user(user_id)
