"""What the parts of one run share."""

from __future__ import annotations

import attrs

from stride_async._client import StrideClient
from stride_async._errors import DecodeError, Forbidden, NotFound, StrideError
from stride_async.export._archive.async_archive import AsyncArchive
from stride_async.export._archive.commits import Failed
from stride_async.export._fetch.call_log import CallLog, LostCalls
from stride_async.export._fetch.health import ServiceHealth
from stride_async.export._options import ExportOptions

_FINAL = (NotFound, Forbidden, DecodeError)


@attrs.frozen(kw_only=True)
class Job:
    """One run: what is exported, from where and to where."""

    run: str
    archive: AsyncArchive
    client: StrideClient
    calls: CallLog
    health: ServiceHealth
    options: ExportOptions
    at_once: int
    """The number of conversations exported at the same time."""
    lost_calls: LostCalls
    fresh_from: float
    """What this run completed since then is not checked again; in seconds since the epoch."""

    async def failure(self, conversation_id: str, what: str, id: str, error: StrideError) -> Failed:
        """Return how a failure is recorded.

        Raises:
            StrideError: The run ends with this failure.
        """
        if self.options.fail_fast:
            raise error
        await self.health.check(conversation_id, error)
        return Failed(what, id, str(error), isinstance(error, _FINAL))
