"""A site to move, and what has to be at the homeserver afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from stride_async import StrideClient
from stride_async.document import doc, emoji, link, mention, paragraph, strong, text
from stride_async.export import Selection, read
from stride_async.export.matrix import MigrationEvent, Registration, Summary, migrate
from stride_async.server import LocalServer
from tests.export.exporting import exported, show_file
from tests.matrix.fake import SERVER, FakeHomeserver

LONG = "word " * 7_000  # 35 kB


def user_of(id: str) -> str:
    return f"@stride_{hashlib.sha256(id.encode()).hexdigest()[:20]}:{SERVER}"


async def fill_site(server: LocalServer) -> dict[str, str]:
    """Add rooms of every type with people, files, mentions and a long message, and return their ids by name."""
    ann, bob, eve = (server.add_user(name) for name in ("Ann Adler", "Bob Brown", "Eve Ende"))
    rooms = {
        "general": server.add_conversation("general", roster=[ann, bob]),
        "private": server.add_conversation("private", privacy="private", roster=[ann]),
        "direct": server.add_conversation("", type="direct", privacy="private", roster=[ann, bob]),
        "old": server.add_conversation("old", archived=True, roster=[bob]),
        "empty": server.add_conversation("empty"),
    }
    general = rooms["general"]
    server.fill(general, 5, sender_id=ann)
    shown = paragraph(mention(bob, "@Bob Brown"), " reads ", link("the page", "https://a.invalid/"), emoji(":tada:"))
    server.add_message(general, doc(shown).to_json(), sender_id=eve)
    server.add_message(general, doc(paragraph(strong(text(LONG)))).to_json(), sender_id=bob)
    show_file(server, general, "plan.txt", b"body")
    show_file(server, general, "copy.txt", b"body")
    server.fill(rooms["private"], 3, sender_id=bob)
    server.fill(rooms["direct"], 2, sender_id=bob)
    server.fill(rooms["old"], 2, sender_id=ann)
    return rooms


async def archive_of(server: LocalServer, client: StrideClient, folder: Path) -> Path:
    """Export a site that `fill_site` has filled, and return the folder of the archive."""
    await fill_site(server)
    await exported(client, folder)
    return folder


async def events_of(
    archive: Path, homeserver: FakeHomeserver, registration: Registration, *, invite: Sequence[str] = ()
) -> list[MigrationEvent]:
    """Move an archive and return all events."""
    moving = migrate(archive, homeserver.url, registration, selection=Selection(), invite=invite)
    async with aclosing(moving) as events:
        return [event async for event in events]


async def moved(archive: Path, homeserver: FakeHomeserver, registration: Registration) -> Summary:
    """Move an archive and return the summary."""
    summary = (await events_of(archive, homeserver, registration))[-1]
    assert isinstance(summary, Summary)
    return summary


def losses(summary: Summary) -> dict[str, int]:
    """Return the losses of a migration by kind."""
    return {loss.kind: loss.count for loss in summary.report.lost}


Sent = tuple[str, int, str]
"""The sender, the time in milliseconds, and the text or the content of the file."""


def expected(archive: Path) -> dict[str, list[Sent]]:
    """Return what has to be in each room, by its alias, as the archive has it."""
    opened = read(archive)
    bodies = {}
    for medium in opened.media():
        with medium.open() as body:
            bodies[medium.id] = body.read().decode()
    found: dict[str, list[Sent]] = {}
    for room in opened.conversations():
        sent = found[f"#{user_of(room.id)[1:]}"] = []
        for message in opened.messages(room.id):
            origin = user_of(message.sender_id), message.ts // 1_000_000
            if message.text.strip():
                sent.append((*origin, message.text.strip()))
            sent += [(*origin, bodies[id]) for id in message.body.media()]
    return found


def there(homeserver: FakeHomeserver) -> dict[str, list[Sent]]:
    """Return what is in each room, by its alias, with the parts of a message put together."""
    return {alias: _sent(homeserver, homeserver.rooms[id].messages()) for alias, id in homeserver.aliases.items()}


def _sent(homeserver: FakeHomeserver, messages: list[dict[str, Any]]) -> list[Sent]:
    sent: list[Sent] = []
    for event in messages:
        content, mark = event["content"], event["content"]["com.atlassian.stride"]
        origin = event["sender"], event["origin_server_ts"]
        if "url" in content:
            sent.append((*origin, homeserver.media[content["url"]][0].decode()))
        elif mark["part"] == 0:
            sent.append((*origin, content["body"]))
        else:
            sent[-1] = (*origin, f"{sent[-1][2]} {content['body']}")
    return sent
