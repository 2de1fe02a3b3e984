"""Loops over the same rooms with different tools. Each reads id, sender, ts and text of every message."""

from __future__ import annotations

import attrs


@attrs.frozen
class Read:
    """What a loop read; equal for all loops over the same rooms."""

    messages: int = 0
    characters: int = 0
    """Characters of ids, senders and texts."""
    stamped: int = 0
    """Messages that have a ts."""
    nodes: int = 0
    """Nodes of the bodies, if the loop reads bodies."""
    text_nodes: int = 0
