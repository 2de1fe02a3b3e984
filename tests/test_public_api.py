"""Public names can be imported, are complete, and are documented correctly."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import stride_async
import stride_async.bot
import stride_async.contrib.opentelemetry
import stride_async.document
import stride_async.export
import stride_async.export.formats
import stride_async.export.matrix
import stride_async.server
import stride_async.testing
from stride_async.server import Choices

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
API_PAGES = sorted((ROOT / "docs/api").glob("*.md"))
PROTOCOL = (ROOT / "docs/protocol.md").read_text()

MODULES = [
    *(stride_async, stride_async.bot, stride_async.contrib.opentelemetry, stride_async.document),
    *(stride_async.export, stride_async.export.formats, stride_async.export.matrix),
    *(stride_async.server, stride_async.testing),
]
IMPORTABLE = {module.__name__: module for module in MODULES}


def everything_public() -> Iterator[tuple[str, object]]:
    """Yield each public class, function, method and property with its dotted name."""
    for module in MODULES:
        for name in module.__all__:
            public = getattr(module, name)
            if not isinstance(public, (type, FunctionLike)):
                continue
            yield f"{module.__name__}.{name}", public
            if isinstance(public, type):
                yield from ((f"{module.__name__}.{name}.{member}", value) for member, value in public_members(public))


def public_members(kind: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties that the package defines for a class or its bases."""
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("stride_async"):
            for name, value in vars(base).items():
                if not name.startswith("_") and isinstance(value, (property, staticmethod, classmethod, FunctionLike)):
                    yield name, value


FunctionLike = type(public_members)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_all_is_sorted_and_importable(module: ModuleType):
    """Each public name occurs once."""
    assert sorted(set(module.__all__), key=lambda name: (not name.isupper(), name)) == list(module.__all__)
    assert [] == [name for name in module.__all__ if not hasattr(module, name)]


def test_public_classes_show_the_path_that_users_import():
    """This is the path in reprs, tracebacks and pickles."""
    hidden = [
        f"{module.__name__}.{name} says {public.__module__}"
        for module in MODULES
        for name in module.__all__
        if isinstance(public := getattr(module, name), type)
        and public is not Any  # the alias `Json`
        and (public.__module__ not in IMPORTABLE or getattr(IMPORTABLE[public.__module__], name, None) is not public)
    ]

    assert [] == hidden


def test_tests_import_public_names_from_the_public_path():
    """A test that imports one from a private module would pass although users cannot import it."""
    private = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {alias.name} of {node.module}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module is not None and "._" in node.module
        for alias in node.names
        if alias.name in getattr(IMPORTABLE.get(node.module.partition("._")[0]), "__all__", ())
    ]

    assert [] == private


NOT_CONSTRUCTED_BY_USERS = {
    *("ArchiveReader", "BotKit", "Calls", "ConversationClient", "Document", "Faults", "Pager", "RemoteBody", "Rows"),
    *("RunningBot", "Stream", "UserClient"),
}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_name_in_a_public_signature_is_public(module: ModuleType):
    """A user can annotate a variable with the type of any argument, return value or attribute."""
    public = {Source(name, PUBLIC_MODULES[other.__name__]).definition for other in MODULES for name in other.__all__}

    private = {
        f"{used.name} of {name}"
        for name in module.__all__
        for used in Source(name, PUBLIC_MODULES[module.__name__]).names_in_signature()
        if used.definition not in public
    }

    assert set() == private


PUBLIC_MODULES = {**{module.__name__: module.__name__ for module in MODULES}, "stride_async": "stride_async._public"}


@attrs.frozen
class Source:
    """A name at the top level of a module of the package, as its source code defines it."""

    name: str
    module: str

    @property
    def definition(self) -> Source:
        """The name in the module that defines it, if it is imported."""
        found = top_level(self.module).get(self.name)
        return Source(found.name, found.module).definition if isinstance(found, Source) else self

    def names_in_signature(self) -> Iterator[Source]:
        """Yield the names of the package in the annotations of its public signature."""
        name, module = attrs.astuple(self.definition)
        for annotation in self._annotations(top_level(module).get(name)):
            for node in ast.walk(annotation):
                if isinstance(node, ast.Name) and (used := Source(node.id, module)).is_ours:
                    yield used

    @property
    def is_ours(self) -> bool:
        """Whether it is a class, function or alias of the package, and not a type variable."""
        name, module = attrs.astuple(self.definition)
        node = top_level(module).get(name) if module.startswith("stride_async") else None
        return node is not None and not (isinstance(node, ast.Call) and ast.unparse(node.func) == "TypeVar")

    def _annotations(self, node: Source | ast.AST | None) -> Iterator[ast.AST]:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            annotations = [parameter.annotation for parameter in parameters] + [node.returns]
            yield from filter(None, annotations)
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                constructor = isinstance(member, ast.FunctionDef) and member.name == "__init__"
                if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith("_"):
                    yield member.annotation
                elif constructor and self.name in NOT_CONSTRUCTED_BY_USERS:
                    continue
                elif not getattr(member, "name", "_").startswith("_") or constructor:
                    yield from self._annotations(member)
        elif isinstance(node, ast.expr):
            yield node


