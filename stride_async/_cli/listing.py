"""`stride list`: list conversations, users and rosters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

import click

from stride_async import Conversation, Forbidden, NotFound, StrideClient, User
from stride_async._cli import show
from stride_async._cli.connect import with_client
from stride_async._cli.escape import printable
from stride_async._cli.exits import CommandError, Exit
from stride_async._cli.find import find_conversation
from stride_async._cli.lazy import Group
from stride_async._cli.options import TextParam, conversation_argument, json_option, verbose_option
from stride_async._cli.people import People


@click.group(name="list", cls=Group)
def command() -> None:
    """List conversations, users, or a conversation's members.

    \b
    Examples:
        stride list conversations --archived
        stride list users
        stride list roster general
    """


@command.command(name="conversations")
@click.option("--archived", is_flag=True, help="Include archived conversations.")
@click.option("--no-private", is_flag=True, help="Exclude private conversations.")
@click.option("--no-direct", is_flag=True, help="Exclude direct conversations.")
@click.option("--query", type=TextParam(), help="Only conversations with TEXT in their name.")
@click.option("--sort", type=click.Choice(["asc", "desc"]), help="Order in which the service lists them.")
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
    """List the conversations that the app can access.

    JSON lines have the service's fields: id, name, topic, type, privacy, isArchived, created, modified and others.

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
            raise CommandError(Exit.NOTHING_SELECTED, f"No conversation has {query!r} in its name.")
        if show.for_people(as_json=as_json):
            show.table(("ID", "KIND", "CREATED", "NAME"), map(conversation_row, listed))

    with_client(work)


@command.command(name="users")
@json_option
@verbose_option
def users(*, as_json: bool) -> None:
    """List the members of all conversations.

    JSON lines have id, displayName and userName (the email address). If the service has no profile of a user, the last
    two are empty. Rosters that could not be read are listed on stderr, and the exit code is 5.

    \b
    Examples:
        stride list users
        stride list users --json | jq -r .userName
    """

    async def work(client: StrideClient) -> None:
        rooms = await client.conversations(include_archived=True).collect(limit=None)
        rosters = await asyncio.gather(*(_roster(client, room.id) for room in rooms))
        members = dict.fromkeys(member for roster in rosters for member in roster or ())
        _show_people(await People(client).look_up(members), as_json=as_json)
        unread = [room for room, roster in zip(rooms, rosters, strict=True) if roster is None]
        if unread:
            named = ", ".join(f"{printable(room.name)} ({room.id})" for room in unread)
            raise CommandError(Exit.PARTIAL, f"{show.counted(len(unread), 'roster')} could not be read: {named}")

    with_client(work)


@command.command(name="roster")
@conversation_argument
@json_option
@verbose_option
def roster(*, conversation: str, as_json: bool) -> None:
    """List the members of a conversation.

    CONVERSATION is an id, an exact name or a URL. JSON lines have id, displayName and userName (the email address).

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
    """Return the members of a conversation; None if the app may not read them, or the conversation no longer exists."""
    try:
        return await client.conversation(id).roster().collect(limit=None)
    except (Forbidden, NotFound):
        return None


def _show_people(people: Sequence[User], *, as_json: bool) -> None:
    if show.for_people(as_json=as_json):
        show.table(("ID", "NAME", "EMAIL"), ((user.id, user.display_name, user.user_name) for user in people))
    else:
        show.json_lines(
            {"id": user.id, "displayName": user.display_name, "userName": user.user_name} for user in people
        )


def conversation_row(conversation: Conversation) -> tuple[str, str, str, str]:
    """Return the id, kind, date of creation and name of a conversation, for a table."""
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
        "created": _timestamp(conversation.created),
        "modified": _timestamp(conversation.modified),
        "avatarUrl": conversation.avatar_url,
        "cloudId": conversation.cloud_id,
        **conversation.extra,
    }


def _timestamp(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
