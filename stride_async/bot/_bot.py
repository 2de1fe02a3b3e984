"""A bot as its author writes it."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from stride_async._arguments import function as checked_function
from stride_async._arguments import number, of_type, optional_text, several, text
from stride_async.bot._application import application
from stride_async.bot._arguments import check_plain, compiled, is_text, name_of
from stride_async.bot._descriptor import descriptor, wire_pattern
from stride_async.bot._errors import BotError
from stride_async.bot._router import Module, Routes, check_key, path_of
from stride_async.bot._running import RunningBot, running
from stride_async.bot._serve import Served, serve
from stride_async.bot._settings import BotSettings

_HIGHEST_PORT = 65_535

F = TypeVar("F", bound=Callable[..., Any])


# Whether `stride bot` is importing the module of a bot, to serve the bot itself.
being_imported = ContextVar("being_imported", default=False)


class Bot:
    """A description of a bot: its key and what it does when it is called.

    It opens nothing and knows no secret, so it can stand at the top of a module and run any number of times, each time
    with settings of its own. Handlers are `async def` functions that take an event; decorators register them. Of the
    handlers for one kind of event, the first that fits gets the event.

    Args:
        key: The app's key in the descriptor.

    Raises:
        ValueError: The key is empty.
    """

    def __init__(self, key: str) -> None:
        if not is_text(key) or not key or not key.isprintable():
            raise ValueError(f"the bot's key {key!r} is empty or not printable")
        self.key = key
        """The app's key in the descriptor."""
        self._routes = Routes()

    def __repr__(self) -> str:
        return f"Bot({self.key!r})"

    def mention(self, pattern: str | re.Pattern[str] | None = None) -> Callable[[F], F]:
        """Register a handler of `Mention` events.

        Args:
            pattern: Only messages whose text matches. Named groups become the arguments of the same name.

        Raises:
            TypeError: The function is not async, or its parameters are not the groups of the pattern.
            ValueError: The pattern is broken.
        """
        _must_be_called("mention()", pattern)

        def register(function: F) -> F:
            self._routes.add_text_handler(["mention"], function, pattern=pattern)
            return function

        return register

    def direct_message(self, pattern: str | re.Pattern[str] | None = None) -> Callable[[F], F]:
        """Register a handler of `DirectMessage` events.

        Args:
            pattern: Only messages whose text matches, as in `mention`.
        """
        _must_be_called("direct_message()", pattern)

        def register(function: F) -> F:
            self._routes.add_text_handler(["direct_message"], function, pattern=pattern)
            return function

        return register

    def message(self, pattern: str | re.Pattern[str], *, key: str | None = None) -> Callable[[F], F]:
        """Register a handler of `MatchedMessage` events: messages that match and do not mention the bot.

        Each handler is a module of its own, so a message that matches two patterns is handled twice.

        Args:
            pattern: What is searched in the text. Named groups become the arguments of the same name.
            key: The key of the module. By default, the function's name with hyphens.

        Raises:
            TypeError: The function is not async, or its parameters are not the groups of the pattern.
            ValueError: The pattern is broken or refers back to a named group, or the key is taken.
        """
        _must_be_called("message(pattern)", pattern)

        def register(function: F) -> F:
            regex = compiled(pattern, function)
            try:
                wire = wire_pattern(regex)
            except ValueError as error:
                raise ValueError(f"{name_of(function)}: {error}") from None
            self._routes.add_message(_key_of(function) if key is None else key, function, pattern, wire)
            return function

        return register

    def command(self, word: str) -> Callable[[F], F]:
        """Register a command: `@Bot deploy api 3` in a conversation, and `deploy api 3` in a direct message.

        The words after it, split as a shell splits them, become the function's arguments. `*args` takes the rest as
        words, one keyword-only `str` parameter takes the rest as text. If the words do not fit the parameters, the
        person gets a usage line.

        Args:
            word: The first word of the message, in any case.

        Raises:
            TypeError: The function is not async, or a parameter cannot be filled from words.
            ValueError: It is not one word, or another handler has it.
        """
        _must_be_called("command(word)", word)

        def register(function: F) -> F:
            self._routes.add_command(word, function)
            return function

        return register

    def roster(self) -> Callable[[F], F]:
        """Register a handler of `RosterUpdate` events."""

        def register(function: F) -> F:
            self._routes.add_webhook("roster", function)
            return function

        return register

    def conversation(self) -> Callable[[F], F]:
        """Register a handler of `ConversationUpdate` events."""

        def register(function: F) -> F:
            self._routes.add_webhook("conversation", function)
            return function

        return register

    def installed(self) -> Callable[[F], F]:
        """Register a handler of `Installed` events."""

        def register(function: F) -> F:
            self._routes.add_lifecycle("installed", function)
            return function

        return register

    def uninstalled(self) -> Callable[[F], F]:
        """Register a handler of `Uninstalled` events."""

        def register(function: F) -> F:
            self._routes.add_lifecycle("uninstalled", function)
            return function

        return register

    def action(self, key: str) -> Callable[[F], F]:
        """Register the handler of an action target, called when a person presses it.

        It returns the text to show, an `ActionAnswer`, or None.

        Args:
            key: The key of the action target.

        Raises:
            TypeError: The function is not async, or takes no event.
            ValueError: The key is taken.
        """
        _must_be_called("action(key)", key)

        def register(function: F) -> F:
            check_key("chat:actionTarget", key, function)
            fields = {"callService": {"url": path_of("action", key)}}
            self._routes.add_query("action", Module("chat:actionTarget", key, fields), function)
            return function

        return register

    def glance(
        self,
        key: str,
        *,
        name: str,
        icon: str | Mapping[str, str],
        target: str | None = None,
        weight: int = 100,
        conditions: Sequence[Mapping[str, Any]] | None = None,
    ) -> Callable[[F], F]:
        """Register the handler of a glance, which returns its label.

        Args:
            key: The key of the glance.
            name: The name of the glance.
            icon: The URL of the icon, or a mapping of `url` and `url@2x`.
            target: The key of what a click opens.
            weight: The weight of the glance among others (protocol 6.1).
            conditions: When the glance is shown (protocol 6.1).

        Raises:
            TypeError: An argument is of another type, or the function is not async or takes no event.
            ValueError: The key is taken.
        """
        text(name, "name")
        optional_text(target, "target")
        of_type(weight, "weight", int)
        icons = {"url": icon, "url@2x": icon} if isinstance(icon, str) else dict(of_type(icon, "icon", Mapping))
        for url in icons.values():
            text(url, "icon")
        shown = None if conditions is None else _each_mapping(conditions, "conditions")

        def register(function: F) -> F:
            check_key("chat:glance", key, function)
            fields = {
                "name": {"value": name},
                "icon": icons,
                "target": target,
                "queryUrl": path_of("glance", key),
                "weight": weight,
                "conditions": shown,
                "authentication": "jwt",
            }
            given = {field: value for field, value in fields.items() if value is not None}
            self._routes.add_query("glance", Module("chat:glance", key, given), function)
            return function

        return register

    def configuration(self, key: str, *, page: str) -> Callable[[F], F]:
        """Register the handler that returns whether the bot is configured in a conversation.

        Args:
            key: The key of the configuration.
            page: The key of the dialog or sidebar in which the bot is configured.

        Raises:
            TypeError: The page is not text, or the function is not async or takes no event.
            ValueError: The key is taken.
        """
        text(page, "page")

        def register(function: F) -> F:
            check_key("chat:configuration", key, function)
            state = {"url": path_of("configuration", key)}
            fields = {"page": {"target": page}, "state": state, "authentication": "jwt"}
            self._routes.add_query("configuration", Module("chat:configuration", key, fields), function)
            return function

        return register

    def module(self, type: str, key: str, descriptor: Mapping[str, Any]) -> None:
        """Add a module that calls no handler: a dialog, a sidebar, an external page, an input or message action.

        Args:
            type: The type, such as `chat:dialog`.
            key: The key of the module.
            descriptor: The descriptor of the module, without the key (protocol 6.1).

        Raises:
            TypeError: The type is not text, or the descriptor is not a JSON object.
            ValueError: Another module of this type has the key.
        """
        text(type, "type")
        self._routes.add_module(type, key, descriptor)

    def middleware(self, function: F) -> F:
        """Register a middleware: an async function that takes an event and `call`.

        `await call(event)` runs the handler, or the next middleware. Without it the handler is not called and the
        event counts as handled. The first middleware that is registered is the outermost.

        Args:
            function: The middleware.

        Raises:
            TypeError: The function is not async, or does not take two arguments.
        """
        self._routes.middlewares.append(check_plain(function, event="event", extra=1))
        return function

    def error(self, kind: type[Exception] = Exception) -> Callable[[F], F]:
        """Register an error handler: an async function that takes an event and the error that its handler raised.

        The first error handler whose kind fits is called. An error that fits none is logged.

        Args:
            kind: The class of the errors.

        Raises:
            TypeError: The function is not async or does not take two arguments, or `kind` is not a class of exceptions.
        """
        _must_be_called("error()", kind)

        def register(function: F) -> F:
            _must_be_exception(kind, function)
            checked = check_plain(function, event="event", extra=1)
            self._routes.errors.append((kind, checked))
            return function

        return register

    def descriptor(self, base_url: str) -> dict[str, Any]:
        """Return the descriptor of the bot, as served at `/descriptor.json` below a base URL (protocol 6.1).

        Args:
            base_url: Where the service reaches the bot.
        """
        return descriptor(self.key, text(base_url, "base_url").rstrip("/"), self._routes)

    def application(self, settings: BotSettings) -> web.Application:
        """Return an aiohttp application that runs the bot from its start-up to its clean-up.

        Serve it alone, or mount it with `add_subapp`. `app[RUNNING]` is its `RunningBot` while it runs.

        Args:
            settings: The options of the running bot.
        """
        return application(self.key, self._routes, of_type(settings, "settings", BotSettings))

    def running(self, settings: BotSettings) -> AbstractAsyncContextManager[RunningBot]:
        """Run the bot without a web server: `async with bot.running(settings) as running`.

        Args:
            settings: The options of the running bot.

        Raises:
            StoreBusy: Another process uses the store.
            BotError: The store cannot be used.
        """
        return running(self.key, self._routes, of_type(settings, "settings", BotSettings))

    async def serve(
        self,
        settings: BotSettings,
        *,
        host: str = "127.0.0.1",
        port: int = 8080,
        announce: Callable[[str], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        """Serve the bot alone until SIGINT or SIGTERM.

        Args:
            settings: The options of the running bot.
            host: The address to listen on.
            port: The port to listen on; 0 lets the system choose one.
            announce: Called with one line of JSON, `{"url": …, "descriptor": …}`, as soon as the bot is reachable. By
                default, the line is printed.
            warn: Called with a sentence if the public URL does not lead to the bot. By default, it is printed on
                stderr.

        Raises:
            TypeError, ValueError: An argument is of another type, the host is empty, or the port is not 0 to 65535.
            BotError: The store cannot be used, or `stride bot` is importing the module of the bot.
            OSError: The port is taken.
        """
        _refuse_during_import()
        of_type(settings, "settings", BotSettings)
        if not text(host, "host"):  # asyncio would listen on all addresses.
            raise ValueError("the host is empty; expected an address to listen on, such as 127.0.0.1")
        number(port, "port", 0, _HIGHEST_PORT)
        checked_function(announce, "announce")
        checked_function(warn, "warn")

        def announced(served: Served) -> None:
            (announce or _print)(msgspec.json.encode({"url": served.url, "descriptor": served.descriptor}).decode())

        await serve(
            self.key, self._routes, settings, host=host, port=port, announce=announced, warn=warn or _print_warning
        )

    def run(self, settings: BotSettings | None = None, *, host: str = "127.0.0.1", port: int = 8080) -> None:
        """Serve the bot alone, with settings from the environment unless given; for `python mybot.py`.

        Print one line of JSON, `{"url": …, "descriptor": …}`, as soon as the bot is reachable. SIGTERM and Ctrl-C
        end it. Unless the program has set up logging, warnings and the errors of handlers are written to stderr.

        Args:
            settings: The options of the running bot; None means `BotSettings.from_env()`.
            host: The address to listen on.
            port: The port to listen on; 0 lets the system choose one.

        Raises:
            TypeError: An argument is of another type.
            ValueError: A variable of the environment is missing, the host is empty, or the port is not 0 to 65535.
            BotError: The store cannot be used, or `stride bot` is importing the module of the bot.
            OSError: The port is taken.
        """
        _refuse_during_import()
        logging.basicConfig(format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
        asyncio.run(self.serve(BotSettings.from_env() if settings is None else settings, host=host, port=port))


def _refuse_during_import() -> None:
    """Refuse to serve a bot while `stride bot` imports its module, because the command serves it then.

    Raises:
        BotError: It is importing it.
    """
    if being_imported.get():
        raise BotError('the module serves its bot when it is imported; do so below `if __name__ == "__main__":`')


def _must_be_called(decorator: str, argument: object) -> None:
    """Refuse a decorator without parentheses, which would take the handler for its argument and register nothing.

    Raises:
        TypeError: The argument is a function.
    """
    if callable(argument) and not isinstance(argument, type):
        raise TypeError(f"{name_of(argument)}: expected parentheses after the decorator, as in @bot.{decorator}")


def _each_mapping(values: Sequence[Mapping[str, Any]], what: str) -> list[Mapping[str, Any]]:
    return [of_type(each, f"each of the {what}", Mapping) for each in several(values, what)]


def _must_be_exception(kind: object, function: object) -> None:
    if not isinstance(kind, type) or not issubclass(kind, Exception):
        raise TypeError(
            f"{name_of(function)}: the kind {kind!r} is not a class; expected `Exception` or a subclass of it"
        )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _print_warning(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


def _key_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "").strip("_").replace("_", "-")
