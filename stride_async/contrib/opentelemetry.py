"""OpenTelemetry spans for the calls of a client.

Attributes follow the semantic conventions for HTTP clients. Spans contain ids, in paths, but never a token, a body, a
query or the message of an error.
"""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from urllib.parse import urlsplit

import attrs

from stride_async._arguments import of_type
from stride_async._events import (
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    CallStarted,
    Event,
    LimitWaiting,
    PageFetched,
    TokenRefreshed,
    Waiting,
)
from stride_async._settings import Settings

try:
    from opentelemetry import trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"stride_async.contrib.opentelemetry requires {_error.name}: pip install 'stride-async[otel]'", name=_error.name
    ) from _error

__all__ = ["instrument"]

_TOKEN_PATH = "/oauth/token"  # noqa: S105  # a path, not a secret
# The path segments that are the service's own; all others are ids (protocol 5).
_FIXED_SEGMENTS = frozenset(
    {
        *("app", "archive", "context", "convert", "conversation", "history", "lookup", "me", "media", "message"),
        *("module", "oauth", "pf-editor-service", "recent", "render", "roster", "scim", "site", "state", "token"),
        *("unarchive", "user", "users", "Users", "chat"),
    }
)


def instrument(settings: Settings, *, tracer_provider: TracerProvider | None = None) -> Settings:
    """Return settings whose clients report each call as a span, with a child span for each attempt.

    The span of a call is a child of the caller's current span. Waits are events of the call's span. Pages and tokens
    are events of the span that is current when they arrive. An `on_event` of the settings is still called.

    Args:
        settings: The options of the clients.
        tracer_provider: Where spans are sent; None means the global provider.
    """
    of_type(settings, "settings", Settings)
    of_type(tracer_provider, "tracer_provider", TracerProvider, NoneType)
    spans, on_event = _Spans(settings, tracer_provider), settings.on_event
    return attrs.evolve(settings, on_event=spans.receive if on_event is None else _both(spans.receive, on_event))


def _both(first: Callable[[Event], None], second: Callable[[Event], None]) -> Callable[[Event], None]:
    def receive(event: Event) -> None:
        first(event)
        second(event)

    return receive


@attrs.define
class _Open:
    """The open spans of one call."""

    call: Span
    attempt: Span | None = None


class _Spans:
    """The open spans of all calls, by the number that the events of a call share."""

    def __init__(self, settings: Settings, tracer_provider: TracerProvider | None) -> None:
        self._tracer: Tracer = trace.get_tracer("stride_async", tracer_provider=tracer_provider)
        self._at_service = _server(settings.base_url)
        self._at_token_endpoint = _server(settings.token_url or settings.base_url)
        self._open: dict[int, _Open] = {}

    def receive(self, event: Event) -> None:
        """Start, annotate or end a span."""
        match event:
            case CallStarted():
                self._open[event.call] = _Open(self._span(event))
            case AttemptStarted() if (call := self._open.get(event.call)) is not None:
                call.attempt = self._span(event, parent=call.call)
                if event.attempt > 1:
                    call.attempt.set_attribute("http.request.resend_count", event.attempt - 1)
            case AttemptEnded() if (call := self._open.get(event.call)) is not None and call.attempt is not None:
                _end(call.attempt, event.status, event.error)
                call.attempt = None
            case Waiting() if (call := self._open.get(event.call)) is not None:
                call.call.add_event("wait", {"stride.wait.seconds": event.seconds, "stride.wait.reason": event.reason})
            case LimitWaiting() if (call := self._open.get(event.call)) is not None:
                call.call.add_event("limit_wait", {"stride.wait.seconds": event.seconds})
            case CallEnded() if (call := self._open.pop(event.call, None)) is not None:
                if call.attempt is not None:
                    _end(call.attempt, None, event.error)
                _end(call.call, event.status, event.error)
            case PageFetched(items=items, size_bytes=size):
                trace.get_current_span().add_event("page", {"stride.page.items": items, "stride.page.bytes": size})
            case TokenRefreshed(expires_in=seconds):
                trace.get_current_span().add_event("token", {} if seconds is None else {"stride.token.life": seconds})

    def _span(self, event: CallStarted | AttemptStarted, *, parent: Span | None = None) -> Span:
        template = _template(event.path)
        attributes: dict[str, AttributeValue] = {
            "http.request.method": event.method,
            "url.path": event.path,
            "url.template": template,
            **(self._at_token_endpoint if event.path == _TOKEN_PATH else self._at_service),
        }
        context = None if parent is None else trace.set_span_in_context(parent)
        return self._tracer.start_span(
            f"{event.method} {template}", context=context, kind=SpanKind.CLIENT, attributes=attributes
        )


def _server(url: str) -> dict[str, AttributeValue]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port, "url.scheme": parts.scheme}


def _template(path: str) -> str:
    """Return the path with `{id}` for each id, so that many calls share few span names."""
    return "/".join(segment if not segment or segment in _FIXED_SEGMENTS else "{id}" for segment in path.split("/"))


def _end(span: Span, status: int | None, error: str | None) -> None:
    """End a span. A status of 400 and above counts as an error. Of an error's text only the class is recorded."""
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
