"""Scripted misbehaviour: what a client must survive, by method, path, number of times and chance.

This module decides; `_exchange` carries out.
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
Action = Callable[[Any], object]

_UNSENDABLE = re.compile(r"[\r\n\0]")


def _header_map(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """A copy, once each is text that fits in a header; aiohttp would find out when it is too late to say so."""
    for name, value in given.items():
        if not isinstance(value, str | None):
            raise TypeError(f"header {name}: expected a text or null, found {value!r}")
        if _UNSENDABLE.search(f"{name}{value}"):
            raise ValueError(f"header {name!r}: a line break or NUL cannot be sent")
    return dict(given)


@define(eq=False, kw_only=True)
class Fault:
    """One rule. The first rule added that matches a request and is not used up decides about it.

    `method` is a pattern in any case; `path_glob` is matched against the decoded path, and `*` stands for any text,
    slashes included. The first `after` matching requests pass, then the rule applies `times` times (None: always), each
    with `probability`, drawn from a generator seeded by `seed`. `seen` counts the requests that came to the rule, and
    `hits` those it applied to.

    What it may do, alone or together:

    - `delay`: wait this many seconds before anything else.
    - `do`: call this with the server, before the request is acted on; what it returns is awaited if it can be.
    - `drop="before"`: close the connection, the request is not acted on. `drop="after"`: act, then close, no answer.
    - `status`: answer so without acting; with the gateway's error body, or `body`.
    - `body`: replace the body of the answer; as JSON unless `headers` gives it another type.
    - `headers`: add these headers; a value of None takes the header away.
    - `content_length`: claim this length; the body itself is sent as it is.
    - `cut_after`: close the connection after this many bytes of the body.
    - `stall="headers"`: act, then say nothing. `stall="body"`: fall silent after `cut_after` bytes of the body, or
      after half of it. Silence ends when the client leaves or the server closes.
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
    do: Action | None = None
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)
    _owner: Faults = field(alias="owner", repr=False)
    _chance: random.Random = field(init=False, repr=False)

    @_chance.default
    def _seeded(self) -> random.Random:
        return random.Random(self.seed)  # noqa: S311 -- repeatable chance, no secret

    def remove(self) -> None:
        """Take the rule away; removing it twice is fine."""
        self._owner.remove(self)

    def _applies_to(self, method: str, path: str) -> bool:
        """Count the request if it matches the rule, and return whether the rule applies to it."""
        if not (fnmatchcase(method, self.method.upper()) and fnmatchcase(path, self.path_glob)):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.hits >= self.times):
            return False
        if self.probability < 1 and self._chance.random() >= self.probability:
            return False
        self.hits += 1
        return True


_WORDS = frozenset(name.name for name in fields(Fault) if name.init) - {"_owner", "do"}


class Faults:
    """The rules in force, in the order they were added."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []

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
        do: Action | None = None,
    ) -> Fault:
        """Add a rule; the words are those of `Fault`.

        Raises:
            ValueError, TypeError: a word has a value it cannot have.
        """
        rule = Fault(
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
            owner=self,
        )
        self._rules.append(rule)
        return rule

    def remove(self, rule: Fault) -> None:
        """Take the rule away, if it is there."""
        self._rules = [kept for kept in self._rules if kept is not rule]

    def clear(self) -> None:
        """Take all rules away."""
        self._rules.clear()

    def load(self, path: str | PathLike[str]) -> list[Fault]:
        """Add the rules of a JSON file: a list of objects with `method`, `path` and the words of `add`, save `do`.

        Raises:
            ValueError: the file is no such list; says which entry and which word.
        """
        try:
            entries = json.loads(Path(path).read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: expected a JSON list of faults: {error}") from None
        if not isinstance(entries, list):
            raise ValueError(f"{path}: expected a JSON list, found {type(entries).__name__}")  # noqa: TRY004 -- bad file
        checked = [self._read(f"{path}, entry {number}", entry) for number, entry in enumerate(entries, 1)]
        self._rules.extend(checked)
        return checked

    def _choose(self, method: str, path: str) -> Fault | None:
        """Count the request and return the rule that applies to it, or None."""
        for rule in self._rules:
            if rule._applies_to(method, path):  # noqa: SLF001 -- the two classes are one mechanism
                return rule
        return None

    def _read(self, place: str, entry: object) -> Fault:
        if not isinstance(entry, dict):
            raise ValueError(f"{place}: expected an object, found {type(entry).__name__}")  # noqa: TRY004 -- bad file
        words = {"path_glob" if word == "path" else word: value for word, value in entry.items()}
        if unknown := sorted(words.keys() - _WORDS):
            known = ", ".join(sorted(_WORDS - {"path_glob"} | {"path"}))
            raise ValueError(f"{place}: unknown word {unknown[0]!r}; known are {known}")
        try:
            return Fault(**{"method": "*", "path_glob": "*", **words}, owner=self)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{place}: {error.args[0]}") from None
