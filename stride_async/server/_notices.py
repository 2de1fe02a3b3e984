"""The bodies of calls to apps (protocol 6.3 to 6.7). Pure."""

from __future__ import annotations

import json

from stride_async.server._store import StoredConversation

Body = dict[str, object]

_VERSION = "1"  # of an installation (protocol 6.6)


def message_body(cloud_id: str, conversation: StoredConversation, content: bytes) -> Body:
    """Return the body for a message, whose document is as unclean as the service delivered it (protocol 6.3)."""
    message = json.loads(content)
    _soil(message["body"], message["id"])
    return {
        "cloudId": cloud_id,
        "message": message,
        "recipients": None,
        "sender": message["sender"],
        "conversation": _conversation(conversation),
        "type": "chat_message_sent",
    }


def roster_body(cloud_id: str, conversation: StoredConversation, user_id: str, action: str) -> Body:
    """Return the body for a person who was added or removed (protocol 6.4)."""
    return {
        "cloudId": cloud_id,
        "conversation": _conversation(conversation),
        "user": {"id": user_id},
        "action": action,
        "type": "chat_roster_updates",
    }


def conversation_body(cloud_id: str, conversation: StoredConversation, initiator_id: str, action: str) -> Body:
    """Return the body for a conversation that was created or changed (protocol 6.5)."""
    return {
        "cloudId": cloud_id,
        "conversation": _conversation(conversation),
        "action": action,
        "initiator": {"id": initiator_id},
        "type": "chat_conversation_updates",
    }


def lifecycle_body(
    cloud_id: str, conversation_id: str, user_id: str, event: str, *, key: str, client_id: str, relay_state: str | None
) -> Body:
    """Return the body of a lifecycle call (protocol 6.6)."""
    body: Body = {
        "key": key,
        "productType": "chat",
        "cloudId": cloud_id,
        "resourceType": "conversation",
        "resourceId": conversation_id,
        "eventType": event,
        "userId": user_id,
        "oauthClientId": client_id,
        "version": _VERSION,
    }
    return body if relay_state is None else {**body, "relayState": relay_state}


def press_body(
    cloud_id: str,
    conversation_id: str,
    user_id: str,
    content: bytes,
    key: str,
    *,
    parameters: Body | None,
    declared: Body,
) -> Body:
    """Return the body for a press on an action of a message (protocol 6.7).

    Without parameters, it has those of the first action in the message that has this target, or else those that the
    target declares.
    """
    message = json.loads(content)
    action = next((action for action in _actions(message["body"]) if _target_key(action) == key), {})
    if parameters is None:
        found = action.get("parameters")
        parameters = found if isinstance(found, dict) else declared
    return {
        "source": {"type": "message", "mid": message["id"]},
        "target": action.get("target", {"key": key}),
        "context": {
            "cloudId": cloud_id,
            "conversationId": conversation_id,
            "userId": user_id,
            "message": {"mid": message["id"], "body": message["body"]},
        },
        "parameters": parameters,
    }


def _conversation(conversation: StoredConversation) -> Body:
    """Return the conversation as it is in bodies: the site is next to it, and there are no links."""
    content = {**json.loads(conversation.json), "isArchived": conversation.archived}
    return {name: value for name, value in content.items() if name not in {"cloudId", "_links"}}


def _soil(document: object, message_id: str) -> None:
    for node in _nodes(document):
        attrs = node.get("attrs")
        if node.get("type") == "mediaGroup":
            node.setdefault("attrs", {})
        elif node.get("type") == "media" and isinstance(attrs, dict):
            node.setdefault("content", None)
            attrs.setdefault("occurrenceKey", f"urn:chat:message:{message_id}")
        elif node.get("type") == "mention" and isinstance(attrs, dict):
            attrs.setdefault("accessLevel", "CONTAINER")


def _actions(document: object) -> list[Body]:
    """Return the actions of cards and the attributes of action marks, in reading order (protocol 8.3, 8.4)."""
    found: list[Body] = []
    for node in _nodes(document):
        attrs, marks = node.get("attrs"), node.get("marks")
        listed = attrs.get("actions") if isinstance(attrs, dict) else None
        found += [action for action in listed if isinstance(action, dict)] if isinstance(listed, list) else []
        for mark in marks if isinstance(marks, list) else ():
            if isinstance(mark, dict) and mark.get("type") == "action" and isinstance(mark.get("attrs"), dict):
                found.append(mark["attrs"])
    return found


def _target_key(action: Body) -> object:
    target = action.get("target")
    return target.get("key") if isinstance(target, dict) else target


def _nodes(document: object) -> list[Body]:
    """Return the nodes of a document in reading order."""
    found: list[Body] = []
    unvisited = [document]
    while unvisited:
        node = unvisited.pop()
        if isinstance(node, dict):
            found.append(node)
            content = node.get("content")
            unvisited.extend(reversed(content) if isinstance(content, list) else ())
    return found
