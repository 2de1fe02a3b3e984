"""Decide which handler an event is for. Pure.

Of the handlers that are registered for what was called, the first that fits in the order of registration gets the
event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import attrs
import msgspec

from stride_async.bot._arguments import (
    Arguments,
    Command,
    Function,
    Pattern,
    Usage,
    check_plain,
    command_for,
    name_of,
    pattern_for,
)

Kind = Literal[
    "mention",
    "direct_message",
    "message",
    "roster",
    "conversation",
    "installed",
    "uninstalled",
    "action",
    "glance",
    "configuration",
]
"""The kinds of calls that a bot receives."""

MESSAGE_KINDS: frozenset[Kind] = frozenset({"mention", "direct_message", "message"})
# Key of the one `chat:bot` module, which receives mentions and direct messages.
BOT_MODULE = "bot"

# Stands for a module key where the descriptor has none: installed and uninstalled.
LIFECYCLE = "lifecycle"

Call = Callable[[Any], Coroutine[Any, Any, Any]]
Middleware = Callable[[Any, Call], Coroutine[Any, Any, Any]]


@attrs.frozen
class Handler:
    """A registered function and the text it takes: any text, text that matches a pattern, or a command."""

    function: Function
    takes: Pattern | Command | None = None

    def arguments(self, text: str) -> Arguments | Usage | None:
        """Return what to call it with for a text, or None if it does not fit."""
        return Arguments() if self.takes is None else self.takes.arguments(text)


@attrs.frozen
class Chosen:
    """A handler that fits, and its arguments; or the usage line of a command whose words do not fit."""

    function: Function
    arguments: Arguments | Usage


@attrs.frozen
class Module:
    """A module of the descriptor: its type, its key and the rest of it, with URLs relative to the bot."""

    type: str
    key: str
    fields: Mapping[str, Any]


@attrs.define
class Routes:
    """What was registered, in order."""

    handlers: dict[tuple[Kind, str], list[Handler]] = attrs.field(factory=dict)
    """By kind and module key."""
    patterns: dict[str, re.Pattern[str]] = attrs.field(factory=dict)
    """Of message modules, by key."""
    modules: list[Module] = attrs.field(factory=list)
    middlewares: list[Middleware] = attrs.field(factory=list)
    errors: list[tuple[type[Exception], Function]] = attrs.field(factory=list)

    def add_text_handler(
        self, kinds: Sequence[Kind], function: object, *, pattern: str | re.Pattern[str] | None = None
    ) -> None:
        """Register a handler of mentions or direct messages.

        Raises:
            TypeError, ValueError: As `pattern_for`.
        """
        checked, takes = pattern_for(function, pattern)
        self._add_bot(kinds, Handler(checked, takes))

    def add_command(self, word: str, function: object) -> None:
        """Register a command, for mentions and direct messages.

        Raises:
            TypeError, ValueError: As `command_for`, or there is such a command already.
        """
        checked, command = command_for(function, word)
        for handler in self.handlers.get(("mention", BOT_MODULE), ()):
            if isinstance(handler.takes, Command) and handler.takes.word.casefold() == word.casefold():
                raise ValueError(f"{name_of(function)}: {name_of(handler.function)} is the command {word!r} already")
        self._add_bot(("mention", "direct_message"), Handler(checked, command))

    def add_message(self, key: str, function: object, pattern: str | re.Pattern[str], wire_pattern: str) -> None:
        """Register a handler of messages that match; `wire_pattern` is the pattern for the descriptor.

        Raises:
            TypeError, ValueError: As `pattern_for`, or another handler has the key.
        """
        checked, takes = pattern_for(function, pattern)
        assert takes is not None
        check_key("chat:bot:messages", key, function)
        fields = {"pattern": wire_pattern, "url": path_of("message", key)}
        self.add_module("chat:bot:messages", key, fields, function)
        self.patterns[key] = takes.regex
        self.handlers["message", key] = [Handler(checked, takes)]

    def add_webhook(self, kind: Literal["roster", "conversation"], function: object) -> None:
        """Register a handler of roster or conversation updates."""
        checked = check_plain(function, event="event")
        if (kind, kind) not in self.handlers:
            fields = {"event": f"{kind}:updates", "url": path_of(kind)}
            self.add_module("chat:webhook", kind, fields, function)
        self.handlers.setdefault((kind, kind), []).append(Handler(checked))

    def add_lifecycle(self, kind: Literal["installed", "uninstalled"], function: object) -> None:
        """Register a handler of installations or their end."""
        checked = check_plain(function, event="event")
        self.handlers.setdefault((kind, LIFECYCLE), []).append(Handler(checked))

    def add_query(self, kind: Literal["action", "glance", "configuration"], module: Module, function: object) -> None:
        """Register the one handler of a module that browsers call.

        Raises:
            ValueError: Another handler has the key.
        """
        checked = check_plain(function, event="event")
        self.add_module(module.type, module.key, module.fields, function)
        self.handlers[kind, module.key] = [Handler(checked)]

    def add_module(self, type: str, key: str, fields: Mapping[str, Any], source: object = None) -> None:
        """Register a module of the descriptor.

        Raises:
            TypeError: The fields are not a JSON object.
            ValueError: As `check_key`, or another module of this type has the key.
        """
        check_key(type, key, source)
        where = _where(source)
        try:
            checked = _json_object(fields)
        except (TypeError, ValueError, RecursionError) as error:
            what = f"the descriptor of the {type} module {key!r}"
            raise TypeError(f"{where}{what} is not a JSON object: {error}") from None
        if any((type, key) == (known.type, known.key) for known in self.modules):
            raise ValueError(f"{where}another {type} module has the key {key!r}; give this one a key of its own")
        self.modules.append(Module(type, key, checked))

    def choose(self, kind: Kind, module: str, text: str = "") -> Chosen | None:
        """Return the handler of an event, or None if none fits."""
        for handler in self.handlers.get((kind, module), ()):
            arguments = handler.arguments(text)
            if arguments is not None:
                return Chosen(handler.function, arguments)
        return None

    def error_handler(self, error: Exception) -> Function | None:
        """Return the first error handler whose kind fits."""
        return next((function for kind, function in self.errors if isinstance(error, kind)), None)

    def _add_bot(self, kinds: Sequence[Kind], handler: Handler) -> None:
        if not any((kind, BOT_MODULE) in self.handlers for kind in ("mention", "direct_message")):
            self.add_module("chat:bot", BOT_MODULE, {}, handler.function)
        for kind in kinds:
            self.handlers.setdefault((kind, BOT_MODULE), []).append(handler)


def check_key(type: str, key: object, source: object = None) -> None:
    """Check the key of a module.

    Raises:
        ValueError: It is empty or cannot be a part of a URL.
    """
    if not isinstance(key, str) or not key or not key.isprintable():
        raise ValueError(f"{_where(source)}the key {key!r} of a {type} module is empty or not printable")
    if key in (".", ".."):
        raise ValueError(f"{_where(source)}the key {key!r} of a {type} module cannot be a part of a URL")


def _json_object(fields: object) -> dict[str, Any]:
    if not isinstance(fields, Mapping):
        raise TypeError(f"{fields!r} is not a mapping")
    msgspec.json.encode(dict(fields))
    return dict(fields)


def _where(source: object) -> str:
    return "" if source is None else f"{name_of(source)}: "


def path_of(kind: Kind, key: str = "") -> str:
    """Return the path at which the bot is called, below where it is mounted."""
    segment = _SEGMENTS.get(kind, kind)
    return f"/{segment}/{quote(key, safe='')}" if key else f"/{segment}"


_SEGMENTS: dict[Kind, str] = {"direct_message": "direct"}
