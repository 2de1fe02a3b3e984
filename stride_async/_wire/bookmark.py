"""A position in a listing, as text that outlives the process. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import msgspec

from stride_async._arguments import of_type
from stride_async._errors import StaleBookmark

VERSION = 1

Scalar = str | int | bool | None


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    query: dict[str, Scalar]
    place: dict[str, Scalar]


_read = msgspec.json.Decoder(_Stored).decode


@attrs.frozen
class Bookmark:
    """The position after one item of a listing. `dumps` and `loads` convert it to text and back.

    A history is resumed by time and id, even if messages have been deleted since. Any other listing is resumed after
    the bookmarked item. If that item is no longer listed, only its count within the page is known; as many items may
    then be missed as have left the page before it.
    """

    query: Mapping[str, str | int | bool | None]
    """What was listed: kind, path with the site's id, filters, bounds and order.

    Another listing refuses the bookmark. The page size, `max_items` and the base URL are not included.
    """
    place: Mapping[str, str | int | bool | None]
    """The position: a key, or a cursor or offset with the id of the item. Empty at the start of the listing."""

    def dumps(self) -> str:
        """Return the bookmark as one line of JSON."""
        return msgspec.json.encode(_Stored(VERSION, dict(self.query), dict(self.place))).decode()

    @classmethod
    def loads(cls, text: str | bytes) -> Bookmark:
        """Return the bookmark for a text that `dumps` returned.

        Args:
            text: What `dumps` returned.

        Raises:
            StaleBookmark: The text is not a bookmark, or has a version that this client cannot read.
        """
        of_type(text, "the bookmark", str, bytes)
        try:
            version = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("v")
            if version is not None and bytes(version) != str(VERSION).encode():
                raise StaleBookmark(f"the bookmark has version {bytes(version).decode()}; this client reads {VERSION}")
            stored = _read(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise StaleBookmark(f"the text is not a bookmark: {error}") from error
        return cls(stored.query, stored.place)


def check_listing(bookmark: Bookmark, query: Mapping[str, Scalar]) -> None:
    """Refuse a bookmark of any other listing than the one with this query.

    Raises:
        StaleBookmark: The bookmark is of another listing; the message names what differs.
    """
    differing = [name for name in {**query, **bookmark.query} if query.get(name) != bookmark.query.get(name)]
    if differing:
        parts = "; ".join(f"{name} is {bookmark.query.get(name)!r}, here {query.get(name)!r}" for name in differing)
        raise StaleBookmark(f"the bookmark is of another listing: {parts}")


def text_in(bookmark: Bookmark, name: str) -> str:
    """Return a string of the bookmark's position, which may be empty.

    Raises:
        StaleBookmark: It is missing, is not a string, or cannot be encoded as UTF-8.
    """
    value = bookmark.place.get(name)
    if not isinstance(value, str) or not can_be_encoded(value):
        raise StaleBookmark(f"the bookmark has {name} {value!r}; expected a string")
    return value


def number_in(bookmark: Bookmark, name: str, low: int, high: int) -> int:
    """Return an integer of the bookmark's position, from `low` to `high`.

    Raises:
        StaleBookmark: It is missing, is not an integer, or is out of range.
    """
    value = bookmark.place.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise StaleBookmark(f"the bookmark has {name} {value!r}; expected {low} to {high}")
    return value


def can_be_encoded(text: str) -> bool:
    """Return whether the text can be encoded as UTF-8, as everything that is sent must be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
