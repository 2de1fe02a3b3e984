"""`stride upload`: add a file to a conversation."""

from __future__ import annotations

from pathlib import Path

import click

from stride_async import Progress, StrideClient
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.find import find_conversation
from stride_async._cli.options import PathParam, TextParam, conversation_argument, is_text, json_option, verbose_option
from stride_async._cli.progress import Gauge
from stride_async._files import errors_about
from stride_async.document import doc, media_group


@click.command(name="upload")
@conversation_argument
@click.argument("file", type=PathParam(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option("--name", type=TextParam(), help="Name of the file in Stride, if not its local name.")
@click.option("--send", is_flag=True, help="Also send a message that shows the file.")
@json_option
@verbose_option
def command(*, conversation: str, file: Path, name: str | None, send: bool, as_json: bool) -> None:
    """Upload a file to a conversation.

    CONVERSATION is an id, an exact name or a URL. Prints id, conversationId, name, size and, with --send, messageId.
    People see the file only when a message shows it.

    \b
    Examples:
        stride upload general plan.pdf --send
        stride upload general /tmp/x1 --name plan.pdf --json | jq -r .id
    """
    if not file.is_file():
        raise click.BadParameter(f"{file} is not a regular file.", param_hint="'FILE'")
    if not is_text(name or file.name):
        message = "The file's name is not valid UTF-8. Use --name to give it another."
        raise click.BadParameter(message, param_hint="'FILE'")
    gauge = Gauge(file.name, total=file.stat().st_size, in_bytes=True)

    def update(progress: Progress) -> None:
        gauge.done = progress.done

    async def work(client: StrideClient) -> dict[str, object]:
        room = await find_conversation(client, conversation)
        with errors_about(file):
            async with gauge.shown():
                media = await room.upload(file, name=name, progress=update)
        uploaded: dict[str, object] = {
            "id": media.id,
            "conversationId": room.id,
            "name": media.name or name or file.name,
            "size": gauge.total if media.size is None else media.size,
        }
        if send:
            uploaded["messageId"] = await room.send(doc(media_group(media)))
        return uploaded

    show.record(with_client(work), as_json=as_json)
