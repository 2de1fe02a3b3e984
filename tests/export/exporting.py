"""A few words to export a local server's site and to look at what came of it."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

from stride_async import StrideClient
from stride_async.export import ExportEvent, ExportOptions, Failure, Summary, export
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.files import Archive, folder_name
from stride_async.export._archive.state import State
from stride_async.server import LocalServer
from tests.conftest import client_of


async def exported(client: StrideClient, folder: Path, **options) -> Summary:
    """Bring the site into a folder; the summary of the run."""
    events = await events_of(client, folder, **options)
    assert isinstance(events[-1], Summary)
    return events[-1]


async def events_of(client: StrideClient, folder: Path, **options) -> list[ExportEvent]:
    """Everything an export tells."""
    async with aclosing(export(client, folder, ExportOptions(**options))) as events:
        return [event async for event in events]


async def fresh_digest(server: LocalServer, folder: Path, **options) -> str:
    """What a first export of the site as it is now would give."""
    async with client_of(server) as client:
        return (await exported(client, folder, **options)).content_digest


def failures(events: list[ExportEvent]) -> set[tuple[str, str, str]]:
    """Conversation, kind and id of everything told as missing."""
    return {(event.conversation_id, event.what, event.id) for event in events if isinstance(event, Failure)}


def state_of(folder: Path, conversation_id: str) -> State:
    """What is committed of a conversation."""
    return Chain(Archive.open(folder), f"data/conversations/{folder_name(conversation_id)}").state


def media_of(folder: Path) -> set[str]:
    """Digests of the bodies held."""
    return {path.name for path in (folder / "media/sha256").rglob("*") if path.is_file()}


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file and what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def history_calls(server: LocalServer) -> list[tuple[str, str | None]]:
    """Conversation and `beforeMessage` of every history call, in order."""
    return [
        (call.path.split("/")[4], dict(call.query).get("beforeMessage"))
        for call in server.calls.matching("GET", "*/message")
    ]


def show_file(server: LocalServer, conversation_id: str, name: str, data: bytes) -> str:
    """Put a file into a conversation and a message that shows it; the file's id."""
    media_id = server.add_media(conversation_id, name, data)
    attrs = {"type": "file", "id": media_id, "collection": conversation_id}
    group = {"type": "mediaGroup", "content": [{"type": "media", "attrs": attrs}]}
    server.add_message(conversation_id, {"version": 1, "type": "doc", "content": [group]})
    return media_id
