"""Scripted faults: what a client has to survive, by method, path, number of times and probability.

This module decides which fault applies to a request; `_exchange` carries it out.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from attrs import define, field, fields
from attrs.validators import ge, in_, instance_of, le, optional

# The argument is the LocalServer. Its class is not named here because its module imports this one.
FaultAction = Callable[[Any], object]
"""A function of a `LocalServer` that a fault calls. An awaitable result is awaited."""

# The method of faults that apply to deliveries, and the options of only one of the two sorts.
DELIVER = "DELIVER"
_OF_DELIVERIES = frozenset({"duplicate", "lose_answer"})
_OF_REQUESTS = frozenset({"drop", "cut_after", "stall", "body", "headers", "content_length"})

_UNSENDABLE = re.compile(r"[\r\n\0]")


def _header_map(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Copy the headers; aiohttp would report a header that cannot be sent only after the fault was accepted."""
    if not isinstance(given, Mapping):
        raise TypeError(f"headers: expected an object, found {given!r}")
    for name, value in given.items():
        if not isinstance(value, str | None):
            raise TypeError(f"header {name}: expected a string or null, found {value!r}")
        if _UNSENDABLE.search(f"{name}{value}"):
            raise ValueError(f"header {name!r}: a line break or NUL cannot be sent")
    return dict(given)


@define(eq=False, kw_only=True)
class Fault:
    """One fault; `Faults.add` creates it. Of the faults that match a request, the first added that applies is used.

    `method` is a pattern and case-insensitive. `path_glob` is matched against the percent-decoded path; `*` matches any
    text, slashes included. The first `after` matching requests pass; then the fault applies `times` times (None:
    always), each time with `probability`, drawn from a generator that is seeded with `seed`. `seen` counts the
    matching requests, and `hits` those that the fault applied to.

    What a fault does, with every option or combination of them:

    - `delay`: wait this many seconds first.
    - `do`: call this with the server before the request is processed, and await what it returns if it is awaitable.
    - `drop="before"`: close the connection without processing the request. `drop="after"`: process the request, then
      close the connection without a response.
    - `status`: respond with this status without processing the request. The body is the gateway's error body, or
      `body`.
    - `body`: replace the body of the response; it is JSON unless `headers` names another content type.
    - `headers`: add these headers; a value of None removes the header.
    - `content_length`: state this length; the body is sent unchanged.
    - `cut_after`: close the connection after this many bytes of the body.
    - `stall="headers"`: process the request, then send nothing. `stall="body"`: stop sending after `cut_after` bytes
      of the body, or after half of it. A stall ends when the client disconnects or the server closes.

    With the method `DELIVER`, a fault applies to the calls to apps instead, and `path_glob` is matched against the kind
    of a delivery, such as `mention`. Only these options are possible then, in addition to `delay` and `do`:

    - `status`: take this as the status of the response, without a call.
    - `duplicate`: call the app this many times at once.
    - `lose_answer`: call the app, and lose its response.
    """

    method: str = field(validator=instance_of(str))
    path_glob: str = field(validator=instance_of(str))
    status: int | None = field(default=None, validator=optional(in_(range(200, 600))))
    times: int | None = field(default=None, validator=optional([instance_of(int), ge(0)]))
    after: int = field(default=0, validator=[instance_of(int), ge(0)])
    probability: float = field(default=1.0, validator=[instance_of((int, float)), ge(0), le(1)])
    seed: int = field(default=0, validator=instance_of(int))
    drop: Literal["before", "after"] | None = field(default=None, validator=in_((None, "before", "after")))
    cut_after: int | None = field(default=None, validator=optional([instance_of(int), ge(0)]))
    delay: float = field(default=0.0, validator=[instance_of((int, float)), ge(0)])
    stall: Literal["headers", "body"] | None = field(default=None, validator=in_((None, "headers", "body")))
    body: str | bytes | None = field(default=None, validator=optional(instance_of((str, bytes))))
    headers: Mapping[str, str | None] = field(factory=dict, converter=_header_map)
    content_length: int | None = field(default=None, validator=optional([instance_of(int), ge(0)]))
    do: FaultAction | None = None
    duplicate: int | None = field(default=None, validator=optional([instance_of(int), ge(1)]))
    lose_answer: bool = field(default=False, validator=instance_of(bool))
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)
    _owner: Faults = field(alias="owner", repr=False)
    _random: random.Random = field(init=False, repr=False)

    @_random.default
    def _seeded(self) -> random.Random:
        return random.Random(self.seed)  # noqa: S311 -- repeatable, and not a secret

    def __attrs_post_init__(self) -> None:
        delivery = self.method.upper() == DELIVER
        for name in sorted(_OF_REQUESTS if delivery else _OF_DELIVERIES):
            if getattr(self, name) not in (None, False, {}):
                raise ValueError(f"{name} does not apply to a {'delivery' if delivery else 'request'}")

    def remove(self) -> None:
        """Remove the fault; removing it twice does nothing."""
        self._owner.remove(self)

    def _applies_to(self, method: str, path: str) -> bool:
        """Count the request if it matches, and return whether the fault applies to it."""
        if (method == DELIVER) != (self.method.upper() == DELIVER):
            return False
        if not (fnmatchcase(method, self.method.upper()) and fnmatchcase(path, self.path_glob)):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.hits >= self.times):
            return False
        if self.probability < 1 and self._random.random() >= self.probability:
            return False
        self.hits += 1
        return True


