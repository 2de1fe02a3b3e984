"""Invalid arguments: a `ValueError` before anything is sent, or `NotFound` with the id."""

import asyncio
import inspect
import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import NoneType

import pytest

from stride_async import (
    AccessToken,
    Body,
    Bookmark,
    ClientCredentials,
    ConversationClient,
    Document,
    Markdown,
    NotFound,
    Settings,
    StaticToken,
    StrideClient,
)
from stride_async.document import (
    application_card,
    doc,
    extension,
    heading,
    ordered_list,
    paragraph,
    table,
    table_cell,
    task_item,
)
from stride_async.export import (
    ExportOptions,
    Selection,
    Shard,
    estimate,
    export,
    read,
    room_in_address,
    status,
    verify,
)
from stride_async.export.formats import ConvertOptions, convert, seed_of
from stride_async.export.matrix import migrate, new_registration, preview, read_registration
from stride_async.server import LocalServer
from tests.conftest import client_of
from tests.wrong_arguments import Argument, complaints

TOKEN = StaticToken("token-of-a-room")
NAIVE = datetime(2018, 6, 1, 8)
EARLY, LATE = datetime(2018, 6, 1, tzinfo=UTC), datetime(2018, 6, 2, tzinfo=UTC)
NO_DOCUMENT = Document.from_json(
    {
        "version": 1,
        "type": "doc",
        "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "fine"}]},
            {"type": "heading", "attrs": {"level": 9}, "content": []},
            {"type": "paragraph", "content": [{"type": "text", "text": ""}]},
        ],
    }
)


