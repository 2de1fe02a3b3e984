"""Documents: building, reading, validation, and conversion to text, Markdown and HTML."""

import copy
import datetime
import html.parser
import json
import pickle
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stride_async.document import (
    Document,
    Node,
    action_mark,
    application_card,
    blockquote,
    bodied_extension,
    bullet_list,
    code,
    code_block,
    date,
    decision_item,
    decision_list,
    doc,
    em,
    emoji,
    extension,
    external_media,
    hard_break,
    heading,
    inline_extension,
    link,
    list_item,
    media,
    media_group,
    media_single,
    mention,
    ordered_list,
    panel,
    paragraph,
    placeholder,
    rule,
    strike,
    strong,
    subsup,
    table,
    table_cell,
    table_header,
    table_row,
    task_item,
    task_list,
    text,
    text_color,
    underline,
)
from tests.schema_cases import BLOCK_NODES, places_in, with_value

HTML_ELEMENTS = set(
    re.findall(
        r"\w+", "p h1 h2 h3 h4 h5 h6 pre code hr br blockquote ul ol li table tbody tr td th a strong em s u input span"
    )
)
BLANKS = "\t\n\v\f\r" + "".join(c for c in map(chr, range(0x3001)) if unicodedata.category(c) == "Zs")
COMMONMARK = MarkdownIt("commonmark").enable(["table", "strikethrough"])


class Uploaded(NamedTuple):
    id: str
    conversation_id: str


def card() -> Node:
    return application_card(
        "Build 42",
        link="https://ci.example.com/42",
        description="All green",
        user={"icon": {"url": "https://ci.example.com/u.png", "label": "Ann"}},
        background="https://ci.example.com/b.png",
        preview="data:image/png;base64,AA==",
        collapsible=True,
        context={"text": "Continuous integration", "icon": {"url": "https://ci.example.com/i.png", "label": "CI"}},
        details=[
            {"title": "Branch", "text": "main"},
            {"lozenge": {"text": "passed", "bold": True, "appearance": "success"}},
            {"badge": {"value": 7, "max": 99, "theme": "dark", "appearance": "added"}},
            {"users": [{"icon": {"url": "https://ci.example.com/u.png", "label": "Ann"}, "id": "557058:aa"}]},
        ],
        actions=[{"title": "Again", "target": {"key": "rebuild"}, "parameters": {"build": 42}}],
    )


EVERY_BLOCK: dict[str, Callable[[], Node]] = {
    "paragraph": lambda: paragraph("Hello ", mention("557058:aa", "@Ann"), "!"),
    "empty paragraph": paragraph,
    "heading": lambda: heading("Title ", em("it is"), level=3),
    "bulletList": lambda: bullet_list("one", list_item("two", bullet_list("three"))),
    "orderedList": lambda: ordered_list("one", paragraph("two"), order=4),
    "panel": lambda: panel("Mind ", strong("this"), bullet_list("and that"), type="warning"),
    "codeBlock": lambda: code_block("if x < 1:\n    pass", "python"),
    "empty codeBlock": lambda: code_block(""),
    "blockquote": lambda: blockquote("said", paragraph("twice")),
    "rule": rule,
    "decisionList": lambda: decision_list("go", decision_item("stay", state="UNDECIDED")),
    "taskList": lambda: task_list("write", task_item("read", done=True)),
    "mediaGroup": lambda: media_group(Uploaded("m1", "c1"), media("m2", collection="c1", occurrence_key="k", width=3)),
    "mediaSingle": lambda: media_single(external_media("https://example.com/a.png"), layout="wide"),
    "table": lambda: table(
        table_row(table_header("Name"), table_header("Age", background="#eeeeee")),
        table_row("Ann", table_cell("41", colspan=2, colwidth=[10, 20])),
        numbered=True,
    ),
    "applicationCard": card,
    "extension": lambda: extension("actionGroup", parameters={"a": [1]}, text="a button"),
    "bodiedExtension": lambda: bodied_extension("box", "inside", type="com.example"),
    "hardBreak": lambda: paragraph("one", hard_break(), "two"),
    "emoji": lambda: paragraph(emoji(":smile:", id="1f604", text="😄"), emoji(":acme:")),
    "inlineExtension": lambda: paragraph(inline_extension("action", text="press")),
    "date": lambda: paragraph(date(datetime.date(2018, 2, 27))),
    "placeholder": lambda: paragraph(placeholder("your name")),
    "strong": lambda: paragraph(strong("a")),
    "em": lambda: paragraph(em("a")),
    "strike": lambda: paragraph(strike("a")),
    "underline": lambda: paragraph(underline("a")),
    "code": lambda: paragraph(code("a`b"), link(code("c"), "https://example.com")),
    "subsup": lambda: paragraph("H", subsup("2", "sub"), "O", subsup("+", "sup")),
    "textColor": lambda: paragraph(text_color("green", "#36b37e")),
    "link": lambda: paragraph(link("there", "https://example.com/?a=1&b=2", title='the "place"')),
    "action": lambda: paragraph(action_mark("press", title="Press", target="t", receiver="app", parameters={"a": 1})),
    "all marks": lambda: paragraph(link(strong(em(strike(underline("all")))), "mailto:ann@example.com")),
}


