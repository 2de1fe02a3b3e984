"""Show the log records of a command that runs for long."""

from __future__ import annotations

import logging

from stride_async._cli import show


class _Messages(logging.Handler):
    """Writes records as all messages are written: escaped, and to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            show.message(self.format(record))
        except Exception:  # noqa: BLE001 -- as every handler of logging
            self.handleError(record)


def show_logs(detailed: str | None = None) -> None:
    """Show the warnings of all loggers on stderr, and what the `detailed` logger reports of its regular work.

    If the program has set up logging, its own handlers show them.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = _Messages()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
        root.addHandler(handler)
    if detailed is not None:
        logging.getLogger(detailed).setLevel(logging.INFO)
