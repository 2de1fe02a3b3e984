"""`stride demo`: a made-up site, exported whole, read back and held against what the server knows."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import click
from rich.text import Text

from stride_async import ClientCredentials, Conversation, Settings, StrideClient
from stride_async._cli import show
from stride_async._cli.exits import Ended, Exit
from stride_async._cli.export_progress import ExportProgress
from stride_async._cli.listing import conversation_row
from stride_async._cli.options import json_option, verbose_option
from stride_async.document import doc, media_group, mention, paragraph
from stride_async.export import ArchiveReader, ExportOptions, Report, Summary, export, read, verify
from stride_async.server import LocalServer, Plan, Truth

_LISTED = 8
"""Conversations shown of the many."""
_LARGEST_FILE_BYTES = 5 * 1024 * 1024
_MOST_FILES = 30
_MESSAGES_A_FILE = 4
"""At least so many per conversation and file, so that each file is shown by a message."""
_OWN_FILE_BYTES = 2_000_000
_DIGEST_SHOWN = 12


@click.command(name="demo")
@click.option("--rooms", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Conversations.")
@click.option("--messages", type=click.IntRange(min=0), default=5_000, show_default=True, help="Messages in all.")
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Another seed, another site.")
@json_option
@verbose_option
def command(*, rooms: int, messages: int, seed: int, as_json: bool) -> None:
    """See it work, without an account: nothing leaves this machine.

    Starts the local server with a made-up site, lists it, sends a message, uploads and downloads a file, then exports
    every conversation, roster, message and file into a temporary folder, verifies it, and compares all of it with what
    the server knows. The service's limit on calls is off, so that it is quick.

    JSON lines have what, expected, got and ok. If anything differs the exit code is 6.

    \b
    Examples:
        stride demo
        stride demo --rooms 200 --messages 50000
        stride demo --json
    """
    plan = Plan(
        conversations=rooms,
        messages=max(1, round(messages / rooms)) if messages else 0,
        media=min(_MOST_FILES, messages // (_MESSAGES_A_FILE * rooms)),
        media_max=_LARGEST_FILE_BYTES,
        seed=seed,
    )
    checks, room = asyncio.run(_demo(plan))
    if show.for_people(as_json=as_json):
        show.table(("WHAT", "EXPECTED", "GOT", ""), map(_row, checks))
    else:
        show.json_lines({"what": one.what, "expected": one.expected, "got": one.got, "ok": one.ok} for one in checks)
    if not all(check.ok for check in checks):
        raise Ended(Exit.VERIFICATION_FAILED, "what was read is not what the server holds")
    show.words(_next_commands(plan, shlex.quote(room)))


@attrs.frozen
class Check:
    """One thing counted on both sides."""

    what: str
    expected: int | str
    got: int | str

    @property
    def ok(self) -> bool:
        """Whether both agree."""
        return self.expected == self.got


@attrs.frozen
class Held:
    """What a conversation holds: number and sha256 of its messages, size and sha256 of each file by its id."""

    kind: str
    archived: bool
    roster: tuple[str, ...]
    messages: int
    sha256: str
    files: Mapping[str, tuple[int, str]]


Site = Mapping[str, Held]
"""What a whole site holds, by conversation id."""


async def _demo(plan: Plan) -> tuple[list[Check], str]:
    """What was compared, and the name of a room to go on with."""
    async with LocalServer(generate=plan, rate_limit=None) as server:
        show.words(f"A stand-in for the service answers at {server.url}, with a made-up site.")
        settings = Settings(base_url=server.url, calls_per_minute=None)
        credentials = ClientCredentials(server.client_id, server.client_secret)
        async with StrideClient(credentials, cloud_id=server.cloud_id, settings=settings) as client:
            room = await _list(client)
            own_file = await _say_something(client)
            with tempfile.TemporaryDirectory(prefix="stride-demo-") as folder:
                archive = Path(folder) / "site"
                await _export(client, archive)
                proof = await _verify(archive)
                got = await asyncio.to_thread(_held_in, archive)
        expected = _held_by(server.truth())
    return [own_file, *_compare(expected, got), proof], room


async def _list(client: StrideClient) -> str:
    """Shows what there is; the name of a room to try commands on."""
    listed = await client.conversations(include_archived=True).collect(limit=None)
    rows = (conversation_row(one)[1:] for one in listed[:_LISTED])
    show.table(("KIND", "CREATED", "NAME"), rows, err=True)
    if len(listed) > _LISTED:
        show.words(f"… and {len(listed) - _LISTED:,} more.\n")
    rooms = [one.name for one in listed if one.type == "group" and not one.is_archived]
    return min(rooms, key=lambda name: (not name.isascii(), not name.isalpha()), default="CONVERSATION")


async def _say_something(client: StrideClient) -> Check:
    """A message and a file in a room of our own; what came back of the file."""
    room = await client.create_conversation("stride demo", topic="made by stride demo")
    me = await client.me()
    await room.send(doc(paragraph("Hello from ", mention(me.account_id), "!")))
    show.words("Sent a message into a room of our own, 'stride demo'.")
    data = random.Random("stride demo").randbytes(_OWN_FILE_BYTES)  # noqa: S311 -- any bytes will do
    with tempfile.TemporaryDirectory(prefix="stride-demo-") as folder:
        source = Path(folder) / "picture.bin"
        source.write_bytes(data)
        media = await room.upload(source)
        await room.send(doc(paragraph("A file:"), media_group(media)))
        back = await room.download(media.id, to=Path(folder) / "back.bin")
    show.words(f"Uploaded a file of {_OWN_FILE_BYTES:,} bytes, showed it in a message, and downloaded it again.\n")
    return Check("our own file, sha256", _short(hashlib.sha256(data).hexdigest()), _short(back.sha256))


async def _export(client: StrideClient, folder: Path) -> None:
    """Everything there is into an archive."""
    progress = ExportProgress(client.settings.calls_per_minute, ExportOptions().concurrency)
    watched = client.with_settings(attrs.evolve(client.settings, on_event=progress.heard))
    async with progress.shown():
        async for event in export(watched, folder):
            progress.take(event)
            if isinstance(event, Summary):
                show.words(
                    f"Exported {event.messages:,} messages and {event.media} files in {event.seconds:.1f} s,"
                    f" with {progress.calls:,} calls."
                )


async def _verify(folder: Path) -> Check:
    """The archive by itself."""
    report = await verify(folder)
    show.words("Verified it: every commit, segment and file is as it was written.\n" if report.ok else "")
    return Check("what the archive proves", "complete", _worst(report))


def _worst(report: Report) -> str:
    if report.findings:
        return f"{report.findings[0].path} {report.findings[0].what}"
    return next((verdict.text for verdict in report.verdicts if verdict.kind != "complete"), "complete")


def _held_in(folder: Path) -> Site:
    """What the archive holds; nothing but counts and digests is kept of it."""
    site = read(folder)
    files: dict[str, dict[str, tuple[int, str]]] = {}
    for file in site.media():
        files.setdefault(file.conversation_id, {})[file.id] = (file.size, file.sha256)
    return {room.id: _held(site, room, files.get(room.id, {})) for room in site.conversations()}


def _held(site: ArchiveReader, room: Conversation, files: Mapping[str, tuple[int, str]]) -> Held:
    roster = site.roster(room.id)
    count, digest = 0, hashlib.sha256()
    for raw in site.raw_messages(room.id):
        digest.update(_canonical(raw))
        count += 1
    people = roster.user_ids if roster is not None else ()
    return Held(_kind(room), room.is_archived, people, count, digest.hexdigest(), files)


def _kind(room: Conversation) -> str:
    return "direct" if room.type == "direct" else room.privacy


def _canonical(raw: bytes) -> bytes:
    """A message in the one spelling that the server digests, too."""
    text = json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def _held_by(truth: Truth) -> Site:
    return {
        conversation_id: Held(
            "direct" if one.type == "direct" else one.privacy,
            one.archived,
            one.roster,
            one.messages,
            one.sha256,
            {media_id: (file.size, file.sha256) for media_id, file in one.media.items()},
        )
        for conversation_id, one in truth.conversations.items()
    }


def _compare(expected: Site, got: Site) -> Iterator[Check]:
    for (what, wanted), (_, found) in zip(_facts(expected), _facts(got), strict=True):
        yield Check(what, wanted, found)


def _facts(site: Site) -> Iterator[tuple[str, int | str]]:
    """What can be counted or digested of a site, whatever the order it was read in."""
    held = [site[conversation_id] for conversation_id in sorted(site)]
    files = [(media_id, *file) for one in held for media_id, file in sorted(one.files.items())]
    yield "conversations", len(held)
    yield "  of them private", sum(one.kind == "private" for one in held)
    yield "  of them direct", sum(one.kind == "direct" for one in held)
    yield "  of them archived", sum(one.archived for one in held)
    yield "places in rosters", sum(len(one.roster) for one in held)
    yield "rosters, sha256", _digest([sorted(one.roster) for one in held])
    yield "messages", sum(one.messages for one in held)
    yield "messages, sha256", _digest([one.sha256 for one in held])
    yield "files", len(files)
    yield "bytes in files", sum(size for _, size, _ in files)
    yield "files, sha256", _digest(files)


def _digest(value: object) -> str:
    return _short(hashlib.sha256(json.dumps(value).encode()).hexdigest())


def _short(sha256: str) -> str:
    return f"{sha256[:_DIGEST_SHOWN]}…"


def _row(check: Check) -> tuple[str, str, str, Text]:
    expected, got = (f"{value:,}" if isinstance(value, int) else value for value in (check.expected, check.got))
    mark = Text("✓", style="bold green") if check.ok else Text("✗ differs", style="bold red")
    return check.what, expected, got, mark


def _next_commands(plan: Plan, room: str) -> str:
    return f"""\
All of it agrees. To look around by yourself, in one terminal:

  stride server --generate conversations={plan.conversations},messages={plan.messages},seed={plan.seed}

It prints four lines to paste into another one, where you can then say:

  stride list conversations --archived
  stride history {room} --limit 20
  stride history {room} --oldest-first | head -1
  stride send {room} 'Hello!'
  stride export -o site
  stride verify site
"""
