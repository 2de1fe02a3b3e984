"""An archive for coroutines: its work is done in a few threads, each piece of it to completion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path
from typing import ParamSpec, TypeVar

from stride_async._files import run_to_completion
from stride_async.export._archive.archive import Archive
from stride_async.export._archive.chain import Chain, sound_chain
from stride_async.export._archive.commits import Op, Stored
from stride_async.export._archive.storage import LeaseWatched
from stride_async.export._shard import Shard

P = ParamSpec("P")
R = TypeVar("R")


class AsyncArchive:
    """An archive that one export works on.

    Work that has begun is completed even if the caller is cancelled meanwhile: a file that is being written must not be
    removed under the thread that writes it.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._threads = ThreadPoolExecutor(archive.files.threads, thread_name_prefix="stride_async export")

    @classmethod
    async def open_or_create(cls, root: str | PathLike[str], cloud_id: str) -> AsyncArchive:
        """Open the archive of a site, or create it.

        Raises:
            NotAnArchive: The folder holds something else, or another site.
            NewerArchive: Its format is later than this version reads.
            StoreRefused, StoreUnavailable: The object store cannot be used.
            OSError: The folder cannot be written.
        """
        return cls(await run_to_completion(partial(Archive.open_or_create, root, cloud_id)))

    async def acquire_lease(self, shard: Shard | None) -> float:
        """Take the lease, or that of a shard. Return 0 if it is taken, else the seconds after which to try again.

        Raises:
            ArchiveBusy: Another export has a lease that excludes this one.
        """
        try:
            await self.run(self.archive.acquire_lease, shard)
        except LeaseWatched as watched:
            return watched.seconds
        return 0.0

    async def close(self) -> None:
        """Wait for work that has begun, then give the lease back. Everything committed is durable then."""
        await run_to_completion(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        self.archive.release()

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do work on the files of the archive in a thread and return its result."""
        return await run_to_completion(partial(work, *args, **kwargs), self._threads)

    async def open_chain(self, folder: str) -> Chain:
        """Read the commits of a folder.

        Raises:
            DamagedArchive: A commit is damaged or missing, so nothing can be added to the chain.
        """
        return await self.run(sound_chain, self.archive, folder)

    async def commit(self, chain: Chain, run: str, ops: Sequence[Op]) -> None:
        """Add a commit to a chain.

        Raises:
            CommitConflict: Another writer was faster.
        """
        await self.run(chain.commit, run, ops)

    async def stage_lines(self, stem: str, lines: Iterable[bytes]) -> Stored:
        """Write lines to a file that gets its name with the first commit that names it."""
        return await self.run(self.archive.stage_lines, stem, lines)

    async def adopt_media(self, file: Path, sha256: str) -> None:
        """Move a complete media body to its place."""
        await self.run(self.archive.adopt_media, file, sha256)
