"""A place inside a listing, as text that outlives the process."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import msgspec

from stride_async._errors import StaleBookmark

VERSION = 1

Scalar = str | int | bool | None


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    query: dict[str, Scalar]
    place: dict[str, Scalar]


_read = msgspec.json.Decoder(_Written).decode


@attrs.frozen
class Bookmark:
    """Behind which item a listing stood.

    `query` is what was listed (kind, path with the site's id, filters, bounds, order), so that a bookmark is refused by
    another listing; page size and `max_items` are no part of it. `place` is empty at the very start.
    """

    query: Mapping[str, str | int | bool | None]
    place: Mapping[str, str | int | bool | None]

    def dumps(self) -> str:
        """One line of JSON."""
        return msgspec.json.encode(_Written(VERSION, dict(self.query), dict(self.place))).decode()

    @classmethod
    def loads(cls, text: str | bytes) -> Bookmark:
        """The bookmark that `dumps` wrote.

        Raises:
            StaleBookmark: the text is no bookmark, or of a version this client does not read.
        """
        try:
            version = msgspec.json.decode(text, type=dict[str, msgspec.Raw]).get("v")
            if version is not None and bytes(version) != str(VERSION).encode():
                raise StaleBookmark(f"the bookmark has version {bytes(version).decode()}; this client reads {VERSION}")
            written = _read(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise StaleBookmark(f"this is no bookmark: {error}") from error
        return cls(written.query, written.place)


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
