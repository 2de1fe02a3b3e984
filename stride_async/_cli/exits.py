"""Which end means which exit code, and what is said about it."""

from __future__ import annotations

import errno
import os
from enum import IntEnum

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

DEBUG_VARIABLE = "STRIDE_DEBUG"
"""Set to anything: a defect of the command shows its traceback."""


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


class Ended(click.ClickException):
    """An end other than success: one sentence on stderr and an exit code."""

    exit_code: int  # type: ignore[misc]  # a class variable where click declares it, which nothing relies on

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.exit_code = code


def first_of(error: Exception) -> Exception:
    """The first of errors that came together; they mostly say the same."""
    return first_of(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


def ended(error: Exception, *, verbose: bool) -> Ended | None:
    """What the command says of an error and how it exits; None for a defect of its own.

    `verbose` tells every attempt.
    """
    if isinstance(error, Ended):
        return error
    if isinstance(error, StrideError):
        told = error.explain() if verbose else str(error)
        return Ended(_code_of(error), told + _advice(error, told))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Ended(code_of_os(error), f"{where}{error.strerror or error}")
    return None


def _code_of(error: StrideError) -> Exit:
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


def code_of_os(error: OSError) -> Exit:
    """A path that cannot be used is the user's to change; a full disk is not."""
    unusable = FileNotFoundError | FileExistsError | IsADirectoryError | NotADirectoryError | PermissionError
    return Exit.USAGE if isinstance(error, unusable) or error.errno == errno.EROFS else Exit.UNEXPECTED


def _advice(error: StrideError, told: str) -> str:
    if isinstance(error, AuthError):
        variables = "STRIDE_TOKEN" if os.environ.get("STRIDE_TOKEN") else "STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET"
        return "" if variables in told else f"; check {variables}"
    if isinstance(error, RateLimited) and error.retry_after is not None:
        return f"; the service takes calls again in {error.retry_after:.0f} s"
    if error.maybe_processed:
        return "; it may have been done all the same: look before you do it again"
    return ""
