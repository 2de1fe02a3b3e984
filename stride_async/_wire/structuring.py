"""cattrs structures small objects: everything except messages. Pure.

`_wire` imports this module when the first object is read, because cattrs makes up a tenth of the time of the import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from stride_async._models import Account, Conversation, Email, Media, PersonName, Photo, User
from stride_async._moments import parse_datetime

M = TypeVar("M")


def _moment(value: object, _: object) -> datetime:
    if not isinstance(value, str):
        raise TypeError(f"expected an RFC 3339 instant, found {value!r}")
    return parse_datetime(value)


def _exactly(kind: type[Any]) -> Callable[[object, object], Any]:
    def check(value: object, _: object) -> Any:
        if type(value) is not kind:  # JSON has no subclasses, and a bool is not an int here.
            raise TypeError(f"expected {kind.__name__}, found {type(value).__name__}")
        return value

    return check


# The first converter is fast and stops at the first mismatch without saying where it is. The other one, which says so,
# is used only for an object that the first one refuses.
_converter = cattrs.Converter(detailed_validation=False)
_explaining_converter = cattrs.Converter()
for _each in (_converter, _explaining_converter):
    for _kind in (str, int, bool):
        _each.register_structure_hook(_kind, _exactly(_kind))
    _each.register_structure_hook(datetime, _moment)
    # Null counts as missing, so the hooks of optional fields never see it.
    _each.register_structure_hook(str | None, _exactly(str))
    _each.register_structure_hook(int | None, _exactly(int))
    _each.register_structure_hook(datetime | None, _moment)


def _register(model: type[Any], **wire_names: str) -> None:
    """Let the converters structure `model` from an object. Null counts as missing; unknown fields go to `extra`."""
    for converter in (_converter, _explaining_converter):
        converter.register_structure_hook(model, _reader(model, converter, wire_names))


def _reader(
    model: type[Any], converter: cattrs.Converter, wire_names: Mapping[str, str]
) -> Callable[[object, object], Any]:
    names = {field.name: wire_names.get(field.name, field.name) for field in attrs.fields(model)}
    has_extra = names.pop("extra", None) is not None
    renames = {name: override(rename=wire) for name, wire in names.items()}
    if has_extra:
        renames["extra"] = override(omit=True)
    known = frozenset(names.values())

    @cache
    def structure() -> Callable[[Mapping[str, Any], Any], Any]:
        # cattrs generates and compiles this function, which takes a while for each model.
        return make_dict_structure_fn(model, converter, None, **renames)  # type: ignore[arg-type]  # cattrs types the keywords as one

    def read(value: object, _: object) -> Any:
        if not isinstance(value, dict):
            raise TypeError(f"expected object, found {type(value).__name__}")
        present = value if None not in value.values() else {name: v for name, v in value.items() if v is not None}
        structured = structure()(present, model)
        if has_extra and not known.issuperset(value):
            extra = {name: part for name, part in value.items() if name not in known}
            # The object was just created, so it may still be changed; `attrs.evolve` would create another.
            object.__setattr__(structured, "extra", extra)
        return structured

    return read


_register(Email)
_register(Photo)
_register(PersonName, given_name="givenName", family_name="familyName")
_register(Conversation, is_archived="isArchived", avatar_url="avatarUrl", cloud_id="cloudId")
_register(User, user_name="userName", display_name="displayName", nick_name="nickName")
_register(Account)
_register(
    Media,
    conversation_id="conversationId",
    mime_type="mimeType",
    media_type="mediaType",
    processing_status="processingStatus",
)


def structured(value: object, model: type[M]) -> M:
    """Return a decoded JSON value as one of the models.

    Raises:
        TypeError: The value does not match the model, and so for `ValueError` and `KeyError`. `mismatch` says why.
    """
    return _converter.structure(value, model)


def mismatch(value: object, model: type[Any], path: str) -> tuple[str, str]:
    """Return where a value that `structured` refuses first differs from the model, and how; count the others."""
    try:
        _explaining_converter.structure(value, model)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        first, *more = cattrs.transform_error(error, path, _description)
        message, _, where = first.rpartition(" @ ")
        return where or path, f"{message} (and {len(more)} more)" if more else message
    raise AssertionError("both converters accept the same values")


def _description(error: BaseException, _: type | None) -> str:
    return f"required field {error} missing" if isinstance(error, KeyError) else str(error)
