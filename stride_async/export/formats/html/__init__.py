"""Pages for a browser, with a search, that work from a folder without any server."""

from stride_async.export.formats.html._write import write

__all__ = ["write"]
