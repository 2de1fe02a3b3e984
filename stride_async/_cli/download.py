"""`stride download`: save a file of a conversation."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from stride_async import ConversationClient, Progress, StrideClient, StrideError
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.find import find_conversation
from stride_async._cli.options import (
    PathParam,
    TextParam,
    conversation_argument,
    json_option,
    not_empty,
    verbose_option,
)
from stride_async._cli.progress import Gauge
from stride_async._media import name_in


@click.command(name="download")
@conversation_argument
@click.argument("media_id", type=TextParam(), callback=not_empty)
@click.option(
    "-o",
    "--output",
    type=PathParam(path_type=Path),
    help="File or folder to write to. By default, the file keeps its own name, made safe, in the current folder.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@json_option
@verbose_option
def command(*, conversation: str, media_id: str, output: Path | None, force: bool, as_json: bool) -> None:
    """Download a file from a conversation.

    CONVERSATION is an id, an exact name or a URL.

    The file appears under its name only when it is complete. Until then its name ends in .part, and the same command
    resumes the download. Prints path, size, sha256 and verified, which is true if the size is the length that the
    service stated.

    \b
    Examples:
        stride download general 0d2f1a52-5a4e-4c5e-9d5e-0a6e6c5b7e11
        stride download general 0d2f1a52-5a4e-4c5e-9d5e-0a6e6c5b7e11 -o plan.pdf
    """
    folder = output if output is not None and output.is_dir() else None

    async def work(client: StrideClient) -> dict[str, object]:
        room = await find_conversation(client, conversation)
        if output is None or folder is not None:
            into = folder or Path()
            target = into / name_in(into, await _media_name(room, media_id) or media_id)
        else:
            target = output
        _check_target(target, force=force)
        return await _download(room, media_id, target)

    show.record(with_client(work), as_json=as_json)


async def _download(room: ConversationClient, media_id: str, target: Path) -> dict[str, object]:
    part = target.with_name(f"{target.name}.part")
    held = part.stat().st_size if part.is_file() else 0
    gauge = Gauge(target.name, in_bytes=True, done=held, before=held)

    def update(progress: Progress) -> None:
        gauge.before = min(gauge.before, progress.done)  # `done` falls when the download starts over.
        gauge.done, gauge.total = progress.done, progress.total

    try:
        async with gauge.shown():
            done = await room.download(media_id, target, progress=update)
            gauge.done = gauge.total = done.size
    except (StrideError, OSError, asyncio.CancelledError):
        if part.exists():
            size = part.stat().st_size
            show.message(f"The first {size:,} bytes are kept. To resume, run the same command again.\n  {part}")
        raise
    return {"path": str(done.path), "size": done.size, "sha256": done.sha256, "verified": done.verified}


def _check_target(target: Path, *, force: bool) -> None:
    if target.exists() and not force:
        raise CommandError(Exit.USAGE, f"{target} exists. Use --force to overwrite it, or -o to choose another name.")
    if not target.parent.is_dir():
        raise CommandError(Exit.USAGE, f"The folder {target.parent} does not exist.")


async def _media_name(room: ConversationClient, media_id: str) -> str:
    async with room.open_media(media_id) as media:
        return media.name or ""
