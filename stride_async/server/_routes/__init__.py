"""The operations of the service (protocol 5), one noun per module; `table` lists them all."""

from __future__ import annotations

from stride_async.server._routes.dispatch import handle, handle_local, handle_media
from stride_async.server._routes.request import Request

__all__ = ["Request", "handle", "handle_local", "handle_media"]
