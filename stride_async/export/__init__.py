"""Export a complete site into an archive, resume it after any interruption, and read it back.

Needs the extra `export`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from stride_async._wire.addresses import room_in_address
from stride_async.export._archive.errors import (
    ArchiveBusy,
    ArchiveError,
    DamagedArchive,
    NewerArchive,
    NotAnArchive,
    StoreRefused,
    StoreUnavailable,
)
from stride_async.export._archive.parts import ArchivedMonth
from stride_async.export._archive.reader import ArchivedMedia, ArchivedRoster, ArchiveReader, Rows, read
from stride_async.export._archive.runs import Finding, Remedy
from stride_async.export._archive.verdict import VerdictKind
from stride_async.export._engine import Dask, Engine, EngineError, EngineUnavailable, Processes
from stride_async.export._events import (
    ConversationDone,
    ConversationsFound,
    ConversationStarted,
    ExportEvent,
    Failure,
    MediaFetched,
    PagesFetched,
    RunStarted,
    RunWaiting,
    Summary,
    Unprotected,
)
from stride_async.export._options import ExportOptions
from stride_async.export._selection import NothingSelected, Selection
from stride_async.export._shard import Shard
from stride_async.export._status import Status, status

__all__ = [
    "ArchiveBusy",
    "ArchiveError",
    "ArchiveReader",
    "ArchivedMedia",
    "ArchivedMonth",
    "ArchivedRoster",
    "ConversationDone",
    "ConversationStarted",
    "ConversationsFound",
    "DamagedArchive",
    "Dask",
    "Engine",
    "EngineError",
    "EngineUnavailable",
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
    "Processes",
    "Remedy",
    "Report",
    "Rows",
    "RunStarted",
    "RunWaiting",
    "Selection",
    "Shard",
    "Status",
    "StoreRefused",
    "StoreUnavailable",
    "Summary",
    "Unprotected",
    "Verdict",
    "VerdictKind",
    "estimate",
    "export",
    "read",
    "room_in_address",
    "status",
    "verify",
]

if TYPE_CHECKING:
    from stride_async.export._estimate import Estimate as Estimate
    from stride_async.export._estimate import estimate as estimate
    from stride_async.export._export import export as export
    from stride_async.export._verify import Report as Report
    from stride_async.export._verify import Verdict as Verdict
    from stride_async.export._verify import verify as verify
else:
    # These names need the client, and with it aiohttp. Reading an archive needs neither, so all of them are imported
    # when the first one is asked for.
    _MODULES = ("_estimate", "_export", "_verify")

    def __getattr__(name: str) -> object:
        if name.startswith("_") or name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for module in _MODULES:
            loaded = vars(import_module(f"{__name__}.{module}"))
            _publish({known: loaded[known] for known in __all__ if known in loaded})
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*__all__, *globals()})


def _publish(names: dict[str, object]) -> None:
    """Give public names to this module, which is then named in reprs, tracebacks and pickles."""
    for public in names.values():
        if isinstance(public, type):
            public.__module__ = __name__
    globals().update(names)


_publish({name: value for name, value in globals().items() if name in __all__})
