"""`stride upload`: one file into a conversation."""

from __future__ import annotations

from pathlib import Path

import click

from stride_async import Progress, StrideClient
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.find import find_conversation
from stride_async._cli.options import conversation_argument, json_option, verbose_option
from stride_async.document import doc, media_group


@click.command(name="upload")
@conversation_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option("--name", help="What it is called there; otherwise its own name.")
@click.option("--send", is_flag=True, help="Send a message that shows it, too.")
@json_option
@verbose_option
def command(*, conversation: str, file: Path, name: str | None, send: bool, as_json: bool) -> None:
    """Upload FILE into CONVERSATION: an id, an exact name, or an address.

    Prints id, conversationId, name, size and, with --send, messageId. Until a message shows it, nobody sees it.

    \b
    Examples:
        stride upload general plan.pdf --send
        stride upload general /tmp/x1 --name plan.pdf --json | jq -r .id
    """
    if not file.is_file():
        raise click.BadParameter(f"{file} is no regular file", param_hint="FILE")
    if not _is_text(name or file.name):
        raise click.BadParameter("its name cannot be written in UTF-8: --name gives it another", param_hint="FILE")
    gauge = show.Gauge(show.printable(file.name), total=file.stat().st_size, in_bytes=True)

    async def work(client: StrideClient) -> dict[str, object]:
        room = await find_conversation(client, conversation)
        with show.Meter(gauge) as meter:

            def moved(progress: Progress) -> None:
                gauge.done = progress.done
                meter.moved()

            media = await room.upload(file, name=name, progress=moved)
        told: dict[str, object] = {
            "id": media.id,
            "conversationId": room.id,
            "name": media.name or name or file.name,
            "size": gauge.total if media.size is None else media.size,
        }
        if send:
            told["messageId"] = await room.send(doc(media_group(media)))
        return told

    show.record(with_client(work), as_json=as_json)


def _is_text(name: str) -> bool:
    """Whether it can be sent; a file system may hold names of any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
