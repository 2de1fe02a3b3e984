"""Make the models of small objects: everything except messages. Pure.

msgspec checks an object against a struct that has the fields of the model under the service's names, and then makes the
model from the struct. Both steps run inside msgspec, where a model costs a fraction of its own constructor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import filterfalse
from typing import Annotated, Any, TypeVar

import attrs
import msgspec

from stride_async._models import Account, Conversation, Media, PersonName, User
from stride_async._moments import parse_datetime

M = TypeVar("M")

Id = Annotated[str, msgspec.Meta(min_length=1)]
"""An id names something: an empty one cannot be used in any call."""

_MOMENT: Any = datetime | None
# Only times of this form are the same to msgspec, which rounds a seventh digit and accepts a time without a zone.
_UsualMoment = Annotated[
    str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z\Z")
]


class _Form(msgspec.Struct, frozen=True):
    """What an object must look like to become a model."""

    struct: type[msgspec.Struct]
    moments: Sequence[str]  # the fields that hold times
    known: frozenset[str]  # the service's names of the fields
    has_extra: bool


def _form_of(model: type[Any]) -> _Form:
    fields = {field.name: field for field in attrs.fields(model)}
    has_extra = fields.pop("extra", None) is not None
    # The names of an account are those of Atlassian's identity service (protocol 4.8).
    struct = msgspec.defstruct(
        model.__name__,
        [*map(_on_wire, fields.values())],
        namespace={"extra": {}},  # for the model; not a field
        rename=None if model is Account else "camel",
    )
    moments = [name for name, field in fields.items() if field.type == _MOMENT]
    return _Form(struct, moments, frozenset(struct.__struct_encode_fields__), has_extra)


def _on_wire(field: attrs.Attribute[Any]) -> tuple[str, Any] | tuple[str, Any, Any]:
    """Return name, type and default of a field of the struct. Times are texts in it, in their usual form."""
    kind: Any = Id if field.validator is not None else field.type
    if kind == _MOMENT:
        kind = _UsualMoment | None
    elif kind == PersonName | None:
        kind = _form_of(PersonName).struct | None
    return (field.name, kind) if field.default is attrs.NOTHING else (field.name, kind, field.default)


_FORMS: Mapping[type[Any], _Form] = {model: _form_of(model) for model in (Account, Conversation, Media, User)}


def structured(value: object, model: type[M]) -> M:
    """Return a decoded JSON value as one of the models. Null counts as missing; unknown fields go to `extra`.

    Raises:
        msgspec.ValidationError: The value does not match the model. The message ends with the path of the mismatch.
    """
    form = _FORMS[model]
    try:
        fields = msgspec.convert(value, form.struct)
    except msgspec.ValidationError:
        fields = msgspec.convert(_in_usual_form(value, form.moments), form.struct)
    made = msgspec.convert(fields, model, from_attributes=True)
    if form.has_extra and isinstance(value, dict):
        unknown = [*filterfalse(form.known.__contains__, value)]
        if unknown:
            # The object was just created, so it may still be changed; `attrs.evolve` would create another.
            object.__setattr__(made, "extra", {name: value[name] for name in unknown})
    return made


def _in_usual_form(value: object, moments: Sequence[str]) -> object:
    """Return an object without nulls, and with its times as the service writes them."""
    usual = _without_nulls(value)
    if isinstance(usual, dict):
        for name in moments:
            text = usual.get(name)
            if isinstance(text, str):
                usual[name] = _usual_moment(text, name)
    return usual


def _usual_moment(text: str, name: str) -> str:
    try:
        return parse_datetime(text).isoformat().replace("+00:00", "Z")
    except ValueError as error:
        raise msgspec.ValidationError(f"{error} - at `$.{name}`") from error


def _without_nulls(value: object, depth: int = 3) -> object:
    """Return an object without the nulls in it, in the objects of its fields, and in those of its lists."""
    if depth and isinstance(value, dict):
        return {name: _without_nulls(part, depth - 1) for name, part in value.items() if part is not None}
    if depth and isinstance(value, list):
        return [_without_nulls(part, depth - 1) for part in value]
    return value
