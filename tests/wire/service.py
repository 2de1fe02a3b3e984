"""A service in memory for each kind of listing, and a loop that runs a walk against it.

They follow the protocol (5.2, 5.7, 5.15), not the client: a request goes in and a body comes out, without event loop or
socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from heapq import nlargest

import attrs

from stride_async import Page

MOST_REQUESTS = 3_000  # a walk with more of them does not end


class Refused(Exception):
    """The service responded with 404."""


def walked(walk, service, *, wanted=None, on_undecodable=None) -> Iterator[Page]:
    """Yield the pages of a walk, including empty ones."""
    for _ in range(MOST_REQUESTS):
        step = walk.next(wanted)
        if step is None:
            return
        if isinstance(step, Page):
            yield step
            continue
        try:
            body = service.answer(step)
        except Refused:
            if not walk.recover_from_gone():
                raise
            continue
        walk.receive(body, on_undecodable)
    raise AssertionError("the walk does not end")


def items_of(pages) -> list:
    """Return all items of the pages, in order."""
    return [item for page in pages for item in page.items]


def cut(pages, count):
    """Return the first `count` items and the bookmark after them, or None if there is no page."""
    items, bookmark = [], None
    for page in pages:
        count_here = min(count - len(items), len(page.items))
        items += page.items[:count_here]
        bookmark = page.bookmark_after(count_here)
        if len(items) == count:
            break
    return items, bookmark


@attrs.define
class Service:
    """Records its requests. `before` is called with the number of each request, so that a test can change the data."""

    before: Callable[[int], object] = attrs.field(default=lambda _: None, kw_only=True)
    requests: list = attrs.field(factory=list, init=False)

    def answer(self, request) -> bytes:
        self.requests.append(request)
        self.before(len(self.requests))
        return json.dumps(self.page(dict(request.query))).encode()

    def page(self, query):
        raise NotImplementedError


def instant(ts: int) -> str:
    """Return an RFC 3339 instant with nine fraction digits."""
    return f"{(datetime(1970, 1, 1) + timedelta(seconds=ts // 10**9)).isoformat()}.{ts % 10**9:09}Z"


def nanoseconds(text: str) -> int:
    """Return the nanoseconds of an instant in UTC, with or without a fraction."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    return round(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


@attrs.define
class HistoryService(Service):
    """The history of a conversation, given the key of each message. `order` sorts the messages of a page."""

    messages: set = attrs.field(factory=set, converter=set)
    order: Callable[[list], list] = sorted
    damaged: dict = attrs.field(factory=dict, kw_only=True)  # the element to send for a message id

    def page(self, query):
        times = {key[1]: key[0] for key in self.messages}
        low, high = [(-(10**30), "")], [(10**30, "")]
        for name, found in query.items():
            if name.endswith("Message"):
                if found not in times:
                    raise Refused(found)
                (low if name == "afterMessage" else high).append((times[found], found))
        if "afterTimestamp" in query:
            low.append((nanoseconds(query["afterTimestamp"]), "\U0010ffff"))
        if "beforeTimestamp" in query:
            high.append((nanoseconds(query["beforeTimestamp"]), ""))
        above, below = max(low), min(high)
        latest = nlargest(int(query["limit"]), (key for key in self.messages if above < key < below))
        return {"messages": [self.element(key) for key in self.order(latest)]}

    def element(self, key):
        ts, name = key
        element = {"id": name, "sender": {"id": "u"}, "ts": instant(ts), "text": f"at {ts}", "body": None}
        return self.damaged.get(name, element)


@attrs.define
class ConversationsService(Service):
    """A list of conversations by name. The cursor is the last name of a page, which stays valid under changes."""

    names: list = attrs.field(factory=list, converter=list)

    def page(self, query):
        limit, last = int(query["limit"]), query.get("cursor", "")
        found = [name for name in sorted(set(self.names)) if name > last]
        more = found[limit - 1] if len(found) > limit else ""
        values = [{"id": name, "name": name} for name in found[:limit]]
        return {"values": values, "cursor": more, "size": len(values), "limit": limit}


@attrs.define
class RosterService(Service):
    """A roster with `start` and `limit`, in the order in which people joined. It ignores what is not in `honors`."""

    ids: list = attrs.field(factory=list, converter=list)
    honors: frozenset = frozenset({"start", "limit"})
    most: int = 75

    def page(self, query):
        start = int(query["start"]) if "start" in self.honors else 0
        limit = min(int(query["limit"]), self.most) if "limit" in self.honors else len(self.ids)
        return {"values": self.ids[start : start + limit]}


@attrs.define
class Scripted(Service):
    """Responds with one page of a list after the other, and then repeats the last one. Bytes are sent unchanged."""

    pages: list = attrs.field(factory=list)

    def answer(self, request) -> bytes:
        self.requests.append(request)
        page = self.pages[min(len(self.requests), len(self.pages)) - 1]
        return page if isinstance(page, bytes) else json.dumps(page).encode()
