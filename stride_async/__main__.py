"""The entry point of the command: `stride`, and `python -m stride_async`.

Nothing heavy is imported before Ctrl-C has an answer.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import NoReturn


def run() -> None:
    """Run the command and exit."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else it is ignored, as in the background of a script, and stays so
        signal.signal(signal.SIGINT, _leave)
    from stride_async._cli.main import run_command  # noqa: PLC0415 -- takes a while, and may be interrupted

    signal.signal(signal.SIGINT, usual)
    run_command()


def _leave(*_: object) -> NoReturn:
    """End at once. An exception would surface somewhere within an import, with a traceback or unheard."""
    with suppress(OSError):
        os.write(2, b"Interrupted.\n")
    os._exit(130)


if __name__ == "__main__":
    run()
