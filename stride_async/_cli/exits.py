"""Exit codes, and the error message that goes with each of them."""

from __future__ import annotations

import errno
import os
from enum import IntEnum
from typing import IO, Any

import click

from stride_async import (
    AuthError,
    DeadlineExceeded,
    Forbidden,
    LengthMismatch,
    NotFound,
    RateLimited,
    ServerError,
    StrideError,
    TransportError,
)
from stride_async._cli import show
from stride_async._cli.escape import printable

# If this environment variable is set, an unexpected error shows its traceback.
DEBUG_VARIABLE = "STRIDE_DEBUG"


# What a system answers if a path cannot be used: it does not exist, is not of the right kind, is not accessible, or is
# not a name that the file system can store.
_UNUSABLE_PATH = frozenset(
    {
        *(errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ENXIO, errno.ENODEV),
        *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ETXTBSY),
        *(errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ, errno.EINVAL),
    }
)


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Exit(IntEnum):
    """The command's exit codes."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    NOTHING_SELECTED = 3
    AUTHENTICATION = 4
    PARTIAL = 5
    VERIFICATION_FAILED = 6
    UNAVAILABLE = 7
    ARCHIVE_UNUSABLE = 8
    INTERRUPTED = 130


class CommandError(click.ClickException):
    """An error message for stderr, with an exit code."""

    exit_code: int  # type: ignore[misc]  # a class variable where click declares it, which nothing relies on

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message to stderr."""
        show.message(f"Error: {self.format_message()}")


def first_error(error: Exception) -> Exception:
    """Return the first error of a group, or the error itself; the errors of a group mostly say the same."""
    return first_error(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def command_error(error: Exception, *, verbose: bool) -> CommandError | None:
    """Return the message and exit code for an error, or None if the error is a bug in the command.

    With `verbose`, the message lists every attempt.
    """
    if isinstance(error, CommandError):
        return error
    if isinstance(error, StrideError):
        # Lines of a list are wrapped on a terminal, indented ones are not.
        reported = error.explain().replace("\n  ", "\n- ") if verbose else str(error)
        return CommandError(_exit_code(error), reported + _advice(error, reported))
    if isinstance(error, OSError):
        return CommandError(os_exit_code(error), os_message(error))
    return None


def _exit_code(error: StrideError) -> Exit:
    match error:
        case AuthError() | Forbidden():
            return Exit.AUTHENTICATION
        case NotFound():
            return Exit.NOTHING_SELECTED
        case RateLimited() | ServerError() | TransportError() | DeadlineExceeded():
            return Exit.UNAVAILABLE
        case LengthMismatch():
            return Exit.VERIFICATION_FAILED
        case _:
            return Exit.UNEXPECTED


def os_exit_code(error: OSError) -> Exit:
    """Return `USAGE` for a path that the user can change, `UNEXPECTED` for anything else, such as a full disk."""
    return Exit.USAGE if error.errno in _UNUSABLE_PATH else Exit.UNEXPECTED


def os_message(error: OSError) -> str:
    """Return what is wrong, after the name of the file if there is one. Of a copy to a full disk, that is the copy."""
    name = error.filename2 if error.filename2 and error.errno in _NO_ROOM else error.filename
    where = f"{printable(os.fsdecode(name))}: " if isinstance(name, str | bytes) else ""
    return f"{where}{error.strerror or error}"


def _advice(error: StrideError, reported: str) -> str:
    if isinstance(error, AuthError):
        variables = "STRIDE_TOKEN" if os.environ.get("STRIDE_TOKEN") else "STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET"
        return "" if variables in reported else f". Check {variables}."
    if isinstance(error, RateLimited) and error.retry_after is not None:
        return f". The service accepts calls again in {error.retry_after:.0f} s."
    if error.maybe_processed:
        return ". The service may have processed the call anyway: check before you repeat it."
    return ""
