"""Let a person of the local server's site speak, through the route that only the local server has."""

from __future__ import annotations

from stride_async import BadRequest, Document, Forbidden, Json, Markdown, NotFound, StrideClient
from stride_async._cli.exits import CommandError, Exit

_ROUTE = "/local-server/message"


async def speak(
    client: StrideClient, person: str, conversation_id: str, content: str | Markdown | Document, *, mention: bool
) -> str:
    """Send a message to a conversation as a person, and return the id of the message.

    The person is an id, an email address, a mention name or a display name. With `mention`, the message begins with a
    mention of the app.

    Raises:
        CommandError: The service is not a local server, or it refuses the message.
    """
    body: dict[str, Json]
    match content:
        case Document():
            body = {"document": content.to_json()}
        case Markdown():
            body = {"markdown": content.text}
        case _:
            body = {"text": content}
    call = {"as": person, "conversation": conversation_id, "mention": mention, **body}
    try:
        added = await client.request("POST", _ROUTE, json=call)
    except NotFound as error:
        message = f"--as requires a local server (`stride server`), and {client.settings.base_url} is not one."
        raise CommandError(Exit.USAGE, message) from error
    except (BadRequest, Forbidden) as error:
        raise CommandError(Exit.USAGE, f"Nothing was sent: {error.message.removeprefix('as: ')}.") from error
    if not isinstance(added, dict):
        raise CommandError(Exit.UNEXPECTED, f"{client.settings.base_url} returned no id of the message.")
    return str(added["id"])
