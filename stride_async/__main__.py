"""The entry point of `stride` and of `python -m stride_async`.

It handles Ctrl-C before it imports anything that takes long.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import NoReturn


def run() -> None:
    """Run the command and exit."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # Otherwise it is ignored, as for a script's background job.
        signal.signal(signal.SIGINT, _leave)
    from stride_async._cli.main import run_command  # noqa: PLC0415 -- takes a while, and can be interrupted

    signal.signal(signal.SIGINT, usual)
    run_command()


def _leave(*_: object) -> NoReturn:
    """Exit at once: an exception raised during an import would show a traceback or get lost."""
    with suppress(OSError):
        os.write(2, b"Interrupted.\n")
    os._exit(130)


if __name__ == "__main__":
    run()
