"""What the local server offers in addition to the service: a person can speak.

`POST /local-server/message` adds a message by a person to a conversation. It requires the token of an app, as all calls
do. Every other service responds to this path with 404, and the local server never does.

The request is a JSON object:

- `as` (required): the person, as an id, an email address, a mention name or a display name. Case, white space
  and the encoding of accents do not matter, and an `@` in front is ignored. If several people have the name, the call
  is refused. If none has it, the error names similar ones.
- `conversation`: the id of a conversation that the app is installed in. If it is absent or null, the message goes to
  the person's direct conversation with the app, which is created if there is none.
- Exactly one of `text` (plain text), `markdown` (Markdown) and `document` (a document, protocol 8).
- `mention`: with `true`, the message begins with a mention of the app.

Statuses:

- 201: the message was added. The body is `{"id": …, "conversationId": …, "sender": {"id": …}}`.
- 400: the request is invalid, or the person or the conversation is unknown or ambiguous.
- 401: there is no token, or it has expired.
- 403: the app is not installed in the conversation, or the conversation is archived.
- 405: the method is not POST.
- 413: the body is larger than 1 MiB, or the text longer than 20,000 characters.

The body of every error is `{"code": status, "message": sentence}`. Such a call is not one to the service: it is not
counted against a rate limit, no fault or latency applies to it, and `LocalServer.calls` does not contain it.
"""

from __future__ import annotations

from typing import NoReturn

from stride_async.server._mentions import Document, with_mention
from stride_async.server._responses import HttpError, Response, json_response
from stride_async.server._routes.conversations import refuse_archived
from stride_async.server._routes.messages import checked_document, text_document
from stride_async.server._routes.request import Request, optional_string, shortened, string_field
from stride_async.server._store import StoredConversation

_CONTENTS = ("text", "markdown", "document")
_NAMED = 5  # people that an error lists


async def add_message(request: Request) -> Response:
    """`POST /local-server/message`."""
    world, app = request.world, request.grant.app
    content = await request.json_object()
    sender = _person(request, string_field(content, "as"))
    document = _document(request, content)
    conversation = _conversation(request, optional_string(content, "conversation"), sender)
    refuse_archived(conversation)
    if _flag(content, "mention"):
        document = with_mention(document, app.account_id, app.name)
    message_id = world.add_message(conversation, document, sender)
    reply = {"id": message_id, "conversationId": conversation.id, "sender": {"id": sender}}
    return json_response(reply, status=201)


def _person(request: Request, given: str) -> str:
    people = request.world.store.people
    found = people.called(given)
    if not found:
        similar = people.similar(given)
        hint = f"; a similar name is {' or '.join(map(repr, similar))}" if similar else ""
        _refuse(f"as: no person of this site has the id, email address or name {shortened(given)!r}{hint}")
    if len(found) > 1:
        names = ", ".join(f"{people.display_name(id)} ({id})" for id in found[:_NAMED])
        _refuse(f"as: {shortened(given)!r} is the name of {len(found)} people, give an id: {names}")
    return found[0]


def _conversation(request: Request, given: str, sender: str) -> StoredConversation:
    app = request.grant.app
    if not given:
        request.refuse_room_token()
        return request.world.direct_conversation(app, sender)
    if request.world.store.conversations.find(given) is None:
        _refuse(f"conversation: no conversation of this site has the id {shortened(given)!r}")
    return request.usable_conversation(app, given)


def _document(request: Request, content: dict[str, object]) -> Document:
    given = [name for name in _CONTENTS if content.get(name) is not None]
    if len(given) != 1:
        _refuse(f"expected exactly one of {', '.join(_CONTENTS)}, found {' and '.join(given) or 'none'}")
    if given == ["document"]:
        return checked_document(request, content["document"])
    return text_document(request, string_field(content, given[0]), markdown=given == ["markdown"])


def _flag(content: dict[str, object], name: str) -> bool:
    value = content.get(name)
    if value is not None and not isinstance(value, bool):
        _refuse(f"{name}: expected true or false, found {type(value).__name__}")
    return bool(value)


def _refuse(message: str) -> NoReturn:
    raise HttpError(400, message)
