"""The text of a message becomes the arguments of a handler."""

from __future__ import annotations

import enum
import re
from datetime import date
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stride_async.bot import Bot
from stride_async.bot._arguments import Arguments, Usage, command_for, pattern_for, reader_of


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


UNREADABLE = object()


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (str, "any thing", "any thing"),
        (int, "-12", -12),
        (int, "9" * 19, int("9" * 19)),
        (int, "9" * 20, UNREADABLE),
        (int, "1_000", UNREADABLE),
        (int, "٣", UNREADABLE),
        (int, " 1", UNREADABLE),
        (int, "1.0", UNREADABLE),
        (float, "1.5", 1.5),
        (float, ".5", 0.5),
        (float, "2", 2.0),
        (float, "nan", UNREADABLE),
        (float, "inf", UNREADABLE),
        (float, "1e9", UNREADABLE),
        (float, "1." + "0" * 19, UNREADABLE),
        (bool, "YES", True),
        (bool, "off", False),
        (bool, "1", True),
        (bool, "maybe", UNREADABLE),
        (date, "2018-02-28", date(2018, 2, 28)),
        (date, "2018-02-30", UNREADABLE),
        (date, "20180228", UNREADABLE),
        (Color, "red", Color.RED),
        (Color, "G", Color.GREEN),
        (Color, "blue", UNREADABLE),
        (Literal["on", "off", 3], "on", "on"),
        (Literal["on", "off", 3], "3", 3),
        (Literal["on", "off", 3], "ON", UNREADABLE),
        (int | None, "3", 3),
        (int | None, "x", UNREADABLE),
    ],
)
def test_text_reads_as_a_type_or_not(kind, text, expected):
    """Each type accepts what a person would write for it, and nothing else."""
    reader = reader_of(kind)

    try:
        found = reader.read(text)
    except ValueError:
        found = UNREADABLE

    assert (type(expected), expected) == (type(found), found)


@pytest.mark.parametrize("kind", [bytes, list[int], int | str, object, type, re.Pattern, Literal])
def test_other_types_cannot_be_read(kind):
    """A handler with such a parameter is refused when it is registered."""
    assert reader_of(kind) is None


@given(st.text())
@example("1\n")
@example("+")
def test_a_number_is_read_or_refused(text):
    """For any text, an int has at most 19 digits and a float is finite."""
    for kind in (int, float):
        try:
            value = reader_of(kind).read(text)
        except ValueError:
            continue
        assert text.isascii()
        assert abs(value) < 10**19


def test_groups_become_arguments():
    """A group that did not participate in the match gives the default, or else None."""

    async def handler(event, what: str, times: int = 1, where: str | None = None): ...

    _, pattern = pattern_for(handler, r"deploy (?P<what>\w+)( (?P<times>\d+))?( to (?P<where>\w+))?")

    assert {"what": "api", "times": 3, "where": "eu"} == pattern.arguments("now deploy api 3 to eu").named
    assert {"what": "api", "times": 1, "where": None} == pattern.arguments("deploy api").named
    assert pattern.arguments("roll back api") is None


def test_a_group_that_does_not_read_as_its_type_does_not_fit():
    """The pattern does not match then, and the next handler is tried."""

    async def handler(event, day: date): ...

    _, pattern = pattern_for(handler, r"on (?P<day>\S+)")

    assert pattern.arguments("on monday") is None
    assert pattern.arguments("on 2018-03-01") is not None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deploy api", Arguments(("api", 1))),
        ("Deploy api 3", Arguments(("api", 3))),
        ('deploy "my api" 3', Arguments(("my api", 3))),
        ("  deploy   api\n3 ", Arguments(("api", 3))),
        ("deploy a\\ b", Arguments(("a b", 1))),
        ("deploy '' 2", Arguments(("", 2))),
        ("deploy api three", "usage"),
        ("deploy api 3 more", "usage"),
        ("deploy", "usage"),
        ("deploy don't", "usage"),
        ("deployed api", None),
        ("re-deploy api", None),
        ("'deploy' api", None),
        ("", None),
    ],
)
def test_words_of_a_command_are_read_as_by_a_shell(text, expected):
    """The first word must equal the command in any case; quotes and backslashes keep words together."""

    async def deploy(event, what: str, times: int = 1): ...

    _, command = command_for(deploy, "deploy")

    found = command.arguments(text)

    assert expected == ("usage" if isinstance(found, Usage) else found)


