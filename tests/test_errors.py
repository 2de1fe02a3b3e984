"""Errors form one tree and carry every fact, whatever the service responds, but no secret."""

import asyncio
import copy
import json
import logging
import pickle
import traceback

import pytest

import stride_async
from stride_async import (
    Ambiguous,
    ApiError,
    Attempt,
    AuthError,
    BadRequest,
    Bookmark,
    ClientCredentials,
    DecodeError,
    Forbidden,
    ForbiddenOrigin,
    NotFound,
    RateLimited,
    ServerError,
    Settings,
    StaticToken,
    StrideClient,
    StrideError,
    TooLarge,
    Unauthorized,
    UnsupportedContent,
    _errors,
)
from tests.conftest import client_of

TREE = """
StrideError
  TransportError
    NotSent
    Ambiguous
    BodyInterrupted
  ApiError
    BadRequest
    Unauthorized
    Forbidden
    NotFound
    TooLarge
    UnsupportedContent
    RateLimited
    ServerError
  AuthError
    Unauthorized
  DecodeError
  PaginationError
    PaginationLoop
    TooManyEmptyPages
    StaleBookmark
  MediaError
    EncodedBody
    LengthMismatch
    SourceChanged
    NotReplayable
  DeadlineExceeded
  ForbiddenOrigin
  WrongLoop
  ClientClosed
"""

CLASSES = sorted(
    {kind for kind in vars(_errors).values() if isinstance(kind, type) and issubclass(kind, StrideError)},
    key=lambda kind: kind.__name__,
)

FACTS = {
    "attempts": (
        Attempt(None, "NotSent: cannot connect", 1_530_000_000.0, 0.25, waited=0.5),
        Attempt(503, None, 1_530_000_001.0, 0.5),
    ),
    "retryable": True,
    "maybe_processed": True,
    "retry_after": 2.5,
    "bookmark": Bookmark({"kind": "history"}, {"ts": 1, "id": "a"}),
    "rule": "all 2 attempts were made",
}


def tree_of(kind, indent=0):
    """Return the lines of a class and its subclasses, indented, in the order of their definition."""
    return [" " * indent + kind.__name__] + [
        line for below in kind.__subclasses__() for line in tree_of(below, indent + 2)
    ]


def with_facts(error, facts):
    """Set the attributes of an error, as the network layer does."""
    for name, value in facts.items():
        setattr(error, name, value)
    return error


def everything_shown(error):
    """Return everything of an error that can end up in a log or a report."""
    shown = [str(error), repr(error), error.explain(), repr(vars(error)), repr(pickle.dumps(error))]
    shown += traceback.format_exception(error)
    return "\n".join(shown)


def test_the_tree_of_errors_is_as_documented():
    """Catching a class catches its subclasses; a refused token is both an `ApiError` and an `AuthError`."""
    assert TREE.split() == " ".join(tree_of(StrideError)).split()
    assert TREE.strip().splitlines() == tree_of(StrideError)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_a_name_of_the_package(kind):
    """Its `__module__` is where users import it from."""
    assert getattr(stride_async, kind.__name__) is kind
    assert kind.__name__ in stride_async.__all__
    assert "stride_async" == kind.__module__


@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_can_be_pickled_with_all_its_facts(kind, again):
    """Nothing is lost between processes, including the facts of the class itself."""
    own = {"status": 503, "body": b"\xff", "path": "$.a", "raw": b"{}", "received": 3, "expected": 5, "request_id": "r"}
    facts = FACTS | {name: value for name, value in own.items() if hasattr(kind, name)}
    error = with_facts(kind("GET /me: went wrong"), facts)

    back = again(error)

    assert kind is type(back)
    assert ("GET /me: went wrong",) == back.args
    assert facts == {name: getattr(back, name) for name in facts}
    assert error.explain() == back.explain()


