"""Values as JSON, and back, strictly, by their declared types. Pure: no I/O, no clock.

A dataclass is an object of its fields, without those that have their default; bytes are base64. What comes in is
refused where a field is unknown, missing, or not of its type: whoever may invoke a function may send it anything.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from handler.config.fields import Parse, flag, nullable, one_of, text, whole_number
from handler.config.repository import parameter_of, parse_repository
from handler.deadline import Deadline
from handler.errors import ConfigurationInvalid, Malformed
from handler.model import Repository

MAX_TEXT = 1_000_000
"""Characters of one text."""
_MAX_WHOLE = 2**63 - 1
_MAX_DEPTH = 20

Check = Callable[[Any], str | None]
"""Return what is wrong with a value, as the end of a sentence."""


def to_plain(value: object) -> object:
    """Return the value as what `json.dumps` takes."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Deadline):
        return value.at
    if isinstance(value, Repository):
        return {"full_name": value.full_name, "parameter": parameter_of(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(each) for name, each in value.items()}
    if isinstance(value, Sequence):
        return [to_plain(each) for each in value]
    assert is_dataclass(value), type(value)
    found = ((field, getattr(value, field.name)) for field in fields(value))
    return {field.name: to_plain(each) for field, each in found if not _is_default(field, each)}


def _is_default(field: Field[Any], value: object) -> bool:
    if field.default_factory is not MISSING:
        return bool(value == field.default_factory())
    return field.default is not MISSING and bool(value == field.default)


class PlainReader:
    """Reads plain values. `checks` say what is wrong with a value of a class that has only the right types."""

    def __init__(self, checks: Mapping[type, Check]) -> None:
        self._checks = checks

    def read(self, kind: Any, value: object, where: str, depth: int = 0) -> Any:
        """Return the value that `to_plain` made of one of type `kind`.

        Raises Malformed, which names `where` the problem is, and never the value.
        """
        if depth > _MAX_DEPTH:
            raise Malformed(f"{where} is nested too deeply")
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is UnionType:
            return self._read_nullable(arguments, value, where, depth)
        if origin in (tuple, Sequence, list):
            if not isinstance(value, list):
                raise Malformed(f"{where} is not a list")
            return tuple(self.read(arguments[0], each, f"{where}[]", depth + 1) for each in value)
        if origin is dict:
            found = _object(value, where)
            return {name: self.read(arguments[1], each, f"{where}{{}}", depth + 1) for name, each in found.items()}
        if kind is Repository:
            return _read_repository(value, where)
        if (parse := _parser_of(kind)) is None:
            return self._read_dataclass(kind, value, where, depth)
        try:
            return parse(value)
        except ValueError as error:
            raise Malformed(f"{where} {error}") from None

    def _read_nullable(self, arguments: tuple[Any, ...], value: object, where: str, depth: int) -> Any:
        (kind,) = (each for each in arguments if each is not NoneType)
        return None if value is None else self.read(kind, value, where, depth)

    def _read_dataclass(self, kind: Any, value: object, where: str, depth: int) -> Any:
        found = self.read_arguments(_types_of(kind), _object(value, where), where, depth)
        missing = [each.name for each in fields(kind) if each.name not in found and _is_required(each)]
        if missing:
            raise Malformed(f"{where}.{missing[0]} is missing")
        made = kind(**found)
        check = self._checks.get(kind)
        if check is not None and (problem := check(made)):
            raise Malformed(f"{where}{problem}")
        return made

    def read_arguments(
        self, types: Mapping[str, Any], found: Mapping[str, object], where: str, depth: int = 0
    ) -> dict[str, Any]:
        """Return those of the named values that are given, each by its type. Raises Malformed for any other."""
        for name in found:
            if name not in types:
                raise Malformed(f"{where} has an unknown field {name[:40]!a}")
        return {name: self.read(types[name], each, f"{where}.{name}", depth + 1) for name, each in found.items()}


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


@cache
def _types_of(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise Malformed(f"{where} is not an object")
    return value


def _text(value: object) -> str:
    found = text(value)
    if len(found) > MAX_TEXT:
        raise ValueError(f"has more than {MAX_TEXT} characters")
    return found


def _number(value: object) -> float:
    # JSON does not tell 1 from 1.0. NaN is in no range.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MAX_WHOLE < value < _MAX_WHOLE:
        raise ValueError("is not a number")
    return float(value)


def _bytes(value: object) -> bytes:
    # Not `_text`, which is bounded more tightly: a message is bounded as a whole.
    try:
        return base64.b64decode(text(value), validate=True)
    except ValueError:
        raise ValueError("is not base64") from None


def _nothing(value: object) -> None:
    if value is not None:
        raise ValueError("is not null")


def _deadline(value: object) -> Deadline:
    return Deadline(nullable(_number)(value))


_PARSERS: Mapping[Any, Parse[Any]] = {
    str: _text,
    bool: flag,
    int: whole_number(-_MAX_WHOLE, _MAX_WHOLE),
    float: _number,
    bytes: _bytes,
    Deadline: _deadline,
    NoneType: _nothing,
}


def _parser_of(kind: Any) -> Parse[Any] | None:
    """Return the parser of a kind that is one value in JSON; None for what is put together."""
    return one_of(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else _PARSERS.get(kind)


def _read_repository(value: object, where: str) -> Repository:
    found = _object(value, where)
    if set(found) != {"full_name", "parameter"}:
        raise Malformed(f"{where} is not a name and a parameter")
    parameter = _object(found["parameter"], where)
    try:
        return parse_repository(_text(found["full_name"]), parameter)
    except (ConfigurationInvalid, ValueError) as error:
        raise Malformed(f"{where}: {error}") from None
