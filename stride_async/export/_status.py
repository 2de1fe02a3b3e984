"""Sum up what an archive holds, from its commits alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from os import PathLike

import attrs

from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain, read_conversations
from stride_async.export._archive.layout import PEOPLE
from stride_async.export._archive.run_record import failures_in, failures_of
from stride_async.export._archive.runs import Runs
from stride_async.export._archive.state import content_digest, site_digest
from stride_async.export._archive.verdict import VerdictKind, verdict_of
from stride_async.export._events import Failure

# What only the run in which it failed records. The commits hold every other failure until it is mended.
_OF_RUNS = frozenset({"conversation", "selector", "archive"})


@attrs.frozen(kw_only=True)
class Status:
    """What an archive holds, according to its commits. No content is checked."""

    cloud_id: str
    """The id of the site."""
    conversations: int
    """Conversations that are held."""
    messages: int
    """Messages that are held."""
    media: int
    """Files whose body is held."""
    media_bytes: int
    """The total length of these bodies."""
    users: int
    """Profiles that are held."""
    unlisted: int
    """Conversations that the service no longer lists. What is held of them stays."""
    size_bytes: int
    """The size of all files of the archive."""
    content_digest: str
    """The digest of all conversations that are held and the service lists, no matter how many shards exported them."""
    verdicts: Mapping[VerdictKind, int]
    """The number of conversations by kind of verdict."""
    oldest_update: datetime | None
    """When the conversation that was not updated for the longest time was last updated; an aware datetime."""
    newest_update: datetime | None
    """When a conversation was last updated; an aware datetime."""
    run: str | None
    """The last run."""
    finished: bool
    """Whether that run completed; if it was for a shard, whether the last runs of all shards did."""
    failures: tuple[Failure, ...]
    """What could not be fetched by any run and is still missing."""


def status(archive: str | PathLike[str]) -> Status:
    """Return what an archive holds, how complete it is and how old.

    All commits are read. In a coroutine, use `asyncio.to_thread`.

    Args:
        archive: The folder or URL of the archive.

    Raises:
        NotAnArchive: The folder is not an archive.
        NewerArchive: Its format is later than this version reads.
        StoreRefused, StoreUnavailable: The object store of the archive cannot be used.
        ValueError: The URL is not one of an archive.
    """
    opened = Archive.open(archive)
    held = _Held()
    for name, chain in read_conversations(opened):
        held.add(name, chain)
    people = Chain(opened, PEOPLE).state
    runs = Runs.of(opened)
    held.kinds["unknown"] += len(runs.pending - held.names)
    of_runs = [failure for run in runs.round for failure in failures_of(opened, run) if failure.what in _OF_RUNS]
    updates = [datetime.fromtimestamp(at, UTC) for at in held.updates]
    return Status(
        cloud_id=opened.cloud_id,
        conversations=held.kinds.total(),
        messages=held.messages,
        media=held.media,
        media_bytes=held.media_bytes,
        users=len(people.profile_ids),
        unlisted=held.unlisted,
        size_bytes=opened.files.total_size(),
        content_digest=site_digest(held.digests),
        verdicts=dict(+held.kinds),
        oldest_update=min(updates, default=None),
        newest_update=max(updates, default=None),
        run=runs.last,
        finished=runs.finished,
        failures=(*held.failures, *failures_in("", people), *dict.fromkeys(of_runs)),  # Shards may have met the same.
    )


@attrs.define
class _Held:
    """What conversations hold, added up."""

    names: set[str] = attrs.field(factory=set)
    kinds: Counter[VerdictKind] = attrs.field(factory=Counter)
    updates: list[float] = attrs.field(factory=list)
    digests: list[tuple[str, str]] = attrs.field(factory=list)
    failures: list[Failure] = attrs.field(factory=list)
    messages: int = 0
    media: int = 0
    media_bytes: int = 0
    unlisted: int = 0

    def add(self, name: str, chain: Chain) -> None:
        """Add a conversation, unless nothing was committed."""
        state = chain.state
        if chain.counts_in_site:
            self.digests.append((name, content_digest(state)))
        if not state.updated_at:
            return
        self.names.add(name)
        self.kinds[verdict_of(state)[0]] += 1
        self.updates.append(state.updated_at)
        self.messages += state.messages
        self.unlisted += not state.listed
        self.media += len(state.media)
        self.media_bytes += sum(body.size for body in state.media.values())
        self.failures += failures_in(state.conversation_id or name, state)
