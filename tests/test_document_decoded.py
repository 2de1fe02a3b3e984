"""Nodes that are decoded from JSON text show the same as views of JSON objects."""

import copy
import json
import pickle

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stride_async import Message
from stride_async._json import decoder
from stride_async._models import new_message
from stride_async.document import Document, Node, doc, paragraph, strong
from stride_async.document._decoded import DecodedNode
from stride_async.document._document import usual_document
from tests.documents import expressible

read_any = decoder(object)

scalars = st.sampled_from([None, True, 0, 1.5, -1.0, 2**70, "", "doc", "x", "\ud83d", "naïve 🎉", 10**400])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "text", "é"]), inner, max_size=2)
    ),
    max_leaves=4,
)
texts = st.sampled_from(["", "x", "two words", 'say "é"\n', "🎉", "\x7f\u2028"])
kinds = st.sampled_from(["text", "text", "paragraph", "mention", "emoji", "media", "hardBreak", "panel", "new", "doc"])
objects = st.dictionaries(st.sampled_from(["id", "text", "href", "level"]), values, max_size=2)
marks = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["strong", "link", "new"])}, optional={"attrs": objects})
    | st.fixed_dictionaries({}, optional={"type": values, "attrs": values, "x": values}),
    max_size=2,
)


ODD = st.integers(0, 19).map(lambda number: number == 0)


@st.composite
def made(draw, depth: int = 0, kind: st.SearchStrategy = kinds) -> object:
    """Return a node, in which now and then a field is odd."""

    def field(usual: st.SearchStrategy) -> object:
        return draw(values if draw(ODD) else usual)

    node = {"type": field(kind)}
    for name, usual in (("attrs", objects), ("text", texts), ("marks", marks), ("new", values), ("version", values)):
        if draw(ODD if name == "new" else st.integers(0, 3).map(lambda number: number == 0)):
            node[name] = field(usual)
    if draw(st.booleans()) or not depth:
        node["content"] = field(st.lists(made(depth + 1), max_size=3) if depth < 4 else st.just([]))
    return draw(values) if draw(ODD) and draw(ODD) else dict(draw(st.permutations(list(node.items()))))


bodies = st.one_of(made(kind=st.just("doc")), expressible.map(Document.to_json))


def everything(read) -> object:
    """Return everything that a document shows, or its error."""
    try:
        document = read()
    except (ValueError, *msgspec_errors) as error:
        return type(error)
    walked = list(document.walk())
    return (
        [(n.type, n.text, dict(n.attrs), n.marks, n.content, n.to_json(), hash(n), repr(n)) for n in walked],
        [list(n.walk()) for n in walked[:3]],
        (document.content, json.dumps(document.to_json()), document.validate(), repr(document), hash(document)),
        (document.to_text(), document.to_html(), document.to_markdown(), document.mentions(), document.media()),
    )


msgspec_errors = (msgspec.DecodeError, UnicodeDecodeError)


@given(bodies, st.booleans())
@settings(max_examples=100)
def test_decoded_nodes_show_the_same_as_views(body, ascii):
    """Only documents of the usual shape are decoded as nodes; these show the same, whatever is read of them."""
    raw = msgspec.Raw(json.dumps(body, ensure_ascii=ascii).encode("utf-8", "surrogatepass"))
    fast = usual_document(raw)
    if fast is None:
        return

    careful = Document.from_json(read_any(raw))

    assert all(isinstance(node, DecodedNode) for node in fast.walk())
    assert everything(lambda: careful) == everything(lambda: fast)
    assert (careful, fast) == (fast, careful)
    assert fast == pickle.loads(pickle.dumps(fast)) == copy.deepcopy(fast) == careful
    for one, other in zip(fast.walk(), careful.walk(), strict=True):
        assert one == other == pickle.loads(pickle.dumps(one)) == copy.deepcopy(one)


@given(bodies)
@settings(max_examples=60)
def test_the_body_of_a_message_is_the_same_from_its_page_and_from_its_own_bytes(body):
    """This includes the error of a body that is not a document."""
    raw = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    whole = Message("a", "u", 1, "x", b'{"id":"a","body":' + raw + b"}")
    part = new_message("a", "u", 1, "x", whole.raw)
    object.__setattr__(part, "_body", msgspec.Raw(raw))

    assert everything(lambda: whole.body) == everything(lambda: part.body)


@pytest.mark.parametrize(
    "odd",
    [
        '{"type":"doc","content":null}',
        '{"type":"doc","content":[5]}',
        '{"type":"doc","new":1}',
        '{"type":"doc","text":null}',
        '{"type":"doc","attrs":[]}',
        '{"type":"doc","marks":[{"type":"strong","new":1}]}',
        '{"type":"doc","text":"\\ud83d"}',
        '{"type":"doc","attrs":{"size":1e999}}',
        '{"type":"panel"}',
        '{"content":[]}',
        "null",
    ],
)
def test_documents_of_an_unusual_shape_are_read_as_views(odd):
    """What the fields of a node cannot hold would otherwise be lost."""
    assert usual_document(msgspec.Raw(odd.encode())) is None


def test_decoded_nodes_can_be_put_into_other_documents():
    """They are nodes like those of the builders, and cannot be changed."""
    built = doc(paragraph("a ", strong("b")))
    read = usual_document(msgspec.Raw(json.dumps(built.to_json()).encode()))
    assert read is not None

    assert built == read == doc(*read.content)
    assert all(isinstance(node, Node) for node in read.walk())
    assert len({*read.walk(), *built.walk()}) == 4
    with pytest.raises((AttributeError, TypeError)):
        read.content[0].type = "heading"
    with pytest.raises(TypeError):
        read.content[0].attrs["x"] = 1


@pytest.mark.parametrize("depth", [10, 350])
def test_a_deep_document_can_be_used_from_any_depth_of_calls(depth):
    """Its nodes were decoded in a caller that was nested less deeply."""
    raw = '{"type":"doc","content":[' * depth + "]}" * depth

    def deeper(calls):
        return deeper(calls - 1) if calls else (document.to_json(), document.to_html(), document.validate())

    document = usual_document(msgspec.Raw(raw.encode())) or Document.from_json(read_any(raw.encode()))

    assert deeper(0) == deeper(500)
    assert depth == len(list(document.walk()))
