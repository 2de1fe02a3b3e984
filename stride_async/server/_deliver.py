"""Deliver what happens in a conversation to the apps that are installed in it (protocol 6.2).

A delivery is a task with one or more tries, each with a token of its own. Deliveries of a conversation start in the
order of what happened, and do not wait for each other: an app that is slow or down receives them in any order.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Self

import aiohttp
from attrs import define, field, frozen

from stride_async.server._apps import BOT, BOT_MESSAGES, WEBHOOK, Module, Registration, read_module
from stride_async.server._choices import Choices
from stride_async.server._faults import Fault, FaultAction
from stride_async.server._jwt import signed_token
from stride_async.server._mentions import mentions
from stride_async.server._notices import Body, conversation_body, lifecycle_body, message_body, roster_body
from stride_async.server._records import compact_json
from stride_async.server._store import Store, StoredConversation

_LOG = logging.getLogger("stride_async.server")

# Statuses below 500 after which the call is delivered again; an app that refuses a call would refuse it again.
_WORTH_REPEATING = frozenset({408, 429})
_CONCURRENT_TRIES = 100
_RESPONSE_BYTES = 65_536  # of a response that are read, so that its connection can be used again


@frozen
class DeliveryTry:
    """One call of a delivery."""

    status: int | None
    """The HTTP status of the response; None if no response arrived."""
    error: str | None
    """Why no response arrived; None if one did."""
    at: float
    """When the call began, in seconds since 1970."""
    seconds: float
    """How long the call took."""

    @property
    def is_final(self) -> bool:
        """Whether the service does not deliver again after this response."""
        return self.status is not None and self.status < 500 and self.status not in _WORTH_REPEATING


@define(eq=False)
class Delivery:
    """One call to an app, with its redeliveries."""

    kind: str
    """`mention`, `direct_message`, `message`, `roster`, `conversation`, `installed` or `uninstalled`."""
    key: str
    """The key of the module; empty for lifecycle calls."""
    conversation_id: str
    """The conversation."""
    url: str
    """The URL that is called."""
    body: dict[str, object] = field(repr=False)
    """The body, as decoded JSON."""
    tries: list[DeliveryTry] = field(factory=list)
    """The calls so far."""
    ended: bool = False
    """Whether nothing is delivered again."""
    _is_tried: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)


class Deliveries:
    """The registered apps of a site and all deliveries to them, as an async context manager.

    `choose_fault` returns the fault for a kind of delivery, and `perform` runs a fault's action. The last `kept`
    deliveries are remembered.
    """

    def __init__(
        self,
        store: Store,
        choices: Choices,
        *,
        choose_fault: Callable[[str], Fault | None],
        perform: Callable[[FaultAction], Awaitable[None]],
        kept: int,
    ) -> None:
        self._store = store
        self._choices = choices
        self._choose_fault = choose_fault
        self._perform = perform
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = asyncio.Semaphore(_CONCURRENT_TRIES)
        self.http: aiohttp.ClientSession
        self.registrations: dict[str, Registration] = {}
        self.all: deque[Delivery] = deque(maxlen=kept)

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.http.close()

    async def wait(self) -> None:
        """Wait until every delivery has ended, also those that begin meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    @staticmethod
    async def first_try(delivery: Delivery) -> None:
        """Wait until the first try of a delivery has ended."""
        await delivery._is_tried.wait()  # noqa: SLF001 -- the two classes are one mechanism

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run the work in a task, which `wait` waits for and closing cancels."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def installed(self, conversation: StoredConversation) -> Iterator[Registration]:
        """Yield the registered apps that may use the conversation."""
        for client_id, registration in self.registrations.items():
            if self._store.conversations.is_member(client_id, conversation.number):
                yield registration

    def modules(self, registration: Registration, conversation: StoredConversation) -> Iterator[Module]:
        """Yield the app's modules in a conversation: those of the descriptor, and those added there (protocol 5.19).

        A module that was added replaces one of the descriptor with the same type and key. The service accepts any
        content for it, so one with wrong content is never called.
        """
        added = self._store.modules.all(registration.app.client_id, conversation.number)
        known = {(type, key) for type, key, _ in added}
        yield from (module for module in registration.descriptor.modules if (module.type, module.key) not in known)
        for type, key, content in added:
            try:
                yield read_module(type, key, content, type)
            except ValueError:
                continue

    def message_sent(self, conversation: StoredConversation, content: bytes, sender_id: str) -> None:
        """Deliver a message to the apps that did not send it.

        In a direct conversation it is a direct message, whatever it contains. Elsewhere it is delivered to the bots
        that it mentions, and to every module whose pattern occurs in its text.
        """
        for registration in self.installed(conversation):
            account_id = registration.app.account_id
            if sender_id == account_id:
                continue
            body = message_body(self._store.cloud_id, conversation, content)
            message = json.loads(content)
            mentioned = any(attrs.get("id") == account_id for attrs in mentions(message["body"]))
            for module in self.modules(registration, conversation):
                for kind, url in _message_calls(module, conversation, message["text"], mentioned=mentioned):
                    self._add(registration, kind, module.key, conversation.id, url, body, sender_id)

    def roster_changed(self, conversation: StoredConversation, user_ids: Iterable[str], action: str) -> None:
        """Deliver that people were added to the roster, or removed from it."""
        if not self.registrations:
            return
        for user_id in user_ids:
            body = roster_body(self._store.cloud_id, conversation, user_id, action)
            self._call_webhooks(conversation, "roster", body, None)

    def conversation_changed(self, conversation: StoredConversation, action: str, initiator_id: str) -> None:
        """Deliver that a conversation was created, updated, archived or unarchived."""
        if not self.registrations:
            return
        body = conversation_body(self._store.cloud_id, conversation, initiator_id, action)
        self._call_webhooks(conversation, "conversation", body, initiator_id)

    def lifecycle(
        self, client_id: str, conversation_id: str, event: str, user_id: str, relay_state: str | None = None
    ) -> Delivery | None:
        """Deliver that an app was installed or uninstalled, if it is registered and wants to be called for that."""
        registration = self.registrations.get(client_id)
        url = None if registration is None else registration.descriptor.lifecycle.get(event)
        if registration is None or url is None:
            return None
        body = lifecycle_body(
            self._store.cloud_id,
            conversation_id,
            user_id,
            event,
            key=registration.descriptor.key or client_id,
            client_id=client_id,
            relay_state=relay_state,
        )
        return self._add(registration, event, "", conversation_id, url, body, user_id)

    def _call_webhooks(self, conversation: StoredConversation, kind: str, body: Body, initiator_id: str | None) -> None:
        for registration in self.installed(conversation):
            # Whose token it is in calls without a user is unknown; it is the app's own (protocol 7).
            user_id = initiator_id or registration.app.account_id
            for module in self.modules(registration, conversation):
                url = module.url("url")
                if module.type == WEBHOOK and module.content["event"] == f"{kind}:updates" and url is not None:
                    self._add(registration, kind, module.key, conversation.id, url, body, user_id)

    def _add(
        self,
        registration: Registration,
        kind: str,
        key: str,
        conversation_id: str,
        url: str,
        body: Body,
        user_id: str,
    ) -> Delivery:
        delivery = Delivery(kind, key, conversation_id, registration.address(url), body)
        self.all.append(delivery)
        self.start(self._deliver(delivery, registration, user_id))
        return delivery

    async def _deliver(self, delivery: Delivery, registration: Registration, user_id: str) -> None:
        # In JSON, the escapes of Python are those of unpaired surrogates, which UTF-8 cannot express.
        data = compact_json(delivery.body).encode(errors="backslashreplace")

        def headers() -> dict[str, str]:
            token = signed_token(registration.app, self._store.cloud_id, delivery.conversation_id, user_id)
            bare = self._choices.jwt_spelling == "bare"
            return {"Authorization": token if bare else f"Bearer {token}", "Content-Type": "application/json"}

        try:
            for span in (0.0, *self._choices.redelivery_spans):
                if delivery.tries:
                    await asyncio.sleep(span)
                tries = await self._try(delivery, data, headers)
                delivery.tries += tries
                delivery._is_tried.set()  # noqa: SLF001 -- as above
                if any(one.is_final for one in tries):
                    break
        finally:
            delivery.ended = True
            delivery._is_tried.set()  # noqa: SLF001 -- as above

    async def _try(
        self, delivery: Delivery, data: bytes, headers: Callable[[], Mapping[str, str]]
    ) -> list[DeliveryTry]:
        """Call the app once, or as a fault says."""
        fault = self._choose_fault(delivery.kind)
        if fault is None:
            return [await self._call(delivery.url, data, headers())]
        await asyncio.sleep(fault.delay)
        if fault.do is not None:
            try:
                await self._perform(fault.do)
            except Exception as error:  # noqa: BLE001 -- foreign code
                _LOG.exception("the action of a fault failed")
                return [DeliveryTry(None, f"the action of a fault raised {error!r}", time.time(), 0.0)]
        if fault.status is not None:
            return [DeliveryTry(fault.status, None, time.time(), 0.0)]
        calls = (self._call(delivery.url, data, headers()) for _ in range(fault.duplicate or 1))
        tries = await asyncio.gather(*calls)
        if not fault.lose_answer:
            return list(tries)
        return [DeliveryTry(None, "the response was lost", one.at, one.seconds) for one in tries]

    async def _call(self, url: str, data: bytes, headers: Mapping[str, str]) -> DeliveryTry:
        async with self._free:
            at, began = time.time(), time.monotonic()
            status, error = None, None
            try:
                async with (
                    asyncio.timeout(self._choices.delivery_seconds),
                    self.http.post(url, data=data, headers=headers, allow_redirects=False) as response,
                ):
                    await response.content.read(_RESPONSE_BYTES)
                    status = response.status
            except TimeoutError:
                error = f"no response within {self._choices.delivery_seconds:g} s"
            except (aiohttp.ClientError, OSError) as caught:
                error = str(caught) or repr(caught)
            return DeliveryTry(status, error, at, time.monotonic() - began)


def _message_calls(
    module: Module, conversation: StoredConversation, text: str, *, mentioned: bool
) -> Iterator[tuple[str, str]]:
    """Yield the kind and URL of each call of a module for a message."""
    direct = conversation.type == "direct"
    calls = (
        ("direct_message", "directMessage.url", module.type == BOT and direct),
        ("mention", "mention.url", module.type == BOT and mentioned and not direct),
        ("message", "url", module.type == BOT_MESSAGES and not direct and module.pattern.search(text) is not None),
    )
    for kind, name, applies in calls:
        if applies and (url := module.url(name)) is not None:
            yield kind, url
