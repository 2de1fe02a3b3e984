"""What Dask loads in each worker of a test: the window of the limit is a few seconds there, as at the server.

If STRIDE_TEST_POISON is set, a worker kills itself when it opens a file of the archive whose path contains it.
"""

import os
import signal
import sys

from tests.export.killable import LIMIT, WINDOW, quicken


def _die_of(poison: str) -> None:
    def watch(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and isinstance(args[0], str | os.PathLike) and poison in os.fspath(args[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


quicken(LIMIT, WINDOW)
if poison := os.environ.get("STRIDE_TEST_POISON"):
    _die_of(poison)