async def result_of(value):
    """Return the value, awaited if necessary, so that calls and pagers can be tested alike."""
    return await value if inspect.isawaitable(value) else value


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c, r: r.send(""), "the message is empty"),
        (lambda c, r: r.send(" \n\t "), "the message is empty"),
        (lambda c, r: r.send(Markdown("")), "the message is empty"),
        (lambda c, r: c.user("u").send(""), "the message is empty"),
        (lambda c, r: r.edit("m", ""), "the message is empty"),
        (lambda c, r: r.send("\ud800"), "cannot be encoded as UTF-8"),
        (
            lambda c, r: r.send(NO_DOCUMENT),
            r"the document is invalid: \$\.content\[1\]\.attrs\.level: .* \(and 1 more\)",
        ),
        (lambda c, r: r.edit("m", NO_DOCUMENT), r"the document is invalid: \$\.content\[1\]\.attrs\.level"),
        (lambda c, r: c.user("u").edit("m", NO_DOCUMENT), r"the document is invalid: \$\.content\[1\]\.attrs\.level"),
        (lambda c, r: r.recent(0), "limit is 0; expected 1 to 75"),
        (lambda c, r: r.recent(76), "limit is 76; expected 1 to 75"),
        (lambda c, r: r.history(page_size=0), "page_size is 0; expected 1 to 75"),
        (lambda c, r: r.history(page_size=76), "page_size is 76; expected 1 to 75"),
        (lambda c, r: r.roster(page_size=-1), "page_size is -1; expected 1 to 75"),
        (lambda c, r: c.conversations(page_size=100), "page_size is 100; expected 1 to 75"),
        (lambda c, r: r.modules("chat:bot", page_size=0), "page_size is 0; expected 1 to 75"),
        (lambda c, r: r.history(max_items=-1), "max_items is -1; expected 0 or more"),
        (lambda c, r: r.history().collect(limit=-1), "limit is -1; expected 0 or more"),
        (lambda c, r: r.history().stream(prefetch=-1), "prefetch is -1; expected 0 or more"),
        (lambda c, r: r.context("m", before=-1), "before is -1; expected 0 or more"),
        (lambda c, r: r.context("m", before=40, after=35), "before=40 and after=35; .* at most 74 together"),
        (lambda c, r: r.history(after=NAIVE), "after=2018-06-01T08:00:00 has no time zone"),
        (lambda c, r: r.history(before=NAIVE), "before=2018-06-01T08:00:00 has no time zone"),
        (lambda c, r: r.history(after=LATE, before=EARLY), "after=.* is later than before="),
        (lambda c, r: r.history(after=""), "after is an empty message id"),
        (lambda c, r: c.conversation(""), "the conversation id is empty"),
        (lambda c, r: c.user(""), "the user id is empty"),
        (lambda c, r: r.message(""), "the message id is empty"),
        (lambda c, r: r.edit("", "hi"), "the message id is empty"),
        (lambda c, r: r.delete(""), "the message id is empty"),
        (lambda c, r: r.context(""), "the message id is empty"),
        (lambda c, r: r.open_media(""), "the media id is empty"),
        (lambda c, r: r.download("", "/nowhere/at/all"), "the media id is empty"),
        (lambda c, r: r.delete_media(""), "the media id is empty"),
        (lambda c, r: r.put_module("chat:bot", "", {}), "the module key is empty"),
        (lambda c, r: r.delete_module("chat:bot", ""), "the module key is empty"),
        (lambda c, r: r.set_glance("", label="x"), "the module key is empty"),
        (lambda c, r: r.set_configuration("", configured=True), "the module key is empty"),
        (lambda c, r: c.update_glance("", label="x"), "the module key is empty"),
        (lambda c, r: c.update_configuration("", configured=True, conversation_id="r"), "the module key is empty"),
        (lambda c, r: r.invite(), "no user to add"),
        (lambda c, r: r.invite("u", ""), "no user to add; .* none of them empty"),
        (lambda c, r: r.remove(), "no user to remove"),
        (lambda c, r: c.find_user(""), "the email address is empty"),
        (lambda c, r: r.modules("chat:configuration"), "'chat:configuration' is not a module type that the service"),
        (lambda c, r: r.put_module("glance", "k", {}), "'glance' is not a module type .* chat:actionTarget, "),
        (lambda c, r: r.delete_module("", "k"), "'' is not a module type"),
        (lambda c, r: r.put_module("chat:bot", "k", {"at": {1, object()}}), "the body cannot be encoded as JSON"),
        (lambda c, r: c.conversations(sort="up"), "sort is 'up'; expected 'asc', 'desc' or None"),
        (lambda c, r: c.create_conversation("a", privacy="secret"), "privacy is 'secret'; expected 'public' or 'priv"),
        (lambda c, r: c.create_conversation("  "), "the conversation's name is empty"),
        (lambda c, r: r.update(privacy=""), "privacy is ''; expected 'public' or 'private'"),
        (lambda c, r: r.update(name=""), "the conversation's name is empty"),
        (lambda c, r: r.update(), "nothing to update; pass name, topic or privacy"),
        (lambda c, r: r.upload(b"x"), "the upload has no name; pass name="),
        (lambda c, r: r.upload(Body.from_bytes(b"x"), name=""), "the upload has no name; pass name="),
        (lambda c, r: r.upload(b"x", name="\ud800"), "cannot be encoded as UTF-8"),
        (lambda c, r: c.conversation("\ud800"), "cannot be encoded as UTF-8"),
        (lambda c, r: c.recall_call("r", -1), "seconds_ago is -1; expected 0 or more"),
        (lambda c, r: c.recall_call("r", math.nan), "seconds_ago is nan; expected 0 or more"),
        (lambda c, r: c.recall_call("r", math.inf), "seconds_ago is inf; expected 0 or more"),
        (lambda c, r: c.request("", "/me"), "the method '' is not the name of an HTTP method"),
        (lambda c, r: c.request("GET /x", "/me"), "the method 'GET /x' is not the name of an HTTP method"),
        (lambda c, r: c.request("G\u00c9T", "/me"), "is not the name of an HTTP method"),
        (lambda c, r: c.request("GET", "//host/me"), "must begin with one slash and be percent-encoded"),
        (lambda c, r: c.request("GET", "/me\r\nX: y"), "must begin with one slash and be percent-encoded"),
        (lambda c, r: c.request("GET", "/m\0e"), "must begin with one slash and be percent-encoded"),
        (lambda c, r: c.request("GET", "/m\u00e9"), "must begin with one slash and be percent-encoded"),
        (lambda c, r: c.request("GET", "/me?a=1"), "a query belongs in params"),
        (lambda c, r: c.request("GET", "/me", params={"q": "\ud800"}), "the parameter 'q' .* cannot be encoded"),
        (lambda c, r: c.request("GET", "/me", params={"\ud800": "q"}), "the name of a parameter .* cannot be encoded"),
        (lambda c, r: doc(paragraph("")), "text"),
    ],
)
async def test_an_invalid_argument_is_refused_before_anything_is_sent(client, server, call, message):
    """The message says what was found and what was expected."""
    room = client.conversation(server.add_conversation("general"))

    with pytest.raises(ValueError, match=message) as caught:
        await result_of(call(client, room))

    assert "\n" not in str(caught.value)
    assert 0 == len(server.calls)


