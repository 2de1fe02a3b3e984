"""Keep variables in a file that a shell or a program reads, while a command runs."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from stride_async._cli.exits import CommandError, Exit
from stride_async._files import sync_content


def check_env_file(path: Path, names: Iterable[str]) -> None:
    """Refuse a file that cannot be written, or that contains more than assignments to variables of these names.

    Raises:
        CommandError: The file would be refused, or its other content lost.
    """
    try:
        _check(path, tuple(f"{name}=" for name in names))
    except OSError as error:
        raise _error(path, error) from error


@contextmanager
def env_file(path: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Keep the variables in the file while the context lasts, as lines such as `NAME=value`.

    Values are quoted for a shell where that is necessary. Only the user may read the file. It appears complete, and it
    is removed at the end unless it was changed meanwhile.

    Raises:
        CommandError: The file cannot be written.
    """
    content = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()).encode()
    try:
        _write(path, content)
    except OSError as error:
        raise _error(path, error) from error
    try:
        yield
    finally:
        _remove(path, content)


def _check(path: Path, assignments: tuple[str, ...]) -> None:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        path.parent.stat()  # Raises the reason, unless it is a missing permission.
        raise PermissionError(0, "The folder is read-only")
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(kind):
        raise CommandError(Exit.USAGE, f"Cannot write {path}: it is not a regular file.")
    lines = path.read_bytes().decode(errors="replace").splitlines()
    if not all(line.startswith(assignments) or not line.strip() for line in lines):
        raise CommandError(Exit.USAGE, f"{path} contains other lines, which would be lost. Name another file.")


def _write(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=".stride-", dir=path.parent)  # with mode 0600
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 -- of a descriptor
            file.write(content)
            file.flush()
            sync_content(file.fileno(), path)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _remove(path: Path, content: bytes) -> None:
    try:
        if path.read_bytes() == content:
            path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CommandError(Exit.USAGE, f"Cannot remove {path}: {error.strerror}") from error


def _error(path: Path, error: OSError) -> CommandError:
    return CommandError(Exit.USAGE, f"Cannot write {path}: {error.strerror or error}")
