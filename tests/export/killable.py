"""`stride export` in a process of its own, which may be told to kill itself at the n-th time it touches the archive.

`python -m tests.export.killable '{"archive": …, "kill_at": 17, "limit": 40, "window": 2.0}' --rescan all`; the
environment is the command's own.
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
from stride_async.export._fetch import call_log

TOUCHES = ("open", "os.link", "os.remove", "os.rename")


def kill_at(archive: str, count: int) -> None:
    """End this process before the n-th opening, linking, renaming or removing of a file in the archive."""
    seen = 0

    def watch(event: str, words: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in TOUCHES and isinstance(words[0], str | os.PathLike) and os.fspath(words[0]).startswith(archive):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def quicken(limit: int, window: float) -> None:
    """A minute in a few seconds, and repeats without a wait."""
    connect.Settings = partial(Settings, backoff=0.0, calls_per_minute=limit)
    pool.Throttle = partial(Throttle, window)
    call_log.WINDOW = window


if __name__ == "__main__":
    words = json.loads(sys.argv[1])
    quicken(words["limit"], words["window"])
    if words["kill_at"]:
        kill_at(words["archive"], words["kill_at"])
    stride(["export", "--json", "-o", words["archive"], *sys.argv[2:]])
