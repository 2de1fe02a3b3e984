"""The style of the pages: every text can be read, in light and in dark."""

from __future__ import annotations

import colorsys
import re
from importlib.resources import files

import pytest

CSS = (files("stride_async.export.formats.html") / "assets/pages.css").read_text()
LEAST = 4.5  # the contrast that WCAG 2 asks for


def variables(scheme: str) -> dict[str, str]:
    """Return the variables of a scheme. Those of the dark one replace some of the light one."""
    light, dark = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)[:2]
    blocks = [light, dark] if scheme == "dark" else [light]
    return {name: value for block in blocks for name, value in re.findall(r"--([\w-]+): ([^;]+);", block)}


def of_hex(color: str) -> tuple[float, ...]:
    return tuple(int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))


def of_hsl(hue: str, saturation: str, lightness: str) -> tuple[float, ...]:
    return colorsys.hls_to_rgb(int(hue) / 360, float(lightness.strip("%")) / 100, float(saturation.strip("%")) / 100)


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    def luminance(color: tuple[float, ...]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color]
        return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(scheme):
    """Texts, links, marked words, initials, and text in any of the twelve colors or on them."""
    found = variables(scheme)
    plain = {name: of_hex(found[name]) for name in ("page", "raised", "text", "quiet", "accent", "mark", "target")}
    pairs = {
        (text, on): contrast(plain[text], plain[on])
        for text in ("text", "quiet", "accent")
        for on in ("page", "raised")
    }
    pairs |= {("text", on): contrast(plain["text"], plain[on]) for on in ("mark", "target")}
    tones = re.findall(r"\.tone-(\d+) \{ --hue: (\d+); \}", CSS)
    inks = re.findall(r"\.ink-(\w+), \.fill-\w+ \{ --hue: (\d+); \}", CSS)
    for name, hue in tones:
        text = of_hsl(hue, found["tone-strength"], found["tone-text"])
        pairs["tone", name] = contrast(text, of_hsl(hue, found["tone-strength"], found["tone-back"]))
    for name, hue in inks:
        pairs["ink", name] = contrast(of_hsl(hue, "62%", found["ink"]), plain["page"])
        pairs["fill", name] = contrast(plain["text"], of_hsl(hue, found["fill-strength"], found["fill"]))

    assert (12, 11) == (len(tones), len(inks))
    assert {} == {pair: round(ratio, 2) for pair, ratio in pairs.items() if ratio < LEAST}


def test_a_narrow_window_hides_no_number():
    """Counts move below the names instead."""
    narrow = CSS.partition("@media (max-width: 34rem)")[2].partition("\n}")[0]

    assert ".rooms .count" in narrow
    assert [] == [line for line in narrow.splitlines() if "count" in line and "display: none" in line]
