"""Build the site with Sphinx; `nox -s docs` does."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyXRefRole
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxRole

import stride_async

PUBLIC_MODULES = (
    *("stride_async", "stride_async.bot", "stride_async.contrib.opentelemetry", "stride_async.document"),
    *("stride_async.export", "stride_async.export.formats", "stride_async.export.matrix"),
    *("stride_async.server", "stride_async.testing"),
)
HANDED_OUT = {
    *("ArchiveReader", "BotKit", "Calls", "ConversationClient", "Document", "Fault", "Faults", "Pager", "RemoteBody"),
    *("Rows", "RunningBot", "Stream", "UserClient"),
}

project = "stride_async"
author = project_copyright = "The stride_async authors"
release = version = stride_async.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [
    # What other packages document. Their pages are not read, so that a build needs no network.
    (r"py:.*", r"(aiohttp|attr|collections|contextlib|datetime|opentelemetry|os|pathlib|re|types|typing|web)\..*"),
    (r"py:obj", "Bearer"),  # a word of a header
    (r"py:class", r"Path|PathLike|date|datetime|timedelta"),
    (r"py:class", r"(stride_async\..*\.)?[A-Z]"),  # a type variable
    (r"py:obj", r".*\.[a-z]\w*"),  # a word of a docstring that may be a member of the class, and here is not
]
suppress_warnings = ["misc.highlighting_failure"]  # samples of JSON contain ellipses
myst_heading_anchors = 4

default_role = "code-or-name"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


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


def hide_constructor(
    app: Sphinx, what: str, name: str, public: object, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Show no parameters for a class that users get from a method, and not from its constructor."""
    return ("" if what == "class" and name.rpartition(".")[2] in HANDED_OUT else signature), returns


def leave_builtin_names(app: Sphinx, doctree: nodes.document) -> None:
    """Link no name of Python, such as `type`, to an attribute of ours that has the same name."""
    for node in list(doctree.findall(pending_xref)):
        if node["refdomain"] == "py" and node["reftype"] == "class" and hasattr(builtins, node["reftarget"]):
            node.replace_self(nodes.emphasis("", node["reftarget"]))


def find_attributes() -> None:
    """Let autodoc find the docstrings of attributes and aliases, and the names in annotations.

    It looks for them in the module that a class names, and our classes name the module that exports them.
    """
    modules = [import_module(name) for name in PUBLIC_MODULES]
    paths = {id(getattr(module, name)): f"{module.__name__}.{name}" for module in modules for name in module.__all__}
    for module in modules:
        shown = _analyzed(module)
        for name in module.__all__:
            public = getattr(module, name)
            for definer in _definers(name, public):
                found = _analyzed(definer)
                shown.attr_docs |= {key: doc for key, doc in found.attr_docs.items() if name in key}
                shown.tagorder |= {tag: n for tag, n in found.tagorder.items() if name == tag.partition(".")[0]}
                annotations = vars(public).get("__annotations__", {}) if isinstance(public, type) else {}
                for attribute, annotation in annotations.items():
                    if isinstance(annotation, str):
                        annotations[attribute] = _qualified(annotation, definer, paths)


def _definers(name: str, public: object) -> list[ModuleType]:
    """Return the module in which a name is defined, in a list; it is empty for a name that is not defined so."""
    definition = re.compile(rf"^(class {name}\b|{name}\b.* = )", re.MULTILINE)
    modules = [module for path, module in sys.modules.items() if path.startswith("stride_async.")]
    having = [module for module in modules if vars(module).get(name) is public]
    return [module for module in having if definition.search(_analyzed(module).code)]


def _qualified(annotation: str, module: ModuleType, paths: Mapping[int, str]) -> str:
    """Return an annotation in which each public name of ours has its module, so that it can be found."""

    def qualified(word: re.Match[str]) -> str:
        path = paths.get(id(vars(module).get(word[0])), "")
        return path if path.endswith(f".{word[0]}") else word[0]

    return re.sub(r"[A-Za-z_]\w*", qualified, annotation)


def _analyzed(module: ModuleType) -> ModuleAnalyzer:
    analyzer = ModuleAnalyzer.for_module(module.__name__)
    analyzer.analyze()
    return analyzer


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.add_role("code-or-name", CodeOrName())
    app.connect("autodoc-process-docstring", read_google_docstring)
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("doctree-read", leave_builtin_names)
    find_attributes()
