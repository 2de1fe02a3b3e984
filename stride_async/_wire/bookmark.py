"""A place inside a listing, as text that outlives the process."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import msgspec

from stride_async._errors import StaleBookmark

VERSION = 1

Word = str | int | bool | None


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    query: dict[str, Word]
    place: dict[str, Word]


_read = msgspec.json.Decoder(_Written).decode


@attrs.frozen
class Bookmark:
    """Behind which item a listing stood.

    `query` is what was listed (kind, path with the site's id, filters, bounds, order), so that a bookmark is refused by
    another listing; page size and `max_items` are no part of it. `place` is empty at the very start.
    """

    query: Mapping[str, Word]
    place: Mapping[str, Word]

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

    def must_be_of(self, query: Mapping[str, Word]) -> None:
        """Accept only a bookmark of this very listing.

        Raises:
            StaleBookmark: it is of another one; says what differs.
        """
        differing = [name for name in {**query, **self.query} if query.get(name) != self.query.get(name)]
        if differing:
            words = "; ".join(f"{name}: {self.query.get(name)!r}, here {query.get(name)!r}" for name in differing)
            raise StaleBookmark(f"the bookmark is of another listing ({words})")

    def text(self, name: str) -> str:
        """A text of the place, perhaps empty.

        Raises:
            StaleBookmark: it is missing, no text, or cannot be sent.
        """
        value = self.place.get(name)
        if not isinstance(value, str) or not can_be_written(value):
            raise StaleBookmark(f"the bookmark's place has {name} {value!r}, expected a text")
        return value

    def number(self, name: str, low: int, high: int) -> int:
        """A number of the place, `low` to `high`.

        Raises:
            StaleBookmark: it is missing, no whole number, or out of its range.
        """
        value = self.place.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise StaleBookmark(f"the bookmark's place has {name} {value!r}, expected {low} to {high}")
        return value


def can_be_written(text: str) -> bool:
    """Whether it has a form in UTF-8, as all that is sent must."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