async def test_a_missing_file_is_reported_before_anything_is_sent(client, server, tmp_path):
    """The error is the one of the operating system."""
    room = client.conversation(server.add_conversation("general"))

    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        await room.upload(tmp_path / "missing.txt")

    assert 0 == len(server.calls)


async def test_a_download_to_a_missing_folder_creates_nothing(client, server, tmp_path):
    """The folder is not created either."""
    room = client.conversation(server.add_conversation("general"))
    media_id = server.add_media(room.id, "a.txt", b"data")

    with pytest.raises(FileNotFoundError):
        await room.download(media_id, tmp_path / "missing" / "a.txt")

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        (lambda c, r: c.conversation("no-room").get(), "no-room"),
        (lambda c, r: c.conversation("no-room").send("hi"), "no-room"),
        (lambda c, r: c.conversation("no-room").history().first(), "no-room"),
        (lambda c, r: c.conversation("no-room").roster().collect(limit=None), "no-room"),
        (lambda c, r: c.conversation("no-room").upload(b"x", name="x"), "no-room"),
        (lambda c, r: c.conversation("a/b?c#d ü").get(), "a/b?c#d ü"),
        (lambda c, r: c.conversation("..").get(), ".."),
        (lambda c, r: r.message("no-message"), "no-message"),
        (lambda c, r: r.edit("no-message", "hi"), "no-message"),
        (lambda c, r: r.delete("no-message"), "no-message"),
        (lambda c, r: r.context("no-message"), "no-message"),
        (lambda c, r: r.history(after="no-message").collect(limit=None), "no-message"),
        (lambda c, r: r.open_media("no-media").__aenter__(), "no-media"),
        (lambda c, r: r.delete_media("no-media"), "no-media"),
        (lambda c, r: r.delete_module("chat:bot", "no-key"), "no-key"),
        (lambda c, r: r.invite("no-user"), "no-user"),
        (lambda c, r: c.user("no-user").profile(), "no-user"),
        (lambda c, r: c.user("no-user").conversation(), "no-user"),
        (lambda c, r: c.user("no-user").send("hi"), "no-user"),
        (lambda c, r: c.update_glance("k", label="x", conversation_id="no-room"), "no-room"),
    ],
)
async def test_an_unknown_id_is_named_by_not_found(client, server, call, missing):
    """The call is not retried."""
    room = client.conversation(server.add_conversation("general"))

    with pytest.raises(NotFound) as caught:
        await call(client, room)

    assert missing in caught.value.message
    assert 1 == len(caught.value.attempts)


