"""What an export would take, as far as anybody can tell before the messages are read."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial

import attrs

from stride_async._client import StrideClient
from stride_async._models import EPOCH
from stride_async._net.files import whole
from stride_async.export._archive import Archive, folder_of
from stride_async.export._chain import Chain
from stride_async.export._conversation import CONVERSATIONS
from stride_async.export._events import ExportOptions
from stride_async.export._plan import BEGINNING, State
from stride_async.export._run import chosen, name_of

_PAGE_MESSAGES = 75
"""What one call of the history brings at most (protocol 5.15)."""


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
    """Whether the length of its history is not known: each page of 75 messages is a call more, and so is each file."""


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
    held = await whole(partial(Archive.find, archive, client.cloud_id))
    meant = await chosen(client, options.selection)
    return await whole(lambda: [_estimated(held, listed["id"], name_of(listed), options) for listed in meant])


def _estimated(archive: Archive | None, id: str, name: str, options: ExportOptions) -> Estimate:
    state = State() if archive is None else Chain(archive, f"{CONVERSATIONS}/{folder_of(id)}").state
    begun = any(span.low == BEGINNING for span in state.spans)
    if options.retry_failed:
        return Estimate(conversation_id=id, name=name, held=state.rows, calls=len(state.failed), open_ended=False)
    roster, last_page = 1, 1
    return Estimate(
        conversation_id=id,
        name=name,
        held=state.rows,
        calls=roster + _read_again(state, options.rescan) // _PAGE_MESSAGES + last_page,
        open_ended=not begun,
    )


def _read_again(state: State, rescan: timedelta | str | None) -> int:
    """Messages that are held and will be read again."""
    if rescan is None:
        return 0
    since = EPOCH if isinstance(rescan, str) else datetime.now(UTC) - rescan
    month_of_it = f"{since.year:04d}-{since.month:02d}"
    return sum(one.file.rows for month, one in state.months.items() if one.file is not None and month > month_of_it)
