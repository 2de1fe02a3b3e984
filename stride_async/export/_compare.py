"""Fetch a sample of the messages in an archive again and compare them."""

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
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import read_conversations
from stride_async.export._archive.commits import Stored
from stride_async.export._archive.errors import DamagedArchive
from stride_async.export._archive.months import as_line, line_digest
from stride_async.export._archive.runs import Finding


@attrs.frozen
class Sample:
    """Up to a page of consecutive messages, as the archive has them."""

    conversation_id: str
    path: str
    held: Mapping[Key, bytes]
    """Digests of the messages by key, oldest first."""


def draw_samples(archive: Archive, count: int, seed: int) -> list[Sample]:
    """Return samples from random places. Each message is equally likely to be the newest of one."""
    choice = random.Random(seed)  # noqa: S311 -- the same seed draws the same samples
    months = [
        (str((state.details or {}).get("id")), sealed.file)
        for _, chain in read_conversations(archive)
        for state in [chain.state]
        for _, sealed in sorted(state.months.items())
        if sealed.file is not None and sealed.file.rows
    ]
    if not months:
        return []
    drawn = choice.choices(months, weights=[file.rows for _, file in months], k=count)
    return [_sample(archive, id, file, choice.randint(1, file.rows)) for id, file in drawn]


def _sample(archive: Archive, id: str, file: Stored, rows: int) -> Sample:
    """Return the last messages of the first `rows` of a month."""
    held: dict[Key, bytes] = {}
    try:
        for line in deque(islice(archive.lines(file.path), rows), maxlen=MOST_ITEMS_A_PAGE):
            key = key_at(line)
            if key is not None:
                held[key] = line_digest(line)
    except DamagedArchive:
        pass  # The verification has a finding for this file already.
    return Sample(id, file.path, held)


class Comparison:
    """Compares samples with the service. Collects what differs, and what could not be compared."""

    def __init__(self, client: StrideClient) -> None:
        self.findings: list[Finding] = []
        self.not_known: list[str] = []
        self._client = client

    async def compare(self, samples: Iterable[Sample]) -> int:
        """Compare samples. Return the number of those that could be compared."""
        compared = 0
        for sample in samples:
            if not sample.held:
                continue
            try:
                current = await self._fetch(sample)
            except (NotFound, Forbidden) as error:
                self.not_known.append(f"what the service has of conversation {sample.conversation_id}: {error}")
                continue
            compared += 1
            self._compare(sample, current)
        return compared

    async def _fetch(self, sample: Sample) -> Mapping[Key, bytes]:
        """Return the digests of the messages that the service has between the ends of a sample."""
        keys = list(sample.held)
        low, high = keys[0], keys[-1]
        current: dict[Key, bytes] = {}

        def add(key: Key | None, raw: bytes) -> None:
            if key is not None and low <= key <= high:
                current[key] = line_digest(as_line(raw))

        def add_undecodable(error: DecodeError) -> None:
            add(key_at(error.raw), error.raw)

        room = self._client.conversation(sample.conversation_id)
        pager = room.history(before=(high[0] + 1, ""), page_size=MOST_ITEMS_A_PAGE)
        async for page in pager.pages(on_undecodable=add_undecodable):
            for message in page.items:
                add(message.key, message.raw)
            if page.items and page.items[-1].ts < low[0]:
                break
        return current

    def _compare(self, sample: Sample, current: Mapping[Key, bytes]) -> None:
        changed = sum(current[key] != digest for key, digest in sample.held.items() if key in current)
        gone, new = len(sample.held.keys() - current.keys()), len(current.keys() - sample.held.keys())
        if changed or gone or new:
            first, last = (format_nanoseconds(key[0]) for key in (min(sample.held), max(sample.held)))
            counts = f"{changed} messages differ, {gone} are only in the archive, {new} are only at the service"
            what = f"differs from the service between {first} and {last}: {counts}; export with a rescan to update it"
            self.findings.append(Finding(sample.path, what, "rescan"))
