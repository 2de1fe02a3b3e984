"""The URLs that people copy from Stride to name a conversation. Pure."""

from __future__ import annotations

import re

from stride_async._arguments import text as checked

_ROOM = re.compile(
    r"https://(?:app\.stride\.com|applink\.atlassian\.com/stride)"
    r"/(?P<site>[^/?#]+)/chat/(?P<room>[^/?#]+)(?:[/?#].*)?"
)


def room_in_address(text: str) -> tuple[str, str] | None:
    """Return the cloud id and the conversation id in a room's web URL or deep link (protocol 1.1).

    Anything after the conversation id is ignored, such as the `/info` of a page within the room. Return None if the
    text is not such a URL.

    Args:
        text: Any text.
    """
    match = _ROOM.fullmatch(checked(text, "URL").strip())
    return None if match is None else (match["site"], match["room"])
