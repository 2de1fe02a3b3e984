"""The REST calls, JSON in and out, as the protocol words them; one noun a module, all of them listed in `table`."""

from __future__ import annotations

from stride_async.server._routes.ask import Ask
from stride_async.server._routes.dispatch import answer, answer_media

__all__ = ["Ask", "answer", "answer_media"]
