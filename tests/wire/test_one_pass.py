"""A page of a history is read in one pass, or with care; both ways read the same."""

import copy
import json
import pickle
import weakref

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stride_async import DecodeError, Message
from stride_async._moments import parse_all_nanoseconds, parse_nanoseconds
from stride_async._wire.convert import message_at, messages_in
from stride_async._wire.history import history, of_raw_messages
from stride_async._wire.pages import SharedPage, read_each, split_history

BODY = '{"version":1,"type":"doc","content":[{"type":"paragraph","content":[{"type":"text","text":"x"}]}]}'
USUAL = {"id": '"a"', "sender": '{"id":"u"}', "ts": '"2018-01-02T03:04:05.123456789Z"', "text": '"x"', "body": BODY}

TIMES = [
    "2018-01-02T03:04:05.12Z",
    "2018-01-02T03:04:05Z",
    "2018-01-02T03:04:05.000000001Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2016-02-29T00:00:00.5Z",
    "2018-01-02t03:04:05.12z",
    "2018-01-02 03:04:05.12Z",
    "2018-01-02T03:04:05.12+01:00",
    "2018-01-02T03:04:05.1234567899Z",
    "2018-01-02T03:04:05.1234567 9Z",
    "2018-01-02T03:04:05.٣Z",
    "2018-02-29T00:00:00Z",
    "2018-01-02T24:00:00Z",
    "2018-01-02T03:04:60Z",
    "2018-01-02T03:04:05,12Z",
    "2018-W01-2T03:04:05Z",
    "20180102T030405Z",
    "yesterday",
    "",
]

DEEP = "[" * 1100 + "]" * 1100
odd = st.sampled_from(
    ["null", "5", "1e999", "true", '""', "[]", "{}", "nope", "[[5,", "]", DEEP,
     '"\\ud83d"', '"\x01"', '"\udcff"', '"\\ud83d\\ude00"', '"na\u00efve \U0001f389"']
)  # fmt: skip
members = {
    "id": st.sampled_from(['"a"', '"b"', '"a\\u0062"']),
    "sender": st.sampled_from(['{"id":"u"}', '{"x":[{}],"id":"v"}', '{"id":""}', '{"id":5}', "{}"]),
    "ts": st.sampled_from(TIMES).map(json.dumps),
    "text": st.sampled_from(['"x"', '"\\n\\u00e9 \\"q\\""', '"é"', "null"]),
    "body": st.sampled_from([BODY, BODY.replace("doc", "?"), BODY.replace('"x"', '"\\ud83d"'), "null", "[]"]),
    "extra": st.sampled_from(["5", '{"body":{}}', "[1]"]),
}


@st.composite
def elements(draw) -> str:
    """Return a message, usually with something unusual in it."""
    found = [*USUAL.items()]
    for name in draw(st.lists(st.sampled_from(sorted(members)), max_size=2)):
        found = [pair for pair in found if pair[0] != name or draw(st.integers(0, 5)) == 0]
        if draw(st.integers(0, 5)):
            found.append((name, draw(members[name] if draw(st.integers(0, 5)) else odd)))
    space = draw(st.sampled_from(["", "", "", " ", "\n", "\r\n\t"]))
    return (
        "{" + ",".join(f'{space}"{name}"{space}:{value}' for name, value in draw(st.permutations(found))) + space + "}"
    )


@st.composite
def pages(draw) -> bytes:
    """Return a page of such messages, usually within the usual wrapper."""
    listed = draw(st.lists(st.one_of(elements(), elements(), elements(), odd), max_size=4))
    space = draw(st.sampled_from(["", "", " ", "\n"]))
    array = "[" + f"{space},{space}".join(listed) + "]"
    page = draw(
        st.sampled_from([
            '{"messages":PAGE}',
            '{"messages":PAGE}',
            '{"messages":PAGE}',
            '{"x":[{}],"messages" : PAGE,"cursor":1e999,"limit":[]}',
            '{"messages":PAGE,"messages":PAGE}',
            '{"messages":PAGE,"messages":null}',
            '{"messages":PAGE,"values":[5]}',
            '{"m\\u0065ssages":PAGE,"values":5}',
            '{"messages":PAGE,"m\\u0065ssages":[],"limit":1e999}',
            '{"messages":[],"m\\u0065ssages":PAGE,"cursor":"\\ud83d"}',
            '{"values":PAGE}',
            '{"messages":PAGE} ',
            '{"messages":PAGE}}',
            '{"messages":PAGE,"x":nope}',
            '\ufeff{"messages":PAGE}',
            "PAGE",
        ])
    )  # fmt: skip
    return page.replace("PAGE", array).encode("utf-8", "surrogateescape")


