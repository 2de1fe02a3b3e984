"""The token call, what its answer must hold, and when a token is renewed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from stride_async import AccessToken, ClientCredentials, DecodeError, StaticToken
from stride_async._wire.request import Response
from stride_async._wire.token import AHEAD, ask_token, renew_after
from tests.exposed import everything_shown, locals_of_ours

CREDENTIALS = ClientCredentials("the-id", "the-secret")


def read(body: bytes) -> AccessToken:
    return ask_token(CREDENTIALS, None).read(Response(200, CIMultiDict(), body))


def test_the_token_call_says_who_asks_and_carries_no_token():
    """The audience is required by the older host (protocol 2.1)."""
    request = ask_token(CREDENTIALS, "https://auth.example.com/oauth/token")

    assert {
        "grant_type": "client_credentials",
        "client_id": "the-id",
        "client_secret": "the-secret",
        "audience": "api.atlassian.com",
    } == json.loads(request.body)
    assert ("POST", False, "https://auth.example.com/oauth/token") == (request.method, request.authorized, request.url)
    assert "the-secret" not in repr(request) + str(request)


@pytest.mark.parametrize(
    ("body", "expires_in"),
    [
        (b'{"access_token":"t","scope":"a b","expires_in":3600,"token_type":"Bearer"}', 3600.0),
        (b'{"access_token":"t"}', None),
        (b'{"access_token":"t","expires_in":null}', None),
        (b'{"access_token":"t","expires_in":0.5}', 0.5),
    ],
)
def test_an_answer_gives_a_token_and_its_time(body, expires_in):
    """All but the token itself may be missing."""
    assert AccessToken("t", expires_in) == read(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>must-not-appear</html>",
        b'{"access_token":"must-not-appear"',
        b'{"access_token":""}',
        b'{"access_token":null}',
        b'{"access_token":["must-not-appear"]}',
        b'{"access_token":"must-not-appear\\r\\nX: y"}',
        b'{"access_token":"must-not-appear \xc3\xbc"}',
        b'{"access_token":"\xff"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_token_is_said_without_quoting_it(body):
    """Half a token answer still holds a token; one that no header can carry is of no use."""
    with pytest.raises(DecodeError) as caught:
        read(body)

    assert "the response of the token call" in str(caught.value)
    assert b"" == caught.value.raw
    assert "must-not-appear" not in everything_shown(caught.value)


@pytest.mark.parametrize("kind", [AccessToken, StaticToken])
@pytest.mark.parametrize("value", ["", " ", "secret\n", "\nsecret", "sec\r\nret", "sécret", "sec\x00ret", "secret\x7f"])
def test_a_token_that_no_header_can_carry_is_refused_at_once(kind, value):
    """A line break at its end is what reading a file leaves; the words do not quote it."""
    with pytest.raises(ValueError, match="the token is empty, contains a line break") as caught:
        kind(value)

    assert "ret" not in str(caught.value)
    assert value.strip() == "" or value.strip() not in "".join(locals_of_ours(caught.value))


@given(st.floats(0, 10**9), st.floats(0, 1))
def test_a_token_is_renewed_before_its_end(expires_in, jitter):
    """One to two minutes ahead, for short-lived ones a tenth to a fifth of their time; clients spread."""
    after = renew_after(expires_in, jitter)

    assert 0 <= after <= expires_in
    assert expires_in - after <= min(2 * AHEAD, 0.2 * expires_in) + 1e-6 * expires_in
    assert renew_after(expires_in, 1.0) <= after <= renew_after(expires_in, 0.0)


def test_a_token_without_an_end_is_not_renewed():
    """Only a refusal shows that it is spent."""
    assert renew_after(None, 0.5) is None
