"""The registration of an application service: what the administrator of a homeserver adds to it.

It gives one token, with which the migration may create the users and aliases that begin with `stride_` and send in
their names. The file is JSON, which is also valid YAML, so homeservers read it as it is.
"""

from __future__ import annotations

import os
import re
import secrets
from os import PathLike
from pathlib import Path

import attrs
import msgspec

from stride_async._arguments import of_type
from stride_async._arguments import path as checked_path
from stride_async._files import errors_about
from stride_async._json import NOT_DECODABLE
from stride_async.export.matrix._errors import BadRegistration

OWNER = "stride_archive"
"""The local part of the user who creates the rooms and reads them back."""

_SERVER_NAME = re.compile(r"[A-Za-z0-9.\[\]:-]{1,230}")
_LONGEST_FILE = 64 * 1024  # bytes
_PRIVATE = 0o600


@attrs.frozen
class Registration:
    """What a migration needs of a registration."""

    path: Path
    """The file."""
    server_name: str
    """The part of Matrix ids after the colon."""
    token: str = attrs.field(repr=False)
    """The secret with which the migration identifies itself."""

    @property
    def owner(self) -> str:
        """The id of the user who creates the rooms."""
        return f"@{OWNER}:{self.server_name}"

    @property
    def is_readable_by_others(self) -> bool:
        """Whether users of this machine other than the owner of the file can read its token."""
        return os.name == "posix" and bool(self.path.stat().st_mode & 0o077)


class _Extra(msgspec.Struct):
    server_name: str


class _File(msgspec.Struct):
    as_token: str
    sender_localpart: str
    stride: _Extra = msgspec.field(name="com.atlassian.stride")


def new_registration(file: str | PathLike[str], server_name: str) -> Registration:
    """Write a new registration with random tokens, which only the owner of the file can read, and return it.

    Args:
        file: The file to write. It must not exist.
        server_name: The name of the homeserver: the part of its user ids after the colon.

    Raises:
        BadRegistration: This is not the name of a server.
        FileExistsError: The file exists.
        OSError: The file cannot be written.
    """
    path = checked_path(file, "file")
    if not _SERVER_NAME.fullmatch(of_type(server_name, "server_name", str)):
        raise BadRegistration(f"{server_name!r} is not the name of a homeserver, such as example.org")
    named = re.escape(server_name)
    token = secrets.token_urlsafe(32)
    content = {
        "id": "stride",
        "url": None,
        "as_token": token,
        "hs_token": secrets.token_urlsafe(32),
        "sender_localpart": OWNER,
        "rate_limited": False,
        "namespaces": {
            "users": [{"exclusive": True, "regex": f"@stride_[0-9a-f]{{20}}:{named}"}],
            "aliases": [{"exclusive": True, "regex": f"#stride_[0-9a-f]{{20}}:{named}"}],
            "rooms": [],
        },
        "com.atlassian.stride": {"server_name": server_name},
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    try:
        with errors_about(path), os.fdopen(descriptor, "wb") as written:
            written.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    except BaseException:
        path.unlink()
        raise
    return Registration(path, server_name, token)


def read_registration(file: str | PathLike[str]) -> Registration:
    """Return the registration that `new_registration` wrote.

    Args:
        file: The file.

    Raises:
        BadRegistration: The file has another form.
        OSError: The file cannot be read.
    """
    path = checked_path(file, "file")
    with path.open("rb") as opened:
        data = opened.read(_LONGEST_FILE + 1)
    try:
        found = msgspec.json.decode(data[:_LONGEST_FILE], type=_File)
    except NOT_DECODABLE as error:
        raise BadRegistration(
            f"{path} is not a registration that `stride migrate matrix --new-registration` wrote: {error}"
        ) from error
    is_usable = found.as_token.isascii() and found.as_token.isprintable() and found.as_token.strip()
    if not is_usable or found.sender_localpart != OWNER or not _SERVER_NAME.fullmatch(found.stride.server_name):
        raise BadRegistration(
            f"{path}: the as_token, sender_localpart or server_name was changed to one of another kind"
        )
    return Registration(path, found.stride.server_name, found.as_token)
