"""The site in SQLite, one noun per module.

Everything here runs in the thread of the event loop and never awaits, so other tasks see each call completely or not
at all.
"""

from __future__ import annotations

from stride_async.server._store.conversations import StoredConversation
from stride_async.server._store.files import MediaFile
from stride_async.server._store.store import Store
from stride_async.server._store.truth import ConversationTruth, MediaTruth, Truth

__all__ = ["ConversationTruth", "MediaFile", "MediaTruth", "Store", "StoredConversation", "Truth"]
