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
from stride_async.export._run import NothingSelected, export
from stride_async.export._select import Selection

__all__ = [
    "ArchiveBusy",
    "ArchiveError",
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
    "RunStarted",
    "Selection",
    "Summary",
    "export",
]
