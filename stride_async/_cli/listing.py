"""`stride list`: conversations, users, rosters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import click

from stride_async import Conversation, Forbidden, NotFound, StrideClient, User
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.exits import Ended, Exit
from stride_async._cli.find import find_conversation
from stride_async._cli.options import conversation_argument, json_option, verbose_option
from stride_async._cli.people import People


@click.group(name="list")
def command() -> None:
    """List conversations, users, or who is in a conversation.

    \b
    Examples:
        stride list conversations --archived
        stride list users
        stride list roster general
    """


@command.command(name="conversations")
@click.option("--archived", is_flag=True, help="Archived ones too.")
@click.option("--no-private", is_flag=True, help="Without private ones.")
@click.option("--no-direct", is_flag=True, help="Without direct ones.")
@click.option("--query", metavar="TEXT", help="Only those with TEXT in their name.")
@click.option("--sort", type=click.Choice(["asc", "desc"]), help="Order, as the service sorts.")
@json_option
@verbose_option
def conversations(
    *,
    archived: bool,
    no_private: bool,
    no_direct: bool,
    query: str | None,
    sort: Literal["asc", "desc"] | None,
    as_json: bool,
) -> None:
    """List the conversations the app can reach.

    JSON lines have the service's own words: id, name, topic, type, privacy, isArchived, created, modified.

    \b
    Examples:
        stride list conversations
        stride list conversations --query release --sort desc
        stride list conversations --archived --json | jq -r .id
    """

    async def work(client: StrideClient) -> None:
        pager = client.conversations(
            query=query,
            include_private=not no_private,
            include_archived=archived,
            exclude_direct=no_direct,
            sort=sort,
        )
        listed: list[Conversation] = []
        found = False
        async for page in pager.pages():
            found = True
            if show.for_people(as_json=as_json):
                listed += page.items
            else:
                show.json_lines(map(_conversation_json, page.items))
        if query and not found:
            raise Ended(Exit.NOTHING_SELECTED, f"no conversation has {query!r} in its name")
        if show.for_people(as_json=as_json):
            show.table(("ID", "KIND", "CREATED", "NAME"), map(conversation_row, listed))

    with_client(work)


@command.command(name="users")
@json_option
@verbose_option
def users(*, as_json: bool) -> None:
    """List the people met in the rosters of the conversations the app can reach.

    JSON lines have id, displayName and userName (the e-mail address); who is unknown to the service has empty ones.
    Rosters that may not be read are named on stderr, and the exit code is 5.

    \b
    Examples:
        stride list users
        stride list users --json | jq -r .userName
    """

    async def work(client: StrideClient) -> None:
        rooms = await client.conversations(include_archived=True).collect(limit=None)
        rosters = await asyncio.gather(*(_roster(client, room.id) for room in rooms))
        met = dict.fromkeys(member for roster in rosters for member in roster or ())
        _show_people(await People(client).look_up(met), as_json=as_json)
        unread = (room for room, roster in zip(rooms, rosters, strict=True) if roster is None)
        closed = [f"{show.printable(room.name)} ({room.id})" for room in unread]
        if closed:
            raise Ended(Exit.PARTIAL, f"{len(closed)} rosters may not be read: {', '.join(closed)}")

    with_client(work)


@command.command(name="roster")
@conversation_argument
@json_option
@verbose_option
def roster(*, conversation: str, as_json: bool) -> None:
    """List who is in CONVERSATION: an id, an exact name, or an address.

    JSON lines have id, displayName and userName (the e-mail address).

    \b
    Examples:
        stride list roster general
        stride list roster 6f5b0c5c-2f47-4fb0-9e9b-6d1a9a7f0e11 --json
    """

    async def work(client: StrideClient) -> None:
        room = await find_conversation(client, conversation)
        ids = await room.roster().collect(limit=None)
        _show_people(await People(client).look_up(ids), as_json=as_json)

    with_client(work)


async def _roster(client: StrideClient, id: str) -> list[str] | None:
    """Who is in the conversation; None when the app may not see it, or it is gone meanwhile."""
    try:
        return await client.conversation(id).roster().collect(limit=None)
    except (Forbidden, NotFound):
        return None


def _show_people(people: Sequence[User], *, as_json: bool) -> None:
    if show.for_people(as_json=as_json):
        show.table(("ID", "NAME", "E-MAIL"), ((user.id, user.display_name, user.user_name) for user in people))
    else:
        show.json_lines(
            {"id": user.id, "displayName": user.display_name, "userName": user.user_name} for user in people
        )


def conversation_row(conversation: Conversation) -> tuple[str, str, str, str]:
    """Id, kind, day of creation and name, for a table."""
    kind = "direct" if conversation.type == "direct" else conversation.privacy
    created = conversation.created.date().isoformat() if conversation.created else ""
    return conversation.id, f"{kind}, archived" if conversation.is_archived else kind, created, conversation.name


def _conversation_json(conversation: Conversation) -> dict[str, object]:
    return {
        "id": conversation.id,
        "name": conversation.name,
        "topic": conversation.topic,
        "type": conversation.type,
        "privacy": conversation.privacy,
        "isArchived": conversation.is_archived,
        "created": _instant(conversation.created),
        "modified": _instant(conversation.modified),
        "avatarUrl": conversation.avatar_url,
        "cloudId": conversation.cloud_id,
        **conversation.extra,
    }


def _instant(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
