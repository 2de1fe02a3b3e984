"""asyncio client for the REST API of Atlassian Stride."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"
"""The version of the package."""

if TYPE_CHECKING:
    from stride_async._public import *  # noqa: F403 -- its __all__ says which
    from stride_async._public import __all__ as __all__
else:
    # The first access imports all names. Importing aiohttp takes a third of a second. Until then the command can be
    # interrupted without a traceback, and a run of pytest that only loads the plugin loses no time.
    def __getattr__(name: str) -> object:
        if name != "__all__" and name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        public = import_module("stride_async._public")
        globals().update({known: getattr(public, known) for known in ["__all__", *public.__all__]})
        if name not in globals():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*__getattr__("__all__"), *globals()})