def test_the_rest_of_a_command_comes_as_words():
    """`*names` takes the remaining words and reads each as its type."""

    async def invite(event, room: str, *numbers: int): ...

    _, command = command_for(invite, "invite")

    assert Arguments(("general", 1, 2)) == command.arguments("invite general 1 2")
    assert Arguments(("general",)) == command.arguments("invite general")
    assert Usage("Usage: invite <room: str> [numbers: int ...]") == command.arguments("invite general x")


@pytest.mark.parametrize("rest", ["it's  here", 'a "quoted" word', "line\nline", "# 1"])
def test_the_rest_of_a_command_comes_as_text(rest):
    """A keyword-only parameter takes the text as it was written, with quotes and inner spaces."""

    async def tell(event, whom: str, *, text: str): ...

    _, command = command_for(tell, "tell")

    assert Arguments(("ann",), {"text": rest}) == command.arguments(f"tell ann  {rest} ")
    assert Usage("Usage: tell <whom: str> <text: str>") == command.arguments("tell ann")


def test_a_usage_line_names_choices():
    """The values of an enum or a literal are listed as a person writes them."""

    async def paint(event, color: Color, layers: Literal[1, 2] = 1, dry: bool | None = None): ...

    _, command = command_for(paint, "paint")

    assert "Usage: paint <color: red|green> [layers: 1|2] [dry: yes|no]" == command.usage.text


@given(st.text())
def test_a_command_survives_any_text(text):
    """The command gets arguments or returns its usage; it never raises."""

    async def tell(event, whom: str, *rest: str): ...

    _, command = command_for(tell, "tell")

    assert isinstance(command.arguments(f"tell {text}"), (Arguments, Usage))


# Mistakes in a handler are reported where it is registered, with its name and the parameter's.


def sync(event): ...


async def no_event(): ...


async def plain(event): ...


async def with_what(event, what): ...


async def with_bytes(event, what: bytes): ...


async def with_unknown(event, what: Missing): ...  # noqa: F821 -- the mistake


async def with_names(event, *names): ...


async def with_keywords(event, **names): ...


async def with_two_tails(event, *, one: str, two: str): ...


async def with_number_tail(event, *, one: int): ...


@pytest.mark.parametrize(
    ("register", "handler", "error", "words"),
    [
        (lambda bot: bot.mention(), sync, TypeError, ["sync", "async def"]),
        (lambda bot: bot.mention(), no_event, TypeError, ["no_event", "event"]),
        (lambda bot: bot.mention(), with_what, TypeError, ["with_what", "'what'"]),
        (lambda bot: bot.mention("x"), with_what, TypeError, ["with_what", "'what'", "no group"]),
        (lambda bot: bot.mention("(?P<what>x)"), plain, TypeError, ["plain", "'what'"]),
        (lambda bot: bot.mention("(?P<what>x)"), with_bytes, TypeError, ["with_bytes", "'what'", "bytes"]),
        (lambda bot: bot.mention("(?P<what>x)"), with_unknown, TypeError, ["with_unknown", "'what'", "Missing"]),
        (lambda bot: bot.mention("(?P<names>x)"), with_names, TypeError, ["with_names", "'names'"]),
        (lambda bot: bot.mention("("), plain, ValueError, ["plain", "'('"]),
        (lambda bot: bot.message(b"x"), plain, ValueError, ["plain", "bytes"]),
        (lambda bot: bot.mention("x{99999999999999999999}"), plain, ValueError, ["plain", "broken"]),
        (lambda bot: bot.message("(" * 5000 + ")" * 5000), plain, ValueError, ["plain", "broken"]),
        (lambda bot: bot.message("(?P<what>x)(?P=what)"), with_what, ValueError, ["with_what", "(?P=what)"]),
        (lambda bot: bot.command("two words"), plain, ValueError, ["plain", "two words"]),
        (lambda bot: bot.command(""), plain, ValueError, ["plain"]),
        (lambda bot: bot.command("x"), with_keywords, TypeError, ["with_keywords", "names"]),
        (lambda bot: bot.command("x"), with_two_tails, TypeError, ["with_two_tails", "'two'"]),
        (lambda bot: bot.command("x"), with_number_tail, TypeError, ["with_number_tail", "'one'"]),
        (lambda bot: bot.command("x"), with_bytes, TypeError, ["with_bytes", "'what'", "bytes"]),
        (lambda bot: bot.roster(), with_what, TypeError, ["with_what", "'what'"]),
        (lambda bot: bot.installed(), sync, TypeError, ["sync"]),
        (lambda bot: bot.action("a"), with_what, TypeError, ["with_what", "'what'"]),
        (lambda bot: bot.action(""), plain, ValueError, ["plain", "key"]),
        (lambda bot: bot.action(".."), plain, ValueError, ["plain", "'..'", "URL"]),
        (lambda bot: bot.action(5), plain, ValueError, ["plain", "key 5"]),
        (lambda bot: bot.glance("\ud800", name="G", icon="i"), plain, ValueError, ["plain", r"'\ud800'"]),
        (
            lambda bot: bot.glance("c", name="G", icon="i", conditions=[{"x": object()}]),
            plain,
            TypeError,
            ["plain", "'c'", "JSON"],
        ),
        (lambda bot: bot.message("x", key=5), plain, ValueError, ["plain", "key 5"]),
        (lambda bot: bot.message("x", key=""), plain, ValueError, ["plain", "key ''"]),
        (lambda bot: bot.message(5), plain, ValueError, ["plain", "pattern 5"]),
        (lambda bot: bot.command(None), plain, ValueError, ["plain", "None", "one word"]),
        *(
            (lambda bot, kind=kind: bot.error(kind), with_what, TypeError, ["with_what", repr(kind), "Exception"])
            for kind in (5, "ValueError", int, BaseException, (ValueError, KeyError))
        ),
        (lambda bot: bot.error(), plain, TypeError, ["plain", "2"]),
        (lambda bot: bot.middleware, plain, TypeError, ["plain", "2"]),
    ],
)
def test_a_broken_registration_is_reported_at_once(register, handler, error, words):
    """The message names the function, the parameter, and what was expected."""
    with pytest.raises(error) as raised:
        register(Bot("deployer"))(handler)

    assert [] == [word for word in words if word not in str(raised.value)]


