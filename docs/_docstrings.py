"""A Sphinx extension: what autodoc has to know about the docstrings of this package.

Docstrings have the sections of Google's convention, and code between single backticks. Attributes have docstrings of
their own. Public classes name the public module that exports them, and not the module whose source defines them.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import attrs
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxRole

PUBLIC_MODULES = (
    *("stride_async", "stride_async.bot", "stride_async.contrib.opentelemetry", "stride_async.document"),
    *("stride_async.export", "stride_async.export.formats", "stride_async.export.matrix"),
    *("stride_async.server", "stride_async.testing"),
)
# Users get instances of these classes from methods, and not from the constructor.
HANDED_OUT = {
    *("ArchiveReader", "BotKit", "Calls", "ConversationClient", "Document", "Fault", "Faults", "Pager", "RemoteBody"),
    *("Rows", "RunningBot", "Stream", "UserClient"),
}
RAISED_BY_USERS = {"TryAgain"}
# The fields of these classes are options, which are described with their defaults.
OPTIONS = {"BotSettings", "Choices", "ConvertOptions", "ExportOptions", "Plan", "Settings"}
MOST_FIELDS_SHOWN = 6


class CodeOrName(SphinxRole):
    """Single backticks in a docstring: code. A public name, or a member of the class described, is a link as well."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return a cross-reference for a name, and a literal for other code."""
        name = self.text.removesuffix("()")
        if re.fullmatch(r"[A-Z]+[a-z]\w*(\.\w+)?|stride_async\.[\w.]+", name):
            target = f".{name}"  # the dot means that the module need not be named
        elif re.fullmatch(r"[a-z]\w*", name) and (kind := self.env.ref_context.get("py:class")):
            target = f"{self.env.ref_context['py:module']}.{kind}.{name}"
        else:
            return [nodes.literal(self.rawtext, self.text)], []
        return PyXRefRole()("py:obj", self.rawtext, f"{self.text} <{target}>", self.lineno, self.inliner)


def read_google_docstring(app: Sphinx, what: str, name: str, public: object, options: Any, lines: list[str]) -> None:
    """Turn the sections of a docstring into fields, and indented paragraphs into code.

    Sphinx's own extension would take an attribute's docstring for `type: description` if it contains a colon.
    """
    kind = "method" if what in {"attribute", "data", "property"} else what
    text = re.sub(r"^(\S.*\n\n)(?=    \S)", r"\1::\n\n", "\n".join(lines), flags=re.MULTILINE)
    lines[:] = GoogleDocstring(text, Config(), app, kind, name, public, options).lines()
    path, _, attribute = name.rpartition(".")
    module, _, owner = path.rpartition(".")
    if what == "attribute" and owner in OPTIONS:
        field = getattr(attrs.fields(getattr(sys.modules[module], owner)), attribute)
        if field.default is not attrs.NOTHING and attribute != "base_url":  # which has no useful default
            lines.extend(["", f"Default: ``{_default(field)}``"])


