"""What the client does, as OpenTelemetry spans.

Names are those of the semantic conventions for HTTP clients. Nothing here carries a token, a body, a query or the words
of an error: paths hold ids, and no more is told.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import attrs
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.util.types import AttributeValue

from stride_async._events import (
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    CallStarted,
    Event,
    PageFetched,
    TokenRefreshed,
    Waiting,
)
from stride_async._settings import Settings

__all__ = ["instrument"]

_TOKEN_PATH = "/oauth/token"  # noqa: S105  # a path, no secret
_WORDS = frozenset(
    {
        *("app", "archive", "context", "convert", "conversation", "history", "lookup", "me", "media", "message"),
        *("module", "oauth", "pf-editor-service", "recent", "render", "roster", "scim", "site", "state", "token"),
        *("unarchive", "user", "users", "Users", "chat"),
    }
)
"""Segments of paths that are the service's own words; all others are somebody's ids (protocol 5)."""


def instrument(settings: Settings, *, tracer_provider: TracerProvider | None = None) -> Settings:
    """Settings whose clients tell each call as a span below the caller's current one, each attempt as a span below it.

    An `on_event` that is there already goes on being called. Waits are events of the call's span; pages and tokens are
    events of the span that is current where they come in. `tracer_provider`: the global one unless given.
    """
    spans, told = _Spans(settings, tracer_provider), settings.on_event
    return attrs.evolve(settings, on_event=spans.take if told is None else _both(spans.take, told))


def _both(first: Callable[[Event], None], second: Callable[[Event], None]) -> Callable[[Event], None]:
    def take(event: Event) -> None:
        first(event)
        second(event)

    return take


@attrs.define
class _Open:
    """The spans of a call under way."""

    call: Span
    attempt: Span | None = None


class _Spans:
    """The spans of all calls under way, by the number that their events carry."""

    def __init__(self, settings: Settings, tracer_provider: TracerProvider | None) -> None:
        self._tracer: Tracer = trace.get_tracer("stride_async", tracer_provider=tracer_provider)
        self._at_service = _server(settings.base_url)
        self._at_token_endpoint = _server(settings.token_url or settings.base_url)
        self._open: dict[int, _Open] = {}

    def take(self, event: Event) -> None:
        """Begin, add to, or end a span."""
        match event:
            case CallStarted():
                self._open[event.call] = _Open(self._span(event))
            case AttemptStarted() if (call := self._open.get(event.call)) is not None:
                call.attempt = self._span(event, below=call.call)
                if event.attempt > 1:
                    call.attempt.set_attribute("http.request.resend_count", event.attempt - 1)
            case AttemptEnded() if (call := self._open.get(event.call)) is not None and call.attempt is not None:
                _end(call.attempt, event.status, event.error)
                call.attempt = None
            case Waiting() if (call := self._open.get(event.call)) is not None:
                call.call.add_event("wait", {"stride.wait.seconds": event.seconds, "stride.wait.reason": event.reason})
            case CallEnded() if (call := self._open.pop(event.call, None)) is not None:
                if call.attempt is not None:
                    _end(call.attempt, None, event.error)
                _end(call.call, event.status, event.error)
            case PageFetched(items=items, size_bytes=size):
                trace.get_current_span().add_event("page", {"stride.page.items": items, "stride.page.bytes": size})
            case TokenRefreshed(expires_in=seconds):
                trace.get_current_span().add_event("token", {} if seconds is None else {"stride.token.life": seconds})

    def _span(self, event: CallStarted | AttemptStarted, *, below: Span | None = None) -> Span:
        template = _template(event.path)
        attributes: dict[str, AttributeValue] = {
            "http.request.method": event.method,
            "url.path": event.path,
            "url.template": template,
            **(self._at_token_endpoint if event.path == _TOKEN_PATH else self._at_service),
        }
        context = None if below is None else trace.set_span_in_context(below)
        return self._tracer.start_span(
            f"{event.method} {template}", context=context, kind=SpanKind.CLIENT, attributes=attributes
        )


def _server(url: str) -> dict[str, AttributeValue]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port, "url.scheme": parts.scheme}


def _template(path: str) -> str:
    """The path with `{id}` in place of what is not the service's own word: few names for many calls."""
    return "/".join(segment if not segment or segment in _WORDS else "{id}" for segment in path.split("/"))


def _end(span: Span, status: int | None, error: str | None) -> None:
    """An answer of 400 and above is an error, too; of the error's words only its class is told."""
    if status is not None:
        span.set_attribute("http.response.status_code", status)
        if status >= 400:
            _fail(span, str(status))
    if error is not None:
        _fail(span, error.partition(":")[0])
    span.end()


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
