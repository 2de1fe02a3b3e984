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
from attrs.validators import ge, in_, is_callable, le, optional

from stride_async.server._arguments import check_paths, check_texts, check_types, option_of

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
        check_texts(**{"the name of a header in headers": name})
        if not isinstance(value, str | None):
            raise TypeError(f"header {name}: expected a string or null, found {value!r}")
        if _UNSENDABLE.search(f"{name}{value}"):
            raise ValueError(f"header {name!r}: a line break or NUL cannot be sent")
    return dict(given)


@define(eq=False, kw_only=True)
class Fault:
    """One fault; `Faults.add` creates it. Of the faults that match a request, the first added that applies is used.

    What a fault does can be combined, for example a delay with a status. A fault with the method `DELIVER` applies to
    the calls to apps; its only options are `after`, `times`, `probability`, `seed`, `delay`, `do`, and either
    `status`, or `duplicate` and `lose_answer`.
    """

    method: str = field(validator=option_of(str))
    """A pattern for the HTTP method, in any case. `DELIVER` stands for calls to apps."""
    path_glob: str = field(validator=option_of(str))
    """A pattern for the percent-decoded path; `*` matches any text, slashes included. For calls to apps, a pattern for
    the kind of the delivery, such as `mention`."""
    status: int | None = field(default=None, validator=optional(in_(range(200, 600))))
    """Respond with this status without processing the request. The body is the gateway's error body, or `body`. For a
    call to an app: take this as its response, without a call."""
    times: int | None = field(default=None, validator=optional([option_of(int), ge(0)]))
    """How many times the fault applies; None means always."""
    after: int = field(default=0, validator=[option_of(int), ge(0)])
    """How many matching requests pass before it applies."""
    probability: float = field(default=1.0, validator=[option_of(int, float), ge(0), le(1)])
    """How likely it is that it applies to a request."""
    seed: int = field(default=0, validator=option_of(int))
    """The seed of the random numbers for this."""
    drop: Literal["before", "after"] | None = field(default=None, validator=in_((None, "before", "after")))
    """`before`: close the connection without processing the request. `after`: process it, then close the connection
    without a response."""
    cut_after: int | None = field(default=None, validator=optional([option_of(int), ge(0)]))
    """Close the connection after this many bytes of the body."""
    delay: float = field(default=0.0, validator=[option_of(int, float), ge(0)])
    """Wait this many seconds first."""
    stall: Literal["headers", "body"] | None = field(default=None, validator=in_((None, "headers", "body")))
    """`headers`: process the request, then send nothing. `body`: stop sending after `cut_after` bytes of the body, or
    after half of it. A stall ends when the client disconnects or the server closes."""
    body: str | bytes | None = field(default=None, validator=optional(option_of(str, bytes)))
    """The body of the response. It is JSON unless `headers` names another content type."""
    headers: Mapping[str, str | None] = field(factory=dict, converter=_header_map)
    """Headers to add to the response; a value of None removes the header."""
    content_length: int | None = field(default=None, validator=optional([option_of(int), ge(0)]))
    """The length to state; the body is sent unchanged."""
    do: FaultAction | None = field(default=None, validator=optional(is_callable()))
    """Called with the server before the request is processed; an awaitable result is awaited."""
    duplicate: int | None = field(default=None, validator=optional([option_of(int), ge(1)]))
    """Only for calls to apps: call the app this many times at once."""
    lose_answer: bool = field(default=False, validator=option_of(bool))
    """Only for calls to apps: call the app, and lose its response."""
    seen: int = field(default=0, init=False)
    """How many requests matched."""
    hits: int = field(default=0, init=False)
    """How many requests the fault applied to."""
    _owner: Faults = field(alias="owner", repr=False)
    _random: random.Random = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 -- repeatable, and not a secret
        delivery = self.method.upper() == DELIVER
        for name in sorted(_OF_REQUESTS if delivery else _OF_DELIVERIES):
            if self._is_given(name):
                raise ValueError(f"{name} does not apply to a {'delivery' if delivery else 'request'}")
        for name in sorted(_OF_DELIVERIES):
            if self.status is not None and self._is_given(name):
                raise ValueError(f"{name} does not apply to a delivery with a status, for which the app is not called")

    def _is_given(self, name: str) -> bool:
        value = getattr(self, name)
        return value is not None and value is not False and value != {}

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

        Args:
            method: As `Fault.method`.
            path_glob: As `Fault.path_glob`.
            status: As `Fault.status`.
            times: As `Fault.times`.
            after: As `Fault.after`.
            probability: As `Fault.probability`.
            seed: As `Fault.seed`.
            drop: As `Fault.drop`.
            cut_after: As `Fault.cut_after`.
            delay: As `Fault.delay`.
            stall: As `Fault.stall`.
            body: As `Fault.body`.
            headers: As `Fault.headers`.
            content_length: As `Fault.content_length`.
            do: As `Fault.do`.
            duplicate: As `Fault.duplicate`.
            lose_answer: As `Fault.lose_answer`.

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
            headers={} if headers is None else headers,
            content_length=content_length,
            do=do,
            duplicate=duplicate,
            lose_answer=lose_answer,
            owner=self,
        )
        self._faults.append(fault)
        return fault

    def remove(self, rule: Fault) -> None:
        """Remove the fault, if it is still there.

        Args:
            rule: The fault.
        """
        check_types(rule=(rule, Fault))
        self._faults = [fault for fault in self._faults if fault is not rule]

    def clear(self) -> None:
        """Remove all faults."""
        self._faults.clear()

    def load(self, path: str | PathLike[str]) -> list[Fault]:
        """Add the faults of a JSON file and return them.

        The file is a list of objects with `method`, `path` and the options of `add`, except `do`.

        Args:
            path: The JSON file.

        Raises:
            ValueError: The file is not such a list. The message names the entry and the option, and no fault of the
                file is added.
            OSError: The file cannot be read.
        """
        check_types(path=(path, str | PathLike))
        check_paths(path=path)
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
