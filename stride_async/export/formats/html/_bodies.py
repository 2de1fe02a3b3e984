"""How the body of a file appears on a page. Pure.

The first bytes decide, never the name or the type that someone gave the file: a page displays pictures, sounds and
videos, and offers everything else as a download with a neutral name. SVG and HTML are always downloads, because they
can contain scripts.
"""

from __future__ import annotations

import re
from typing import Literal

import attrs

FIRST_BYTES = 64
"""How many bytes of a body `kind_of` looks at."""

_Element = Literal["img", "video", "audio", "download"]


@attrs.frozen
class BodyKind:
    """What a page does with a body, and how the file is named there."""

    element: _Element
    extension: str


DOWNLOAD = BodyKind("download", "bin")

_KINDS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), BodyKind("img", "png")),
    (re.compile(rb"\xff\xd8\xff"), BodyKind("img", "jpg")),
    (re.compile(rb"GIF8[79]a"), BodyKind("img", "gif")),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), BodyKind("img", "webp")),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), BodyKind("img", "avif")),
    (re.compile(rb"....ftyp(?:isom|iso[2-9]|mp4[12]|avc1|dash|M4V |M4VP|MSNV)", re.DOTALL), BodyKind("video", "mp4")),
    (re.compile(rb"\x1a\x45\xdf\xa3.{0,48}webm", re.DOTALL), BodyKind("video", "webm")),
    (re.compile(rb"ID3|\xff[\xf2\xf3\xfa\xfb]"), BodyKind("audio", "mp3")),
    (re.compile(rb"OggS"), BodyKind("audio", "ogg")),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), BodyKind("audio", "wav")),
)


def kind_of(first: bytes) -> BodyKind:
    """Return how to display a body that begins with these bytes."""
    return next((kind for pattern, kind in _KINDS if pattern.match(first)), DOWNLOAD)
