"""Calls as OpenTelemetry spans, collected in memory."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from yarl import URL

from stride_async import CallEnded, LimitWaiting, NotFound, NotSent, StrideError
from stride_async.contrib.opentelemetry import instrument
from tests.conftest import client_of


class Traced:
    """A tracer provider, and the spans that have ended in it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("a program")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def called(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def children_of(self, span: ReadableSpan) -> list[ReadableSpan]:
        children = [child for child in self.spans if child.parent and child.parent.span_id == span.context.span_id]
        return sorted(children, key=lambda child: child.start_time)


@pytest.fixture
def traced() -> Traced:
    return Traced()


@pytest.fixture
async def client(server, traced):
    """Yield an instrumented client that already has its token."""
    plain = client_of(server)
    async with plain:
        await plain.me()
        server.calls.clear()
        yield plain.with_settings(instrument(plain.settings, tracer_provider=traced.provider))


async def test_a_call_is_a_span_with_a_child_span_for_its_attempt(client, server, traced):
    """The attributes follow the semantic conventions, and the names of the spans contain no ids."""
    room_id = server.add_conversation("general")

    await client.conversation(room_id).get()

    attempt, call = traced.spans
    path = f"/site/{server.cloud_id}/conversation/{room_id}"
    assert {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.path": path,
        "url.template": "/site/{id}/conversation/{id}",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": URL(server.url).port,
    } == dict(call.attributes)
    assert dict(call.attributes) == dict(attempt.attributes)
    assert {"GET /site/{id}/conversation/{id}"} == {call.name, attempt.name}
    assert (SpanKind.CLIENT, StatusCode.UNSET, None) == (call.kind, call.status.status_code, call.parent)
    assert [attempt] == traced.children_of(call)
    assert call.start_time <= attempt.start_time <= attempt.end_time <= call.end_time


async def test_retries_are_further_child_spans_and_waits_are_events(client, server, traced):
    """A failed attempt is marked as an error, and the successful call is not."""
    server.faults.add("GET", "/me", status=503, times=1)
    server.faults.add("GET", "/me", drop="after", times=1)

    await client.me()

    call = traced.called("GET /me")[-1]
    first, second, third = traced.children_of(call)
    assert [("503", 503, None), ("Ambiguous", None, 1), (None, 200, 2)] == [
        (
            span.attributes.get("error.type"),
            span.attributes.get("http.response.status_code"),
            span.attributes.get("http.request.resend_count"),
        )
        for span in (first, second, third)
    ]
    assert [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET] == [
        span.status.status_code for span in (first, second, third)
    ]
    assert [("wait", "answered 503: backoff"), ("wait", "ambiguous: backoff")] == [
        (event.name, event.attributes["stride.wait.reason"]) for event in call.events
    ]
    assert ("error.type" not in call.attributes, StatusCode.UNSET) == (True, call.status.status_code)


async def test_a_wait_for_the_own_rate_limit_is_an_event(client, server, traced):
    """It is on the span of the call, before any attempt has a span."""
    room_id, begun = server.add_conversation("general"), asyncio.Event()

    def receive(event: object) -> None:
        if isinstance(event, LimitWaiting):
            begun.set()

    settings = attrs.evolve(client.settings, calls_per_minute=1, on_event=receive)
    limited = client.with_settings(instrument(settings, tracer_provider=traced.provider))
    client.recall_call(room_id, 20.0)
    call = asyncio.create_task(limited.conversation(room_id).get())
    await begun.wait()
    call.cancel()
    await asyncio.wait([call])

    [span] = traced.spans
    [event] = [event for event in span.events if event.name == "limit_wait"]
    assert 30.0 < event.attributes["stride.wait.seconds"] <= 40.0


async def test_a_failed_call_is_an_error(client, server, traced):
    """The type of the error is the status, or the class if there was no response."""
    with pytest.raises(NotFound):
        await client.conversation("nowhere").get()
    await server.close()
    with pytest.raises(NotSent):
        await client.me()

    answered, unsent = (span for span in traced.spans if span.parent is None)
    assert ("404", StatusCode.ERROR) == (answered.attributes["error.type"], answered.status.status_code)
    assert ("NotSent", StatusCode.ERROR) == (unsent.attributes["error.type"], unsent.status.status_code)
    assert 4 == len(traced.children_of(unsent))


async def test_a_cancelled_call_leaves_no_span_open(client, server, traced):
    """Both spans end with an error."""
    arrived = asyncio.Event()
    server.faults.add("GET", "/me", stall="headers", do=lambda _: arrived.set())
    call = asyncio.create_task(client.me())
    await arrived.wait()
    call.cancel()
    await asyncio.wait([call])

    assert [StatusCode.ERROR] * 2 == [span.status.status_code for span in traced.spans]


async def test_spans_of_concurrent_calls_are_children_of_their_callers(client, server, traced):
    """Each of 30 tasks has its own span."""
    rooms = [server.add_conversation(f"room {number}") for number in range(30)]
    server.faults.add("GET", "*/conversation/*", status=503, probability=0.3, seed=7)

    async def work(room_id: str) -> None:
        with traced.tracer.start_as_current_span(room_id):
            await client.conversation(room_id).get()

    await asyncio.gather(*(work(room_id) for room_id in rooms))

    for room_id in rooms:
        [mine] = traced.called(room_id)
        [call] = traced.children_of(mine)
        attempts = traced.children_of(call)
        assert call.attributes["url.path"].endswith(room_id)
        assert {call.attributes["url.path"]} == {attempt.attributes["url.path"] for attempt in attempts}
        assert 200 == attempts[-1].attributes["http.response.status_code"]
        assert len(attempts) == len(server.calls.matching("GET", f"*/{room_id}"))


async def test_the_token_call_is_a_child_of_the_call_that_waited_first(server, traced):
    """It has the address of the token endpoint. The token is an event that shows only when it expires."""
    plain = client_of(server)
    settings = instrument(plain.settings, tracer_provider=traced.provider)
    async with client_of(server, on_event=settings.on_event) as client:
        with traced.tracer.start_as_current_span("mine"):
            await client.me()

    [mine] = traced.called("mine")
    assert {"POST /oauth/token", "GET /me"} == {span.name for span in traced.children_of(mine)}
    assert [("token", {"stride.token.life": 3600.0})] == [(event.name, dict(event.attributes)) for event in mine.events]


async def test_pages_are_events_of_the_callers_span(client, server, traced):
    """The event has the number of items and of bytes."""
    room_id = server.add_conversation("general")
    server.fill(room_id, messages=80)

    with traced.tracer.start_as_current_span("mine"):
        await client.conversation(room_id).history().collect(limit=None)

    [mine] = traced.called("mine")
    assert [75, 5, 0] == [event.attributes["stride.page.items"] for event in mine.events]
    assert 3 == len(traced.children_of(mine))


async def test_an_existing_on_event_is_still_called(server, traced):
    """Both receive every event."""
    events = []
    settings = instrument(client_of(server, on_event=events.append).settings, tracer_provider=traced.provider)

    async with client_of(server, on_event=settings.on_event) as client:
        await client.me()

    assert 2 == sum(isinstance(event, CallEnded) for event in events)
    assert 4 == len(traced.spans)


def test_other_settings_are_unchanged(server):
    """The result is a new value."""
    plain = client_of(server, page_size=7).settings

    assert plain == attrs.evolve(instrument(plain), on_event=None)
    assert plain.on_event is None


async def test_spans_contain_neither_secrets_nor_queries(server, traced):
    """This holds even if the service echoes them, or if a URL contains them."""
    settings = instrument(client_of(server).settings, tracer_provider=traced.provider)
    async with client_of(server, on_event=settings.on_event, attempts=2) as client:
        await client.me()
        token = server.calls.matching("GET", "/me")[0].headers["Authorization"].removeprefix("Bearer ")
        text = f"{token} {server.client_secret}"
        faults = [
            {"status": 500, "body": text},
            {"status": 302, "headers": {"Location": f"http://x/?signature={token}"}},
            {"body": text, "content_length": 3},
            {"status": 429, "headers": {"Retry-After": text}},
        ]
        for fault in faults:
            rule = server.faults.add("*", "/users/lookup", **fault)
            with pytest.raises(StrideError):
                await client.find_user("ann@example.com")
            rule.remove()
        with pytest.raises(NotFound):
            await client.request("GET", "/nowhere", params={"password": "must-not-appear"})

    exported = "".join(span.to_json() for span in traced.spans)
    for secret in (token, server.client_secret, "ann@example.com", "ann%40example.com", "must-not-appear", "signature"):
        assert secret not in exported
    assert len(traced.called("GET /users/lookup")) >= len(faults) * 2