@pytest.mark.parametrize("kind", CLASSES)
def test_every_fact_has_a_default(kind):
    """A caller that catches any error can read all of them."""
    error = kind("alone")

    assert ((), False, False, None, None) == (
        error.attempts,
        error.retryable,
        error.maybe_processed,
        error.retry_after,
        error.bookmark,
    )
    assert f"{kind.__name__}: alone" == error.explain()


def test_explain_lists_everything_about_a_call():
    """Each attempt with its time and wait, the rule that ended the call, and what to do next."""
    text = with_facts(ServerError("GET /me answered 503: later"), FACTS).explain()

    assert (
        """\
ServerError: GET /me answered 503: later
  attempt 1 at 08:00:00.000 UTC: NotSent: cannot connect after 0.25 s, then waited 0.50 s
  attempt 2 at 08:00:01.000 UTC: answered 503 after 0.50 s
  gave up: all 2 attempts were made
  the service asks to wait 2.5 s
  the service may have acted on the call: check before you send it again"""
        == text
    )


async def test_the_error_of_a_call_lists_what_was_tried(client, server):
    """It has every attempt in order, the rule, the stated wait, and whether repeating the call does harm."""
    server.faults.add("GET", "/me", status=503, times=2, headers={"Retry-After": "0"})
    server.faults.add("GET", "/me", status=429, headers={"Retry-After": "86400"})

    with pytest.raises(RateLimited) as caught:
        await client.me()

    error = pickle.loads(pickle.dumps(caught.value))
    assert [503, 503, 429] == [attempt.status for attempt in error.attempts]
    assert (86400.0, True, False) == (error.retry_after, error.retryable, error.maybe_processed)
    assert "longest_wait" in error.rule
    assert 1 + len(error.attempts) + 2 == len(error.explain().splitlines())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (402, ApiError),
        (403, Forbidden),
        (404, NotFound),
        (405, ApiError),
        (409, ApiError),
        (413, TooLarge),
        (415, UnsupportedContent),
        (422, ApiError),
        (429, RateLimited),
        (500, ServerError),
        (501, ServerError),
        (503, ServerError),
        (599, ServerError),
    ],
)
async def test_each_status_has_a_class(server, status, kind):
    """The code and message of the body and the request id are facts of the error."""
    body = '{"code":4711,"message":"so it is"}'
    server.faults.add("GET", "/me", status=status, body=body, headers={"X-Request-Id": "r-1"})

    async with client_of(server, attempts=1) as client:
        with pytest.raises(ApiError) as caught:
            await client.me()

    error = caught.value
    assert kind is type(error)
    assert (status, 4711, "so it is", body.encode(), "r-1") == (
        error.status,
        error.code,
        error.message,
        error.body,
        error.request_id,
    )
    assert f"GET /me answered {status}: so it is" == str(error)


@pytest.mark.parametrize(
    ("body", "content_type", "code", "message"),
    [
        (b'{"error":"access_denied","error_description":"no"}', "application/json", "access_denied", "no"),
        (b'{"schemas":["urn"],"status":"404","detail":"unknown"}', "application/scim+json", None, "unknown"),
        (b'{"message":{"deep":[1]},"code":[2]}', "application/json", None, '{"message":{"deep":[1]},"code":[2]}'),
        (b"[1,2]", "application/json", None, "[1,2]"),
        (b'"only text"', "application/json", None, '"only text"'),
        (b"null", "application/json", None, "null"),
        (b'{"message":"cut o', "application/json", None, '{"message":"cut o'),
        (b"just\n\ntext\t\x1b[31m", "text/plain", None, "just text [31m"),
        (b"<html><h1>502</h1></html>", "text/html", None, "<html><h1>502</h1></html>"),
        (b"", "application/json", None, ""),
        (b"\xff\xfe\x00bad", "text/plain; charset=utf-8", None, "�� bad"),
        (b"[" * 100_000, "application/json", None, "[" * 299 + "…"),
        (b"x" * 10_000_000, "text/plain", None, "x" * 299 + "…"),
    ],
    ids=["oauth", "scim", "other", "list", "string", "null", "cut", "text", "html", "empty", "bytes", "deep", "large"],
)
async def test_any_body_makes_an_error(client, server, body, content_type, code, message):
    """The status decides the class; the message contains what can be read of the body, shortened."""
    server.faults.add("GET", "/me", status=403, body=body, headers={"Content-Type": content_type})

    with pytest.raises(Forbidden) as caught:
        await client.me()

    error = caught.value
    assert (code, message) == (error.code, error.message)
    assert body[:65_536] == error.body
    assert len(str(error)) < 400


