"""Who is in a conversation (protocol 5.7, 5.8)."""

from __future__ import annotations

from urllib.parse import quote

from stride_async.server._answers import Answer, Refusal, answer_json, nothing
from stride_async.server._routes.ask import Ask


async def get(ask: Ask) -> Answer:
    """`GET {cv}/roster`: all at once, or the stretch that `start` and `limit` ask for."""
    world = ask.world
    start, limit = (ask.offset("start"), ask.offset("limit")) if world.choices.roster_paging else (0, 0)
    by_id = world.choices.roster_order == "id"
    values = world.store.conversations.roster(ask.room.number, start=start, limit=limit or -1, by_id=by_id)
    base = f"{world.url}/scim/site/{world.store.cloud_id}/Users"
    return answer_json({"values": values, "_links": {user: f"{base}/{quote(user, safe=':')}" for user in values}})


async def change(ask: Ask) -> Answer:
    """`PATCH {cv}/roster`: people to `add` and people to `remove`, a form that no source shows (protocol 5.8)."""
    world = ask.world
    content = await ask.json_object()
    add, remove = _ids(content, "add"), _ids(content, "remove")
    for user in add:
        if world.store.people.scim(user) is None:
            raise Refusal(404, f"no such user: {user}")
    with world.store.transaction():
        world.store.conversations.join(ask.room.number, add)
        world.store.conversations.leave(ask.room.number, remove)
    return nothing(world.choices.roster_status)


def _ids(content: dict[str, object], name: str) -> list[str]:
    ids = content.get(name)
    if ids is None:
        return []
    if not isinstance(ids, list) or not all(isinstance(user, str) for user in ids):
        raise Refusal(400, f"{name}: expected a list of user ids")
    return ids