async def test_an_unknown_site_is_named_by_not_found(server):
    """This holds for every kind of call."""
    credentials = ClientCredentials(server.client_id, server.client_secret)
    settings = Settings(base_url=server.url, backoff=0.0)

    async with StrideClient(credentials, cloud_id="no-site", settings=settings) as client:
        for call in (client.conversations().first(), client.create_conversation("a"), client.conversation("r").get()):
            with pytest.raises(NotFound, match="no-site"):
                await call


async def test_an_id_never_changes_the_path(server):
    """Dots, slashes and escapes in an id stay within its segment."""
    ids = ["..", ".", "../../me", "a/b", "a%2Fb", "a?b=c", "a#b", "a b", "ü", "a:b", "%"]
    async with client_of(server) as client:
        for wanted in ids:
            with pytest.raises(NotFound):
                await client.conversation(wanted).get()

    base = f"/site/{server.cloud_id}/conversation/"
    assert [base + wanted for wanted in ids] == [call.path for call in server.calls if call.path != "/oauth/token"]


WRONG_TYPES: dict[str, Callable[[StrideClient, ConversationClient], object]] = {
    "a decoded document": lambda client, room: room.send({"type": "doc"}),
    "no content": lambda client, room: room.send(None),
    "bytes as text": lambda client, room: room.edit("m", b"hi"),
    "an int as a bound": lambda client, room: room.history(after=5),
    "a list as a bound": lambda client, room: room.history(before=["m"]),
    "a pair of texts as a bound": lambda client, room: room.history(before=("m", "n")),
    "an int as a conversation": lambda client, room: client.conversation(5),
    "None as a conversation": lambda client, room: client.conversation(None),
    "a list as a user": lambda client, room: client.user(["u"]),
    "a list of ids": lambda client, room: room.invite(["u"]),
    "an int as a message id": lambda client, room: room.message(5),
    "an int as an email address": lambda client, room: client.find_user(5),
    "an int as a name": lambda client, room: client.create_conversation(5),
    "a list as a topic": lambda client, room: room.update(topic=["t"]),
    "text as a limit": lambda client, room: room.recent("5"),
    "a float as a context": lambda client, room: room.context("m", before=1.5),
    "text as a page size": lambda client, room: client.conversations(page_size="5"),
    "a bool as a page size": lambda client, room: room.roster(page_size=True),
    "text as the most items": lambda client, room: room.history(max_items="5"),
    "an int as a query": lambda client, room: client.conversations(query=5),
    "an int as a media id": lambda client, room: room.open_media(5),
    "text as a prefetch": lambda client, room: room.history().stream(prefetch="1"),
    "a list as settings": lambda client, room: client.with_settings([]),
    "text as a session": lambda client, room: StrideClient(TOKEN, cloud_id="c", settings=client.settings, session="s"),
    "no settings": lambda client, room: StrideClient(TOKEN, cloud_id="c", settings=None),
    "text as the age of a call": lambda client, room: client.recall_call("c", "5"),
    "a list as the conversation of a call": lambda client, room: client.recall_call(["c"], 5),
    "text as a document": lambda client, room: client.render_text("hi"),
    "an int as Markdown": lambda client, room: client.markdown_to_document(5),
    "an int as a method": lambda client, room: client.request(5, "/me"),
    "no path": lambda client, room: client.request("GET", None),
    "text as parameters": lambda client, room: client.request("GET", "/me", params="a=1"),
    "None as a parameter": lambda client, room: client.request("GET", "/me", params={"a": None}),
    "bytes as a parameter": lambda client, room: client.request("GET", "/me", params={"a": b"b"}),
    "an int as the name of a parameter": lambda client, room: client.request("GET", "/me", params={1: "a"}),
    "an int as metadata": lambda client, room: room.set_glance("k", label="l", metadata=5),
    "an int as the metadata of a site": lambda client, room: client.update_glance("k", label="l", metadata=5),
    "an int as a label": lambda client, room: room.set_glance("k", label=5),
    "text as a flag": lambda client, room: room.set_configuration("k", configured="yes"),
    "a list as a descriptor": lambda client, room: room.put_module("chat:bot", "k", ["name"]),
    "a list as a module type": lambda client, room: room.modules(["chat:bot"]),
    "text as downloads at once": lambda client, room: room.download_many(["m"], to=".", concurrency="4"),
    "a list as a validator": lambda client, room: room.open_media("m", validator=["e"]),
    "text as a bookmark": lambda client, room: room.history().resume("b"),
    "text as a body": lambda client, room: Body.from_bytes("text"),
    "text as a client to export with": lambda client, room: estimate("client", "archive"),
    "a dict as export options": lambda client, room: estimate(client, "archive", {"media": "none"}),
    "text as a client to compare with": lambda client, room: verify("archive", against="client"),
    "text as a moment": lambda client, room: ExportOptions(since="2018-06-01"),
    "a float as conversations at once": lambda client, room: ExportOptions(concurrency=1.5),
    "text as a selection": lambda client, room: ExportOptions(selection="general"),
    "an int as a rescan": lambda client, room: ExportOptions(rescan=30),
    "no URL of a room": lambda client, room: room_in_address(None),
    "an int as a module key": lambda client, room: room.delete_module("chat:bot", 5),
    "an int as a source": lambda client, room: room.upload(5),
    "bytes as the name of an upload": lambda client, room: room.upload(b"x", name=b"x"),
    "text as a progress callback": lambda client, room: room.upload(b"x", name="x", progress="p"),
    "an int as a target": lambda client, room: room.download("m", 5),
    "an int as the progress callback of a download": lambda client, room: room.download("m", "f", progress=5),
    "an int as media ids": lambda client, room: room.download_many(5, to="."),
    "a text as media ids": lambda client, room: room.download_many("m", to="."),
    "an int as a folder": lambda client, room: room.download_many(["m"], to=5),
    "text as oldest first": lambda client, room: room.history(oldest_first="no"),
    "text as a filter": lambda client, room: client.conversations(include_archived="no"),
    "an int as on_undecodable": lambda client, room: room.history().stream(on_undecodable=5),
    "an int as the path of a body": lambda client, room: Body.from_path(5),
    "bytes as a factory": lambda client, room: Body.from_factory(b"x"),
    "no factory": lambda client, room: Body.from_factory(None),
    "bytes as chunks": lambda client, room: Body.once(b"x"),
    "text as a size": lambda client, room: Body.from_factory(lambda: None, size="5"),
    "an int as a stored bookmark": lambda client, room: Bookmark.loads(5),
    "an int as the title of a card": lambda client, room: application_card(5),
    "an int as a row": lambda client, room: table(5),
    "an int as an archive to export to": lambda client, room: anext(export(client, 5)),
    "an int as an archive to estimate": lambda client, room: estimate(client, 5),
    "an int as an archive to verify": lambda client, room: verify(5),
    "text as a sample": lambda client, room: verify("archive", sample="5"),
    "text as on_verdict": lambda client, room: verify("archive", on_verdict="print"),
    "an int as an archive to read": lambda client, room: read(5),
    "bytes as an archive to look at": lambda client, room: status(b"archive"),
    "one text as selectors": lambda client, room: Selection("general"),
    "an int as a selector": lambda client, room: Selection((5,)),
    "a list as names": lambda client, room: Selection().unmatched(["general"]),
    "text as a flag of an export": lambda client, room: ExportOptions(fail_fast="no"),
    "an int as a shard": lambda client, room: Shard.parse(5),
    "an int as a conversation of a shard": lambda client, room: Shard(0, 1).includes(5),
    "an int as an archive to convert": lambda client, room: convert(5, "seed", "out"),
    "a list as a format": lambda client, room: convert("archive", ["seed"], "out"),
    "an int as an output": lambda client, room: convert("archive", "seed", 5),
    "a dict as options of a conversion": lambda client, room: convert(
        "archive", "seed", "out", options={"force": True}
    ),
    "text as an engine": lambda client, room: convert("archive", "parquet", "out", engine="processes=2"),
    "text as a progress of a conversion": lambda client, room: convert("archive", "seed", "out", progress="p"),
    "a text as a selection to convert": lambda client, room: ConvertOptions(selection="general"),
    "text as a force": lambda client, room: ConvertOptions(force="no"),
    "bytes as a team": lambda client, room: ConvertOptions(team=b"ours"),
    "an int as an archive to preview": lambda client, room: preview(5),
    "text as a registration": lambda client, room: anext(migrate("archive", "http://h", "registration.yaml")),
    "an int as a registration to read": lambda client, room: read_registration(5),
    "an int as a server name": lambda client, room: new_registration("r.yaml", 5),
}


