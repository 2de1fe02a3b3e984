"""Run Synapse, and end it while it creates a room, when it has stored so many events of it: 0 is the alias alone.

The first argument is this number, the others are those of Synapse.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Run Synapse."""
    stored = int(sys.argv.pop(1))
    homeserver = import_module("synapse.app.homeserver")
    creation = import_module("synapse.handlers.room").RoomCreationHandler
    membership = import_module("synapse.handlers.room_member").RoomMemberHandler
    update = membership.update_membership

    async def end(*_: Any, **_how: Any) -> None:
        os._exit(1)

    async def update_and_end(handler: Any, *args: Any, **how: Any) -> Any:
        if how.get("new_room") and stored == 1:
            os._exit(1)
        updated = await update(handler, *args, **how)
        if how.get("new_room"):
            os._exit(1)
        return updated

    if stored == 0:
        creation._send_events_for_new_room = end
    else:
        membership.update_membership = update_and_end
    homeserver.main()


if __name__ == "__main__":
    main()
