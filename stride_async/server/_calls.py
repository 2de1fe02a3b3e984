"""The calls that the server received, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import overload

from attrs import define, field

KEPT_BODY_BYTES = 65_536


@define(eq=False)
class Call:
    """A request as the server received it, and the status of its response.

    `path` is percent-decoded, `query` keeps order and duplicates, and the names in `headers` are case-insensitive.
    `time` is the arrival in seconds since 1970. `body` holds at most the first 64 KiB of what was read; `body_bytes`
    counts all of it. `status` is None until a response begins, and stays None if the connection is dropped. `origin`
    is "media" for calls to the second origin, to which media calls may redirect, and "api" otherwise.
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str] = field(repr=False)  # they hold the bearer token
    time: float
    origin: str = "api"
    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    body_bytes: int = 0


class Calls(Sequence[Call]):
    """The calls received so far, oldest first, including calls that a fault dropped.

    A server remembers its last `calls_kept` calls.
    """

    def __init__(self, calls: deque[Call]) -> None:
        self._calls = calls

    def matching(self, method: str, path_glob: str) -> list[Call]:
        """Return the calls with this method and path; in both, `*` matches any text, slashes included."""
        return [call for call in self._calls if fnmatchcase(call.method, method) and fnmatchcase(call.path, path_glob)]

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()

    @overload
    def __getitem__(self, index: int) -> Call: ...

    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...

    def __getitem__(self, index: int | slice) -> Call | list[Call]:
        if isinstance(index, slice):
            return list(self._calls)[index]
        return self._calls[index]

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)