@pytest.mark.parametrize("call", WRONG_TYPES.values(), ids=WRONG_TYPES)
async def test_an_argument_of_the_wrong_type_is_one_sentence_at_once(client, server, call):
    """It says what was expected and what was found, and nothing is sent."""
    with pytest.raises(TypeError, match=r"must be .*, not \w+: ") as caught:
        await result_of(call(client, client.conversation("room")))

    assert "\n" not in str(caught.value)
    assert 0 == len(server.calls)


TEXT_OR_NONE = (str, NoneType)
ARGUMENTS = [
    Argument("settings", lambda client, room, value: StrideClient.from_env(settings=value), (NoneType,)),
    Argument("seconds_ago", lambda client, room, value: client.recall_call("c", value), (int, float)),
    Argument(
        "conversation id",
        lambda client, room, value: client.update_glance("k", label="l", conversation_id=value),
        TEXT_OR_NONE,
    ),
    Argument("user id", lambda client, room, value: client.update_glance("k", label="l", user_id=value), TEXT_OR_NONE),
    Argument("text", lambda client, room, value: Markdown(value), (str,)),
    Argument("expires_in", lambda client, room, value: AccessToken("t", value), (int, float, NoneType)),
    Argument("open", lambda client, room, value: Body(value, 1), ()),
    Argument("size", lambda client, room, value: Body(list, value), (int, NoneType)),
    Argument("replayable", lambda client, room, value: Body(list, 1, value), (bool,)),
    Argument("path", lambda client, room, value: Body.from_path(value), (str,)),
    Argument("parameters", lambda client, room, value: extension("k", parameters=value), (dict, NoneType)),
    Argument("level", lambda client, room, value: heading("a", level=value), (int,)),
    Argument("order", lambda client, room, value: ordered_list("a", order=value), (int, NoneType)),
    Argument("colspan", lambda client, room, value: table_cell("a", colspan=value), (int,)),
    Argument("done", lambda client, room, value: task_item("a", done=value), (bool,)),
    Argument("link", lambda client, room, value: application_card("a", link=value), TEXT_OR_NONE),
    Argument("options", lambda client, room, value: estimate(client, "archive", value), (NoneType,)),
    Argument("kind", lambda client, room, value: Selection(kinds=["group"]).picks("i", "n", value), (list, dict)),
    Argument("archive", lambda client, room, value: seed_of(value), (str,)),
]


