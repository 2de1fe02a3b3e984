"""Make the models of small objects: everything except messages. Pure.

msgspec checks an object against a struct that has the fields of the model under the service's names, and then makes the
model from the struct. Both steps run inside msgspec, where a model costs a fraction of its own constructor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import attrs
import msgspec

from stride_async._models import Account, Conversation, Media, PersonName, User
from stride_async._moments import parse_datetime

M = TypeVar("M")

Id = Annotated[str, msgspec.Meta(min_length=1)]
"""An id names something: an empty one cannot be used in any call."""

_MOMENT: Any = datetime | None


@attrs.frozen
class _Form:
    """What an object must look like to become a model."""

    struct: type[msgspec.Struct]
    moments: Sequence[str]  # the fields that hold times, which msgspec would not read to the letter
    known: frozenset[str]  # the service's names of the fields
    has_extra: bool


def _form_of(model: type[Any]) -> _Form:
    fields = {field.name: field for field in attrs.fields(model)}
    has_extra = fields.pop("extra", None) is not None
    # The names of an account are those of Atlassian's identity service (protocol 4.8).
    struct = msgspec.defstruct(
        model.__name__, [*map(_on_wire, fields.values())], rename=None if model is Account else "camel"
    )
    moments = [name for name, field in fields.items() if field.type == _MOMENT]
    return _Form(struct, moments, frozenset(struct.__struct_encode_fields__), has_extra)


def _on_wire(field: attrs.Attribute[Any]) -> tuple[str, Any] | tuple[str, Any, Any]:
    """Return name, type and default of a field of the struct. Times are still text in it."""
    kind: Any = Id if field.validator is not None else field.type
    if kind == _MOMENT:
        kind = str | None
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
        fields = msgspec.convert(_without_nulls(value), form.struct)
    for name in form.moments:
        text = getattr(fields, name)
        if text is not None:
            setattr(fields, name, _moment(text, name))
    made = msgspec.convert(fields, model, from_attributes=True)
    if form.has_extra and isinstance(value, dict) and not form.known.issuperset(value):
        extra = {name: part for name, part in value.items() if name not in form.known}
        # The object was just created, so it may still be changed; `attrs.evolve` would create another.
        object.__setattr__(made, "extra", extra)
    return made


def _moment(text: str, name: str) -> datetime:
    try:
        return parse_datetime(text)
    except ValueError as error:
        raise msgspec.ValidationError(f"{error} - at `$.{name}`") from error


def _without_nulls(value: object, depth: int = 3) -> object:
    """Return an object without the nulls in it, in the objects of its fields, and in those of its lists."""
    if depth and isinstance(value, dict):
        return {name: _without_nulls(part, depth - 1) for name, part in value.items() if part is not None}
    if depth and isinstance(value, list):
        return [_without_nulls(part, depth - 1) for part in value]
    return value