@cache
def syntax_of(module: str) -> ast.Module:
    """Return the syntax tree of a module of the package."""
    folder = ROOT / module.replace(".", "/")
    return ast.parse((folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")).read_text())


@cache
def top_level(module: str) -> Mapping[str, Source | ast.AST]:
    """Return what a module defines, as a syntax tree, and what it imports from the package, by name."""
    tree = syntax_of(module)
    found: dict[str, Source | ast.AST] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stride_async"):
            found |= {alias.asname or alias.name: Source(alias.name, node.module) for alias in node.names}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            found[ast.unparse(target)] = node.value
    return found


def test_everything_public_has_a_docstring():
    """`help` describes every public class, function, method and property."""
    undocumented = [name for name, public in everything_public() if not inspect.getdoc(public)]

    assert [] == undocumented


def test_every_public_name_is_on_exactly_one_page():
    """The pages of `docs/api` describe what is public, and nothing else."""
    described = Counter(
        name for page in API_PAGES for name in re.findall(r"^\.\. auto\w+:: (\S+)$", page.read_text(), re.MULTILINE)
    )
    public = Counter(f"{module.__name__}.{name}" for module in MODULES for name in module.__all__)

    assert len(API_PAGES) > 10
    # `Document` is public in two modules.
    assert public - Counter(["stride_async.Document"]) == described


def test_pages_show_what_a_class_inherits_from_a_private_one():
    """A reader sees every member, although the base class is on no page."""
    public = {kind: f"{module.__name__}.{name}" for module in MODULES for name in module.__all__
              if isinstance(kind := getattr(module, name), type)}  # fmt: skip
    pages = "".join(page.read_text() for page in API_PAGES)

    inheriting = [
        path
        for kind, path in public.items()
        for base in kind.__mro__[1:]
        if base not in public and base.__module__.startswith("stride_async") and kind.__mro__[1] not in public
    ]
    hidden = [path for path in inheriting if f":: {path}\n   :inherited-members:" not in pages]

    assert "stride_async.Message" in inheriting
    assert [] == hidden


def test_pages_are_in_the_contents():
    """A reader finds each page of the API from their index."""
    index = (ROOT / "docs/api/index.md").read_text()
    listed = re.findall(r"^[\w-]+$", index.partition(":hidden:")[2], re.MULTILINE)

    assert sorted(page.stem for page in API_PAGES if page.stem != "index") == sorted(listed)


def test_every_public_parameter_is_described():
    """A section `Args:` has an entry for each parameter; a parameter of a class may be an attribute instead."""
    undescribed = [
        f"{name}({parameter})"
        for name, public in everything_public()
        for parameter, is_described in described_parameters(public)
        if not is_described
    ]

    assert [] == undescribed


def described_parameters(public: object) -> Iterator[tuple[str, bool]]:
    """Yield each parameter of a function, or of the constructor of a class, and whether a docstring describes it."""
    members = described_members(public) if isinstance(public, type) else {}
    function = (
        constructor_of(public) if isinstance(public, type) else inspect.unwrap(getattr(public, "__func__", public))
    )
    if not callable(function):
        return
    arguments = _section(public, "Args")
    for parameter in inspect.signature(inspect.unwrap(function)).parameters.values():
        if parameter.name not in {"self", "cls", "args"}:
            entry = re.search(rf"^ +\*{{0,2}}{parameter.name}: \S", arguments, re.MULTILINE)
            yield parameter.name, bool(entry or members.get(parameter.name))


def constructor_of(kind: type) -> object:
    """Return the constructor of a class if users call it. The parameters of an attrs class are its fields."""
    is_protocol = getattr(kind, "_is_protocol", False)
    if kind.__name__ in NOT_CONSTRUCTED_BY_USERS or attrs.has(kind) or issubclass(kind, Exception) or is_protocol:
        return None
    own = [base for base in kind.__mro__ if base.__module__.startswith("stride_async") and "__init__" in vars(base)]
    return vars(own[0])["__init__"] if own else None


def test_every_public_attribute_is_described():
    """A docstring follows each field and each attribute of a class."""
    undescribed = [
        f"{name}.{member}"
        for name, public in everything_public()
        if isinstance(public, type)
        for member, is_described in described_members(public).items()
        if not is_described
    ]

    assert [] == undescribed


def test_every_public_alias_is_described():
    """A docstring follows the assignment of each public name that is neither a class nor a function."""
    aliases = {
        name: Source(name, PUBLIC_MODULES[module.__name__]).definition
        for module in MODULES
        for name in module.__all__
        if isinstance(top_level(Source(name, PUBLIC_MODULES[module.__name__]).definition.module).get(name), ast.expr)
    }

    undescribed = [
        name
        for name, source in aliases.items()
        if name != "__version__" and not dict(_assigned(syntax_of(source.module).body, ""))[name]
    ]

    assert len(aliases) > 10
    assert [] == undescribed


def described_members(kind: type) -> Mapping[str, bool]:
    """Return each attribute that a class or a base class of ours assigns, and whether a docstring follows it."""
    found: dict[str, bool] = {}
    for base in [base for base in kind.__mro__ if base.__module__.startswith("stride_async")]:
        source = Source(base.__name__, PUBLIC_MODULES.get(base.__module__, base.__module__)).definition
        node = top_level(source.module).get(source.name)
        if isinstance(node, ast.ClassDef):
            constructor = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            assigned = [*_assigned(node.body, ""), *_assigned(constructor[0].body if constructor else [], "self.")]
            for name, is_described in assigned:
                found[name] = found.get(name, False) or is_described
    return found


def _assigned(body: Sequence[ast.stmt], prefix: str) -> Iterator[tuple[str, bool]]:
    for statement, following in zip_longest(body, body[1:]):
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            named = re.fullmatch(rf"{re.escape(prefix)}([a-zA-Z]\w*)", ast.unparse(target))
            if named:
                yield named[1], isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)


def test_docstrings_name_the_errors_that_users_can_catch():
    """What a section `Raises:` names is public, or part of Python or aiohttp."""
    named = [
        (error, name)
        for name, public in everything_public()
        for errors in re.findall(r"^    (\w[\w., ]*): ", _section(public, "Raises"), re.MULTILINE)
        for error in errors.split(", ")
    ]
    public = {name for module in MODULES for name in module.__all__} | vars(builtins).keys()

    assert len(named) > 100
    assert [] == [
        f"{error} of {name}" for error, name in named if error not in public and not error.startswith("aiohttp.")
    ]


def _section(public: object, title: str) -> str:
    """Return a section of a docstring; it ends at a line that is not indented."""
    return re.split(r"\n(?=\S)", (inspect.getdoc(public) or "").partition(f"{title}:\n")[2])[0]


def test_the_client_can_be_imported_without_extras():
    """Neither the requirements of the command nor those of the server are installed."""
    code = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"click", "rich", "jsonschema", "markdown_it", "opentelemetry"}:
            raise ImportError(f"{name} is an extra")

