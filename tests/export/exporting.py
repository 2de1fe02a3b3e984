"""Helpers to export the site of a local server and to inspect the result."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

from stride_async import StrideClient
from stride_async.export import Engine, ExportEvent, ExportOptions, Failure, Summary, export
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.layout import conversation_folder
from stride_async.export._archive.state import State
from stride_async.server import LocalServer
from tests.conftest import client_of

# Dask always opens a port for pages. Without this, it is the same one for all clusters.
NO_PAGES = {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}}


async def exported(client: StrideClient, folder: Path | str, **options) -> Summary:
    """Export the site into a folder and return the summary of the run."""
    events = await events_of(client, folder, **options)
    assert isinstance(events[-1], Summary)
    return events[-1]


async def events_of(
    client: StrideClient, folder: Path | str, engine: Engine | None = None, **options
) -> list[ExportEvent]:
    """Export the site into a folder and return all events."""
    async with aclosing(export(client, folder, ExportOptions(**options), engine=engine)) as events:
        return [event async for event in events]


async def fresh_digest(server: LocalServer, folder: Path, **options) -> str:
    """Return the content digest of a first export of the site as it is now."""
    async with client_of(server) as client:
        return (await exported(client, folder, **options)).content_digest


def failures(events: list[ExportEvent]) -> set[tuple[str, str, str]]:
    """Return conversation, kind and id of every failure."""
    return {(event.conversation_id, event.what, event.id) for event in events if isinstance(event, Failure)}


def state_of(folder: Path, conversation_id: str) -> State:
    """Return what is committed of a conversation."""
    return Chain(Archive.open(folder), conversation_folder(conversation_id)).state


def media_of(folder: Path) -> set[str]:
    """Return the digests of the media bodies that are held."""
    return {path.name for path in (folder / "media/sha256").rglob("*") if path.is_file()}


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def open_in(folder: Path) -> set[str]:
    """Return the files below a folder that this process has open."""
    descriptors = Path("/proc/self/fd")
    links = [path.readlink() for path in descriptors.iterdir() if path.is_symlink()] if descriptors.is_dir() else []
    return {str(path) for path in links if path.is_relative_to(folder)}


def history_calls(server: LocalServer, since: int = 0) -> list[tuple[str, str | None]]:
    """Return conversation and `beforeMessage` of every history call, in order; only of the calls from a number on."""
    return [
        (call.path.split("/")[4], dict(call.query).get("beforeMessage"))
        for call in server.calls[since:]
        if call.method == "GET" and call.path.endswith("/message")
    ]


def show_file(server: LocalServer, conversation_id: str, name: str, data: bytes) -> str:
    """Add a file to a conversation, and a message that shows it. Return the id of the file."""
    media_id = server.add_media(conversation_id, name, data)
    attrs = {"type": "file", "id": media_id, "collection": conversation_id}
    group = {"type": "mediaGroup", "content": [{"type": "media", "attrs": attrs}]}
    server.add_message(conversation_id, {"version": 1, "type": "doc", "content": [group]})
    return media_id
