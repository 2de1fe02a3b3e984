"""Tokens are verified (protocol 7)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async import ClientCredentials
from stride_async.bot import Caller
from stride_async.bot._refusal import Refusal
from stride_async.bot._verify import check_place, check_sender, token_in, verified

APP = ClientCredentials("client-id", "s" * 64)
PLACE = {"cloudId": "C", "resourceType": "conversation", "resourceId": "V"}


def claims(*, expires_in: float = 900, **more: Any) -> dict[str, Any]:
    return {"iss": "client-id", "exp": int(time.time() + expires_in), "context": PLACE, **more}


def signed(payload: object, *, secret: str = APP.client_secret, header: dict[str, Any] | None = None) -> str:
    """Return a token of any payload, even one that PyJWT would not sign."""
    parts = [_encoded({"alg": "HS256", "typ": "JWT"} if header is None else header), _encoded(payload)]
    signature = hmac.new(secret.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=").decode()])


def _encoded(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def status_of(token: str | None, sites: frozenset[str] | None = None, app: ClientCredentials = APP) -> int:
    try:
        verified(token, app, sites)
    except Refusal as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"aud": "another"},
        {"iat": time.time() + 10_000},
        {"iat": "soon"},
        {"sub": None},
        {"sub": "557058:aa"},
        {"jti": 7},
        {"expires_in": -5},
        {"unknown": {"deep": [1]}},
        {"context": {"cloudId": "C"}},
        {"context": {"cloudId": "C", "resourceType": "site", "resourceId": 7}},
    ],
)
def test_what_the_service_may_send_is_accepted(more):
    """An audience, a small clock difference, an absent or null subject and unknown claims are accepted."""
    assert 200 == status_of(signed(claims(**more)))


@pytest.mark.parametrize(
    "more",
    [
        {"expires_in": -60},
        {"expires_in": -17},
        {"exp": "never"},
        {"exp": None},
        {"exp": [1]},
        {"exp": {}},
        {"exp": True},
        {"iss": "another-app"},
        {"iss": None},
        {"iss": ["client-id"]},
        {"sub": 7},
        {"sub": ["557058:aa"]},
        {"sub": "557058:\ud800"},
        {"nbf": 10**11},
        {"nbf": "x"},
    ],
)
def test_claims_that_are_not_good_are_refused(more):
    """They have expired, are issued for another app, or have a wrong type."""
    assert 401 == status_of(signed(claims(**more)))


@pytest.mark.parametrize(
    "more", [{"context": None}, {"context": []}, {"context": {}}, {"context": {"cloudId": 7}},
             {"context": {"cloudId": ""}}, {"context": {"cloudId": "C", "resourceId": 7}},
             {"context": {"cloudId": "\ud800"}}, {"context": {"cloudId": "C", "resourceId": "\udfff"}}]
)  # fmt: skip
def test_a_token_of_no_place_is_refused(more):
    """The signature is good, but the context names no site."""
    assert 403 == status_of(signed(claims(**more)))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS512"},
        {"alg": "hs256"},
        {"alg": "RS256"},
        {"alg": ["HS256"]},
        {},
        {"alg": "HS256", "crit": ["exp"]},
        {"alg": "HS256", "kid": 7},
        {"alg": "HS256", "b64": False},
    ],
)
def test_the_header_decides_nothing(header):
    """Other algorithms than HS256 and critical extensions are refused."""
    assert 401 == status_of(signed(claims(), header=header))


def test_a_key_in_the_header_is_not_used():
    """Only the signature by the app's secret counts."""
    forged = signed(claims(), secret="x" * 64, header={"alg": "HS256", "jwk": {"kty": "oct", "k": "eHh4"}})
    good = signed(claims(), header={"alg": "HS256", "jwk": {"kty": "oct", "k": "eHh4"}})

    assert (401, 200) == (status_of(forged), status_of(good))