class Echo:
    """A service that repeats the secrets it received, and a check that the client shows none of them."""

    def __init__(self, server, client, events):
        self.server = server
        self.client = client
        self.events = events

    @property
    def token(self):
        return self.server.calls.matching("GET", "/me")[0].headers["Authorization"].removeprefix("Bearer ")

    @property
    def text(self):
        return f"Authorization: Bearer {self.token}; {self.token} {self.server.client_secret}"

    def check(self, error, caplog):
        shown = everything_shown(error) + caplog.text + repr(self.events) + repr(self.client) + repr(vars(self.client))
        for secret in (self.token, self.server.client_secret):
            for part in (secret, secret[:12], repr(secret.encode())):
                assert part not in shown


@pytest.fixture
async def echo(server, caplog):
    caplog.set_level(logging.DEBUG)
    events = []
    async with client_of(server, attempts=2, on_event=events.append) as client:
        await client.me()
        yield Echo(server, client, events)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(
    "form",
    [
        lambda text: json.dumps({"code": text, "message": text}),
        lambda text: json.dumps({"error": text, "error_description": text}),
        lambda text: f"<html>{text}</html>",
        lambda text: "x" * 270 + text,
        lambda text: "x" * 65_480 + text,
    ],
    ids=["gateway", "oauth", "html", "shortened", "cut"],
)
async def test_an_error_that_repeats_a_secret_does_not_show_it(echo, server, caplog, status, form):
    """Messages, facts, pickles, logs and events contain no part of it, even if the body was cut."""
    headers = {"X-Request-Id": echo.token, "Retry-After": "0"}
    server.faults.add("GET", "/me", status=status, body=form(echo.text), headers=headers)

    with pytest.raises(ApiError) as caught:
        await echo.client.me()

    assert "***" == caught.value.request_id
    echo.check(caught.value, caplog)


@pytest.mark.parametrize(
    ("path", "call", "form"),
    [
        ("/me", lambda client: client.me(), lambda text: text),
        ("/me", lambda client: client.me(), lambda text: json.dumps({"account_id": [text]})),
        (
            "*/conversation/r",
            lambda client: client.conversation("r").get(),
            lambda text: json.dumps({"id": "r", "created": text}),
        ),
        (
            "*/message",
            lambda client: client.conversation("r").history().collect(limit=None),
            lambda text: json.dumps({"messages": [{"id": text, "sender": {"id": "u"}, "ts": text}]}),
        ),
        (
            "*/roster",
            lambda client: client.conversation("r").roster().collect(limit=None),
            lambda text: json.dumps({"values": [[text]]}),
        ),
        (
            "*/convert",
            lambda client: client.markdown_to_document("x"),
            lambda text: json.dumps({"version": 1, "type": text, "content": []}),
        ),
    ],
    ids=["text", "field", "moment", "history", "roster", "document"],
)
async def test_an_undecodable_response_that_repeats_a_secret_does_not_show_it(echo, server, caplog, path, call, form):
    """The error keeps the bytes of the response, without the secrets in them."""
    server.faults.add("*", path, status=200, body=form(echo.text))

    with pytest.raises(DecodeError) as caught:
        await call(echo.client)

    assert b"***" in caught.value.raw
    echo.check(caught.value, caplog)


