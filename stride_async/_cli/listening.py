"""What to report if a server or a bot cannot listen."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from stride_async._cli.exits import CommandError, Exit, os_exit_code, os_message


@contextmanager
def listening_on(host: str) -> Iterator[None]:
    """Report what the system raises if a host cannot be listened on, or a file cannot be used at the start.

    Raises:
        CommandError: With what is wrong.
    """
    if not host:  # asyncio would listen on all addresses.
        raise CommandError(Exit.USAGE, "Cannot listen on an empty host. For all addresses, use 0.0.0.0.")
    try:
        yield
    except UnicodeError as error:
        raise CommandError(Exit.USAGE, f"Cannot listen on {host}: it is not a valid host name.") from error
    except socket.gaierror as error:
        raise CommandError(Exit.USAGE, f"Cannot listen on {host}: {error.strerror}") from error
    except OSError as error:
        code = Exit.USAGE if error.filename is None else os_exit_code(error)
        raise CommandError(code, os_message(error)) from error
