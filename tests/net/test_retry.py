"""The retry rule, judged by plain values."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async import Settings
from stride_async._net.pool import RESERVE, Budget
from stride_async._net.retry import LONGEST_BACKOFF, Outcome, Wait, exhaustion, refusal, wait_after

SETTINGS = Settings(base_url="http://stride.invalid", backoff=1.0, attempts=4, longest_wait=100.0)

NOT_SENT = Outcome("not sent")
AMBIGUOUS = Outcome("ambiguous")


def answered(status: int, stated: float | None = None) -> Outcome:
    return Outcome("answered", status, stated)


def judge(
    *outcomes: Outcome,
    settings: Settings = SETTINGS,
    repeatable: bool = True,
    renewable: bool = True,
    budget: float = 20.0,
    remaining: float | None = None,
    chance: float = 1.0,
) -> Wait | str:
    """What the rule says after these outcomes: the wait before a retry, or the reason why there is none."""
    if (reason := refusal(outcomes, repeatable=repeatable, renewable=renewable)) is not None:
        return reason
    wait = wait_after(outcomes, settings, chance)
    return exhaustion(outcomes, wait, settings, budget=budget, remaining=remaining) or wait


ALWAYS_RETRIED = [NOT_SENT, answered(429), answered(429, 3.0), answered(401)]
RETRIED_IF_REPEATABLE = [AMBIGUOUS, answered(500), answered(502), answered(503), answered(504)]
NEVER_RETRIED = [answered(status) for status in (400, 403, 404, 405, 409, 413, 415, 418, 501, 505)]


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("outcome", ALWAYS_RETRIED, ids=str)
def test_an_attempt_that_certainly_had_no_effect_is_retried(outcome, repeatable):
    """If it was not sent, was refused for its token, or met the limit, the service did not act, whatever the call."""
    assert isinstance(judge(outcome, repeatable=repeatable), Wait)


@pytest.mark.parametrize("outcome", RETRIED_IF_REPEATABLE, ids=str)
def test_an_attempt_that_may_have_had_an_effect_is_retried_only_if_the_call_is_repeatable(outcome):
    """Without a response, or with a 5xx, it is open whether the service acted."""
    assert isinstance(judge(outcome, repeatable=True), Wait)
    assert judge(outcome, repeatable=False) == f"{outcome}, and the call may not be repeated"


@pytest.mark.parametrize("outcome", NEVER_RETRIED, ids=str)
def test_any_other_error_status_is_final(outcome):
    """The same request would get the same response."""
    assert judge(outcome) == f"{outcome.status} is not retried"


def test_a_refused_token_is_renewed_once():
    """A second 401 in one call means that the renewed token is not valid either."""
    assert judge(answered(401)) == Wait(0.0, "the token was refused and is renewed", cost=0)
    assert judge(answered(401), answered(401)) == "the renewed token was refused as well"
    assert judge(answered(401), answered(503), answered(401)) == "the renewed token was refused as well"
    assert judge(answered(401), renewable=False) == "the token cannot be renewed"


def test_a_call_gives_up_after_the_configured_attempts():
    """Four attempts are three retries."""
    assert isinstance(judge(AMBIGUOUS, AMBIGUOUS, AMBIGUOUS), Wait)
    assert judge(AMBIGUOUS, AMBIGUOUS, AMBIGUOUS, AMBIGUOUS) == "all 4 attempts were made"


def test_the_backoff_doubles_up_to_its_maximum():
    """At most 1, 2, 4 … seconds, each multiplied by chance."""
    patient = attrs.evolve(SETTINGS, attempts=40)

    waits = [judge(*[AMBIGUOUS] * n, settings=patient).seconds for n in range(1, 9)]

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_BACKOFF, LONGEST_BACKOFF, LONGEST_BACKOFF]
    assert judge(AMBIGUOUS, chance=0.25).seconds == 0.25


@given(st.floats(0, 100), st.floats(0, 1))
def test_a_stated_wait_is_a_minimum(stated, chance):
    """The client waits for at least the stated time, and at most a tenth longer."""
    wait = judge(answered(429, stated), chance=chance, settings=attrs.evolve(SETTINGS, backoff=0.0))

    assert isinstance(wait, Wait)
    assert stated <= wait.seconds <= stated * 1.1 + 1e-9


@given(st.floats(0, 100), st.floats(0, 1), st.integers(1, 3))
def test_a_stated_wait_never_shortens_the_backoff(stated, chance, attempts):
    """The client waits for the longer of the two, so asking for 0 s does not use up all attempts at once."""
    backoff = judge(*[answered(503)] * attempts, chance=chance)
    wait = judge(*[answered(503, stated)] * attempts, chance=chance)

    assert wait.seconds == max(backoff.seconds, stated * (1 + 0.1 * chance))
    assert wait.cost == 1


def test_the_reason_of_a_wait_names_what_determined_it():
    """A backoff that is longer than the stated wait says so."""
    assert judge(answered(503, 0.0)).reason == (
        "answered 503: backoff, longer than the 0.0 s that the service asked for"
    )
    assert judge(answered(503, 30.0)).reason == "answered 503: the service asked for 30.0 s"
    assert judge(answered(503)).reason == "answered 503: backoff"


def test_a_backoff_does_not_count_against_longest_wait():
    """Only a stated wait is measured against it."""
    assert isinstance(judge(answered(503, 0.0), settings=attrs.evolve(SETTINGS, longest_wait=0.0)), Wait)


def test_a_wait_that_is_too_long_is_not_begun():
    """A stated wait above longest_wait, or any wait that cannot end before the deadline."""
    assert judge(answered(429, 100.1)) == "the stated wait of 100.1 s exceeds longest_wait=100"
    assert "exceeds longest_wait" in judge(answered(503, 365 * 86400.0))
    assert "cannot end before the deadline" in judge(answered(429, 10.0), remaining=10.0)
    assert "cannot end before the deadline" in judge(AMBIGUOUS, remaining=0.5)
    assert isinstance(judge(answered(429, 10.0), remaining=11.5), Wait)


def test_an_outage_uses_up_the_budget_but_a_limit_does_not():
    """Retries after 429 and 401 are free; others stop when the client has none left."""
    assert "retry budget is used up" in judge(AMBIGUOUS, budget=0.9)
    assert "retry budget is used up" in judge(NOT_SENT, budget=0.9)
    assert isinstance(judge(answered(429), budget=0.0), Wait)
    assert isinstance(judge(answered(401), budget=0.0), Wait)


def test_calls_earn_budget_up_to_the_reserve():
    """The reserve is 20 retries, and each call earns a part of one."""
    budget = Budget()
    budget.earn(0.2)
    assert budget.left == RESERVE

    budget.spend(20)
    for _ in range(4):
        budget.earn(0.2)

    assert budget.left == pytest.approx(0.8)
