"""The part of the client that waits: sockets, clocks and tasks."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tenacity as tenacity
else:
    # Imported with the first retry: it takes long, and most programs do without it.
    def __getattr__(name: str) -> object:
        if name != "tenacity":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(name)
