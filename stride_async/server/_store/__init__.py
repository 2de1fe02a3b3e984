"""Everything the site holds, in SQLite; one noun a module.

All of it is called from the event loop's thread and never awaits, so each call is seen whole or not at all.
"""

from __future__ import annotations

from stride_async.server._store.conversations import Room
from stride_async.server._store.store import Store
from stride_async.server._store.truth import ConversationTruth, MediaTruth, Truth

__all__ = ["ConversationTruth", "MediaTruth", "Room", "Store", "Truth"]
