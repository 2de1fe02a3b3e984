"""`stride download`: one file out of a conversation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from stride_async import ConversationClient, Progress, StrideClient, StrideError
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.exits import Ended, Exit
from stride_async._cli.find import find_conversation
from stride_async._cli.options import conversation_argument, json_option, something, verbose_option
from stride_async._wire.names import safe_name


@click.command(name="download")
@conversation_argument
@click.argument("media_id", callback=something)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File or folder to write to; otherwise the file's own name, made safe, in this folder.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@json_option
@verbose_option
def command(*, conversation: str, media_id: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Download the file MEDIA_ID of CONVERSATION: an id, an exact name, or an address.

    The file appears only when it is whole; until then there is a .part, from which the same command goes on. Prints
    path, size, sha256, and whether the service told the length that it was checked against.

    \b
    Examples:
        stride download general 0d2f1a52-5a4e-4c5e-9d5e-0a6e6c5b7e11
        stride download general 0d2f1a52-5a4e-4c5e-9d5e-0a6e6c5b7e11 -o plan.pdf --force
    """
    folder = output if output is not None and output.is_dir() else None

    async def work(client: StrideClient) -> dict[str, object]:
        room = await find_conversation(client, conversation)
        if output is None or folder is not None:
            target = (folder or Path()) / safe_name(await _name(room, media_id) or media_id)
        else:
            target = output
        _must_be_free(target, force=force)
        return await _download(room, media_id, target)

    show.record(with_client(work), as_json=as_json)


async def _download(room: ConversationClient, media_id: str, target: Path) -> dict[str, object]:
    part = target.with_name(f"{target.name}.part")
    held = part.stat().st_size if part.is_file() else 0
    gauge = show.Gauge(show.printable(target.name), in_bytes=True, done=held, before=held)
    try:
        with show.Meter(gauge) as meter:

            def moved(progress: Progress) -> None:
                gauge.before = min(gauge.before, progress.done)  # It falls where the body starts over.
                gauge.done, gauge.total = progress.done, progress.total
                meter.moved()

            done = await room.download(media_id, target, progress=moved)
            gauge.done = gauge.total = done.size
    except (StrideError, OSError, asyncio.CancelledError):
        if part.exists():
            show.words(f"{part} is kept with {part.stat().st_size:,} bytes: run it again to go on from there.")
        raise
    return {"path": str(done.path), "size": done.size, "sha256": done.sha256, "verified": done.verified}


def _must_be_free(target: Path, *, force: bool) -> None:
    if target.exists() and not force:
        raise Ended(Exit.USAGE, f"{target} is there already: --force replaces it, -o names another")
    if not target.parent.is_dir():
        raise Ended(Exit.USAGE, f"there is no folder {target.parent} to write into")


async def _name(room: ConversationClient, media_id: str) -> str:
    """What the service calls it."""
    async with room.open_media(media_id) as media:
        return media.name or ""
