"""Loops over the same rooms, each as its own tools suggest; each reads id, sender, ts and text of every message."""

from __future__ import annotations

import attrs


@attrs.frozen
class Read:
    """What a loop saw: equal for all loops over the same rooms."""

    messages: int = 0
    characters: int = 0
    """Of ids, senders and texts."""
    stamped: int = 0
    """Messages whose ts is there."""
    nodes: int = 0
    """Nodes of the bodies, where they are looked at."""
    text_nodes: int = 0