@pytest.mark.parametrize(
    "token",
    [
        *(None, "", "x", "..", "a.b.c", "a.b.c.d", "null", "é.é.é", "\udce9.\udce9.\udce9", "\0", "e30.e30."),
        *("x" * 100_000, signed([1, 2]), signed(b"{"), signed(b"[" * 100_000), signed("text"), signed(b"\xff\xfe")),
        *(signed(claims())[:-2], signed(claims()) + "x", signed(claims(), secret="t" * 64)),
    ],
    ids=lambda token: f"{len(token or '')} characters",  # The claims contain the time.
)
def test_what_is_not_a_token_is_refused(token):
    """Any such text is refused with 401 and never raises another error."""
    assert 401 == status_of(token)


@given(st.text(st.characters(), max_size=60))
def test_any_text_is_refused(text):
    """This includes surrogates, which header bytes can become."""
    assert 401 == status_of(text)
    assert 401 == status_of(f"{signed(claims())}{text}.")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["iss", "exp", "nbf", "iat", "sub", "aud", "context", "jti"]), json_values))
def test_any_claims_are_accepted_or_refused(more):
    """A signed payload of any shape never raises another error."""
    assert status_of(signed(claims() | more)) in (200, 401, 403)


def test_refusals_quote_nothing():
    """The reason contains neither the token nor the secret."""
    token = signed(claims(iss="another-app"))

    with pytest.raises(Refusal) as raised:
        verified(token, APP, None)

    assert not [part for part in (*token.split("."), APP.client_secret, "another-app") if part in str(raised.value)]
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_only_named_sites_are_served():
    """Without `sites` in the settings, every site is served."""
    token = signed(claims())

    assert (200, 200, 403) == (
        status_of(token),
        status_of(token, frozenset({"C"})),
        status_of(token, frozenset({"D"})),
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (("Bearer T", None, None), "T"),
        (("bearer  T ", None, None), "T"),
        (("JWT T", None, None), "T"),
        (("jWt T", None, None), "T"),
        (("Bearer\tT", None, None), "T"),
        (("T", None, None), "T"),
        (("Basic T", None, None), "Basic T"),
        ((None, "T", None), "T"),
        ((None, None, "T"), "T"),
        (("Bearer T", "U", "V"), "T"),
        ((None, "U", "V"), "U"),
        (("", " ", "V"), "V"),
        ((None, None, None), None),
        (("null", "U", None), "null"),
        (("Bearer", "U", None), ""),
    ],
)
def test_the_first_token_that_is_present_counts(headers, expected):
    """The order is Authorization, X-acpt, query; empty values are skipped."""
    assert expected == token_in(*headers)


def test_place_and_sender_must_agree():
    """A part that one side does not name is not compared."""
    caller = Caller("C", "V", "U")
    check_place(caller, cloud_id="C", conversation_id="V")
    check_place(caller, cloud_id=None, conversation_id=None)
    check_place(Caller("C", None, None), cloud_id="C", conversation_id="W")
    check_sender(caller, "U")
    check_sender(Caller("C", "V", None), "anyone")

    for wrong in (
        lambda: check_place(caller, cloud_id="D", conversation_id="V"),
        lambda: check_place(caller, cloud_id="C", conversation_id="W"),
        lambda: check_sender(caller, "W"),
    ):
        with pytest.raises(Refusal) as raised:
            wrong()
        assert 403 == raised.value.status


def test_pyjwt_agrees_on_what_a_token_is():
    """A token that PyJWT makes is accepted."""
    assert 200 == status_of(jwt.encode(claims(), APP.client_secret, algorithm="HS256"))


SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=32) | st.sampled_from(
    [f"-----BEGIN PUBLIC KEY-----\n{'A' * 64}\n-----END PUBLIC KEY-----", '{"kty":"oct","k":"' + "A" * 43 + '"}']
)


@given(SECRETS, SECRETS)
def test_pyjwt_agrees_on_what_a_secret_is(one, another):
    """A key that is prepared once for all tokens verifies as the secret does, and is mistaken for no other."""
    for secret in (one, another):
        app = ClientCredentials("client-id", secret)
        token = signed(claims(), secret=one)
        try:
            jwt.decode(token, secret, algorithms=["HS256"])
        except jwt.PyJWTError:
            expected = 401
        else:
            expected = 200
        assert expected == status_of(token, app=app)
