"""`stride send`: send a message to a conversation or a person."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from stride_async import ConversationClient, Document, Markdown, StrideClient, UserClient
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.find import find_conversation
from stride_async._cli.options import STDIN, PathParam, TextParam, conversation_argument, read_text, verbose_option
from stride_async._cli.speak import speak


@click.command(name="send")
@conversation_argument
@click.argument("text", type=TextParam(), required=False)
@click.option("--markdown", is_flag=True, help="Send TEXT as Markdown.")
@click.option(
    "--document",
    type=PathParam(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    metavar="FILE",
    help="Send the document in this JSON file.",
)
@click.option("--user", is_flag=True, help="Send to a person instead of a conversation.")
@click.option(
    "--as", "person", type=TextParam(), metavar="USER", help="Speak as this person. Only a local server allows it."
)
@click.option("--mention", is_flag=True, help="With --as: begin the message with a mention of the app.")
@click.option("--json", "as_json", is_flag=True, help='Print {"id": ...} instead of the bare id.')
@verbose_option
def command(
    *,
    conversation: str,
    text: str | None,
    markdown: bool,
    document: Path | None,
    user: bool,
    person: str | None,
    mention: bool,
    as_json: bool,
) -> None:
    """Send a message to a conversation or a person.

    CONVERSATION is an id, an exact name or a URL; with --user, a user id or an email address. If TEXT is - or absent,
    the message is read from stdin. Prints the id of the message.

    To try a bot on a local server (`stride server`), use --as: USER is the id, the email address or the name of a
    person of its site.

    \b
    Examples:
        stride send general 'The release is out.'
        stride send general --markdown < notes.md
        stride send general --document document.json
        stride send --user ann@example.com 'Lunch?'
        stride send general --as ann@example.com --mention 'What is new?'
    """
    if document is not None and (markdown or text is not None):
        raise click.UsageError("--document cannot be combined with TEXT or --markdown.")
    if person is not None and user:
        raise click.UsageError("--as cannot be combined with --user.")
    if mention and person is None:
        raise click.UsageError("--mention requires --as.")
    content = _document(document) if document is not None else _text(text, markdown=markdown)

    async def work(client: StrideClient) -> str:
        try:
            if person is not None:
                room = await find_conversation(client, conversation)
                return await speak(client, person, room.id, content, mention=mention)
            return await (await _recipient(client, conversation, user=user)).send(content)
        except (ValueError, RecursionError) as error:
            raise CommandError(Exit.USAGE, f"Nothing was sent: {error}") from error

    message_id = with_client(work)
    if as_json:
        show.json_lines([{"id": message_id}])
    else:
        show.line(message_id)


def _document(file: Path) -> Document:
    data = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    text = read_text(data, f"{'The document on stdin' if file == STDIN else file} is not UTF-8 text")
    try:
        return Document.from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise CommandError(Exit.USAGE, f"Cannot read the message: {error}") from error


def _text(text: str | None, *, markdown: bool) -> str | Markdown:
    if text is None or text == str(STDIN):
        if sys.stdin.isatty():
            show.message("Type the message, then press Ctrl-D on an empty line.")
        text = (
            read_text(sys.stdin.buffer.read(), "The message on stdin is not UTF-8 text")
            .removesuffix("\n")
            .removesuffix("\r")
        )
    return Markdown(text) if markdown else text


async def _recipient(client: StrideClient, given: str, *, user: bool) -> UserClient | ConversationClient:
    if not user:
        return await find_conversation(client, given)
    user_id = await client.find_user(given) if "@" in given else given
    if user_id is None:
        raise CommandError(Exit.NOTHING_SELECTED, f"No user has the email address {given!r}.")
    return client.user(user_id)
