"""The rule as a table, without a socket."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async import Settings
from stride_async._net.retry import LONGEST_BACKOFF, RESERVE, Again, Budget, Outcome, Stop, carry_out, decide

SETTINGS = Settings(base_url="http://stride.invalid", backoff=1.0, attempts=4, longest_wait=100.0)

NOT_SENT = Outcome("not sent")
SILENCE = Outcome("ambiguous")


def answered(status: int, stated: float | None = None) -> Outcome:
    return Outcome("answered", status, stated)


def judged(*outcomes: Outcome, settings: Settings = SETTINGS, **given: object) -> Again | Stop:
    facts = {"repeatable": True, "renewable": True, "budget": 20.0, "remaining": None, "chance": 1.0, **given}
    return decide(outcomes, settings, **facts)  # type: ignore[arg-type]  # the table names them freely


AGAIN_WHATEVER = [NOT_SENT, answered(429), answered(429, 3.0), answered(401)]
AGAIN_IF_REPEATABLE = [SILENCE, answered(500), answered(502), answered(503), answered(504)]
NEVER = [answered(status) for status in (400, 403, 404, 405, 409, 413, 415, 418, 501, 505)]


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("outcome", AGAIN_WHATEVER)
def test_what_was_surely_not_done_is_sent_again(outcome, repeatable):
    """Not sent, 429 and a refused token: the service did not act, whatever the call."""
    assert isinstance(judged(outcome, repeatable=repeatable), Again)


@pytest.mark.parametrize("outcome", AGAIN_IF_REPEATABLE)
def test_what_may_have_been_done_is_sent_again_only_where_that_does_no_harm(outcome):
    """Silence and 5xx leave open whether the service acted."""
    assert isinstance(judged(outcome, repeatable=True), Again)
    assert isinstance(judged(outcome, repeatable=False), Stop)


@pytest.mark.parametrize("outcome", NEVER)
def test_a_plain_no_is_final(outcome):
    """Asking again would give the same answer."""
    assert isinstance(judged(outcome), Stop)


def test_a_refused_token_is_renewed_once():
    """A second 401 in one call means that the renewed token is no good either."""
    assert judged(answered(401)) == Again(0.0, "the token was refused: renewed", costs=0)
    assert isinstance(judged(answered(401), answered(401)), Stop)
    assert isinstance(judged(answered(401), answered(503), answered(401)), Stop)
    assert isinstance(judged(answered(401), renewable=False), Stop)


def test_attempts_are_counted():
    """Four attempts mean three repeats."""
    assert isinstance(judged(SILENCE, SILENCE, SILENCE), Again)
    assert isinstance(judged(SILENCE, SILENCE, SILENCE, SILENCE), Stop)


def test_backoff_doubles_up_to_its_bound():
    """1, 2, 4 … seconds at most, each drawn whole by chance."""
    patient = attrs.evolve(SETTINGS, attempts=40)

    waits = [judged(*[SILENCE] * n, settings=patient).seconds for n in range(1, 9)]

    assert [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_BACKOFF, LONGEST_BACKOFF, LONGEST_BACKOFF] == waits
    assert judged(SILENCE, chance=0.25).seconds == 0.25


@given(st.floats(0, 100), st.floats(0, 1))
def test_a_stated_wait_is_a_floor(stated, chance):
    """At least what was asked for, at most a tenth more."""
    decision = judged(answered(429, stated), chance=chance)

    assert isinstance(decision, Again)
    assert stated <= decision.seconds <= stated * 1.1 + 1e-9


def test_a_wait_too_long_is_not_slept():
    """Neither one above longest_wait nor one that cannot end before the deadline."""
    assert isinstance(judged(answered(429, 100.1)), Stop)
    assert isinstance(judged(answered(503, 365 * 86400.0)), Stop)
    assert isinstance(judged(answered(429, 10.0), remaining=10.0), Stop)
    assert isinstance(judged(SILENCE, remaining=0.5), Stop)
    assert isinstance(judged(answered(429, 10.0), remaining=11.5), Again)


def test_an_outage_spends_the_budget_and_a_limit_does_not():
    """Repeats after 429 and 401 are free; others stop when the client has none left."""
    assert isinstance(judged(SILENCE, budget=0.9), Stop)
    assert isinstance(judged(NOT_SENT, budget=0.9), Stop)
    assert isinstance(judged(answered(429), budget=0.0), Again)
    assert isinstance(judged(answered(401), budget=0.0), Again)


def test_the_budget_is_earned_by_calls_and_never_above_its_reserve():
    """A reserve of 20, a part of a repeat a call."""
    budget = Budget()
    budget.earn(0.2)
    assert budget.left == RESERVE

    budget.spend(20)
    for _ in range(4):
        budget.earn(0.2)

    assert budget.left == pytest.approx(0.8)


async def test_the_rule_is_asked_once_for_each_attempt():
    """carry_out attempts, asks, waits, and gives the last attempt's value."""
    seen = []

    async def attempt() -> str:
        seen.append("attempt")
        return f"answer {seen.count('attempt')}"

    def rule() -> Again | None:
        seen.append("rule")
        return Again(5.0, "because") if seen.count("rule") < 3 else None

    async def waiting(again: Again) -> None:
        seen.append(again.seconds)

    value = await carry_out(attempt, rule, waiting)

    assert value == "answer 3"
    assert seen == ["attempt", "rule", 5.0, "attempt", "rule", 5.0, "attempt", "rule"]


async def test_the_last_error_comes_out_as_it_is():
    """Not wrapped in an error of the engine's own."""

    async def attempt() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await carry_out(attempt, lambda: Stop("enough"), lambda _: None)  # type: ignore[arg-type,return-value]  # never called
