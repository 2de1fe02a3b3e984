"""Names and ids for other systems, made from names and ids of the site alone. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from base64 import b32encode
from collections.abc import Iterator

import attrs

_OTHER = re.compile(r"[^a-z0-9]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", *(f"{name}{n}" for name in ("COM", "LPT") for n in range(1, 10))})
_LONGEST_FILE_NAME = 80
_LONGEST_EXTENSION = 16
_SUFFIX_DIGITS = 8
_ID_BYTES = 10  # 80 bits, which base 32 writes as 16 characters


def digest_of(id: str) -> str:
    """Return the SHA-256 of an id in hexadecimal digits."""
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()


def slug(text: str, longest: int) -> str:
    """Return text as lower-case ASCII letters, digits and single hyphens, at most `longest` of them; maybe empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _OTHER.sub("-", plain).strip("-")[:longest].strip("-")


@attrs.define
class Slugs:
    """Slugs that are unique. The first to ask for a name gets it; later ones get a suffix made from their id."""

    longest: int
    reserved: frozenset[str] = frozenset()
    _taken: set[str] = attrs.field(factory=set, init=False)

    def take(self, text: str, id: str) -> str:
        """Return a slug of the text that no other id has: letters, digits and hyphens, beginning with no hyphen."""
        wanted = slug(text, self.longest)
        if wanted and wanted not in self._taken and wanted not in self.reserved:
            self._taken.add(wanted)
            return wanted
        suffix = digest_of(id)
        for digits in range(_SUFFIX_DIGITS, len(suffix) + 1):
            start = slug(text, max(0, self.longest - digits - 1))
            candidate = f"{start}-{suffix[:digits]}" if start else suffix[:digits]
            if candidate not in self._taken and candidate not in self.reserved:
                self._taken.add(candidate)
                return candidate
        raise ValueError(f"two names for the id {id!r}")


def safe_name(name: str, otherwise: str = "file") -> str:
    """Return a file name that any file system accepts, with the extension of the original.

    It has ASCII letters, digits, `.`, `_` and `-`, at most 80 of them, no leading or trailing dot, and is not the name
    of a device. A name of which nothing is left becomes `otherwise`.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = _UNSAFE.sub("_", plain).rstrip(".")
    stem, dot, extension = plain.rpartition(".")
    if not dot or not extension.isalnum() or len(extension) > _LONGEST_EXTENSION:
        stem, extension = plain, ""
    stem = stem.lstrip(".")[: _LONGEST_FILE_NAME - len(extension) - 1].rstrip(".")
    if not stem.strip("_"):
        stem = otherwise
    if stem.partition(".")[0].upper() in _DEVICES:
        stem = f"_{stem[: _LONGEST_FILE_NAME - len(extension) - 2]}"
    return f"{stem}.{extension}" if extension else stem


def stable_id(prefix: str, original: str) -> str:
    """Return an id made from the original id alone: the prefix, and 16 upper-case letters or digits."""
    digest = hashlib.sha256(original.encode("utf-8", "surrogatepass")).digest()
    return prefix + b32encode(digest[:_ID_BYTES]).decode()


@attrs.define
class Ids:
    """The ids and names that an output uses for what has another id on the site, each kind in the order of use."""

    _ids: dict[tuple[str, str], str] = attrs.field(factory=dict, init=False)
    _taken: set[tuple[str, str]] = attrs.field(factory=set, init=False)

    def add(self, kind: str, original: str, id: str) -> str:
        """Record the id for something of a kind (user, conversation or file), and return it.

        Raises:
            ValueError: Something else of this kind has the id already.
        """
        known = self._ids.get((kind, original))
        if known is None:
            if (kind, id) in self._taken:
                raise ValueError(f"two of kind {kind} have the id {id}; the second is {original!r}")
            self._ids[kind, original] = id
            self._taken.add((kind, id))
        elif known != id:
            raise ValueError(f"{original!r} of kind {kind} has two ids: {known} and {id}")
        return id

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        return iter((kind, original, id) for (kind, original), id in sorted(self._ids.items()))
