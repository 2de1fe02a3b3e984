"""Estimate what an export would take, as far as that is known before the messages are read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs

from stride_async._arguments import of_type
from stride_async._client import StrideClient
from stride_async._files import run_to_completion
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import BEGINNING
from stride_async.export._archive.layout import conversation_folder
from stride_async.export._archive.months import month_of
from stride_async.export._archive.state import State
from stride_async.export._fetch.listing import list_site, select
from stride_async.export._options import ExportOptions
from stride_async.export._selection import name_of

_NEVER = "9999-99"  # later than every month


@attrs.frozen(kw_only=True)
class Estimate:
    """What the export of one conversation would take."""

    conversation_id: str
    """The id of the conversation."""
    name: str
    """Its name."""
    held: int
    """The number of messages that the archive holds."""
    calls: int
    """The least number of calls."""
    open_ended: bool
    """Whether the length of the history is unknown. Each page of 75 messages takes another call, and so does each file
    that a message in it shows."""


async def estimate(
    client: StrideClient, archive: str | os.PathLike[str], options: ExportOptions | None = None
) -> list[Estimate]:
    """Return what `export` with the same arguments would take, for each conversation.

    Only the list of conversations is fetched, and nothing is written.

    Args:
        client: A client of the site.
        archive: The folder or URL of the archive, which need not exist.
        options: What to export and how; None means everything.

    Raises:
        ArchiveError: The folder is not an archive, or the archive is of another site or of a later version.
        NothingSelected: No conversation matches the selection.
        StrideError: The list of conversations could not be fetched.
        StoreRefused, StoreUnavailable: The object store of the archive cannot be used.
        ValueError: The URL is not one of an archive.
    """
    of_type(client, "client", StrideClient)
    options = of_type(ExportOptions() if options is None else options, "options", ExportOptions)
    opened = await run_to_completion(partial(Archive.find, archive, client.cloud_id))
    selected = select(await list_site(client), options.selection, options.shard)
    return await run_to_completion(lambda: [_estimated(opened, listed, options) for listed in selected])


def _estimated(archive: Archive | None, listed: Mapping[str, Any], options: ExportOptions) -> Estimate:
    state = State() if archive is None else Chain(archive, conversation_folder(listed["id"])).state
    roster = last_page = 1
    pages = _rescanned_messages(state, options) // MOST_ITEMS_A_PAGE + last_page
    return Estimate(
        conversation_id=listed["id"],
        name=name_of(listed),
        held=state.sealed_messages,
        calls=roster + pages + _missing_media(state, options),
        open_ended=not any(span.low == BEGINNING for span in state.spans),
    )


def _rescanned_messages(state: State, options: ExportOptions) -> int:
    """Return how many messages that are held will be read again, without those of the oldest such month."""
    oldest_months = [_NEVER]
    if options.rescan == "all":
        oldest_months.append("")
    elif options.rescan is not None:
        oldest_months.append(f"{datetime.now(UTC) - options.rescan:%Y-%m}")
    if options.retry_failed:
        oldest_months += ["" if one.ts is None else month_of(one.ts) for one in state.failed_messages()]
    oldest_month = min(oldest_months)
    return sum(
        sealed.file.rows for month, sealed in state.months.items() if sealed.file is not None and month > oldest_month
    )


def _missing_media(state: State, options: ExportOptions) -> int:
    """Return how many media are referenced, wanted and not held."""
    if options.media == "none":
        return 0
    missing = state.referenced_media - state.media.keys()
    if not options.retry_failed:
        missing -= {id for (what, id), failed in state.failed.items() if what == "media" and failed.final}
    if isinstance(options.media, int):
        most = options.media
        sizes = ((id, state.skipped_media.get(id, 0)) for id in missing)
        missing = {id for id, size in sizes if size is not None and size <= most}
    return len(missing)