def messages_of(seed: Path) -> list[dict[str, Any]]:
    records = map(json.loads, (seed / "site.jsonl").read_text().splitlines())
    return [record["message"] for record in records if record["type"] == "message"]


def nested(levels: int, wrap: Callable[[dict[str, Any]], dict[str, Any]]) -> Document:
    node: dict[str, Any] = {"type": "paragraph", "content": [{"type": "mention", "attrs": {"id": "u", "text": "@U"}}]}
    for _ in range(levels):
        node = wrap(node)
    return Document.from_json({"version": 1, "type": "doc", "content": [node]})


def in_list(node: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "bulletList",
        "content": [{"type": "listItem", "content": [{"type": "paragraph", "content": []}, node]}],
    }


def in_quote(node: dict[str, Any]) -> dict[str, Any]:
    return {"type": "blockquote", "content": [node]}


def in_panel(node: dict[str, Any]) -> dict[str, Any]:
    return {"type": "panel", "attrs": {"panelType": "info"}, "content": [node]}


def in_table(node: dict[str, Any]) -> dict[str, Any]:
    cell = {"type": "tableCell", "content": [node]}
    return {"type": "table", "content": [{"type": "tableRow", "content": [cell]}]}


def in_unknown(node: dict[str, Any]) -> dict[str, Any]:
    return {"type": "x", "attrs": {"text": "y"}, "content": [node]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
node_types = st.sampled_from(
    sorted({node.type for build in EVERY_BLOCK.values() for node in build().walk()} | {"video"})
)
malformed_nodes = st.recursive(
    json_values,
    lambda inner: st.fixed_dictionaries(
        {"type": node_types},
        optional={
            "attrs": st.dictionaries(
                st.sampled_from(["id", "text", "level", "order", "url", "title", "colspan", "panelType", "timestamp"]),
                json_values,
            )
            | json_values,
            "content": st.lists(inner, max_size=4) | st.none(),
            "text": st.text(max_size=8) | json_values,
            "marks": st.lists(
                st.fixed_dictionaries({"type": st.sampled_from(["strong", "link", "textColor", "code"])}), max_size=3
            ),
        },
    ),
    max_leaves=20,
)
malformed_documents = st.fixed_dictionaries(
    {"type": st.just("doc")},
    optional={"version": json_values, "content": st.lists(malformed_nodes, max_size=4), "x": json_values},
)
words = st.text(min_size=1, max_size=12)
nasty = st.text(alphabet="ab \n*_`~#-+=>|[]()!<&;\\.1:\"'\t", min_size=1, max_size=12)
inline_nodes = st.one_of(
    (words | nasty).map(text),
    (words | nasty).flatmap(lambda t: st.sampled_from([strong, em, strike, underline, code]).map(lambda mark: mark(t))),
    (words | nasty).map(lambda t: strong(em(t))),
    (words | nasty).map(lambda t: link(strong(t), "https://example.com/a_(b)?c=*&copy;")),
    words.map(lambda t: mention("u", t)),
    st.just(":smile:").map(emoji),
)
inline_runs = st.lists(inline_nodes, max_size=5)
paragraphs = inline_runs.map(lambda run: paragraph(*run))
leaf_blocks = st.one_of(
    paragraphs,
    st.builds(lambda run, level: heading(*run, level=level), inline_runs, st.integers(1, 6)),
    st.text(max_size=20).map(code_block),
    st.just(rule()),
    st.lists(paragraphs, min_size=1, max_size=2).map(lambda inner: blockquote(*inner)),
    inline_runs.map(lambda run: task_list(task_item(*run), "again")),
    st.lists(inline_runs, min_size=1, max_size=3).map(lambda rows: table(*[table_row(table_cell(*r)) for r in rows])),
)
list_items = st.recursive(
    paragraphs.map(list_item),
    lambda items: st.builds(
        lambda first, make, inner: list_item(first, make(*inner)),
        paragraphs,
        st.sampled_from([bullet_list, ordered_list]),
        st.lists(items, min_size=1, max_size=3),
    ),
    max_leaves=6,
)
blocks = leaf_blocks | st.lists(list_items, min_size=1, max_size=3).map(lambda items: bullet_list(*items))
documents = st.lists(blocks, min_size=1, max_size=4).map(lambda content: doc(*content))


class Elements(html.parser.HTMLParser):
    """The elements and the text in a piece of HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def words_of(source: str) -> str:
    """Return text without blanks, which Markdown and HTML may move."""
    return re.sub(r"[\s\x00-\x20\x7f-\xa0\ufffd]+", "", source)


def parsed(markdown: str) -> Elements:
    return Elements(COMMONMARK.render(markdown))


@pytest.mark.parametrize("name", EVERY_BLOCK)
def test_builders_build_valid_nodes(name):
    """The builders and the schema agree on every node and every mark."""
    document = doc(EVERY_BLOCK[name]())

    assert () == document.validate()
    assert document == Document.from_json(json.loads(json.dumps(document.to_json())))


@given(documents)
def test_every_combination_of_builders_is_valid(document):
    """No combination of builders gets around the schema."""
    assert () == document.validate()


def test_text_and_nodes_become_json():
    """The arguments of a builder become its content, in order."""
    document = doc(paragraph("Hello ", mention("557058:aa", "@Ann"), strong("!")))

    assert {
        "version": 1,
        "type": "doc",
        "content": [
            {
                "type": "paragraph",
                "content": [
                    {"type": "text", "text": "Hello "},
                    {"type": "mention", "attrs": {"id": "557058:aa", "text": "@Ann"}},
                    {"type": "text", "text": "!", "marks": [{"type": "strong"}]},
                ],
            }
        ],
    } == document.to_json()


def test_text_becomes_a_paragraph_where_blocks_are_expected():
    """Consecutive text and inline nodes become one paragraph; blocks stay as they are."""
    document = doc("one ", em("two"), rule(), "three")

    assert ["paragraph", "rule", "paragraph"] == [block.type for block in document.content]
    assert "one two\nthree" == document.to_text()


def test_media_group_takes_results_of_uploads():
    """The collection of a file is the conversation that it was uploaded to (protocol 9)."""
    document = doc(media_group(Uploaded("m1", "c1")))

    (group,) = document.content
    assert [{"type": "file", "id": "m1", "collection": "c1"}] == [dict(node.attrs) for node in group.content]


def test_the_link_of_a_card_is_also_the_link_of_its_fallback_text():
    """`textUrl` may be any text, so that it can repeat an http link (protocol 8.4)."""
    (card,) = doc(application_card("x", link="http://example.com")).content

    assert ({"url": "http://example.com"}, "http://example.com") == (card.attrs["link"], card.attrs["textUrl"])


def test_lists_and_items_get_ids():
    """Each list of decisions and each of its items has a unique id."""
    ids = [node.attrs["localId"] for node in doc(decision_list("a", "b")).walk() if "localId" in node.attrs]

    assert 3 == len(set(ids))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: text(""), "text.text: expected text of one character or more, not ''"),
        (lambda: heading("x", level=7), "heading.attrs.level: expected 1 to 6, not 7"),
        (
            lambda: panel("x", type="danger"),
            "panel.attrs.panelType: expected info, note, tip, warning, error or success",
        ),
        (lambda: text_color("x", "red"), "text.marks[0].attrs.color: expected a color such as #36b37e"),
        (lambda: text_color("x", "#36B37E"), "in lower case"),
        (lambda: link("x", ""), "link: href is empty"),
        (lambda: subsup("x", "super"), "expected sub or sup, not 'super'"),
        (lambda: strong(code("x")), "code can be combined only with link, not with strong"),
        (lambda: strong(strong("x")), "strong is repeated"),
        (lambda: strong(mention("u")), "strong can mark only text, not mention"),
        (lambda: mention(""), "mention: id is empty"),
        (lambda: mention("u", user_type="BOT"), "expected DEFAULT, SPECIAL or APP, not 'BOT'"),
        (lambda: paragraph(rule()), "paragraph.content[0]: a paragraph holds inline nodes here, not rule"),
        (doc, "doc.content: a doc must contain at least 1: blocks"),
        (bullet_list, "bulletList.content: a bulletList must contain at least 1: listItem"),
        (lambda: ordered_list("x", order=0), "orderedList.attrs.order: expected a number of 1 or more, not 0"),
        (lambda: list_item(bullet_list("x")), "a listItem holds paragraph or mediaSingle here, not bulletList"),
        (lambda: code_block("x", "klingon"), "codeBlock.attrs.language: expected one of the languages, not 'klingon'"),
        (lambda: blockquote(rule()), "a blockquote holds paragraph here, not rule"),
        (lambda: media("", collection="c"), "media.attrs.id"),
        (lambda: media("m", collection="c", type="movie"), "expected file, link or external, not 'movie'"),
        (lambda: media_single(media("m", collection="c"), layout="left"), "mediaSingle.attrs.layout"),
        (media_group, "a mediaGroup must contain at least 1: media"),
        (lambda: table_row(table_header("a"), "b"), "a tableRow is all tableHeader or all tableCell"),
        (lambda: table(table_row("x"), layout="huge"), "table.attrs.layout: expected default, wide or full-width"),
        (lambda: table_cell(table(table_row("x"))), "blocks other than table and bodiedExtension here, not table"),
        (
            lambda: bodied_extension("k", bodied_extension("k", "x")),
            "a bodiedExtension holds blocks other than bodiedExtension here, not bodiedExtension",
        ),
        (lambda: application_card("x", link="ftp://x"), "expected an http, https or data:image URL"),
        (lambda: application_card("x", preview="http://x/y.png"), "expected an https or data:image URL"),
        (lambda: application_card("x", details=[{"colour": "red"}]), "attrs.details[0].colour: is not allowed here"),
        (lambda: application_card("x", actions=[{"title": "y"}]), "attrs.actions[0]: target is required"),
        (lambda: extension("", text="x"), "extension.attrs.extensionKey"),
        (lambda: date(datetime.datetime(2018, 2, 27)), "has no time zone"),
    ],
)
def test_builders_reject_violations_of_the_schema(build, message):
    """A builder raises an error that says where the violation is and what is expected."""
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: paragraph(5),
        lambda: doc({"type": "paragraph"}),
        lambda: strong(None),
        lambda: bullet_list(["a"]),
        lambda: code_block(b"x"),
        lambda: date("2018-06-01"),
        lambda: media_group("m1"),
        lambda: media_single(None),
        lambda: table_cell("x", colwidth=5),
        lambda: application_card("t", details=5),
    ],
)
def test_builders_reject_arguments_of_another_type(build):
    """In one sentence that says what was expected."""
    with pytest.raises(TypeError, match=r"must be (a|of type) .*, not \w+: "):
        build()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({}, "$.content[0]: expected a type, not null"),
        ("x", "$.content[0]: expected a node, not 'x'"),
        ({"type": "video"}, "$.content[0]: unknown node type 'video'"),
        ({"type": "text", "text": "x"}, "$.content[0]: a doc holds blocks here, not text"),
        ({"type": "paragraph"}, "$.content[0].content: expected a list, not null"),
        ({"type": "paragraph", "content": [], "attrs": {}}, "$.content[0].attrs: a paragraph has no attrs"),
        ({"type": "heading", "content": []}, "$.content[0]: attrs is required for heading"),
        (
            {"type": "heading", "attrs": {"level": True}, "content": []},
            "$.content[0].attrs.level: expected 1 to 6, not true",
        ),
        (
            {"type": "paragraph", "content": [{"type": "text", "text": "x", "marks": [{"type": "blink"}]}]},
            "$.content[0].content[0].marks[0]: unknown mark 'blink'",
        ),
        (
            {"type": "paragraph", "content": [{"type": "text", "text": "x", "marks": [{"type": "em", "attrs": {}}]}]},
            "$.content[0].content[0].marks[0].attrs: is not allowed here",
        ),
        (
            {"type": "paragraph", "content": [{"type": "text", "text": "x", "marks": [{"type": "link"}]}]},
            "$.content[0].content[0].marks[0]: attrs is required",
        ),
        (
            {"type": "codeBlock", "content": [{"type": "text", "text": "x", "marks": [{"type": "em"}]}]},
            "$.content[0].content: text in a codeBlock has no marks",
        ),
        (
            {"type": "mediaGroup", "content": [{"type": "media", "attrs": {"type": "external"}}]},
            "$.content[0].content[0].attrs: url is required",
        ),
    ],
)
def test_problem_has_a_path(content, problem):
    """The path names the node and the field that the schema does not allow."""
    document = Document.from_json({"version": 1, "type": "doc", "content": [content]})

    assert [problem] == [str(found) for found in document.validate()]


def test_document_from_the_service_is_read_but_invalid():
    """The service sends empty attrs, null content and unknown attributes (protocol 6.3)."""
    delivered = {
        "version": 1,
        "type": "doc",
        "content": [
            {
                "type": "mediaGroup",
                "attrs": {},
                "content": [
                    {
                        "type": "media",
                        "attrs": {"type": "file", "id": "m", "collection": "c", "occurrenceKey": "urn:chat:message:x"},
                        "content": None,
                    }
                ],
            }
        ],
    }

    document = Document.from_json(delivered)

    assert ("m",) == document.media()
    assert "" == document.to_text()
    assert ["$.content[0].attrs", "$.content[0].content[0].content"] == [found.path for found in document.validate()]


@pytest.mark.parametrize(
    ("json", "message"),
    [
        (None, "$: expected a document object, not null"),
        ([], "$: expected a document object, not a list"),
        ({}, "$.type: expected 'doc', not null"),
        ({"type": "paragraph"}, "$.type: expected 'doc', not 'paragraph'"),
    ],
)
def test_from_json_rejects_other_values(json, message):
    """A value that is not an object of type doc raises an error with its path."""
    with pytest.raises(ValueError, match=re.escape(message)):
        Document.from_json(json)


@given(malformed_documents)
def test_reading_and_writing_loses_nothing(json):
    """Unknown nodes, null content and malformed attributes are written as they were read."""
    before = copy.deepcopy(json)

    document = Document.from_json(json)

    assert before == document.to_json()
    assert document == Document.from_json(before)


@given(malformed_documents)
def test_documents_of_any_shape_are_read(json):
    """No JSON makes a method fail: unknown parts are skipped or reported."""
    document = Document.from_json(json)

    read_in_every_way(document)
    assert set(document.mentions()) == {
        node.attrs["id"] for node in document.walk() if node.type == "mention" and is_text(node.attrs.get("id"))
    }


EXTREMES = st.sampled_from(
    [
        *(float("inf"), float("nan"), 10**400, -(10**5000), "9" * 5000, "\ud83d", "\0\r\n\udc00"),
        *({"type": {}}, {"type": []}, {"type": None}, [[]], [{}], [None], {"\ud800": 1}),
        *({"type": "text", "text": "\ud83d"}, {"type": "tableRow", "content": [{"type": []}]}),
        nested(1000, lambda node: {"type": "blockquote", "content": [node]}).to_json(),
        nested(1000, lambda node: {"x": [node]}).to_json(),
    ]
)


@given(st.sampled_from(BLOCK_NODES), st.data())
def test_any_json_in_any_place_of_a_document_is_read(block, data):
    """A field of any node, mark or attribute may hold any JSON value, at any depth."""
    places = [path for path, _ in places_in(block) if path]
    changed = with_value(block, data.draw(st.sampled_from(places)), data.draw(EXTREMES | json_values))

    read_in_every_way(Document.from_json({"version": 1, "type": "doc", "content": [changed]}))


def read_in_every_way(document: Document) -> None:
    """Call every method that reads a document; what it returns can be encoded as UTF-8."""
    for written in (document.to_text(), document.to_markdown(), document.to_html(), *map(str, document.validate())):
        written.encode()
    assert all(problem.path.startswith("$") for problem in document.validate())
    assert all(map(is_text, (*document.mentions(), *document.media())))
    assert hash(document) == hash(Document.from_json(document.to_json()))


@pytest.mark.parametrize("convert", [Document.to_text, Document.to_markdown, Document.to_html])
def test_half_a_surrogate_pair_becomes_a_replacement_character(convert):
    """JSON may hold half a pair, which UTF-8 cannot; the document itself keeps it."""
    document = doc(paragraph(strong("cut \ud83d")))

    assert "cut \ufffd" in convert(document)
    assert "cut \ud83d" == document.content[0].content[0].text


def is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def test_document_does_not_change_with_its_json():
    """`to_json` returns a copy."""
    document = doc(paragraph("x"))

    document.to_json()["content"].clear()

    assert "x" == document.to_text()


def test_node_does_not_change_with_its_arguments():
    """A builder copies the parameters."""
    parameters = {"a": [1]}
    node = extension("k", parameters=parameters)

    parameters["a"].append(2)

    assert {"a": [1]} == node.attrs["parameters"]


def test_documents_are_values():
    """Documents with the same JSON are equal and have the same hash, also after pickling."""
    one, same, other = doc(paragraph("x")), doc(paragraph("x")), doc(paragraph(strong("x")))

    assert {one, other} == {one, same, other, pickle.loads(pickle.dumps(one))}


def test_plain_text_follows_the_service():
    """Inline text is joined, blocks are separated by line feeds, and media are omitted (protocol 4.3)."""
    document = doc(
        paragraph("Hi ", mention("u", "@Ann"), emoji(":+1:", text="👍"), hard_break(), "there"),
        media_group(media("m", collection="c")),
        bullet_list("one", list_item("two", ordered_list("three"))),
        table(table_row("a", "b")),
        card(),
        code_block("x\ny"),
        paragraph(date(datetime.date(1970, 1, 2)), placeholder("when")),
    )

    assert "Hi @Ann:+1:\nthere\none\ntwo\nthree\na\nb\nBuild 42\nx\ny\n86400000" == document.to_text()


def test_plain_text_equals_the_text_of_every_seed_message(meetup):
    """In a real history, the text of each message equals the plain text of its body."""
    messages = messages_of(meetup)

    assert [] == [
        message["id"] for message in messages if message["text"] != Document.from_json(message["body"]).to_text()
    ]


def test_every_seed_message_is_valid(meetup):
    """The bodies of a real history follow the schema."""
    assert [] == [problem for m in messages_of(meetup) for problem in Document.from_json(m["body"]).validate()]


def test_mentions_and_media_are_returned_once_in_order():
    """Ids have the order in which they are first read, at any depth."""
    document = doc(
        paragraph(mention("b"), mention("a"), mention("b")),
        panel(bullet_list(paragraph(mention("c")))),
        media_group(media("m2", collection="c"), media("m1", collection="c"), media("m2", collection="c")),
        media_single(external_media("https://example.com/x.png")),
    )

    assert ("b", "a", "c") == document.mentions()
    assert ("m2", "m1") == document.media()


def test_walk_is_depth_first_in_reading_order():
    """Every node comes once, parents before children."""
    document = doc(paragraph("a", hard_break()), bullet_list("b"))

    assert ["doc", "paragraph", "text", "hardBreak", "bulletList", "listItem", "paragraph", "text"] == [
        node.type for node in document.walk()
    ]


def test_marks_are_values():
    """They can be put into sets, pickled and copied, and stay read-only."""
    marks = paragraph(strong("a"), link("b", "https://example.com")).content[1].marks
    mark = marks[0]

    assert {mark} == {*marks} == {pickle.loads(pickle.dumps(mark)), copy.copy(mark), copy.deepcopy(mark)}
    with pytest.raises(TypeError):
        copy.deepcopy(mark).attrs["href"] = "x"


def test_node_has_text_marks_and_children():
    """The attributes of a node have the names and values of its JSON."""
    (block,) = doc(paragraph(link(strong("x"), "https://example.com"))).content

    (leaf,) = block.content
    assert (None, "x") == (block.text, leaf.text)
    assert [("strong", {}), ("link", {"href": "https://example.com"})] == [(m.type, dict(m.attrs)) for m in leaf.marks]


@pytest.mark.parametrize(
    ("wrap", "levels"), [(in_quote, 100_000), (in_list, 3000), (in_panel, 3000), (in_table, 3000), (in_unknown, 3000)]
)
def test_deep_documents_are_read(wrap, levels):
    """Documents may be much deeper than the stack of Python."""
    deep = nested(levels, wrap)

    assert "@U" == deep.to_text().split("\n")[-1]
    assert ("u",) == deep.mentions()
    assert () == deep.media()
    assert "@U" in deep.to_html()
    assert "@U" in deep.to_markdown()
    assert deep == Document.from_json(deep.to_json())
    assert deep.validate()


def test_validation_limits_the_depth():
    """Up to 300 objects and lists may be nested (protocol 8.5)."""
    (problem,) = nested(75, in_list).validate()

    assert "$: more than 300 objects and lists are nested" == str(problem)
    assert () == nested(70, in_list).validate()


@given(documents)
def test_html_contains_the_text_and_no_other_elements(document):
    """A browser finds the text as it was written, and text never becomes an element."""
    page = Elements(document.to_html())

    shown = "".join(
        node.text or node.attrs.get("text") or node.attrs.get("shortName") or "" for node in document.walk()
    )
    assert words_of(shown) == words_of(page.text)
    assert {tag for tag, _ in page.elements} <= HTML_ELEMENTS


@given(
    st.text(max_size=15),
    st.sampled_from(["", "javascript:", "JaVaScRiPt:", "data:text/html,", "//", "vbscript:", "\t"]),
)
def test_html_links_to_safe_schemes_only(tail, scheme):
    """A URL with a scheme other than http, https or mailto is omitted."""
    marks = [{"type": "link", "attrs": {"href": scheme + tail}}]
    image = {"type": "media", "attrs": {"type": "external", "url": scheme + tail}}
    json = {"type": "doc", "content": [{"type": "text", "text": "x", "marks": marks}, image]}

    page = Elements(Document.from_json(json).to_html())

    addresses = [value for _, attrs in page.elements for name, value in attrs.items() if name in {"href", "src"}]
    assert [] == [value for value in addresses if not re.match(r"https?://|mailto:", value or "", re.IGNORECASE)]


@given(malformed_documents)
def test_html_of_malformed_documents_is_safe(json):
    """No attribute or text of a node can add a script or an event handler."""
    page = Elements(Document.from_json(json).to_html())

    assert {"script", "iframe", "style", "object"}.isdisjoint(tag for tag, _ in page.elements)
    assert [] == [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


@given(malformed_documents)
def test_notebook_shows_a_document_as_html(json):
    """A notebook gets the safe HTML of any document, in one element in which it looks for no formulas."""
    document = Document.from_json(json)

    shown = document._repr_html_()

    assert f'<div class="tex2jax_ignore mathjax_ignore">{document.to_html()}</div>' == shown


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("heading", "<h3>Title <em>it is</em></h3>"),
        ("orderedList", '<ol start="4">'),
        ("panel", '<div class="panel panel-warning"><p>Mind <strong>this</strong></p>'),
        ("codeBlock", '<pre><code class="language-python">if x &lt; 1:'),
        ("taskList", '<input type="checkbox" disabled checked> read'),
        ("mediaGroup", '<span class="media" data-media-id="m1"></span>'),
        ("mediaSingle", '<figure><img src="https://example.com/a.png" alt="">'),
        ("table", '<td colspan="2"><p>41</p>'),
        (
            "applicationCard",
            '<a href="https://ci.example.com/42" rel="noopener noreferrer"><strong>Build 42</strong></a>',
        ),
        ("date", '<time datetime="2018-02-27">2018-02-27</time>'),
        ("emoji", '<span class="emoji" title=":smile:">😄</span>'),
        ("subsup", "H<sub>2</sub>O<sup>+</sup>"),
        ("textColor", '<span style="color: #36b37e">green</span>'),
        ("paragraph", '<span class="mention" data-user-id="557058:aa">@Ann</span>'),
    ],
)
def test_html_of_each_node(name, fragment):
    """Nodes and marks become the corresponding elements."""
    assert fragment in doc(EVERY_BLOCK[name]()).to_html()


@pytest.mark.parametrize(
    ("block", "markdown"),
    [
        (paragraph("snake_case, AT&T, 5 - 3, a.b! (yes) #1"), "snake_case, AT&T, 5 - 3, a.b! (yes) #1"),
        (paragraph("*not* _this_ `or` <that> [nor] &copy;"), r"\*not\* \_this\_ \`or\` \<that> \[nor\] \&copy;"),
        (paragraph("1. no list"), r"1\. no list"),
        (paragraph("- nor", hard_break(), "# this"), "\\- nor\\\n\\# this"),
        (paragraph("a ", strong(" b "), "c"), "a  **b** c"),
        (paragraph(strong("a"), strong(em(" b"))), "**a** **_b_**"),
        (paragraph(strike("x"), em("y")), "~~x~~_y_"),
        (paragraph(code("a`b")), "``a`b``"),
        (paragraph(code("0"), code("0")), "`00`"),
        (
            paragraph(strong("a"), strong("b"), link("c", "https://e.com"), link("d", "https://e.com")),
            "**ab**[cd](https://e.com)",
        ),
        (paragraph(link("https://example.com", "https://example.com")), "<https://example.com>"),
        (
            paragraph(link("x", "https://example.com/a_(b)", title='say "x"')),
            r'[x](https://example.com/a_\(b\) "say \"x\"")',
        ),
        (paragraph(link("x", "javascript:alert(1)")), "x"),
        (paragraph("wow!", link("x", "https://e.com")), r"wow\![x](https://e.com)"),
        (heading("C#", level=2), r"## C\#"),
        (bullet_list("a", list_item("b", ordered_list("c", "d"))), "- a\n- b\n  1. c\n  2. d"),
        (ordered_list("a", "b", order=9), "9. a\n10. b"),
        (list_item("a", paragraph("b")), "a\n\nb"),
        (panel("x", type="note"), "> **Note**\n>\n> x"),
        (blockquote("a", hard_break(), "b"), "> a\\\n> b"),
        (code_block("a\n```\n  b", "python"), "````python\na\n```\n  b\n````"),
        (task_list(task_item("a", done=True), "b"), "- [x] a\n- [ ] b"),
        (decision_list("go"), "- **Decision:** go"),
        (table(table_row(table_header("a|b")), table_row("c")), "| a\\|b |\n| --- |\n| c |"),
        (table(table_row("a", "b")), "|  |  |\n| --- | --- |\n| a | b |"),
        (media_group(media("m-1", collection="c")), r"\[media m-1\]"),
        (rule(), "___"),
        (extension("k", text="press"), "press"),
        (bodied_extension("k", "inside", text="box"), "inside"),
        (paragraph(date(datetime.date(2018, 2, 27)), " ", placeholder("name?")), "2018-02-27 name?"),
        (paragraph(mention("u"), emoji(":+1:", text="👍")), "@u👍"),
    ],
)
def test_markdown_of_each_node(block, markdown):
    """Marks and blocks are written as a person would write them, and only what is special is escaped."""
    document = Document.from_json({"version": 1, "type": "doc", "content": [block.to_json()]})

    assert markdown == document.to_markdown()


def test_consecutive_lists_stay_separate():
    """Each list has another marker than the one above, because a parser would join them."""
    document = doc(bullet_list("a"), bullet_list("b"), bullet_list("c"), ordered_list("d"), ordered_list("e"))

    assert ["- a", "* b", "- c", "1. d", "1) e"] == [line for line in document.to_markdown().split("\n") if line]
    assert 5 == sum(tag in {"ul", "ol"} for tag, _ in parsed(document.to_markdown()).elements)


@given(documents)
def test_markdown_comes_back_as_the_same_text(document):
    """A CommonMark parser finds the text that was written, even if it looks like markup."""
    page = parsed(document.to_markdown())

    shown = "".join(node_text(node) for node in document.walk())
    assert words_of(shown) == words_of(page.text)


def node_text(node: Node) -> str:
    if node.type == "taskItem":
        return "[ ]"
    return node.text or str(node.attrs.get("text", node.attrs.get("shortName", "")))
