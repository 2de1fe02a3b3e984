"""The document of a message, as a page displays it. Pure.

`Document.to_html` escapes all text, so `<` begins a tag and nothing else, and its tags have few forms. Those that a
page displays differently are replaced here: a page has no style attributes (its security policy forbids them), loads
nothing from elsewhere, has one `h1`, and displays the files of the archive.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Callable
from html import unescape

_TAG = re.compile(
    r"<(?:(?P<heading>/?h)(?P<level>[1-6])>"
    r'|span style="color: (?P<color>#\w+)">'
    r'|(?P<cell>t[dh])(?P<spans>[^>]*?) style="background: (?P<background>#\w+)">'
    r'|img src="(?P<src>[^"]*)" alt="">'
    r'|span class="media" data-media-id="(?P<media>[^"]*)"></span>'
    r'|span class="mention" data-user-id="(?P<user>[^"]*)">'
    r"|(?P<table>/?table)>"
    r"|pre>"
    r'|input type="checkbox" disabled(?P<checked> checked)?>'
    r'|a href="(?P<link>[^>]*) rel="noopener noreferrer">)'
)
_GREY = 0.15  # the saturation below which a color has no hue
_HUES = (
    (15, "red"), (40, "orange"), (65, "yellow"), (90, "lime"), (150, "green"), (175, "teal"),
    (200, "cyan"), (225, "blue"), (260, "indigo"), (290, "purple"), (340, "pink"), (360, "red"),
)  # fmt: skip


def body_html(html: str, display_file: Callable[[str], str]) -> str:
    """Return the HTML of a document for a page. `display_file` returns the HTML for the id of a file."""

    def replaced(tag: re.Match[str]) -> str:
        return _replaced(tag, display_file)

    return _TAG.sub(replaced, html)


def _replaced(tag: re.Match[str], display_file: Callable[[str], str]) -> str:
    part = tag.groupdict()
    match tag.lastgroup:
        case "level":
            return f"<{part['heading']}{min(6, int(part['level']) + 2)}>"
        case "color":
            return f'<span class="ink-{color_class(part["color"])}">'
        case "background":
            return f'<{part["cell"]}{part["spans"]} class="fill-{color_class(part["background"])}">'
        case "src":
            url = part["src"]
            return f'<a href="{url}" rel="noopener noreferrer nofollow">{url}</a>'
        case "media":
            return display_file(unescape(part["media"]))
        case "user":
            return '<span class="mention">'
        case "table":
            return '<div class="scroll"><table>' if part["table"] == "table" else "</table></div>"
        case "link":
            return f'<a href="{part["link"]} rel="noopener noreferrer nofollow">'
        case "checked":
            return '<span class="box">\N{BALLOT BOX WITH CHECK}</span>'
    if tag[0] == "<pre>":
        return '<pre tabindex="0">'
    return '<span class="box">\N{BALLOT BOX}</span>'


def color_class(color: str) -> str:
    """Return which of the twelve colors of the pages comes closest to one such as `#36b37e`."""
    digits = color.removeprefix("#")
    if len(digits) in {3, 4}:
        digits = "".join(digit * 2 for digit in digits)
    if len(digits) not in {6, 8}:
        return "gray"
    red, green, blue = (int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if saturation < _GREY or not 0.04 < lightness < 0.97:
        return "gray"
    return next(name for limit, name in _HUES if hue * 360 <= limit)
