"""A whole site on disk: nothing missing unsaid, killable at any instant, brought up to date by running again.

Needs the extra `export`.
"""

from stride_async.export._archive import ArchiveBusy, ArchiveError, DamagedArchive, NewerArchive, NotAnArchive
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ExportEvent,
    ExportOptions,
    Failure,
    MediaFetched,
    PagesFetched,
    RunStarted,
    Summary,
)
from stride_async.export._read import ArchivedMedia, ArchivedRoster, ArchiveReader, Rows, read
from stride_async.export._run import NothingSelected, export
from stride_async.export._select import Selection

__all__ = [
    "ArchiveBusy",
    "ArchiveError",
    "ArchiveReader",
    "ArchivedMedia",
    "ArchivedRoster",
    "ConversationDone",
    "ConversationsFound",
    "DamagedArchive",
    "ExportEvent",
    "ExportOptions",
    "Failure",
    "MediaFetched",
    "NewerArchive",
    "NotAnArchive",
    "NothingSelected",
    "PagesFetched",
    "Rows",
    "RunStarted",
    "Selection",
    "Summary",
    "export",
    "read",
]
