"""What goes wrong: one tree, every fact on it, whatever the service answers, and never a secret in it."""

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


def drawn(kind, indent=0):
    """A class and all below it, indented, in the order they were made."""
    return [" " * indent + kind.__name__] + [
        line for below in kind.__subclasses__() for line in drawn(below, indent + 2)
    ]


def with_facts(error, facts):
    """Set the attributes of an error, as the network layer does."""
    for name, value in facts.items():
        setattr(error, name, value)
    return error


def everything_told(error):
    """Whatever of an error can end up in a log or a report."""
    told = [str(error), repr(error), error.explain(), repr(vars(error)), repr(pickle.dumps(error))]
    told += traceback.format_exception(error)
    return "\n".join(told)


def test_the_tree_is_as_drawn():
    """Who catches a branch catches what stands below it; a refused token is both an answer and a matter of access."""
    assert TREE.split() == " ".join(drawn(StrideError)).split()
    assert TREE.strip().splitlines() == drawn(StrideError)


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_at_the_top_of_the_package(kind):
    """People import it from where its repr says it is."""
    assert getattr(stride_async, kind.__name__) is kind
    assert kind.__name__ in stride_async.__all__
    assert "stride_async" == kind.__module__


@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_can_be_pickled_with_all_its_facts(kind, again):
    """Across processes nothing of what was tried is lost, the class's own facts included."""
    own = {"status": 503, "body": b"\xff", "path": "$.a", "raw": b"{}", "received": 3, "expected": 5, "request_id": "r"}
    facts = FACTS | {name: value for name, value in own.items() if hasattr(kind, name)}
    error = with_facts(kind("GET /me: went wrong"), facts)

    back = again(error)

    assert kind is type(back)
    assert ("GET /me: went wrong",) == back.args
    assert facts == {name: getattr(back, name) for name in facts}
    assert error.explain() == back.explain()


@pytest.mark.parametrize("kind", CLASSES)
def test_facts_have_a_value_before_anybody_sets_them(kind):
    """Who catches an error may ask it everything."""
    error = kind("alone")

    assert ((), False, False, None, None) == (
        error.attempts,
        error.retryable,
        error.maybe_processed,
        error.retry_after,
        error.bookmark,
    )
    assert f"{kind.__name__}: alone" == error.explain()


def test_explain_tells_the_whole_story():
    """Each attempt with its moment and wait, the rule that ended it, and what to do now."""
    text = with_facts(ServerError("GET /me answered 503: later"), FACTS).explain()

    assert (
        """\
ServerError: GET /me answered 503: later
  attempt 1 at 08:00:00.000 UTC: NotSent: cannot connect after 0.25 s, then waited 0.50 s
  attempt 2 at 08:00:01.000 UTC: answered 503 after 0.50 s
  ended by the rule: all 2 attempts were made
  the service asks to wait 2.5 s
  the service may have acted on the call: check before you send it again"""
        == text
    )


async def test_an_error_of_a_live_call_carries_what_was_tried(client, server):
    """Every sending in order, the rule, the stated wait, and that a repeat does no harm."""
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
async def test_each_status_is_a_class(server, status, kind):
    """The status decides; the body's own code and words, and the gateway's id, are facts."""
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
        (b'{"schemas":["urn"],"status":"404","detail":"nobody"}', "application/scim+json", None, "nobody"),
        (b'{"message":{"deep":[1]},"code":[2]}', "application/json", None, '{"message":{"deep":[1]},"code":[2]}'),
        (b"[1,2]", "application/json", None, "[1,2]"),
        (b'"only words"', "application/json", None, '"only words"'),
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
async def test_an_error_survives_any_body(client, server, body, content_type, code, message):
    """The class comes from the status alone; what can be read of the body is told, within bounds."""
    server.faults.add("GET", "/me", status=403, body=body, headers={"Content-Type": content_type})

    with pytest.raises(Forbidden) as caught:
        await client.me()

    error = caught.value
    assert (code, message) == (error.code, error.message)
    assert body[:65_536] == error.body
    assert len(str(error)) < 400


SECRETS = ["token", "secret"]


class Echo:
    """A service that gives back whatever secret it was told: what it knows, and what the client told meanwhile."""

    def __init__(self, server, client, events):
        self.server = server
        self.client = client
        self.events = events

    @property
    def token(self):
        return self.server.calls.matching("GET", "/me")[0].headers["Authorization"].removeprefix("Bearer ")

    @property
    def words(self):
        return f"Authorization: Bearer {self.token}; {self.token} {self.server.client_secret}"

    def assert_nothing_was_told(self, error, caplog):
        told = everything_told(error) + caplog.text + repr(self.events) + repr(self.client) + repr(vars(self.client))
        for secret in (self.token, self.server.client_secret):
            for part in (secret, secret[:12], repr(secret.encode())):
                assert part not in told


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
        lambda words: json.dumps({"code": words, "message": words}),
        lambda words: json.dumps({"error": words, "error_description": words}),
        lambda words: f"<html>{words}</html>",
        lambda words: "x" * 270 + words,
        lambda words: "x" * 65_480 + words,
    ],
    ids=["gateway", "oauth", "html", "shortened", "cut"],
)
async def test_no_secret_is_told_when_an_error_echoes_it(echo, server, caplog, status, form):
    """Neither in words nor facts, pickles, logs or events, not even a part where the body was cut."""
    headers = {"X-Request-Id": echo.token, "Retry-After": "0"}
    server.faults.add("GET", "/me", status=status, body=form(echo.words), headers=headers)

    with pytest.raises(ApiError) as caught:
        await echo.client.me()

    assert "***" == caught.value.request_id
    echo.assert_nothing_was_told(caught.value, caplog)


