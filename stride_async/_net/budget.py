"""The retry budget of a client. Pure."""

from __future__ import annotations

# Retries a client may make before any call has earned one, and the most it can save up.
RESERVE = 20.0


class Budget:
    """The retries that all calls of a client may still make; each call earns a part of one, up to the reserve."""

    def __init__(self) -> None:
        self.left: float = RESERVE
        """How many retries may be made now."""

    def earn(self, part: float) -> None:
        """Add what one call earns."""
        self.left = min(RESERVE, self.left + part)

    def spend(self, cost: int) -> None:
        """Subtract what one retry costs."""
        self.left -= cost
