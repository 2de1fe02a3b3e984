"""The templates of the pages, and the files that all pages use."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from stride_async.export.formats.html import _shown

_PACKAGE = "stride_async.export.formats.html"
_ASSETS = ("pages.css", "pages.js")

_environment = Environment(
    loader=PackageLoader(_PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_environment.filters |= {"size": _shown.size}
_templates = {name: _environment.get_template(name) for name in _environment.list_templates()}


def render(template: str, /, **values: object) -> Markup:
    """Return what a template makes of the values. All text is escaped, except `Markup`."""
    return Markup(_templates[template].render(values))  # noqa: S704 -- the templates escape


def assets() -> dict[str, bytes]:
    """Return the files that all pages use, by path."""
    folder = files(_PACKAGE) / "assets"
    return {f"assets/{name}": (folder / name).read_bytes() for name in _ASSETS}


def edition() -> str:
    """Return a digest of this version and its templates. Pages of another edition are made again."""
    digest = hashlib.sha256(version("stride-async").encode())
    for name in sorted(_templates):
        digest.update((files(_PACKAGE) / "templates" / name).read_bytes())
    return digest.hexdigest()
