"""`stride export` in a process of its own, which can kill itself when it touches the archive for the n-th time.

`python -m tests.export.killable '{"archive": …, "kill_at": 17, "limit": 40, "window": 2.0}' --rescan all`. The
environment is that of the command.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from functools import partial
from typing import Any

from stride_async import Settings
from stride_async._cli import connect
from stride_async._cli.main import stride
from stride_async._net import pool
from stride_async._net.throttle import Throttle
from stride_async.export._archive import object_lease
from stride_async.export._fetch import call_log

LIMIT, WINDOW = 40, 2.0  # calls to a conversation, and seconds in which they are allowed
TOUCHES = ("open", "os.link", "os.remove", "os.rename")


def kill_at(archive: str, count: int) -> None:
    """End this process before the n-th file in the archive is opened, linked, renamed or removed."""
    seen = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in TOUCHES and isinstance(args[0], str | os.PathLike) and os.fspath(args[0]).startswith(archive):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def quicken(limit: int, window: float) -> None:
    """Shorten the window of the limit and the lease of an object store to a few seconds, and retry without a wait."""
    connect.Settings = partial(Settings, backoff=0.0, calls_per_minute=limit)
    pool.Throttle = partial(Throttle, window)
    call_log.WINDOW = window
    object_lease.EXPIRES, object_lease.RENEWED_EVERY = window, window / 4


if __name__ == "__main__":
    parameters = json.loads(sys.argv[1])
    quicken(parameters["limit"], parameters["window"])
    if parameters["kill_at"]:
        kill_at(parameters["archive"], parameters["kill_at"])
    stride(["export", "--json", "-o", parameters["archive"], *sys.argv[2:]])
