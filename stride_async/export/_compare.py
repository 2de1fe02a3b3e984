"""A sample of what an archive holds, asked of the service again and compared."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice

import attrs

from stride_async._client import StrideClient
from stride_async._errors import DecodeError, Forbidden, NotFound
from stride_async._models import Key
from stride_async._moments import format_nanoseconds
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async._wire.convert import key_at
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import Held
from stride_async.export._archive.files import Archive, DamagedArchive
from stride_async.export._archive.layout import CONVERSATIONS
from stride_async.export._archive.months import digest_of
from stride_async.export._archive.runs import Finding
from stride_async.export._fetch.buffer import line_of


@attrs.frozen
class Window:
    """A stretch of a conversation's messages as the archive has it."""

    conversation_id: str
    path: str
    held: Mapping[Key, bytes]
    """Digest by key, in order."""


def drawn(archive: Archive, sample: int, seed: int) -> list[Window]:
    """Windows at random places, each message as likely as any other to be the upper end of one."""
    draw = random.Random(seed)  # noqa: S311 -- to be repeated with the same seed
    months = [
        (str((state.details or {}).get("id")), sealed.file)
        for name in archive.folders(CONVERSATIONS)
        for state in [Chain(archive, f"{CONVERSATIONS}/{name}").state]
        for _, sealed in sorted(state.months.items())
        if sealed.file is not None and sealed.file.rows
    ]
    if not months:
        return []
    picked = draw.choices(months, weights=[file.rows for _, file in months], k=sample)
    return [_window(archive, id, file, draw.randint(1, file.rows)) for id, file in picked]


def _window(archive: Archive, id: str, file: Held, rows: int) -> Window:
    held: dict[Key, bytes] = {}
    try:
        for line in deque(islice(archive.lines(file.path), rows), maxlen=MOST_ITEMS_A_PAGE):
            key = key_at(line)
            if key is not None:
                held[key] = digest_of(line)
    except DamagedArchive:
        pass  # Found already, with its name.
    return Window(id, file.path, held)


class Comparison:
    """Asks the service for windows again."""

    def __init__(self, client: StrideClient) -> None:
        self.findings: list[Finding] = []
        self.not_known: list[str] = []
        self._client = client

    async def compare(self, windows: Iterable[Window]) -> int:
        """How many could be compared; what differs is found."""
        compared = 0
        for window in windows:
            if not window.held:
                continue
            try:
                now = await self._now(window)
            except (NotFound, Forbidden) as error:
                self.not_known.append(f"what the service says of conversation {window.conversation_id}: {error}")
                continue
            compared += 1
            self._compare(window, now)
        return compared

    async def _now(self, window: Window) -> Mapping[Key, bytes]:
        """What the service has between the ends of a window."""
        keys = list(window.held)
        low, high = keys[0], keys[-1]
        now: dict[Key, bytes] = {}

        def take(key: Key | None, raw: bytes) -> None:
            if key is not None and low <= key <= high:
                now[key] = digest_of(line_of(raw))

        def odd(error: DecodeError) -> None:
            take(key_at(error.raw), error.raw)

        room = self._client.conversation(window.conversation_id)
        pager = room.history(before=(high[0] + 1, ""), page_size=MOST_ITEMS_A_PAGE)
        async for page in pager.pages(on_undecodable=odd):
            for message in page.items:
                take(message.key, message.raw)
            if page.items and page.items[-1].ts < low[0]:
                break
        return now

    def _compare(self, window: Window, now: Mapping[Key, bytes]) -> None:
        changed = sum(now[key] != digest for key, digest in window.held.items() if key in now)
        gone, new = len(window.held.keys() - now.keys()), len(now.keys() - window.held.keys())
        if changed or gone or new:
            where = f"between {format_nanoseconds(min(window.held)[0])} and {format_nanoseconds(max(window.held)[0])}"
            told = f"{changed} messages differ, {gone} are gone there, {new} are not held"
            what = f"is not what the service says {where}: {told}; run the export with rescan to see"
            self.findings.append(Finding(window.path, what, "rescan"))