@pytest.mark.parametrize("argument", ARGUMENTS, ids=lambda argument: argument.name)
async def test_any_wrong_value_of_an_argument_is_one_sentence_that_names_it(client, server, argument):
    """It is raised before anything is sent."""
    room = client.conversation("room")

    assert [] == await complaints(argument, client, room)
    assert 0 == len(server.calls)


@pytest.mark.parametrize("credentials", ["a-secret", b"a-secret", ("id", "a-secret"), None, ClientCredentials])
def test_credentials_of_another_type_are_refused_without_being_quoted(credentials):
    """They may be the secret itself."""
    with pytest.raises(TypeError, match=r"credentials must be .*, not \w+$") as caught:
        StrideClient(credentials, cloud_id="c", settings=Settings(base_url="http://127.0.0.1"))

    assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda secret: ClientCredentials("id", secret),
        lambda secret: ClientCredentials(secret, "secret"),
        StaticToken,
        AccessToken,
    ],
)
@pytest.mark.parametrize(
    ("secret", "error"), [(b"a-secret", TypeError), (None, TypeError), ("a-secret\udcff", ValueError)]
)
def test_parts_of_credentials_must_be_text(make, secret, error):
    """The message does not quote them, nor does what led to it."""
    with pytest.raises(error, match=r"must be a str|cannot be encoded|cannot carry") as caught:
        make(secret)

    assert error is type(caught.value)
    assert "a-secret" not in f"{caught.value!r} {caught.value.__context__!r}"


