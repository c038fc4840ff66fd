"""Reading fields of outside JSON: what each parser takes, and how problems are named."""

import math
from collections.abc import Callable

import pytest

from handler.config.fields import (
    FieldInvalid,
    FieldReader,
    checked,
    flag,
    mapping,
    nullable,
    object_id,
    printable,
    read_field,
    seconds,
    text,
    whole_number,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECRET = "ghp_secret"


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (text, ""),
        (flag, False),
        (mapping, {"a": 1}),
        (object_id, COMMIT),
        (seconds, 1.5),
        (seconds, 7),
        (whole_number(1, 3), 1),
        (whole_number(1, 3), 3),
        (printable(2), "ab"),
        (nullable(flag), None),
        (nullable(flag), True),
        (checked(lambda found: None), "x"),
    ],
)
def test_a_parser_returns_what_it_is_for(parse: Callable[[object], object], value: object) -> None:
    """The value itself."""
    assert parse(value) == value


@pytest.mark.parametrize(
    ("parse", "value", "problem"),
    [
        (text, None, "is not text"),
        (text, 1, "is not text"),
        (flag, 1, "is neither true nor false"),
        (flag, None, "is neither true nor false"),
        (mapping, [], "is not an object"),
        (object_id, COMMIT.upper(), "is not a commit id"),
        (object_id, COMMIT + "\n", "is not a commit id"),
        (object_id, COMMIT[:39], "is not a commit id"),
        (seconds, True, "is not a time in seconds"),
        (seconds, math.inf, "is not a time in seconds"),
        (seconds, math.nan, "is not a time in seconds"),
        (seconds, 10**400, "is not a time in seconds"),
        (whole_number(1, 3), True, "is not a whole number from 1 to 3"),
        (whole_number(1, 3), 0, "is not a whole number from 1 to 3"),
        (whole_number(1, 3), 4, "is not a whole number from 1 to 3"),
        (whole_number(1, 3), 2.0, "is not a whole number from 1 to 3"),
        (printable(2), "", "is not 1 to 2 printable characters"),
        (printable(2), "abc", "is not 1 to 2 printable characters"),
        (printable(2), "\n", "is not 1 to 2 printable characters"),
        (nullable(flag), 0, "is neither true nor false"),
        (checked(lambda found: "is odd"), "x", "is odd"),
        (checked(lambda found: None), None, "is not text"),
    ],
)
def test_a_parser_refuses_all_else(parse: Callable[[object], object], value: object, problem: str) -> None:
    """With the end of a sentence."""
    with pytest.raises(ValueError) as raised:
        parse(value)
    assert str(raised.value) == problem


def test_a_single_field_is_named_as_its_reader_wants_it() -> None:
    """By its name, or by the path that leads to it; what is missing is null."""
    assert read_field({"ref": "x"}, "ref", text) == "x"
    with pytest.raises(FieldInvalid, match=r"^ref is not text$"):
        read_field({}, "ref", text)
    with pytest.raises(FieldInvalid, match=r"^repository\.full_name is not text$"):
        read_field({"full_name": 1}, "full_name", text, label="repository.full_name")


def test_a_reader_collects_every_problem_and_no_value() -> None:
    """In the order in which the fields are read; those that are fine are returned."""
    problems: list[str] = []
    reader = FieldReader({"a": SECRET, "b": True, "c": None, SECRET[:3]: 1}, problems, prefix="publish[2].")
    reader.refuse_unknown({"a", "b", "c"})
    assert reader.read("a", flag, False) is False
    assert reader.read("b", flag, False) is True
    assert reader.read("c", text, "default") == "default"
    assert reader.read("d", text, None) is None
    reader.refuse("b", "means nothing without d")
    reader.refuse("b", None)
    assert problems == [
        "publish[2].'ghp' is not a known field",
        "publish[2].a is neither true nor false",
        "publish[2].c is not text",
        "publish[2].b means nothing without d",
    ]


def test_an_unknown_name_is_shown_cut_and_in_ascii() -> None:
    """It goes into a log line."""
    problems: list[str] = []
    FieldReader({"\n" + "ü" * 100: 1}, problems).refuse_unknown(set(), "is not a field of hold")
    assert problems == ["'\\n" + "\\xfc" * 39 + "' is not a field of hold"]
