"""Listings of a service in a few lines each, and what asks a walk for everything.

Written from the protocol (5.2, 5.7, 5.15), not from the client: requests in, bodies out, no loop and no socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from heapq import nlargest

import attrs

from stride_async._wire.pages import Page

MOST_REQUESTS = 3_000
"""Beyond this a walk is taken to go round in circles."""


class Refused(Exception):
    """The service answered 404."""


def walked(walk, service, *, wanted=None, on_undecodable=None) -> Iterator[Page]:
    """The pages of a walk, empty ones too."""
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
    """All items of the pages, in order."""
    return [item for page in pages for item in page.items]


def cut(pages, count):
    """The first `count` items and the bookmark behind them; None where nothing was given."""
    items, bookmark = [], None
    for page in pages:
        taken = min(count - len(items), len(page.items))
        items += page.items[:taken]
        bookmark = page.bookmark_after(taken)
        if len(items) == count:
            break
    return items, bookmark


@attrs.define
class Service:
    """Counts its requests; `before` is called with the number of each, so that a test may change things."""

    before: Callable[[int], object] = attrs.field(default=lambda _: None, kw_only=True)
    requests: list = attrs.field(factory=list, init=False)

    def answer(self, request) -> bytes:
        self.requests.append(request)
        self.before(len(self.requests))
        return json.dumps(self.page(dict(request.query))).encode()

    def page(self, query):
        raise NotImplementedError


def instant(ts: int) -> str:
    """RFC 3339 with nine digits."""
    return f"{(datetime(1970, 1, 1) + timedelta(seconds=ts // 10**9)).isoformat()}.{ts % 10**9:09}Z"


def nanoseconds(text: str) -> int:
    """Of an instant in UTC, with or without a fraction."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return round(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


@attrs.define
class Talk(Service):
    """A conversation: `(ts, id)` of each message; `order` is that of the elements in a page."""

    messages: set = attrs.field(factory=set, converter=set)
    order: Callable[[list], list] = sorted
    damaged: dict = attrs.field(factory=dict, kw_only=True)
    """What is sent instead of the message with this id."""

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
        whole = {"id": name, "sender": {"id": "u"}, "ts": instant(ts), "text": f"at {ts}", "body": None}
        return self.damaged.get(name, whole)


@attrs.define
class Rooms(Service):
    """A conversation list by name; the cursor is the last name given, so that it stays right under change."""

    names: list = attrs.field(factory=list, converter=list)

    def page(self, query):
        limit, behind = int(query["limit"]), query.get("cursor", "")
        found = [name for name in sorted(set(self.names)) if name > behind]
        more = found[limit - 1] if len(found) > limit else ""
        values = [{"id": name, "name": name} for name in found[:limit]]
        return {"values": values, "cursor": more, "size": len(values), "limit": limit}


@attrs.define
class People(Service):
    """A roster by `start` and `limit`, in the order people joined."""

    ids: list = attrs.field(factory=list, converter=list)
    honours: frozenset = frozenset({"start", "limit"})
    most: int = 75

    def page(self, query):
        start = int(query["start"]) if "start" in self.honours else 0
        limit = min(int(query["limit"]), self.most) if "limit" in self.honours else len(self.ids)
        return {"values": self.ids[start : start + limit]}


@attrs.define
class Scripted(Service):
    """Answers page after page from a list, the last one again and again; bytes go out as they are."""

    pages: list = attrs.field(factory=list)

    def answer(self, request) -> bytes:
        self.requests.append(request)
        page = self.pages[min(len(self.requests), len(self.pages)) - 1]
        return page if isinstance(page, bytes) else json.dumps(page).encode()