async def test_a_provider_that_returns_text_is_named(server):
    """What it returned is not quoted."""

    class Provider:
        async def token(self):
            return "a-secret"

    async with StrideClient(Provider(), cloud_id=server.cloud_id, settings=Settings(base_url=server.url)) as client:
        with pytest.raises(TypeError, match="the token provider must return an AccessToken, not str") as caught:
            await client.me()

    assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 2.5},
        {"attempts": "4"},
        {"page_size": True},
        {"deadline": "10"},
        {"backoff": None},
        {"base_url": 5},
        {"allowed_origins": "http://127.0.0.1"},
        {"on_event": 5},
        {"on_event": asyncio.sleep},
    ],
    ids="-".join,
)
def test_an_option_of_the_wrong_type_is_one_sentence(options):
    """The option is named."""
    with pytest.raises(TypeError, match=f"{next(iter(options))}.* (must be|callable)"):
        Settings(**{"base_url": "http://127.0.0.1", **options})


async def _async_function(_):
    pass


class _AsyncCall:
    async def __call__(self, _):
        pass


CALLBACKS = {
    "of events": lambda client, room, given: Settings(base_url="http://127.0.0.1", on_event=given),
    "of a body": lambda client, room, given: Body(given, 1),
    "of an upload": lambda client, room, given: room.upload(b"x", name="a", progress=given),
    "of a download": lambda client, room, given: room.download("m", "file", progress=given),
    "of pages": lambda client, room, given: anext(room.history().pages(on_undecodable=given)),
    "of a stream": lambda client, room, given: room.history().stream(on_undecodable=given),
    "of a check": lambda client, room, given: verify("archive", on_verdict=given),
    "of a conversion": lambda client, room, given: convert("archive", "seed", "out", progress=given),
    "of a local server": lambda client, room, given: LocalServer(on_loading=given),
}


@pytest.mark.parametrize("call", CALLBACKS.values(), ids=CALLBACKS)
@pytest.mark.parametrize(
    "given", [_async_function, partial(_async_function), _AsyncCall()], ids=["function", "partial", "object"]
)
async def test_an_async_callback_is_refused_at_once(client, server, call, given):
    """Nothing would await what it returns, so it would silently do nothing."""
    with pytest.raises(TypeError, match="must be a plain function, not async: "):
        await result_of(call(client, client.conversation("room"), given))

    assert 0 == len(server.calls)


async def test_handles_take_models(client, server):
    """What a listing returns can be passed on."""
    ann = server.add_user("Ann")
    server.add_conversation("room", roster=[ann])
    room = await client.conversations().first()
    person = await client.user(ann).profile()

    assert room.id == client.conversation(room).id
    assert ann == client.user(person).id


def test_settings_from_the_environment_take_other_options(monkeypatch):
    """Only `base_url` is read from it."""
    monkeypatch.setenv("STRIDE_BASE_URL", "http://127.0.0.1:1")

    assert Settings(base_url="http://127.0.0.1:1", attempts=2) == Settings.from_env(attempts=2)
    with pytest.raises(TypeError, match="unknown"):
        Settings.from_env(unknown=1)
