"""A whole site on disk: nothing missing unsaid, killable at any instant, brought up to date by running again.

Needs the extra `export`.
"""

from stride_async.export._archive import ArchiveBusy, ArchiveError, DamagedArchive, NewerArchive, NotAnArchive
from stride_async.export._estimate import Estimate, estimate
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    ExportEvent,
    ExportOptions,
    Failure,
    MediaFetched,
    PagesFetched,
    RunStarted,
    Summary,
)
from stride_async.export._read import ArchivedMedia, ArchivedRoster, ArchiveReader, Rows, read
from stride_async.export._records import Finding
from stride_async.export._run import NothingSelected, export
from stride_async.export._select import Selection, room_in_address
from stride_async.export._verify import Report, Status, Verdict, status, verify

__all__ = [
    "ArchiveBusy",
    "ArchiveError",
    "ArchiveReader",
    "ArchivedMedia",
    "ArchivedRoster",
    "ConversationDone",
    "ConversationStarted",
    "ConversationsFound",
    "DamagedArchive",
    "Estimate",
    "ExportEvent",
    "ExportOptions",
    "Failure",
    "Finding",
    "MediaFetched",
    "NewerArchive",
    "NotAnArchive",
    "NothingSelected",
    "PagesFetched",
    "Report",
    "Rows",
    "RunStarted",
    "Selection",
    "Status",
    "Summary",
    "Verdict",
    "estimate",
    "export",
    "read",
    "room_in_address",
    "status",
    "verify",
]

for _name in __all__:
    # People see the name where they import it from, in reprs, tracebacks and pickles.
    if isinstance(_public := globals()[_name], type):
        _public.__module__ = __name__
del _name, _public