ELEMENT = "{" + ",".join(f'"{name}":{value}' for name, value in USUAL.items()) + "}"
WHOLE = f'{{"messages":[{ELEMENT} , {ELEMENT}],"cursor":"c"}}'.encode()
PIECES = [*b'"\\{}[],:0- \x00\xff', b"\xed\xa0\xbd", b"\\ud83d", b"\\u0000", b"1e999", b'"id":"z",', b'"messages":[],']


@st.composite
def damaged_pages(draw) -> bytes:
    """Return a usual page with a few bytes replaced."""
    page = WHOLE
    for _ in range(draw(st.integers(1, 2))):
        at, length = draw(st.integers(0, len(page))), draw(st.sampled_from([0, 0, 1, 2]))
        piece = draw(st.sampled_from(PIECES))
        page = page[:at] + (bytes([piece]) if isinstance(piece, int) else piece) + page[at + length :]
    return page


def shown(message: Message) -> tuple[object, ...]:
    """Return everything that a message shows."""
    read = [message.id, message.sender_id, message.ts, message.text]
    for look in (lambda: message.body, lambda: message.extra, lambda: message.raw):
        try:
            read.append(look())
        except ValueError as error:
            read.append(str(error))
    return *read, hash(message), repr(message)


@given(st.one_of(pages(), damaged_pages()), st.booleans())
@settings(max_examples=300)
@example(b'{"messages":[]}', False)
def test_what_is_read_in_one_pass_is_what_is_read_with_care(page, raw_first):
    """All fields, the bytes, the body and the errors of accessing it are the same, whatever is accessed first."""
    fast = messages_in(page, SharedPage(page).element)
    if fast is None:
        return

    elements, path = split_history(page)
    careful = read_each(elements, path, message_at)

    assert not careful.errors
    if raw_first:
        assert [message.raw for message in careful.items] == [message.raw for message in fast]
    assert list(map(shown, careful.items)) == list(map(shown, fast))
    assert careful.items == fast
    again = messages_in(page, SharedPage(page).element)
    assert list(map(shown, careful.items)) == list(map(shown, pickle.loads(pickle.dumps(again))))


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda message: attrs.evolve(message, text="y")],
    ids=["copy", "deepcopy", "evolve"],
)
def test_a_copy_of_a_message_does_not_keep_its_page(copied):
    """The listing gives only the message itself its own bytes later."""
    page = SharedPage(WHOLE)
    weak = weakref.ref(page)

    again = copied(messages_in(WHOLE, page.element)[0])
    del page

    assert weak() is None
    assert (ELEMENT.encode(), "x") == (again.raw, again.body.to_text())


@pytest.mark.parametrize("count", [0, 1, 75])
def test_a_usual_page_is_read_in_one_pass(count):
    """Otherwise each message would be decoded by itself, which takes twice as long."""
    page = json.dumps(
        {"messages": [{**{k: json.loads(v) for k, v in USUAL.items()}, "id": f"{n}"} for n in range(count)]}
    )

    messages = messages_in(page.encode(), SharedPage(page.encode()).element)

    assert [f"{n}" for n in range(count)] == [message.id for message in messages or []]


@pytest.mark.parametrize(
    "unusual", [{"text": "null"}, {"ts": '"now"'}, {"id": '""'}, {"text": '"\\ud83d"'}, {"x": "?"}]
)
def test_an_unusual_page_is_read_with_care(unusual):
    """The text may have to be made from the body, or the error needs a path."""
    page = "{" + ",".join(f'"{name}":{value}' for name, value in {**USUAL, **unusual}.items()) + "}"

    assert messages_in(f'{{"messages":[{page}]}}'.encode(), bytes) is None


@given(st.lists(st.sampled_from(TIMES), max_size=5))
def test_times_are_read_together_as_one_by_one(texts):
    """This includes the error of the first that is not an instant."""

    def outcome(read):
        try:
            return read()
        except ValueError as error:
            return str(error)

    assert outcome(lambda: [parse_nanoseconds(text) for text in texts]) == outcome(lambda: parse_all_nanoseconds(texts))


@given(st.one_of(pages(), damaged_pages()))
@settings(max_examples=150)
def test_what_an_export_reads_of_a_page_is_what_its_messages_have(page):
    """An export needs the bytes of each message, and makes no `Message`; what it cannot decode is the same."""
    listing = history("/m", "room", None, None, oldest_first=False)
    seen = []
    for each in (listing, of_raw_messages(listing)):
        walk, errors = each.walk(9, None), []
        try:
            walk.receive(page, errors.append)
            items = [(m.ts, m.id, m.sender_id, bytes(m.raw)) for m in walk.next(None).items]
        except DecodeError as error:
            items = str(error)
        seen.append((items, [(error.path, error.raw) for error in errors]))

    assert seen[0] == seen[1]
