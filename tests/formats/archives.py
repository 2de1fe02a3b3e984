"""An archive to convert, and what is on disk afterwards."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stride_async import StrideClient
from stride_async.document import doc, link, mention, paragraph, text
from stride_async.server import LocalServer
from tests.export.exporting import exported, show_file


async def fill_site(server: LocalServer) -> list[str]:
    """Add rooms with people, mentions, links and files over three months, and return their ids."""
    ann, bob = server.add_user("Ann Adler"), server.add_user("Bob Brown")
    rooms = [
        server.add_conversation("general", roster=[ann, bob]),
        server.add_conversation("General", roster=[ann], privacy="private"),
        server.add_conversation("empty"),
    ]
    for month in (5, 6, 7):
        server.fill(rooms[0], 40, ts=f"2018-{month:02}-30T23:59:30Z", sender_id=ann)
    server.fill(rooms[1], 5, sender_id=bob)
    page = link("the page", "https://example.invalid/")
    server.add_message(
        rooms[0], doc(paragraph(mention(bob, "@Bob Brown"), text(" reads "), page)).to_json(), sender_id=ann
    )
    show_file(server, rooms[0], "plan.txt", b"body")
    return rooms


async def archive_of(server: LocalServer, client: StrideClient, folder: Path) -> Path:
    """Export a site that `fill_site` has filled, and return the folder of the archive."""
    await fill_site(server)
    await exported(client, folder)
    return folder


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Return modification time and digest of every file in a folder, by its path."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
