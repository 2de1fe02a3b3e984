"""Turn the text of a message into the arguments of a handler. Pure.

A handler states what it takes in its signature. It is checked once, when the handler is registered, so that a mistake
is reported where it is written; messages are then only matched against the result.
"""

from __future__ import annotations

import functools
import inspect
import io
import re
import shlex
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import attrs

# Longest number that is read: enough for 64 bits, and short enough that no text becomes costly to convert.
MOST_DIGITS = 19

_INT = re.compile(rf"[+-]?[0-9]{{1,{MOST_DIGITS}}}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BOOLS = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)

Function = Callable[..., Any]


@attrs.frozen
class Reader:
    """How text becomes a value of one type: `label` names the type to a person."""

    label: str
    read: Callable[[str], object]
    """Raises ValueError for text that does not read as the type."""
    optional: bool = False
    """Whether the type allows None."""


@attrs.frozen
class Parameter:
    """A parameter of a handler that is filled from text."""

    name: str
    reader: Reader
    default: object = inspect.Parameter.empty

    @property
    def value_if_absent(self) -> object:
        """The default, else None."""
        return None if self.default is inspect.Parameter.empty else self.default

    @property
    def required(self) -> bool:
        """Whether a command must give a word for it."""
        return self.default is inspect.Parameter.empty and not self.reader.optional

    @property
    def usage(self) -> str:
        """The parameter in a usage line."""
        text = f"{self.name}: {self.reader.label}"
        return f"<{text}>" if self.required else f"[{text}]"


@attrs.frozen
class Arguments:
    """What a handler is called with after its event."""

    positional: tuple[object, ...] = ()
    named: Mapping[str, object] = attrs.field(factory=dict)


@attrs.frozen
class Usage:
    """The line a person gets whose command does not fit."""

    text: str


def _read_int(text: str) -> int:
    if not _INT.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _read_float(text: str) -> float:
    if not _FLOAT.fullmatch(text) or sum(map(str.isdigit, text)) > MOST_DIGITS:
        raise ValueError(text)
    return float(text)


def _read_bool(text: str) -> bool:
    try:
        return _BOOLS[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _read_date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


_PLAIN: dict[object, Reader] = {
    inspect.Parameter.empty: Reader("str", str),
    str: Reader("str", str),
    int: Reader("int", _read_int),
    float: Reader("float", _read_float),
    bool: Reader("yes|no", _read_bool),
    date: Reader("date", _read_date),
}


def _choice(values: Mapping[str, object], label: str, *, any_case: bool) -> Reader:
    def read(text: str) -> object:
        try:
            return values[text.casefold() if any_case else text]
        except KeyError:
            raise ValueError(text) from None

    return Reader(label, read)


def reader_of(annotation: object) -> Reader | None:
    """Return how text is read as a type, or None for a type that cannot be read from text."""
    plain = next((reader for kind, reader in _PLAIN.items() if annotation is kind), None)
    if plain is not None:
        return plain
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        members = annotation.__members__
        # A name counts more than a value, and the first of two that differ in case only counts more than the second.
        texts = [(str(member.value).casefold(), member) for member in members.values()][::-1]
        texts += [(name.casefold(), member) for name, member in members.items()][::-1]
        return _choice(dict(texts), "|".join(name.lower() for name in members), any_case=True)
    if get_origin(annotation) is Literal:
        literals = {str(value): value for value in get_args(annotation)}
        return _choice(literals, "|".join(literals), any_case=False)
    if get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not types.NoneType]
        inner = reader_of(parts[0]) if len(parts) == 1 else None
        return None if inner is None else attrs.evolve(inner, optional=True)
    return None


def is_text(value: object) -> bool:
    """Return whether an argument is text that can be encoded, which programs without a type checker may get wrong."""
    return isinstance(value, str) and _SURROGATE.search(value) is None


def name_of(function: object) -> str:
    """Return the name by which messages refer to a handler."""
    return str(getattr(function, "__qualname__", repr(function)))


def check_handler(function: object, *, event: str) -> tuple[Function, list[inspect.Parameter]]:
    """Return a handler and the parameters it has after its event.

    Raises:
        TypeError: It is not an `async def` function, or has no parameter for the event.
    """
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{name_of(function)} is not an async function: write `async def`")
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind not in _POSITIONAL:
        raise TypeError(f"{name_of(function)} takes no event: its first parameter must be the {event}")
    return function, parameters[1:]


def check_plain(function: object, *, event: str, extra: int = 0) -> Function:
    """Return a handler that takes its event and `extra` further positional arguments.

    Raises:
        TypeError: As `check_handler`, or the number of parameters differs.
    """
    checked, rest = check_handler(function, event=event)
    takes = sum(parameter.kind in _POSITIONAL for parameter in rest)
    if takes < extra:
        raise TypeError(f"{name_of(function)} takes {takes + 1} arguments, expected {extra + 1}")
    for parameter in rest[extra:]:
        if parameter.default is inspect.Parameter.empty and parameter.kind not in _VARIADIC:
            raise TypeError(f"{name_of(function)}: nothing fills the parameter {parameter.name!r}")
    return checked


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _parameter(function: Function, parameter: inspect.Parameter) -> Parameter:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = _evaluated(function, parameter.name, annotation)
    reader = reader_of(annotation)
    if reader is None:
        raise TypeError(
            f"{name_of(function)}: {annotation!r}, the type of {parameter.name!r}, cannot be read from text; expected "
            "str, int, float, bool, date, an Enum, a Literal, or one of these or None"
        )
    return Parameter(parameter.name, reader, parameter.default)


def _evaluated(function: Function, name: str, annotation: str) -> object:
    """Return the type that an annotation names. Only this one is evaluated: others may exist for type checkers only."""
    code = inspect.unwrap(function)
    while isinstance(code, functools.partial):
        code = inspect.unwrap(code.func)
    holder = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        known = inspect.getclosurevars(code).nonlocals
        return typing.get_type_hints(holder, globalns=code.__globals__, localns=dict(known))[name]
    except (NameError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise TypeError(f"{name_of(function)}: the type of {name!r}, {annotation!r}, is unknown: {error}") from None


@attrs.frozen
class Pattern:
    """A regular expression whose named groups are the arguments of a handler."""

    regex: re.Pattern[str]
    parameters: tuple[Parameter, ...]

    def arguments(self, text: str) -> Arguments | None:
        """Return the arguments in a text, or None if it does not match or a group does not read as its type."""
        match = self.regex.search(text)
        if match is None:
            return None
        groups = match.groupdict()
        try:
            return Arguments((), {each.name: self._value(each, groups[each.name]) for each in self.parameters})
        except ValueError:
            return None

    def _value(self, parameter: Parameter, found: str | None) -> object:
        return parameter.value_if_absent if found is None else parameter.reader.read(found)


def compiled(pattern: str | re.Pattern[str], function: Function) -> re.Pattern[str]:
    """Return a pattern compiled.

    Raises:
        ValueError: It is not a regular expression over text.
    """
    try:
        regex = re.compile(pattern)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name_of(function)}: the pattern {pattern!r} is broken: {error}") from None
    if not isinstance(regex.pattern, str):
        raise ValueError(f"{name_of(function)}: the pattern {pattern!r} is of bytes; expected text")  # noqa: TRY004 -- a broken pattern
    if not is_text(regex.pattern):
        raise ValueError(f"{name_of(function)}: the pattern {pattern!r} cannot be encoded as UTF-8")
    return regex


def pattern_for(function: object, pattern: str | re.Pattern[str] | None) -> tuple[Function, Pattern | None]:
    """Return a handler and its pattern, whose named groups must be the handler's parameters.

    Raises:
        TypeError: A parameter is not a group of the pattern, a group has no parameter, or a type cannot be read.
        ValueError: The pattern is broken.
    """
    if pattern is None:
        return check_plain(function, event="event"), None
    checked, parameters = check_handler(function, event="event")
    regex = compiled(pattern, checked)
    for parameter in parameters:
        if parameter.kind in _VARIADIC or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise TypeError(f"{name_of(function)}: the parameter {parameter.name!r} cannot be filled by a named group")
        if parameter.name not in regex.groupindex:
            raise TypeError(f"{name_of(function)}: the pattern has no group named {parameter.name!r}")
    names = {parameter.name for parameter in parameters}
    for group in regex.groupindex:
        if group not in names:
            raise TypeError(f"{name_of(function)}: the pattern's group {group!r} has no parameter of that name")
    return checked, Pattern(regex, tuple(_parameter(checked, parameter) for parameter in parameters))


@attrs.frozen
class Command:
    """A word at the beginning of a message, and what the words after it fill."""

    word: str
    words: tuple[Parameter, ...]
    rest: Parameter | None = None
    """`*names`: takes the remaining words."""
    tail: Parameter | None = None
    """A keyword-only `str`: takes the remaining text as it was written."""

    @property
    def usage(self) -> Usage:
        """How the command is written."""
        parts = [self.word, *(parameter.usage for parameter in self.words)]
        if self.rest is not None:
            parts.append(f"[{self.rest.name}: {self.rest.reader.label} ...]")
        if self.tail is not None:
            parts.append(self.tail.usage)
        return Usage(f"Usage: {' '.join(parts)}")

    def arguments(self, text: str) -> Arguments | Usage | None:
        """Return the arguments in a text, its usage if they do not fit, or None if it is not this command."""
        first, *after = text.split(maxsplit=1)[:2] or [""]
        if first.casefold() != self.word.casefold():
            return None
        try:
            return self._read(after[0] if after else "")
        except ValueError:
            return self.usage

    def _read(self, text: str) -> Arguments:
        """Return the arguments after the word.

        Raises:
            ValueError: They do not fit the parameters.
        """
        source = io.StringIO(text)
        lexer = shlex.shlex(source, posix=True, punctuation_chars=False)
        lexer.whitespace_split = True
        lexer.commenters = ""
        values = [self._word(parameter, lexer.get_token()) for parameter in self.words]
        if self.tail is not None:
            # What shlex has not read yet is the rest as it was written, quotes and all.
            remaining = source.read().strip()
            return Arguments(tuple(values), {self.tail.name: self._word(self.tail, remaining or None)})
        words = list(lexer)
        if self.rest is not None:
            return Arguments((*values, *map(self.rest.reader.read, words)))
        if words:
            raise ValueError(f"{len(words)} words too many")
        return Arguments(tuple(values))

    def _word(self, parameter: Parameter, word: str | None) -> object:
        if word is not None:
            return parameter.reader.read(word)
        if parameter.required:
            raise ValueError(f"{parameter.name} is missing")
        return parameter.value_if_absent


def command_for(function: object, word: str) -> tuple[Function, Command]:
    """Return a handler and the command that calls it.

    Raises:
        TypeError: A parameter cannot be filled from words, or a type cannot be read.
        ValueError: The word is not one word.
    """
    checked, parameters = check_handler(function, event="event")
    if not is_text(word) or len(word.split()) != 1 or word != word.strip():
        raise ValueError(f"{name_of(function)}: {word!r} is not a command; expected one word")
    words: list[Parameter] = []
    rest: Parameter | None = None
    tail: Parameter | None = None
    for parameter in parameters:
        filled = _parameter(checked, parameter)
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            rest = filled
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if tail is not None or rest is not None or filled.reader.read is not str:
                raise TypeError(
                    f"{name_of(function)}: {parameter.name!r} cannot be filled; a command takes one keyword-only "
                    "parameter of type str, for the rest of the text, and no *args before it"
                )
            tail = filled
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            raise TypeError(f"{name_of(function)}: words of a command cannot fill **{parameter.name}")
        else:
            words.append(filled)
    return checked, Command(word, tuple(words), rest, tail)
