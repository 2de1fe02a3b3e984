"""What an export would take, as far as anybody can tell before the messages are read."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import partial

import attrs

from stride_async._client import StrideClient
from stride_async._files import run_to_completion
from stride_async._settings import MOST_ITEMS_A_PAGE
from stride_async.export._archive.chain import Chain
from stride_async.export._archive.commits import BEGINNING
from stride_async.export._archive.files import Archive
from stride_async.export._archive.layout import CONVERSATIONS, folder_name
from stride_async.export._archive.months import month_of
from stride_async.export._archive.state import State
from stride_async.export._fetch.listing import chosen, name_of
from stride_async.export._options import ExportOptions

_NEVER = "9999-99"
"""A month after all others."""


@attrs.frozen(kw_only=True)
class Estimate:
    """What one conversation would take."""

    conversation_id: str
    name: str
    held: int
    """Messages the archive has."""
    calls: int
    """Calls it takes at least."""
    open_ended: bool
    """Whether the length of its history is not known: each page of 75 messages is a call more, and so is each file
    that such a page tells of."""


async def estimate(
    client: StrideClient, archive: str | os.PathLike[str], options: ExportOptions | None = None
) -> list[Estimate]:
    """What `export` with the same arguments would do; only the list of conversations is asked for, nothing is written.

    Raises:
        ArchiveError: the folder is no archive, of another site, or of a later version.
        NothingSelected: no conversation is meant.
        StrideError: the listing failed.
    """
    options = options or ExportOptions()
    held = await run_to_completion(partial(Archive.find, archive, client.cloud_id))
    meant = await chosen(client, options.selection)
    return await run_to_completion(
        lambda: [_estimated(held, listed["id"], name_of(listed), options) for listed in meant]
    )


def _estimated(archive: Archive | None, id: str, name: str, options: ExportOptions) -> Estimate:
    state = State() if archive is None else Chain(archive, f"{CONVERSATIONS}/{folder_name(id)}").state
    # What an interrupted run left in the middle is brought to its end, also where only what failed is wanted.
    only_failed = options.retry_failed and state.leg is None
    roster = not only_failed or ("roster", "") in state.failed
    history = not only_failed or ("history", "") in state.failed or bool(state.failed_messages())
    last_page = 1
    pages = _read_again(state, options, only_failed=only_failed) // MOST_ITEMS_A_PAGE + last_page if history else 0
    return Estimate(
        conversation_id=id,
        name=name,
        held=state.rows,
        calls=roster + pages + _files_to_come(state, options, only_failed=only_failed),
        open_ended=history and not any(span.low == BEGINNING for span in state.spans),
    )


def _read_again(state: State, options: ExportOptions, *, only_failed: bool) -> int:
    """Messages that are held and will be read again, those of the oldest such month aside."""
    moments = [message.ts for message in state.failed_messages()]
    if options.rescan == "all" or (only_failed and None in moments):
        month_of_it = ""
    elif only_failed:
        month_of_it = min((month_of(ts) for ts in moments if ts is not None), default=_NEVER)
    elif options.rescan is not None:
        month_of_it = f"{datetime.now(UTC) - options.rescan:%Y-%m}"
    else:
        month_of_it = _NEVER
    return sum(one.file.rows for month, one in state.months.items() if one.file is not None and month > month_of_it)


def _files_to_come(state: State, options: ExportOptions, *, only_failed: bool) -> int:
    """Files that messages are known to show, are wanted and are not held."""
    if options.media == "none":
        return 0
    failed = {id for what, id in state.failed if what == "media"}
    final = {id for id in failed if state.failed["media", id].final}
    missing = state.media_met - state.media.keys()
    missing = missing & failed if only_failed else missing if options.retry_failed else missing - final
    if isinstance(options.media, int):
        most = options.media
        sizes = ((id, state.media_passed.get(id, 0)) for id in missing)
        missing = {id for id, size in sizes if size is not None and size <= most}
    return len(missing)