async def test_a_skipped_element_that_repeats_a_secret_does_not_show_it(echo, server, caplog):
    """The errors passed to the callback contain no secrets either."""
    room = echo.client.conversation(server.add_conversation("general"))
    good = {"id": "good", "sender": {"id": "u"}, "ts": "2018-06-01T08:00:00Z", "text": ""}
    body = json.dumps({"messages": [good, good | {"ts": echo.text}]})
    server.faults.add("GET", "*/message", status=200, body=body, times=1)
    server.faults.add("GET", "*/message", status=200, body='{"messages":[]}')
    errors = []

    async with room.history().stream(on_undecodable=errors.append) as messages:
        assert ["good"] == [message.id async for message in messages]

    [error] = errors
    assert "$.messages[1].ts" == error.path
    echo.check(error, caplog)


async def test_a_redirect_that_repeats_a_secret_does_not_show_it(echo, server, caplog):
    """This applies to a forbidden redirect and to a write that is not redirected."""
    server.faults.add("GET", "/me", status=302, headers={"Location": f"ftp://{'x' * 170}{echo.token}/"})
    server.faults.add("POST", "*/conversation", status=307, headers={"Location": f"/{'x' * 170}{echo.token}"})

    with pytest.raises(ForbiddenOrigin) as read:
        await echo.client.me()
    with pytest.raises(ApiError) as write:
        await echo.client.create_conversation("room")

    echo.check(read.value, caplog)
    echo.check(write.value, caplog)


async def test_an_invalid_http_response_that_repeats_a_secret_does_not_show_it(caplog):
    """What the HTTP parser quotes of the response and the request is not passed on."""
    caplog.set_level(logging.DEBUG)
    token, events = "a-room-token-that-must-not-show", []

    async def garbage(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nBearer " + token.encode() + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(garbage, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        settings = Settings(base_url=f"http://127.0.0.1:{port}", backoff=0.0, on_event=events.append)
        async with StrideClient(StaticToken(token), cloud_id="c", settings=settings) as client:
            with pytest.raises(Ambiguous) as caught:
                await client.me()

    shown = everything_shown(caught.value) + caplog.text + repr(events) + repr(client)
    assert settings.attempts == len(caught.value.attempts)
    assert token not in shown
    assert token[:12] not in shown


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_the_error_of_refused_credentials_says_what_to_check(server, status):
    """It names the environment variables, not their values."""
    body = json.dumps({"error": "access_denied", "error_description": f"wrong: {server.client_secret}"})
    server.faults.add("POST", "/oauth/token", status=status, body=body)

    async with client_of(server) as client:
        with pytest.raises(AuthError, match="check STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET") as caught:
            await client.me()

    assert server.client_secret not in everything_shown(caught.value)
    assert [] == server.calls.matching("GET", "/me")


async def test_a_wrong_secret_is_an_auth_error(server):
    """There is one token call without a retry, and nothing else is sent."""
    settings = Settings(base_url=server.url, backoff=0.0)
    wrong = ClientCredentials(server.client_id, "not-the-secret")

    async with StrideClient(wrong, cloud_id=server.cloud_id, settings=settings) as client:
        with pytest.raises(AuthError, match="401") as caught:
            await client.me()

    assert 1 == len(server.calls)
    assert "not-the-secret" not in everything_shown(caught.value)


async def test_the_error_of_a_refused_room_token_says_where_to_get_another(server):
    """The call is not retried, because the token cannot be renewed."""
    settings = Settings(base_url=server.url, backoff=0.0)

    async with StrideClient(StaticToken("x" * 20), cloud_id=server.cloud_id, settings=settings) as client:
        with pytest.raises(Unauthorized, match="STRIDE_TOKEN was refused"):
            await client.me()

    assert 1 == len(server.calls)


def test_the_repr_of_credentials_hides_their_secrets():
    """A repr may end up in any log."""
    shown = repr(ClientCredentials("the-id", "the-secret")) + repr(StaticToken("the-token"))

    assert "the-id" in shown
    assert "the-secret" not in shown
    assert "the-token" not in shown