sys.meta_path.insert(0, Refuse())
import stride_async
import stride_async.document
print(stride_async.StrideClient.__name__, "click" in sys.modules)
"""
    python = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(python, check=False, capture_output=True, text=True, timeout=60)

    assert ("", "StrideClient False\n") == (ran.stderr, ran.stdout)


def test_importing_the_client_does_not_import_tenacity():
    """It takes long to import, and only a retry needs it."""
    program = "import sys, stride_async; stride_async.StrideClient; print({'tenacity'} & {*sys.modules})"

    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert "set()" == printed.strip()


def test_names_that_are_imported_on_demand_behave_like_others():
    """`dir`, a star import and a wrong name work as usual, although the first access imports all names."""
    code = """
import stride_async

before = set(dir(stride_async))
from stride_async import *

print(set(stride_async.__all__) - before, StrideClient.__module__, stride_async.document.text.__name__)
print(hasattr(stride_async, "StrideClients"), hasattr(stride_async, "_no_such_module"))
"""
    python = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(python, check=False, capture_output=True, text=True, timeout=60)

    assert ("", "set() stride_async text\nFalse False\n") == (ran.stderr, ran.stdout)


CITATION = re.compile(r"\bprotocol (\d+(?:\.\d+)?(?:(?:, | and | to )\d+\.\d+)*)")


def test_cited_sections_exist():
    """Each citation such as `protocol 5.15` names a section of the protocol page, or an item of one."""
    sources = [*sorted((ROOT / "stride_async").rglob("*.py")), *PAGES]
    cited = {
        (number, path.relative_to(ROOT).as_posix())
        for path in sources
        for citation in CITATION.findall(re.sub(r"\s+(?:#: |# )?", " ", path.read_text()))
        for number in re.findall(r"[\d.]*\d", citation)
    }

    assert len(cited) > 50
    assert [] == sorted(f"{number} in {path}" for number, path in cited if number not in protocol_sections())


def protocol_sections() -> set[str]:
    """Return the numbers of the headings of the protocol page, and of the items directly below a chapter's heading."""
    numbers = set()
    chapter = ""
    for line in PROTOCOL.splitlines():
        if heading := re.match(r"#{2,3} (\d+(?:\.\d+)?)", line):
            chapter = heading[1]
            numbers.add(chapter)
        elif (item := re.match(r"(\d+)\. ", line)) and "." not in chapter:
            numbers.add(f"{chapter}.{item[1]}")
    return numbers


def test_the_protocol_page_names_every_choice():
    """It names no other options of the local server."""
    named = set(re.findall(r"`Choices\.(\w+)`", PROTOCOL))

    assert named == {field.name for field in attrs.fields(Choices)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_docs_resolve(page: Path):
    """A relative link leads to an existing file, and to a heading in it."""
    links = re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", _without_code(page.read_text()))

    assert [] == [link for link in links if not _resolves(page, link)]


def _resolves(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    return target.exists() and (not anchor or anchor in _anchors(target.read_text()))


def _anchors(text: str) -> set[str]:
    """Return the headings as links name them: in lower case, without punctuation, with hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", _without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
