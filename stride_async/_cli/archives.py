"""What the commands for archives share: the argument, the errors, and how values become JSON."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import click

from stride_async._cli import show
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.options import PathParam
from stride_async.export import ArchiveError, DamagedArchive, NothingSelected, StoreRefused, StoreUnavailable
from stride_async.export._archive.address import folder_at, is_url, parse_address


class ArchiveParam(PathParam):
    """The path of an archive, or its URL unless `only_folders` is given."""

    def __init__(self, *, only_folders: bool = False, refusal: str = "") -> None:
        super().__init__(path_type=Path, refusal=refusal)
        self._only_folders = only_folders

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a path, or a URL of an object store as text."""
        text = os.fsdecode(value)
        if is_url(text):
            try:
                address = folder_at(text) if self._only_folders else parse_address(text)
            except ValueError as error:
                raise CommandError(Exit.USAGE, f"{self.refusal}{error}") from error
            if not isinstance(address, Path):
                return text
            value = address
        return super().convert(value, param, ctx)


archive_argument = click.argument("archive", type=ArchiveParam())
local_archive_argument = click.argument("archive", type=ArchiveParam(only_folders=True))


@contextmanager
def archive_errors(archive: Path | str) -> Iterator[None]:
    """Turn errors about an archive or a selection into messages with an exit code.

    Raises:
        CommandError: The archive cannot be used, or nothing is selected.
    """
    try:
        yield
    except DamagedArchive as error:
        command = f"`stride verify {shlex.quote(str(archive))}`"
        message = f"{error}. Run {command} to list everything that is damaged."
        raise CommandError(Exit.VERIFICATION_FAILED, message) from error
    except StoreRefused as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    except StoreUnavailable as error:
        message = f"{error}. Run the same command again when the store is available."
        raise CommandError(Exit.UNAVAILABLE, message) from error
    except ArchiveError as error:
        raise CommandError(Exit.ARCHIVE_UNUSABLE, str(error)) from error
    except NothingSelected as error:
        message = f"{error}.{show.did_you_mean(error.nearest)}"
        raise CommandError(Exit.NOTHING_SELECTED, message) from error


def json_fields(value: Any) -> dict[str, object]:
    """Return the fields of an attrs value, named in the service's camel case, as values for JSON."""
    return {_camel_case(name): _for_json(part) for name, part in attrs.asdict(value, recurse=False).items()}


def _for_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [json_fields(part) if attrs.has(type(part)) else part for part in value]
    return value


def _camel_case(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)
