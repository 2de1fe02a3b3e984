"""Read the logs of a run, in a folder or an object store.

In a folder, a log is one file that grows. An object cannot grow, so there a log is a series of numbered objects, and it
stays one when the archive is copied to a folder.
"""

from __future__ import annotations

from stride_async.export._archive.layout import RunFile, log_number, run_file, run_folder
from stride_async.export._archive.storage import Storage


class RunLog:
    """One log of a run, as it is now: its files in the order in which they were written."""

    def __init__(self, files: Storage, run: str, name: RunFile) -> None:
        self._files = files
        found = files.list(run_folder(run)).files
        numbered = sorted((number, each) for each in found if (number := log_number(each, name)) is not None)
        self.paths = [run_file(run, name)] if name in found else []
        """The paths of its files."""
        self.paths += [f"{run_folder(run)}/{each}" for _, each in numbered]

    def age(self) -> float | None:
        """Return the seconds since the log was last written to, None if there is none."""
        return self._files.age(self.paths[-1]) if self.paths else None

    def read(self) -> bytes:
        """Return the content."""
        return b"".join(map(self._files.read, self.paths))

    def read_end(self, most_bytes: int, most_files: int) -> bytes:
        """Return the end of the content: up to `most_bytes` of each of the last files."""
        return b"".join(self._files.read_end(path, most_bytes) for path in self.paths[-most_files:])