_OPTIONS = frozenset(option.name for option in fields(Fault) if option.init) - {"_owner", "do"}


class Faults:
    """The faults of a server, in the order they were added."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(
        self,
        method: str,
        path_glob: str,
        *,
        status: int | None = None,
        times: int | None = None,
        after: int = 0,
        probability: float = 1.0,
        seed: int = 0,
        drop: Literal["before", "after"] | None = None,
        cut_after: int | None = None,
        delay: float = 0.0,
        stall: Literal["headers", "body"] | None = None,
        body: str | bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        content_length: int | None = None,
        do: FaultAction | None = None,
        duplicate: int | None = None,
        lose_answer: bool = False,
    ) -> Fault:
        """Add a fault and return it; `Fault` describes the options.

        Raises:
            ValueError, TypeError: An option has an invalid value.
        """
        fault = Fault(
            method=method,
            path_glob=path_glob,
            status=status,
            times=times,
            after=after,
            probability=probability,
            seed=seed,
            drop=drop,
            cut_after=cut_after,
            delay=delay,
            stall=stall,
            body=body,
            headers=headers or {},
            content_length=content_length,
            do=do,
            duplicate=duplicate,
            lose_answer=lose_answer,
            owner=self,
        )
        self._faults.append(fault)
        return fault

    def remove(self, rule: Fault) -> None:
        """Remove the fault, if it is still there."""
        self._faults = [fault for fault in self._faults if fault is not rule]

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def load(self, path: str | PathLike[str]) -> list[Fault]:
        """Add the faults of a JSON file and return them.

        The file is a list of objects with `method`, `path` and the options of `add`, except `do`.

        Raises:
            ValueError: The file is not such a list. The message names the entry and the option, and no fault of the
                file is added.
            OSError: The file cannot be read.
        """
        try:
            entries = json.loads(Path(path).read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: expected a JSON list of faults: {error}") from None
        if not isinstance(entries, list):
            raise ValueError(f"{path}: expected a JSON list, found {type(entries).__name__}")  # noqa: TRY004 -- bad file
        faults = [self._read(f"{path}, entry {number}", entry) for number, entry in enumerate(entries, 1)]
        self._faults.extend(faults)
        return faults

    def _choose(self, method: str, path: str) -> Fault | None:
        """Count the request and return the fault that applies to it, or None."""
        for fault in self._faults:
            if fault._applies_to(method, path):  # noqa: SLF001 -- the two classes are one mechanism
                return fault
        return None

    def _read(self, place: str, entry: object) -> Fault:
        if not isinstance(entry, dict):
            raise ValueError(f"{place}: expected an object, found {type(entry).__name__}")  # noqa: TRY004 -- bad file
        options = {"path_glob" if name == "path" else name: value for name, value in entry.items()}
        if unknown := sorted(options.keys() - _OPTIONS):
            known = ", ".join(sorted(_OPTIONS - {"path_glob"} | {"path"}))
            raise ValueError(f"{place}: unknown option {unknown[0]!r}; expected one of {known}")
        try:
            return Fault(**{"method": "*", "path_glob": "*", **options}, owner=self)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{place}: {error.args[0]}") from None
