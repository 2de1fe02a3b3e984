"""Who is in a conversation (protocol 5.7, 5.8)."""

from __future__ import annotations

from stride_async.server._responses import HttpError, Response, json_response, no_content
from stride_async.server._routes.request import Request


async def get(request: Request) -> Response:
    """`GET {cv}/roster`: the full roster, or the part that `start` and `limit` select."""
    world = request.world
    start, limit = (request.offset("start"), request.offset("limit")) if world.choices.roster_paging else (0, 0)
    values = world.store.conversations.roster(
        request.conversation.number, start=start, limit=limit or -1, by_id=world.choices.roster_order == "id"
    )
    return json_response({"values": values, "_links": {user_id: world.user_url(user_id) for user_id in values}})


async def change(request: Request) -> Response:
    """`PATCH {cv}/roster`: `add` people and `remove` people, or refuse the call and change nothing.

    No source shows `remove`; it has the form of `add` (protocol 5.8).
    """
    world = request.world
    content = await request.json_object()
    add, remove = _ids(content, "add"), _ids(content, "remove")
    for user_id in add:
        if world.store.people.scim(user_id) is None:
            raise HttpError(404, f"no such user: {user_id}")
    world.change_roster(request.conversation, add=add, remove=remove)
    return no_content(world.choices.roster_status)


def _ids(content: dict[str, object], name: str) -> list[str]:
    ids = content.get(name)
    if ids is None:
        return []
    if not isinstance(ids, list) or not all(isinstance(user_id, str) for user_id in ids):
        raise HttpError(400, f"{name}: expected a list of user ids")
    return ids
