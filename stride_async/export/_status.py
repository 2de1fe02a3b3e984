"""Sum up what an archive holds, from its commits alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from os import PathLike

import attrs

from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.layout import CONVERSATIONS, PEOPLE
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

    Args:
        archive: The folder or URL of the archive.

    Raises:
        NotAnArchive: The folder is not an archive.
        NewerArchive: Its format is later than this version reads.
        StoreRefused, StoreUnavailable: The object store of the archive cannot be used.
        ValueError: The URL is not one of an archive.
    """
    opened = Archive.open(archive)
    kinds: Counter[VerdictKind] = Counter()
    updates: list[float] = []
    messages = media = media_bytes = unlisted = 0
    names = set()
    digests: list[tuple[str, str]] = []
    failures: list[Failure] = []
    for name in opened.conversations():
        chain = Chain(opened, f"{CONVERSATIONS}/{name}")
        state = chain.state
        if state.listed and chain.head[0]:
            digests.append((name, content_digest(state)))
        if not state.updated_at:
            continue  # Nothing was committed.
        names.add(name)
        kinds[verdict_of(state)[0]] += 1
        updates.append(state.updated_at)
        messages += state.messages
        unlisted += not state.listed
        media += len(state.media)
        media_bytes += sum(body.size for body in state.media.values())
        failures += failures_in(state.conversation_id or name, state)
    people = Chain(opened, PEOPLE).state
    failures += failures_in("", people)
    runs = Runs.of(opened)
    kinds["unknown"] += len(runs.pending - names)
    of_runs = [failure for run in runs.round for failure in failures_of(opened, run) if failure.what in _OF_RUNS]
    failures += dict.fromkeys(of_runs)  # Several shards may have met the same one.
    return Status(
        cloud_id=opened.cloud_id,
        conversations=kinds.total(),
        messages=messages,
        media=media,
        media_bytes=media_bytes,
        users=len(people.profile_ids),
        unlisted=unlisted,
        size_bytes=opened.files.total_size(),
        content_digest=site_digest(digests),
        verdicts=dict(+kinds),
        oldest_update=datetime.fromtimestamp(min(updates), UTC) if updates else None,
        newest_update=datetime.fromtimestamp(max(updates), UTC) if updates else None,
        run=runs.last,
        finished=runs.finished,
        failures=tuple(failures),
    )
