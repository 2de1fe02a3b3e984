"""Handle the calls of browsers: actions, glances and configurations (protocol 6.7, 6.8).

A browser waits for the response, so its call is handled at once. It is not kept, and two equal calls are two calls.
Conversation and person come from the token, because anyone who has a token can forge a body.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from uuid import uuid4

import msgspec

from stride_async.bot._events import ActionAnswer, ActionCall, ConfigurationQuery, Event, GlanceQuery
from stride_async.bot._handling import call_handler, report_error
from stride_async.bot._make import moment
from stride_async.bot._parts import Parts
from stride_async.bot._read import read_press
from stride_async.bot._refusal import Refusal
from stride_async.bot._reports import Begun, Delivery, Ended
from stride_async.bot._router import Kind
from stride_async.bot._verify import Caller, check_place

AskedKind = Literal["glance", "configuration"]
QueryKind = Literal["action"] | AskedKind

DID_NOT_WORK = {"error": "this did not work"}


class HandlerFailed(Exception):
    """The handler of a query raised an error, which the error handlers have received."""


async def press(parts: Parts, key: str, caller: Caller, read_body: Callable[[], Awaitable[bytes]]) -> object:
    """Return the JSON to respond to an action with, or None for a response without content.

    Raises:
        Refusal: 400 or 403, the body is malformed or does not fit the token; 404, there is no such action; 503, the bot
            ends.
    """
    common = _common(parts, "action", key, caller)
    if caller.user_id is None:
        raise Refusal(403, "expected a token of a person")
    pressed = read_press(await read_body())
    check_place(caller, cloud_id=pressed.cloud_id, conversation_id=pressed.conversation_id)
    event = ActionCall(
        **common,
        raw=pressed.body,
        key=key,
        message_id=pressed.message_id,
        document=pressed.document,
        parameters=pressed.parameters,
        source=pressed.source,
        target=pressed.target,
    )
    try:
        async with parts.answers.under_way():
            return await _answer(parts, event, action_json)
    except HandlerFailed:
        return DID_NOT_WORK


async def ask(parts: Parts, kind: AskedKind, key: str, caller: Caller) -> object:
    """Return the JSON to respond to a glance or configuration query with.

    Raises:
        Refusal: 403, the token is of no conversation; 404, there is no such module; 503, the bot ends.
        HandlerFailed: The handler failed.
    """
    event_class, to_json = _ASKED[kind]
    event = event_class(**_common(parts, kind, key, caller), raw=b"", key=key)
    async with parts.answers.under_way():
        return await _answer(parts, event, to_json)


def _common(parts: Parts, kind: QueryKind, key: str, caller: Caller) -> dict[str, Any]:
    if (kind, key) not in parts.routes.handlers:
        raise Refusal(404, f"this bot has no {kind} of this key")
    if caller.conversation_id is None:
        raise Refusal(403, "expected a token of a conversation")
    client = parts.sites.client(caller.cloud_id)
    named: Kind = kind
    return {
        "cloud_id": caller.cloud_id,
        "conversation_id": caller.conversation_id,
        "user_id": caller.user_id or "",
        "delivery": Delivery(id=uuid4().hex, kind=named, module=key, received_at=moment(time.time()), attempt=1),
        "client": client,
        "reply": client.conversation(caller.conversation_id).send,
    }


async def _answer(parts: Parts, event: Event, to_json: Callable[[object], object]) -> object:
    """Return the JSON of what the handler returns. What cannot be sent as JSON counts as an error of the handler."""
    delivery, started = event.delivery, time.monotonic()
    chosen = parts.routes.choose(delivery.kind, delivery.module)
    assert chosen is not None
    parts.report(Begun(delivery))
    try:
        returned = await call_handler(parts.routes, chosen, event, parts.settings.answer_timeout)
        value = to_json(returned)
        answer = None if value is None else msgspec.Raw(msgspec.json.encode(value))
    except Exception as error:
        await report_error(parts.routes, parts.report, event, error, parts.settings.answer_timeout)
        parts.report(Ended(delivery, "failed", time.monotonic() - started))
        raise HandlerFailed from error
    parts.report(Ended(delivery, "done", time.monotonic() - started))
    return answer


def action_json(returned: object) -> object:
    """Return the JSON of what an action's handler returns.

    Raises:
        TypeError: It is neither text, an `ActionAnswer` nor None.
    """
    if returned is None:
        return None
    answer = ActionAnswer(message=returned) if isinstance(returned, str) else returned
    if not isinstance(answer, ActionAnswer):
        raise TypeError(f"an action returned {type(returned).__name__}; expected str, ActionAnswer or None")
    next_action = None if answer.next_action is None else {"target": dict(answer.next_action)}
    fields = {"message": answer.message, "error": answer.error, "nextAction": next_action}
    return {name: value for name, value in fields.items() if value is not None}


def glance_json(returned: object) -> object:
    """Return the JSON of what a glance's handler returns.

    Raises:
        TypeError: It is not text.
    """
    if not isinstance(returned, str):
        raise TypeError(f"a glance returned {type(returned).__name__}; expected its label, a str")
    return {"label": {"value": returned}}


def configuration_json(returned: object) -> object:
    """Return the JSON of what a configuration's handler returns.

    Raises:
        TypeError: It is not a bool.
    """
    if not isinstance(returned, bool):
        raise TypeError(f"a configuration returned {type(returned).__name__}; expected a bool")
    return {"configured": returned}


_ASKED: dict[AskedKind, tuple[type[GlanceQuery | ConfigurationQuery], Callable[[object], object]]] = {
    "glance": (GlanceQuery, glance_json),
    "configuration": (ConfigurationQuery, configuration_json),
}
