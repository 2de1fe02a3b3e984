"""Descriptors of apps: what the service is to call an app for, and where (protocol 6.1). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NoReturn
from urllib.parse import urlsplit

from attrs import define, field, frozen

from stride_async.server._limits import App

Json = Mapping[str, object]

BOT = "chat:bot"
BOT_MESSAGES = "chat:bot:messages"
WEBHOOK = "chat:webhook"
GLANCE = "chat:glance"
CONFIGURATION = "chat:configuration"
ACTION_TARGET = "chat:actionTarget"

_TYPES = frozenset(
    {
        *(BOT, BOT_MESSAGES, WEBHOOK, GLANCE, CONFIGURATION, ACTION_TARGET),
        *("chat:dialog", "chat:externalPage", "chat:inputAction", "chat:messageAction", "chat:sidebar"),
    }
)
_EVENTS = ("conversation:updates", "roster:updates")
_LIFECYCLE = frozenset({"installed", "uninstalled"})
_TARGETS = ("callService", "openConfiguration", "openDialog", "openExternalPage", "openSidebar")
# Where the modules of each type have URLs; a dot separates the names of nested objects.
_URLS = {
    BOT: ("mention.url", "directMessage.url"),
    BOT_MESSAGES: ("url",),
    WEBHOOK: ("url",),
    GLANCE: ("queryUrl", "icon.url", "icon.url@2x"),
    CONFIGURATION: ("page.url", "externalPage.url", "state.url"),
    ACTION_TARGET: ("callService.url",),
    "chat:dialog": ("url",),
    "chat:externalPage": ("url",),
    "chat:sidebar": ("url", "icon.url", "icon.url@2x"),
}
# These may be missing; the others may not, where the object that contains them exists.
_OPTIONAL_URLS = frozenset({"queryUrl", "icon.url", "icon.url@2x", "page.url"})
# The beginning of a pattern that fits anything. A search finds the same without it, in much less time: with it,
# a search that fails has tried the rest at every later character, for every character.
_FITS_ANYTHING = re.compile(r"\A(\(\?[a-zA-Z]+\))?(?:(?:\[\\s\\S\]|\.)\*(?![?+]))+")
_NOT_IN_URLS = re.compile(r"[\s\x00-\x1f\x7f<>\"\\^`{|}]")
_LONGEST_QUOTE = 60


@frozen
class Module:
    """A module of an app; `content` is its object, without the key."""

    type: str
    key: str
    content: Json

    def url(self, name: str) -> str | None:
        """Return one of its URLs, such as `mention.url`, or None if it has no such URL."""
        value = _nested(self.content, name)
        return value if isinstance(value, str) else None

    @property
    def pattern(self) -> re.Pattern[str]:
        """The regular expression of a `chat:bot:messages` module, which may match anywhere in a text."""
        return re.compile(_FITS_ANYTHING.sub(r"\1", str(self.content["pattern"])))


@frozen
class Descriptor:
    """What an app says about itself. `lifecycle` has the URLs of lifecycle calls by event."""

    key: str | None
    base_url: str
    lifecycle: Mapping[str, str]
    modules: tuple[Module, ...]


@frozen
class RegisteredApp:
    """An app whose descriptor is registered."""

    client_id: str
    """The client id of the app."""
    key: str | None
    """The key in the descriptor; None if it has none."""
    url: str
    """Where the descriptor was fetched from. Everything is delivered to its origin."""
    descriptor: dict[str, object] = field(repr=False)
    """The descriptor, as decoded JSON."""


@define(eq=False)
class Registration:
    """A registered app: who it is, what users see of it, and its descriptor as a value."""

    app: App
    registered: RegisteredApp
    descriptor: Descriptor

    def address(self, url: str) -> str:
        """Return where to call a URL of the descriptor.

        A URL without a host is appended to `baseUrl`. The origin is always the one that the descriptor was fetched
        from, because every real app claims an https `baseUrl`, whatever it listens on (protocol 6.1).
        """
        parts = urlsplit(url)
        if parts.netloc:
            path = parts.path or "/"
        else:
            path = f"{urlsplit(self.descriptor.base_url).path.rstrip('/')}/{parts.path.lstrip('/')}"
        query = f"?{parts.query}" if parts.query else ""
        fetched = urlsplit(self.registered.url)
        return f"{fetched.scheme}://{fetched.netloc}{path}{query}"


def read_descriptor(value: object) -> Descriptor:
    """Return the descriptor in this JSON value. Fields that the service does not use may have any value.

    Raises:
        ValueError: The descriptor is wrong; the message names the place.
    """
    content = _object(value, "the descriptor")
    key = content.get("key")
    if key is not None and (not isinstance(key, str) or not key):
        _wrong("key", "a string that is not empty", key)
    base_url = content.get("baseUrl")
    if not isinstance(base_url, str) or not _is_url(base_url) or not urlsplit(base_url).netloc:
        _wrong("baseUrl", "an http or https URL", base_url)
    lifecycle = _object(content.get("lifecycle", {}), "lifecycle")
    if unknown := sorted(lifecycle.keys() - _LIFECYCLE):
        _wrong("lifecycle", "installed and uninstalled", unknown[0])
    modules = tuple(_modules(_object(content.get("modules", {}), "modules")))
    urls = {event: _url(lifecycle, event, f"lifecycle.{event}") for event in lifecycle}
    return Descriptor(key, base_url, urls, modules)


def read_module(type: str, key: str, content: Json, place: str) -> Module:
    """Return a module with this content.

    Raises:
        ValueError: The content is wrong; the message names the place.
    """
    for name in _URLS.get(type, ()):
        _check_url(content, name, place)
    if type == WEBHOOK and content.get("event") not in _EVENTS:
        _wrong(f"{place}.event", " or ".join(_EVENTS), content.get("event"))
    if type == BOT_MESSAGES:
        _check_pattern(content.get("pattern"), f"{place}.pattern")
    if type == ACTION_TARGET and len([name for name in _TARGETS if name in content]) != 1:
        _wrong(place, f"exactly one of {', '.join(_TARGETS)}", ", ".join(name for name in content if name in _TARGETS))
    return Module(type, key, content)


def _modules(by_type: Json) -> Iterator[Module]:
    for type, listed in by_type.items():
        if type not in _TYPES:
            _wrong("modules", f"one of {', '.join(sorted(_TYPES))}", type)
        if not isinstance(listed, list):
            _wrong(f"modules.{type}", "a list", listed)
        keys: set[str] = set()
        for index, given in enumerate(listed):
            place = f"modules.{type}[{index}]"
            content = dict(_object(given, place))
            key = content.pop("key", None)
            if not isinstance(key, str) or not key:
                _wrong(f"{place}.key", "a string that is not empty", key)
            if key in keys:
                _wrong(f"{place}.key", "a key that no other module of this type has", key)
            keys.add(key)
            yield read_module(type, key, content, place)


def _check_url(content: Json, name: str, place: str) -> None:
    parent, _, last = name.rpartition(".")
    holder: object = content if not parent else content.get(parent)
    if holder is None:
        return
    if _object(holder, f"{place}.{parent}").get(last) is not None or name not in _OPTIONAL_URLS:
        _url(content, name, f"{place}.{name}")


def _check_pattern(pattern: object, place: str) -> None:
    if not isinstance(pattern, str):
        _wrong(place, "a regular expression", pattern)
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{place}: {_quoted(pattern)} is not a regular expression: {error}") from None


def _url(parent: Json, name: str, place: str) -> str:
    url = _nested(parent, name)
    if not isinstance(url, str) or not _is_url(url):
        _wrong(place, "a path below baseUrl or an http or https URL", url)
    return url


def _is_url(text: str) -> bool:
    """Return whether the text is an http or https URL, or a path that can be appended to one."""
    if not text or _NOT_IN_URLS.search(text):
        return False
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return False
    if parts.netloc:
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and port_is_valid
    return not parts.scheme


def _nested(parent: object, path: str) -> object:
    """Return a value of nested objects, or None where one of them is missing."""
    value = parent
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _object(value: object, place: str) -> Json:
    if not isinstance(value, Mapping):
        _wrong(place, "an object", value)
    return value


def _wrong(place: str, expected: str, found: object) -> NoReturn:
    raise ValueError(f"{place}: expected {expected}, found {'nothing' if found in (None, '') else _quoted(found)}")


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
