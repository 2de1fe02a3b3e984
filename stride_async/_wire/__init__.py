"""What goes over the wire and what it means: values and functions without sockets, tasks or clocks."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stride_async._wire import structuring as structuring
else:
    # Imported when it is first used: it takes long, and a program that reads only messages does without it.
    def __getattr__(name: str) -> object:
        if name != "structuring":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module("stride_async._wire.structuring")
