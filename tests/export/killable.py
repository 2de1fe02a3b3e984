"""An export in a process of its own, which may be told to kill itself at the n-th time it touches the archive.

`python -m tests.export.killable '{"url": …, "archive": …, "kill_at": 17}'`; a line for every event.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

from stride_async import ClientCredentials, Settings, StrideClient
from stride_async._net.throttle import Throttle
from stride_async.export import ExportOptions, Summary, _calls, export

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


async def main(words: dict[str, Any]) -> None:
    settings = Settings(base_url=words["url"], backoff=0.0, calls_per_minute=words["limit"])
    credentials = ClientCredentials(words["client_id"], words["client_secret"])
    async with StrideClient(credentials, cloud_id=words["cloud_id"], settings=settings) as client:
        # A minute in a few seconds.
        client._pool.throttle = Throttle(words["window"])
        _calls.WINDOW = words["window"]
        if words["kill_at"]:
            kill_at(words["archive"], words["kill_at"])
        async for event in export(client, words["archive"], ExportOptions(rescan=words.get("rescan"))):
            words_of_it = [type(event).__name__, event.content_digest if isinstance(event, Summary) else ""]
            sys.stdout.write(" ".join(words_of_it) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