@pytest.mark.parametrize(
    "register",
    [
        lambda bot: bot.command("deploy"),
        lambda bot: bot.message("x"),
        lambda bot: bot.message("x", key="k"),
        lambda bot: bot.action("a"),
        lambda bot: bot.glance("g", name="G", icon="https://example.com/g.png"),
        lambda bot: bot.configuration("c", page="p"),
    ],
)
def test_a_second_handler_of_one_key_is_refused(register):
    """It would never be called, or would take the events of the first handler."""
    bot = Bot("deployer")
    register(bot)(plain)

    with pytest.raises(ValueError, match="plain"):
        register(bot)(plain)


def test_the_module_of_mentions_does_not_depend_on_other_modules_of_its_type():
    """It is in the descriptor next to them, and none may have its key."""
    bot = Bot("deployer")
    bot.module("chat:bot", "other", {"mention": {"url": "https://example.com/mention"}})
    bot.mention()(plain)
    bot.direct_message()(plain)

    assert ["other", "bot"] == [
        module["key"] for module in bot.descriptor("https://bot.example.com")["modules"]["chat:bot"]
    ]

    bot = Bot("deployer")
    bot.module("chat:bot", "bot", {"mention": {"url": "https://example.com/mention"}})
    with pytest.raises(ValueError, match="plain: another chat:bot module has the key 'bot'"):
        bot.mention()(plain)


def test_a_second_module_of_one_key_is_refused():
    """Modules without handlers are compared with those that have one."""
    bot = Bot("deployer")
    bot.action("a")(plain)

    with pytest.raises(ValueError, match="'a'"):
        bot.module("chat:actionTarget", "a", {"openDialog": {"key": "d"}})


@pytest.mark.parametrize("descriptor", [5, [1], {"options": object()}])
def test_the_descriptor_of_a_module_must_be_json(descriptor):
    """Otherwise the descriptor of the bot could not be served."""
    with pytest.raises(TypeError, match=r"chat:dialog module 'details' is not a JSON object"):
        Bot("deployer").module("chat:dialog", "details", descriptor)


@pytest.mark.parametrize("key", ["", "a\nb"])
def test_a_bot_has_a_key(key):
    """The key must be printable and must not be empty."""
    with pytest.raises(ValueError, match="key"):
        Bot(key)


@pytest.mark.parametrize(
    "decorator",
    [
        *("mention", "direct_message", "message", "command", "roster", "conversation", "installed", "uninstalled"),
        *("action", "glance", "configuration", "error"),
    ],
)
def test_a_decorator_without_parentheses_is_refused(decorator: str):
    """It would take the handler for its argument and register nothing."""
    with pytest.raises(TypeError):
        getattr(Bot("deployer"), decorator)(plain)


def test_the_message_about_parentheses_shows_what_to_write():
    """It names the function, too."""
    with pytest.raises(TypeError, match=r"plain: expected parentheses after the decorator, as in @bot\.mention\(\)"):
        Bot("deployer").mention(plain)
