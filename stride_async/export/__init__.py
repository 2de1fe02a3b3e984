"""A whole site on disk: nothing missing unsaid, killable at any instant, brought up to date by running again.

Needs the extra `export`.
"""

from stride_async._wire.addresses import room_in_address
from stride_async.export._archive.files import ArchiveBusy, ArchiveError, DamagedArchive, NewerArchive, NotAnArchive
from stride_async.export._archive.reader import ArchivedMedia, ArchivedRoster, ArchiveReader, Rows, read
from stride_async.export._archive.runs import Finding
from stride_async.export._estimate import Estimate, estimate
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    ExportEvent,
    Failure,
    MediaFetched,
    PagesFetched,
    RunStarted,
    Summary,
)
from stride_async.export._fetch.listing import NothingSelected
from stride_async.export._fetch.run import export
from stride_async.export._options import ExportOptions
from stride_async.export._selection import Selection
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
