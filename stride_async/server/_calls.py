"""The calls that the server received, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import overload

from attrs import define, field

from stride_async.server._arguments import check_texts

KEPT_BODY_BYTES = 65_536


@define(eq=False)
class Call:
    """A request as the server received it, and the status of its response."""

    method: str
    """The HTTP method."""
    path: str
    """The path, percent-decoded."""
    query: list[tuple[str, str]]
    """The parameters in order, with duplicates."""
    headers: Mapping[str, str] = field(repr=False)  # they hold the bearer token
    """The headers, with case-insensitive names. They contain the token."""
    time: float
    """When the call arrived, in seconds since 1970."""
    origin: str = "api"
    """`media` for calls to the second origin, to which media calls may redirect; else `api`."""
    status: int | None = None
    """The HTTP status of the response. It is None until the response begins, and stays None if the connection is
    dropped."""
    body: bytes = field(default=b"", repr=False)
    """The first 64 KiB of the body, as far as it was read."""
    body_bytes: int = 0
    """The length of what was read of the body."""


class Calls(Sequence[Call]):
    """The calls received so far, oldest first, including calls that a fault dropped.

    A server remembers its last `calls_kept` calls.
    """

    def __init__(self, calls: deque[Call]) -> None:
        self._calls = calls

    def matching(self, method: str, path_glob: str) -> list[Call]:
        """Return the calls with this method and path; in both, `*` matches any text, slashes included.

        Args:
            method: The HTTP method, or a pattern; `*` matches any text.
            path_glob: A pattern for the path; `*` matches any text, slashes included.

        Raises:
            TypeError: An argument is not text.
        """
        check_texts(method=method, path_glob=path_glob)
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