def sign(
    app: Sphinx, what: str, name: str, public: object, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    """Return the signature to show. None leaves it as it is.

    It is empty for a fixture, for what users get from a method, and for a class with many fields, which are described
    below it.
    """
    if name.startswith("stride_async.testing.stride_"):
        return "", None
    if not signature or not isinstance(public, type):
        return None
    fields = [field for field in attrs.fields(public) if field.init] if attrs.has(public) else []
    is_raised_by_us = what == "exception" and public.__name__ not in RAISED_BY_USERS
    if public.__name__ in HANDED_OUT or len(fields) > MOST_FIELDS_SHOWN or is_raised_by_us:
        return "", returns
    return (f"({', '.join(_parameters(fields))})", returns) if fields else None


def _parameters(fields: Sequence[Any]) -> Iterator[str]:
    marked = False
    for field in fields:
        if field.kw_only and not marked:
            marked = True
            yield "*"
        yield field.alias if field.default is attrs.NOTHING else f"{field.alias}={_default(field)}"


def _default(field: Any) -> str:
    default = field.default
    if hasattr(default, "factory"):
        return f"{default.factory.__name__}()"
    if isinstance(default, int) and not isinstance(default, bool):
        return f"{default:_}"
    return repr(default).replace("'", '"')


def leave_builtin_names(app: Sphinx, doctree: nodes.document) -> None:
    """Link no name of Python, such as `type`, to an attribute of ours that has the same name."""
    for node in list(doctree.findall(pending_xref)):
        if node["refdomain"] == "py" and node["reftype"] == "class" and hasattr(builtins, node["reftarget"]):
            node.replace_self(nodes.emphasis("", node["reftarget"]))


def find_attributes() -> None:
    """Let autodoc find the docstrings of attributes and aliases, the names in annotations, and the order of members.

    It looks for them in the module that a class names. What a base class that is not public has comes first.
    """
    modules = [import_module(name) for name in PUBLIC_MODULES]
    paths = {id(getattr(module, name)): f"{module.__name__}.{name}" for module in modules for name in module.__all__}
    for module in modules:
        shown = _analyzed(module)
        for name in module.__all__:
            public = getattr(module, name)
            is_class = isinstance(public, type) and public is not Any  # which is the alias `Json`
            private_bases = [base for base in public.__mro__[1:] if id(base) not in paths] if is_class else []
            for defined in (*reversed(private_bases), public):
                own_name = defined.__name__ if is_class else name
                if (definer := _definer(own_name, defined)) is not None:
                    _copy_docstrings(shown, _analyzed(definer), own_name, name)
                    _qualify_annotations(defined, definer, paths)


def _definer(name: str, public: object) -> ModuleType | None:
    """Return the module of ours whose source defines a name."""
    definition = re.compile(rf"^(class {name}\b|{name}\b.* = )", re.MULTILINE)
    ours = [module for path, module in sys.modules.items() if path.startswith("stride_async.")]
    having = [module for module in ours if vars(module).get(name) is public]
    return next((module for module in having if definition.search(_analyzed(module).code)), None)


def _copy_docstrings(shown: ModuleAnalyzer, found: ModuleAnalyzer, own_name: str, name: str) -> None:
    for (kind, attribute), doc in found.attr_docs.items():
        if kind == own_name:
            shown.attr_docs[name, attribute] = doc
        elif (kind, attribute) == ("", name):
            shown.attr_docs["", name] = doc
    for tag in sorted(found.tagorder, key=found.tagorder.__getitem__):
        kind, _, member = tag.partition(".")
        if kind == own_name and member:
            shown.tagorder.setdefault(f"{name}.{member}", len(shown.tagorder))


def _qualify_annotations(defined: object, module: ModuleType, paths: Mapping[int, str]) -> None:
    """Give each public name of ours in the annotations of a class its module, so that it can be found."""

    def qualified(word: re.Match[str]) -> str:
        path = paths.get(id(vars(module).get(word[0])), "")
        return path if path.endswith(f".{word[0]}") else word[0]

    annotations = vars(defined).get("__annotations__", {}) if isinstance(defined, type) else {}
    for attribute, annotation in annotations.items():
        if isinstance(annotation, str) and "stride_async." not in annotation:
            annotations[attribute] = re.sub(r"[A-Za-z_]\w*", qualified, annotation)


def _analyzed(module: ModuleType) -> ModuleAnalyzer:
    analyzer = ModuleAnalyzer.for_module(module.__name__)
    analyzer.analyze()
    return analyzer


def setup(app: Sphinx) -> dict[str, bool]:
    """Register what is above."""
    app.add_role("code-or-name", CodeOrName())
    app.connect("autodoc-process-docstring", read_google_docstring)
    app.connect("autodoc-process-signature", sign)
    app.connect("doctree-read", leave_builtin_names)
    find_attributes()
    return {"parallel_read_safe": True, "parallel_write_safe": True}
