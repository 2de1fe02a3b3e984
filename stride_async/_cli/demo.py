"""`stride demo`: generate a site, export all of it, and compare the archive with what the server holds."""

from __future__ import annotations

import hashlib
import json
import random
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import attrs
import click
from rich.text import Text

from stride_async import ClientCredentials, Conversation, Settings, StrideClient
from stride_async._cli import loop, show
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.export_progress import ExportProgress
from stride_async._cli.listing import conversation_row
from stride_async._cli.options import WholeNumber, json_option, verbose_option
from stride_async._files import run_to_completion
from stride_async.document import doc, media_group, mention, paragraph
from stride_async.export import ArchiveReader, ExportOptions, Report, Summary, export, read, verify
from stride_async.export.formats import convert
from stride_async.export.formats._convert import writer_of
from stride_async.export.formats._derived import pages_of
from stride_async.server import LocalServer, Plan, Truth

_LISTED = 8  # Conversations.
_LARGEST_FILE_BYTES = 5 * 1024 * 1024
_MOST_FILES = 30
# The fewest messages per conversation and file, so that each file is shown by a message.
_MESSAGES_PER_FILE = 4
_UPLOADED_BYTES = 2_000_000
_DIGITS_SHOWN = 12  # Of a digest.


@click.command(name="demo")
@click.option("--rooms", type=WholeNumber(1, 10_000), default=20, show_default=True, help="Number of conversations.")
@click.option(
    "--messages", type=WholeNumber(0, 10_000_000), default=5_000, show_default=True, help="Total number of messages."
)
@click.option(
    "--seed",
    type=WholeNumber(0, 999_999_999),
    default=7,
    show_default=True,
    help="A different seed gives a different site.",
)
@json_option
@verbose_option
def command(*, rooms: int, messages: int, seed: int, as_json: bool) -> None:
    """Try everything on this machine; no account needed.

    Starts a local server with a generated site, lists the conversations, sends a message, and uploads and downloads a
    file. Then exports every conversation, roster, message and file to a temporary folder, verifies the archive,
    compares it with what the server holds, and makes pages of it for a browser. There is no rate limit, to keep the
    demo short.

    JSON lines have the fields what, expected, got and ok. If anything differs, the exit code is 6.

    \b
    Examples:
        stride demo
        stride demo --rooms 200 --messages 50000
        stride demo --json
    """
    plan = Plan(
        conversations=rooms,
        messages=max(1, round(messages / rooms)) if messages else 0,
        media=min(_MOST_FILES, messages // (_MESSAGES_PER_FILE * rooms)),
        media_max=_LARGEST_FILE_BYTES,
        seed=seed,
    )
    try:
        writer_of("html")
    except ModuleNotFoundError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    archive = Path(tempfile.mkdtemp(prefix="stride-demo-")) / "site"
    try:
        checks, room = loop.run(_demo(plan, archive))
        address = _pages(archive)
    except BaseException:
        shutil.rmtree(archive.parent, ignore_errors=True)
        raise
    if show.for_people(as_json=as_json):
        show.table(("WHAT", "EXPECTED", "GOT", ""), map(_row, checks))
    else:
        show.json_lines(
            {"what": one.what.strip(), "expected": one.expected, "got": one.got, "ok": one.ok} for one in checks
        )
    if not all(check.ok for check in checks):
        raise CommandError(Exit.VERIFICATION_FAILED, "The archive differs from what the server holds.")
    show.message(_next_commands(plan, shlex.quote(room), archive, address))


@attrs.frozen
class Check:
    """One count or digest, as the server has it and as the client got it."""

    what: str
    expected: int | str
    got: int | str

    @property
    def ok(self) -> bool:
        """Whether both are equal."""
        return self.expected == self.got


@attrs.frozen
class ConversationFacts:
    """Counts and digests of one conversation."""

    kind: str
    archived: bool
    roster: tuple[str, ...]
    messages: int
    sha256: str
    """The digest of all messages."""
    files: Mapping[str, tuple[int, str]]
    """Size and SHA-256 by media id."""


# By conversation id.
SiteFacts = Mapping[str, ConversationFacts]


async def _demo(plan: Plan, archive: Path) -> tuple[list[Check], str]:
    """Export a generated site. Return what was compared, and the name of a room to try commands on."""
    async with LocalServer(generate=plan, rate_limit=None) as server:
        show.message(f"Started a local server with a generated site at {server.url}")
        settings = Settings(base_url=server.url, calls_per_minute=None)
        credentials = ClientCredentials(server.client_id, server.client_secret)
        async with StrideClient(credentials, cloud_id=server.cloud_id, settings=settings) as client:
            room = await _list(client)
            uploaded = await _send_and_upload(client)
            await _export(client, archive)
            verdict = await _verify(archive)
            got = await run_to_completion(partial(_facts_of_archive, archive))
        expected = _facts_of_server(server.truth())
    return [uploaded, *_compare(expected, got), verdict], room


async def _list(client: StrideClient) -> str:
    """Show the conversations, and return the name of a room to try commands on."""
    listed = await client.conversations(include_archived=True).collect(limit=None)
    rows = (conversation_row(one)[1:] for one in listed[:_LISTED])
    show.table(("KIND", "CREATED", "NAME"), rows, err=True)
    if len(listed) > _LISTED:
        show.message(f"... and {len(listed) - _LISTED:,} more\n")
    rooms = [one.name for one in listed if one.type == "group" and not one.is_archived]
    return min(rooms, key=lambda name: (not name.isascii(), not name.isalpha()), default="CONVERSATION")


async def _send_and_upload(client: StrideClient) -> Check:
    """Send a message and a file to a new room, and return whether the file comes back the same."""
    room = await client.create_conversation("stride demo", topic="Created by stride demo")
    me = await client.me()
    await room.send(doc(paragraph("Hello from ", mention(me.account_id), "!")))
    show.message("Created the room 'stride demo' and sent a message to it.")
    data = random.Random("stride demo").randbytes(_UPLOADED_BYTES)  # noqa: S311 -- any bytes will do
    with tempfile.TemporaryDirectory(prefix="stride-demo-") as folder:
        source = Path(folder) / "picture.bin"
        source.write_bytes(data)
        media = await room.upload(source)
        await room.send(doc(paragraph("A file:"), media_group(media)))
        downloaded = await room.download(media.id, to=Path(folder) / "downloaded.bin")
    show.message(f"Uploaded a file of {_UPLOADED_BYTES:,} bytes and downloaded it again.\n")
    return Check("uploaded file, sha256", _short(hashlib.sha256(data).hexdigest()), _short(downloaded.sha256))


async def _export(client: StrideClient, folder: Path) -> None:
    progress = ExportProgress(client.settings.calls_per_minute, ExportOptions().concurrency)
    watched = client.with_settings(attrs.evolve(client.settings, on_event=progress.on_client_event))
    async with progress.shown():
        async for event in export(watched, folder):
            progress.on_export_event(event)
            if isinstance(event, Summary):
                show.message(
                    f"Exported {event.messages:,} messages and {show.counted(event.media, 'file')}"
                    f" in {event.seconds:.1f} s with {progress.calls:,} calls."
                )


async def _verify(folder: Path) -> Check:
    report = await verify(folder)
    if report.ok:
        show.message("Verified the archive: every file in it matches its digest.\n")
    return Check("archive verdict", "complete", _worst(report))


def _pages(archive: Path) -> str:
    """Make pages of an archive, and return their address."""
    with pages_of(archive) as place:
        made = convert(archive, "html", place)
    show.message(f"Made pages of {show.counted(made.messages, 'message')} for a browser, with a search.\n")
    return (place / "index.html").absolute().as_uri()


def _worst(report: Report) -> str:
    if report.findings:
        return f"{report.findings[0].path} {report.findings[0].what}"
    return next((verdict.text for verdict in report.verdicts if verdict.kind != "complete"), "complete")


def _facts_of_archive(folder: Path) -> SiteFacts:
    """Read the whole archive and keep only counts and digests."""
    site = read(folder)
    files: dict[str, dict[str, tuple[int, str]]] = {}
    for file in site.media():
        files.setdefault(file.conversation_id, {})[file.id] = (file.size, file.sha256)
    return {room.id: _facts_of_conversation(site, room, files.get(room.id, {})) for room in site.conversations()}


def _facts_of_conversation(
    site: ArchiveReader, room: Conversation, files: Mapping[str, tuple[int, str]]
) -> ConversationFacts:
    roster = site.roster(room.id)
    count, digest = 0, hashlib.sha256()
    for raw in site.raw_messages(room.id):
        digest.update(_canonical(raw))
        count += 1
    people = roster.user_ids if roster is not None else ()
    kind = "direct" if room.type == "direct" else room.privacy
    return ConversationFacts(kind, room.is_archived, people, count, digest.hexdigest(), files)


def _canonical(raw: bytes) -> bytes:
    """Return a message in the form that the server computes its digest of."""
    text = json.dumps(json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def _facts_of_server(truth: Truth) -> SiteFacts:
    return {
        conversation_id: ConversationFacts(
            "direct" if one.type == "direct" else one.privacy,
            one.archived,
            one.roster,
            one.messages,
            one.sha256,
            {media_id: (file.size, file.sha256) for media_id, file in one.media.items()},
        )
        for conversation_id, one in truth.conversations.items()
    }


def _compare(expected: SiteFacts, got: SiteFacts) -> Iterator[Check]:
    for (what, wanted), (_, found) in zip(_totals(expected), _totals(got), strict=True):
        yield Check(what, wanted, found)


def _totals(site: SiteFacts) -> Iterator[tuple[str, int | str]]:
    """Yield the counts and digests of a site, which do not depend on the order of its conversations."""
    facts = [site[conversation_id] for conversation_id in sorted(site)]
    files = [(media_id, *file) for one in facts for media_id, file in sorted(one.files.items())]
    yield "conversations", len(facts)
    yield "  private", sum(one.kind == "private" for one in facts)
    yield "  direct", sum(one.kind == "direct" for one in facts)
    yield "  archived", sum(one.archived for one in facts)
    yield "roster entries", sum(len(one.roster) for one in facts)
    yield "rosters, sha256", _digest([sorted(one.roster) for one in facts])
    yield "messages", sum(one.messages for one in facts)
    yield "messages, sha256", _digest([one.sha256 for one in facts])
    yield "files", len(files)
    yield "bytes in files", sum(size for _, size, _ in files)
    yield "files, sha256", _digest(files)


def _digest(value: object) -> str:
    return _short(hashlib.sha256(json.dumps(value).encode()).hexdigest())


def _short(sha256: str) -> str:
    return f"{sha256[:_DIGITS_SHOWN]}..."


def _row(check: Check) -> tuple[str, str, str, Text]:
    expected, got = (f"{value:,}" if isinstance(value, int) else value for value in (check.expected, check.got))
    mark = show.styled("ok", "bold green") if check.ok else show.styled("differs", "bold red")
    return check.what, expected, got, mark


def _next_commands(plan: Plan, room: str, archive: Path, address: str) -> str:
    return f"""\
Everything matches. The pages of the archive are at

  {address}

They and the archive stay in {archive.parent} until you delete it.

To try the commands yourself, start a server in one terminal:

{_activation()}  stride server --generate conversations={plan.conversations},messages={plan.messages},seed={plan.seed}

Paste the four lines that it prints into another terminal, and then try:

{_activation()}  stride list conversations --archived
  stride history {room} --limit 20
  stride history {room} --oldest-first | head -1
  stride send {room} 'Hello!'
  stride export -o site
  stride verify site

To open the pages in your browser now:

{_activation()}  stride view {shlex.quote(str(archive))}
"""


def _activation() -> str:
    """Return the line that lets a shell find the command, empty if it finds it anyway."""
    script = Path(sys.prefix, "bin", "activate")
    return "" if shutil.which("stride") or not script.is_file() else f"  . {shlex.quote(str(script))}\n"
