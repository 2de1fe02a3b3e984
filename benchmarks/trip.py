"""How far one warm page of history travels: the modules its code crosses, and how often it moves from one to another.

A client that has its token and connection fetches the first page of a history, from `client.conversation(id)` to the
text of the page's bookmark. The page holds one message, so that the work of one message counts once. A move is a call
into another module than the one called before; the fewer, the fewer files a reader keeps open. A coroutine that
continues after a wait is not called again.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import FrameType

import stride_async
from stride_async import ClientCredentials, Settings, StrideClient
from stride_async.server import LocalServer

MOST_MODULES, MOST_MOVES = 15, 40
_PACKAGE = Path(stride_async.__file__).parent
_SERVER = _PACKAGE / "server"


async def trip() -> list[str]:
    """Return the modules that one warm page of history calls into, in the order of its calls, repeats merged."""
    stops: list[str] = []
    begun: list[FrameType] = []  # kept, so that no later frame has the identity of an earlier one

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if (
            event != "call"
            or any(frame is other for other in begun)
            or not path.is_relative_to(_PACKAGE)
            or path.is_relative_to(_SERVER)
        ):
            return
        begun.append(frame)
        module = path.relative_to(_PACKAGE).as_posix()
        if not stops or stops[-1] != module:
            stops.append(module)

    async with LocalServer(rate_limit=None) as server:
        room = server.add_conversation("trip")
        server.fill(room, messages=2)
        app = ClientCredentials(server.client_id, server.client_secret)
        async with StrideClient(
            app, cloud_id=server.cloud_id, settings=Settings(base_url=server.url, page_size=1)
        ) as client:
            await client.conversation(room).recent()
            sys.setprofile(note)
            try:
                page = await anext(pages := client.conversation(room).history().pages())
                page.bookmark.dumps()
            finally:
                sys.setprofile(None)
            await pages.aclose()
    return stops


def main() -> None:
    """Print the trip, a stop a line, and its length."""
    stops = asyncio.run(trip())
    print(*stops, sep="\n")
    print(f"{len(set(stops))} modules (goal {MOST_MODULES}), {len(stops) - 1} moves (goal {MOST_MOVES})")


if __name__ == "__main__":
    main()
