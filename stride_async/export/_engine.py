"""Where the parts of an export or a conversion run: in processes of this machine, or on a Dask cluster. Pure."""

from __future__ import annotations

import importlib
import re
from types import ModuleType

import attrs

from stride_async._arguments import number, text

MOST_PROCESSES = 1024
_ADDRESS = re.compile(r"(tcp|tls)://([^\s:/\[\]]+|\[[0-9a-fA-F:.]+\]):\d{1,5}")


@attrs.frozen
class Processes:
    """Processes of this machine, which are started for one export and end with it. They talk to each other over TLS.

    Python starts them by importing the program, so it must begin its work below `if __name__ == "__main__":`.

    Raises:
        TypeError, ValueError: The count is not a number from 1 to 1024.
    """

    count: int
    """The number of processes."""

    def __attrs_post_init__(self) -> None:
        number(self.count, "count", 1, MOST_PROCESSES)


@attrs.frozen
class Dask:
    """A Dask cluster that is running, by the address of its scheduler, such as `tcp://10.0.0.5:8786`.

    The path of the archive must lead to the same folder on every machine. With `tls://`, Dask reads the certificates
    from its own configuration.

    Raises:
        TypeError: The address is not text.
        ValueError: It is not such an address.
    """

    address: str
    """The address of the scheduler."""

    def __attrs_post_init__(self) -> None:
        if not _ADDRESS.fullmatch(text(self.address, "address")):
            raise ValueError(f"{self.address!r} is not the address of a scheduler, such as tcp://10.0.0.5:8786")


Engine = Processes | Dask
"""Where an export or a conversion runs in parts."""


class EngineError(Exception):
    """An engine cannot be used as it is: a worker lacks something, or has another version."""


class EngineUnavailable(EngineError):
    """The scheduler cannot be reached, or it has no workers."""


def import_for_engine(name: str) -> ModuleType:
    """Import a module that requires the packages of engines.

    Raises:
        ModuleNotFoundError: One of them is not installed. The message names the extra.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("stride_async"):
            raise
        message = f"an engine requires {error.name}: pip install 'stride-async[distributed]'"
        raise ModuleNotFoundError(message, name=error.name) from error
