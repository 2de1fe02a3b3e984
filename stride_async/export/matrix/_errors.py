"""What can be wrong with a migration."""

from __future__ import annotations


class MatrixError(Exception):
    """A migration cannot start, or cannot continue. What was moved stays; the next migration continues from there."""


class BadRegistration(MatrixError):
    """The registration cannot be used, or is that of another homeserver."""


class HomeserverRefusal(MatrixError):
    """The homeserver does not accept the token of the registration."""


class HomeserverUnavailable(MatrixError):
    """The homeserver cannot be reached, keeps failing or throttling, or does not follow the Matrix specification."""


class Refused(Exception):
    """The homeserver answered a call with a status from 400 to 499."""

    def __init__(self, call: str, status: int, errcode: str, reason: str) -> None:
        super().__init__(f"{call} answered {status} {errcode}: {reason}".rstrip(": "))
        self.call = call
        self.status = status
        self.errcode = errcode
        self.reason = reason

    def about(self, what: str) -> Refused:
        """Return the same error with the name of what was refused in its message."""
        return Refused(f"{what}: {self.call}", self.status, self.errcode, self.reason)

    @property
    def is_about_absence(self) -> bool:
        """Whether what the call names does not exist. A proxy that does not know the path also answers 404."""
        return self.status == 404 and self.errcode not in {"", "M_UNRECOGNIZED"}

    @property
    def is_too_large(self) -> bool:
        """Whether what was sent is larger than the homeserver accepts."""
        return self.status == 413 or self.errcode == "M_TOO_LARGE"


class Foreign(Exception):
    """A room has the alias of a conversation, or a user the id of a person, but was not created by a migration."""
