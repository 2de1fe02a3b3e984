"""What the rules of all importers have in common: a rule as a value, and a violation of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import attrs

Z = TypeVar("Z")

Json = Any
"""A decoded JSON value. The rules trust nothing in it."""


@attrs.frozen
class Place:
    """Where in a zip file something is."""

    entry: str
    line: int | None = None
    """Position in the list or file, from 1."""
    ts: str | int | None = None
    """Time of the message, as the format writes it."""


@attrs.frozen
class Violation:
    """One thing that an importer would refuse, skip or get wrong."""

    rule: str
    place: Place
    why: str

    def __str__(self) -> str:
        line = "" if self.place.line is None else f":{self.place.line}"
        ts = "" if self.place.ts is None else f" at {self.place.ts}"
        return f"{self.rule} {self.place.entry}{line}{ts}: {self.why}"


Found = Iterator[tuple[Place, str]]
"""What is wrong, and where."""


@attrs.frozen
class Rule(Generic[Z]):
    """A requirement of an importer."""

    id: str
    importer: str
    """The program, or the specification, that imposes it."""
    says: str
    check: Callable[[Z], Found]

    def violations(self, zip_file: Z) -> list[Violation]:
        return [Violation(self.id, place, why) for place, why in self.check(zip_file)]


class Rules(Generic[Z]):
    """A list of rules that grows by a decorator."""

    def __init__(self) -> None:
        self.all: list[Rule[Z]] = []

    def rule(self, id: str, importer: str, says: str) -> Callable[[Callable[[Z], Found]], Callable[[Z], Found]]:
        def add(check: Callable[[Z], Found]) -> Callable[[Z], Found]:
            self.all.append(Rule(id, importer, says, check))
            return check

        return add

    def violations(self, zip_file: Z) -> list[Violation]:
        """Return everything that violates a rule, in the order of the rules."""
        return [violation for rule in self.all for violation in rule.violations(zip_file)]


def text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def mapping(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def listing(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def is_integer(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def doubles(values: Iterable[str]) -> list[str]:
    """Return the values that occur more than once, sorted."""
    return sorted(value for value, count in Counter(values).items() if count > 1)
