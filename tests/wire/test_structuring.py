"""Small objects become models: nulls are missing fields, unknown fields are kept, and a mismatch has a path."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stride_async import Account, Conversation, DecodeError, Email, Media, PersonName, User
from stride_async._wire.convert import object_at

CONVERSATION = {
    "id": "c",
    "name": "general",
    "created": "2017-10-03T11:19:22.261Z",
    "isArchived": True,
    "cloudId": "site",
    "_links": {"c": None},
}
USER = {
    "id": "u",
    "userName": "ann@example.com",
    "name": {"givenName": "Ann", "familyName": "Lee"},
    "emails": [{"value": "ann@example.com", "primary": True}],
}
OBJECTS = [
    (Conversation, CONVERSATION),
    (User, USER),
    (Account, {"account_id": "a", "name": "App"}),
    (Media, {"id": "m", "conversationId": "c", "size": 3}),
]


def read(value, model):
    return object_at(msgspec.json.encode(value), model)


def test_objects_become_models_with_extra():
    """Names are the service's own in snake_case, and what is unknown is in `extra`, nulls included."""
    room, user = read(CONVERSATION, Conversation), read(USER, User)

    assert ("c", "general", True, "site") == (room.id, room.name, room.is_archived, room.cloud_id)
    assert {"_links": {"c": None}} == room.extra
    assert PersonName(given_name="Ann", family_name="Lee") == user.name
    assert (Email(value="ann@example.com", primary=True),) == user.emails
    assert {} == user.extra


@given(st.sampled_from(OBJECTS), st.data())
def test_null_counts_as_missing(case, data):
    """An object with nulls equals the object without these fields."""
    model, value = case
    optional = [name for name in value if not name.lower().endswith("id") and name != "_links"]
    missing = data.draw(st.sets(st.sampled_from(optional)))
    without = {name: part for name, part in value.items() if name not in missing}

    assert read(without, model) == read({**without, **dict.fromkeys(missing)}, model)


def test_null_in_a_part_of_an_object_counts_as_missing():
    """A part may have null where its model has a default that is not None."""
    user = read({"id": "u", "name": {"givenName": None}, "emails": [{"value": "a", "primary": None}]}, User)

    assert (PersonName(), (Email(value="a"),)) == (user.name, user.emails)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-10-03T11:19:22.261Z", datetime(2017, 10, 3, 11, 19, 22, 261_000, UTC)),
        ("2017-10-03T11:19:22.1239999Z", datetime(2017, 10, 3, 11, 19, 22, 123_999, UTC)),
        ("2017-10-03 13:19:22+02:00", datetime(2017, 10, 3, 11, 19, 22, 0, UTC)),
    ],
)
def test_times_are_utc_and_rounded_down(text, expected):
    """Any RFC 3339 instant is read; what a datetime cannot hold is dropped."""
    created = read({"id": "c", "created": text}, Conversation).created

    assert (expected, UTC) == (created, created.tzinfo)


@pytest.mark.parametrize(
    ("model", "value", "path"),
    [
        (Conversation, [], "$"),
        (Conversation, {"name": "x"}, "$"),
        (Conversation, {"id": ""}, "$.id"),
        (Conversation, {"id": None}, "$"),
        (Conversation, {"id": "c", "name": 1}, "$.name"),
        (Conversation, {"id": "c", "isArchived": 1}, "$.isArchived"),
        (Conversation, {"id": "c", "created": "2017-10-03T11:19:22"}, "$.created"),
        (Conversation, {"id": "c", "modified": 1}, "$.modified"),
        (User, {"id": "u", "emails": [{"value": "a"}, {}]}, "$.emails[1]"),
        (User, {"id": "u", "name": {"givenName": 1}}, "$.name.givenName"),
        (Media, {"id": "m", "conversationId": "c", "size": 1.5}, "$.size"),
        (Media, {"id": "m", "conversationId": "c", "size": True}, "$.size"),
        (Account, {"account_id": ""}, "$.account_id"),
    ],
)
def test_mismatch_is_refused_with_its_path(model, value, path):
    """The error names the first mismatch and has all bytes of the object."""
    with pytest.raises(DecodeError) as caught:
        read(value, model)

    assert (path, msgspec.json.encode(value)) == (caught.value.path, caught.value.raw)
