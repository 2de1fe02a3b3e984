"""Build the descriptor, in which a bot states what the service should call it for (protocol 6.1). Pure."""

from __future__ import annotations

import re
from typing import Any

from stride_async.bot._router import BOT_MODULE, Kind, Routes, path_of

_ANYTHING = r"[\s\S]*"
_PORTABLE_FLAGS = ((re.IGNORECASE, "i"), (re.MULTILINE, "m"), (re.DOTALL, "s"), (re.VERBOSE, "x"))
_FLAGS = re.compile(r"\(\?[aiLmsux]+\)")
_TOKEN = re.compile(
    r"""
    \\.                                     # an escaped character
    | \[ \^? \]? (?: \\. | [^]\\] )* \]     # a character class
    | \(\?\# [^)]* \)                       # a comment
    | \(\?[aiLmsux]+\)                      # flags of the entire pattern
    | \(\?P<\w+>                            # the beginning of a named group
    | \(\?P=\w+\) | \(\?\([^\W\d]\w*\)      # what refers to a named group
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_LINE = re.compile(r"\#[^\n]*")


def wire_pattern(regex: re.Pattern[str]) -> str:
    r"""Return a pattern in a form that every regular expression engine reads alike.

    It matches the same texts by a search and by a match of the entire text: `[\s\S]*(?:…)[\s\S]*`. Named groups become
    plain groups, and flags stand at the beginning.

    Raises:
        ValueError: The pattern refers back to a named group, which engines write differently.
    """
    source, verbose = regex.pattern, bool(regex.flags & re.VERBOSE)
    flags = "".join(letter for flag, letter in _PORTABLE_FLAGS if regex.flags & flag)
    parts, at = [], 0
    while at < len(source):
        token = _COMMENT_LINE.match(source, at) if verbose else None
        token = token or _TOKEN.match(source, at)
        assert token is not None
        at = token.end()
        parts.append(_portable(token[0], regex))
    # A comment at the end of a verbose pattern must not swallow what follows.
    closing = "\n)" if verbose else ")"
    return f"{f'(?{flags})' if flags else ''}{_ANYTHING}(?:{''.join(parts)}{closing}{_ANYTHING}"


def _portable(token: str, regex: re.Pattern[str]) -> str:
    if token.startswith("(?P<"):
        return "("
    if _FLAGS.fullmatch(token):  # There may be several groups of them, and comments before them.
        return ""
    if token.startswith("(?P=") or re.match(r"\(\?\([^\W\d]", token):
        raise ValueError(f"the pattern {regex.pattern!r} refers back to a named group by {token}; use its number")
    return token


def descriptor(key: str, base_url: str, routes: Routes) -> dict[str, Any]:
    """Return the descriptor of a bot that is called at a base URL."""
    modules: dict[str, list[dict[str, Any]]] = {}
    for module in routes.modules:
        fields = _bot_urls(routes) if module.type == "chat:bot" and module.key == BOT_MODULE else module.fields
        modules.setdefault(module.type, []).append({"key": module.key, **fields})
    return {
        "baseUrl": base_url,
        "key": key,
        "lifecycle": {"installed": path_of("installed"), "uninstalled": path_of("uninstalled")},
        "modules": modules,
    }


def _bot_urls(routes: Routes) -> dict[str, Any]:
    names: dict[Kind, str] = {"mention": "mention", "direct_message": "directMessage"}
    return {name: {"url": path_of(kind)} for kind, name in names.items() if (kind, BOT_MODULE) in routes.handlers}
