"""JSON from outside, read strictly: the text, then its fields. Pure: no I/O, no clock.

A parser (`text`, `flag`, `seconds`, ...) takes one value of the JSON and returns it with its type. It raises ValueError
with the end of a sentence ("is not text"), which never holds the value: that may be anything, even a token.
`read_field` and `FieldReader` put the field's name before it. `read_field` stops at the first problem, `FieldReader`
collects them all.
"""

import json
import math
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import NoReturn, TypeVar

from handler.config.names import is_object_id

Value = TypeVar("Value")
Default = TypeVar("Default")
Word = TypeVar("Word", bound=StrEnum)
Parse = Callable[[object], Value]

MAX_SHOWN_NAME = 40
_MAX_DIGITS = 400


def parse_object(text: str) -> dict[str, object]:
    """Return the JSON object that `text` is.

    Refuse, beyond what Python's reader refuses, NaN and Infinity, which JSON does not have, and a key that stands twice
    in an object, where two readers may see two different things.

    Raises ValueError, with a message that is the end of a sentence and holds none of the text's values.
    """
    try:
        parsed = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except _NotStrictError:
        raise
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON (line {error.lineno}, column {error.colno})") from None
    except ValueError:  # an integer of more digits than Python reads
        raise ValueError("holds a number that is too long") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(parsed, dict):
        raise ValueError("is not a JSON object")
    return parsed


class _NotStrictError(ValueError):
    """Distinguishes our refusals from the JSON reader's own ValueError."""


def parse_leniently(content: bytes) -> dict[str, object] | None:
    """Return the JSON object in a file that others may have damaged, for its fields to be checked one by one.

    None where it is no JSON, or no object. A text that is no UTF-8 and a number of any length cost no other field.
    """
    try:
        found = json.loads(content.decode("utf-8", "replace"), parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _integer(digits: str) -> int | float:
    # Python refuses integers of some thousand digits. As a float such a one is infinite, and no field takes it.
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotStrictError("has an object with the same key twice")
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise _NotStrictError("holds NaN or Infinity, which JSON does not have")


class FieldInvalid(ValueError):
    """A field is missing or wrong. The message is a sentence that starts with the field's name."""


def read_field(fields: Mapping[str, object], name: str, parse: Parse[Value], *, label: str | None = None) -> Value:
    """Return the field `name` as `parse` reads it; a missing field is read as null.

    Raises FieldInvalid, which calls the field `label` (by default its name).
    """
    try:
        return parse(fields.get(name))
    except ValueError as error:
        raise FieldInvalid(f"{label or name} {error}") from None


def read_sound(fields: Mapping[str, object], name: str, parse: Parse[Value], default: Default) -> Value | Default:
    """Return the field `name` as `parse` reads it, and `default` where it is missing or wrong."""
    try:
        return parse(fields[name]) if name in fields else default
    except ValueError:
        return default


class FieldReader:
    """Reads the fields of one object, and adds every problem to a list that several readers share."""

    def __init__(self, fields: Mapping[str, object], problems: list[str], *, prefix: str = "") -> None:
        """`prefix` stands before each field's name in a problem: `publish[3].`."""
        self._fields = fields
        self._problems = problems
        self._prefix = prefix

    def read(self, name: str, parse: Parse[Value], default: Default) -> Value | Default:
        """Return the field as `parse` reads it, and `default` where it is missing or wrong."""
        if name not in self._fields:
            return default
        try:
            return parse(self._fields[name])
        except ValueError as error:
            self.refuse(name, str(error))
            return default

    def refuse(self, name: str, problem: str | None) -> None:
        """Add a problem of the field; None is no problem."""
        if problem is not None:
            self._problems.append(f"{self._prefix}{name} {problem}")

    def refuse_unknown(self, known: Collection[str], problem: str = "is not a known field") -> None:
        """Add a problem for each field that is not among the known ones."""
        # ascii and the cut: a key can be anything, and goes into a log line.
        for name in self._fields:
            if name not in known:
                self.refuse(ascii(str(name)[:MAX_SHOWN_NAME]), problem)


def text(value: object) -> str:
    """Return a string."""
    if not isinstance(value, str):
        raise ValueError("is not text")
    return value


def texts(most: int) -> Parse[tuple[str, ...]]:
    """Return the parser of a list of at most `most` strings."""

    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > most or not all(isinstance(each, str) for each in value):
            raise ValueError(f"is not a list of at most {most} texts")
        return tuple(value)

    return parse


def flag(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def mapping(value: object) -> dict[str, object]:
    """Return an object's fields."""
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    return value


def object_id(value: object) -> str:
    """Return a sha1 object id: 40 lower-case hex digits."""
    found = text(value)
    if not is_object_id(found):
        raise ValueError("is not a commit id")
    return found


def seconds(value: object) -> float:
    """Return a time in seconds, whole or not; no infinity, and nothing that a float cannot hold."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond every float
        pass
    raise ValueError("is not a time in seconds")


def moment(latest: float) -> Parse[float]:
    """Return the parser of a time in seconds since the epoch, not after `latest`."""

    def parse(value: object) -> float:
        found = seconds(value)
        if not 0 <= found <= latest:
            raise ValueError("is not a time that has come")
        return found

    return parse


def whole_number(low: int, high: int) -> Parse[int]:
    """Return the parser of an integer from `low` to `high`, both included."""

    def parse(value: object) -> int:
        # bool is an int in Python; `"depth": true` is a mistake in JSON.
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return value

    return parse


def is_version(value: object, version: int) -> bool:
    """Whether a value of the JSON is the whole number `version`."""
    # In Python `true` and `1.0` equal 1; a message or a file that says so is none of ours.
    return type(value) is int and value == version


def printable(longest: int) -> Parse[str]:
    """Return the parser of a string of 1 to `longest` printable characters."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
            raise ValueError(f"is not 1 to {longest} printable characters")
        return value

    return parse


def one_of(kind: type[Word]) -> Parse[Word]:
    """Return the parser of a string that is a value of the enumeration `kind`."""

    def parse(value: object) -> Word:
        found = text(value)
        try:
            return kind(found)
        except ValueError:
            raise ValueError("is none that is known") from None

    return parse


def nullable(parse: Parse[Value]) -> Parse[Value | None]:
    """Return a parser that takes null as well, and reads all else as `parse` does."""
    return lambda value: None if value is None else parse(value)


def checked(problem_of: Callable[[str], str | None]) -> Parse[str]:
    """Return the parser of a string in which `problem_of` finds no problem; it returns the end of a sentence."""

    def parse(value: object) -> str:
        found = text(value)
        if problem := problem_of(found):
            raise ValueError(problem)
        return found

    return parse