@pytest.mark.parametrize(
    ("path", "call", "form"),
    [
        ("/me", lambda client: client.me(), lambda words: words),
        ("/me", lambda client: client.me(), lambda words: json.dumps({"account_id": [words]})),
        (
            "*/conversation/r",
            lambda client: client.conversation("r").get(),
            lambda words: json.dumps({"id": "r", "created": words}),
        ),
        (
            "*/message",
            lambda client: client.conversation("r").history().collect(limit=None),
            lambda words: json.dumps({"messages": [{"id": words, "sender": {"id": "u"}, "ts": words}]}),
        ),
        (
            "*/roster",
            lambda client: client.conversation("r").roster().collect(limit=None),
            lambda words: json.dumps({"values": [[words]]}),
        ),
        (
            "*/convert",
            lambda client: client.markdown_to_document("x"),
            lambda words: json.dumps({"version": 1, "type": words, "content": []}),
        ),
    ],
    ids=["text", "field", "moment", "history", "roster", "document"],
)
async def test_no_secret_is_told_when_an_answer_that_cannot_be_decoded_echoes_it(
    echo, server, caplog, path, call, form
):
    """The bytes are kept on the error for those who look into it; the secrets in them are not."""
    server.faults.add("*", path, status=200, body=form(echo.words))

    with pytest.raises(DecodeError) as caught:
        await call(echo.client)

    assert b"***" in caught.value.raw
    echo.assert_nothing_was_told(caught.value, caplog)


async def test_no_secret_is_told_of_elements_that_a_listing_goes_on_without(echo, server, caplog):
    """The callback gets errors as clean as those that are raised."""
    room = echo.client.conversation(server.add_conversation("general"))
    good = {"id": "good", "sender": {"id": "u"}, "ts": "2018-06-01T08:00:00Z", "text": ""}
    body = json.dumps({"messages": [good, good | {"ts": echo.words}]})
    server.faults.add("GET", "*/message", status=200, body=body, times=1)
    server.faults.add("GET", "*/message", status=200, body='{"messages":[]}')
    told = []

    async with room.history().stream(on_undecodable=told.append) as messages:
        assert ["good"] == [message.id async for message in messages]

    [error] = told
    assert "$.messages[1].ts" == error.path
    echo.assert_nothing_was_told(error, caplog)


async def test_no_secret_is_told_when_a_redirect_echoes_it(echo, server, caplog):
    """Neither of one that is refused for where it leads, nor of a write that is not redirected."""
    server.faults.add("GET", "/me", status=302, headers={"Location": f"ftp://{'x' * 170}{echo.token}/"})
    server.faults.add("POST", "*/conversation", status=307, headers={"Location": f"/{'x' * 170}{echo.token}"})

    with pytest.raises(ForbiddenOrigin) as read:
        await echo.client.me()
    with pytest.raises(ApiError) as write:
        await echo.client.create_conversation("room")

    echo.assert_nothing_was_told(read.value, caplog)
    echo.assert_nothing_was_told(write.value, caplog)


async def test_no_secret_is_told_when_the_answer_is_no_http(caplog):
    """What the HTTP parser quotes of an answer, and of the request, is not passed on."""
    caplog.set_level(logging.DEBUG)
    token, events = "a-room-token-nobody-may-see", []

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

    told = everything_told(caught.value) + caplog.text + repr(events) + repr(client)
    assert settings.attempts == len(caught.value.attempts)
    assert token not in told
    assert token[:12] not in told


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_refused_credentials_say_what_to_check_and_nothing_more(server, status):
    """The error of the token call names the variables, not what they hold."""
    body = json.dumps({"error": "access_denied", "error_description": f"wrong: {server.client_secret}"})
    server.faults.add("POST", "/oauth/token", status=status, body=body)

    async with client_of(server) as client:
        with pytest.raises(AuthError, match="check STRIDE_CLIENT_ID and STRIDE_CLIENT_SECRET") as caught:
            await client.me()

    assert server.client_secret not in everything_told(caught.value)
    assert [] == server.calls.matching("GET", "/me")


async def test_a_wrong_secret_is_an_auth_error(server):
    """One asking, no repeats, and nothing else is sent."""
    settings = Settings(base_url=server.url, backoff=0.0)
    wrong = ClientCredentials(server.client_id, "not-the-secret")

    async with StrideClient(wrong, cloud_id=server.cloud_id, settings=settings) as client:
        with pytest.raises(AuthError, match="401") as caught:
            await client.me()

    assert 1 == len(server.calls)
    assert "not-the-secret" not in everything_told(caught.value)


async def test_a_refused_room_token_says_where_to_get_another(server):
    """A token that cannot be renewed is asked with once."""
    settings = Settings(base_url=server.url, backoff=0.0)

    async with StrideClient(StaticToken("x" * 20), cloud_id=server.cloud_id, settings=settings) as client:
        with pytest.raises(Unauthorized, match="STRIDE_TOKEN was refused"):
            await client.me()

    assert 1 == len(server.calls)


def test_credentials_hide_what_they_hold():
    """A repr may end up in any log."""
    shown = repr(ClientCredentials("the-id", "the-secret")) + repr(StaticToken("the-token"))

    assert "the-id" in shown
    assert "the-secret" not in shown
    assert "the-token" not in shown
