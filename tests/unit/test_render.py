"""What an operator sees on a terminal: aligned, bounded, and nothing that the terminal acts on."""

from typing import Any

import pytest

from handler.network.operations.render import plain, render

NOW = 1_800_000_000.0
HOSTILE = "\x1b[2J\x07evil\u202e\n"


def target(**fields: Any) -> dict[str, Any]:
    """Return a target of a status."""
    return {
        "path": "octo/site/main",
        "ref": "refs/heads/main",
        "state": "current",
        "commit": "a" * 40,
        "since": NOW - 7200,
        "previous_commit": None,
        "confirmed_at": NOW - 90,
        "tip": "a" * 40,
        "held": None,
        "releases": [{"is_current": True, "retired_at": None}, {"is_current": False, "retired_at": NOW - 300}],
        "disk": {"files": 50_000, "bytes": 5 * 2**30},
        "problems": [],
    } | fields


def status(*targets: dict[str, Any], problems: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a status of one repository."""
    about = {"repository": "octo/site", "confirmed_at": NOW - 60, "mirror": {"files": 3, "bytes": 2048}, "problems": []}
    return {"action": "status", "repositories": [about | {"targets": list(targets)}], "problems": list(problems)}


def shown(content: dict[str, Any], *, has_colours: bool = False) -> str:
    """Return what is shown."""
    return render(content, now=NOW, has_colours=has_colours)


def test_columns_stand_below_their_heads() -> None:
    """However long a path is."""
    lines = shown(status(target(), target(path="x" * 60, state="behind", tip="b" * 40))).splitlines()
    for name, value in (
        ("COMMIT", "aaaaaaaaaaaa"),
        ("SINCE", "2 h ago"),
        ("CONFIRMED", "90 s ago"),
        ("SIZE", "5.0 GiB"),
    ):
        assert {line.index(value) for line in lines[1:3]} == {lines[0].index(name)}
    assert "2 (5 min)" in lines[1]
    assert "50,000" in lines[1]
    assert f"{'x' * 60}: refs/heads/main names bbbbbbbbbbbb" in lines


def test_a_hold_says_who_and_why_and_for_how_long() -> None:
    """So that nobody has to ask around."""
    held = {"since": NOW - 3 * 86_400, "by": "mona", "why": "the page is blank", "commit": "a" * 40, "left": []}
    assert "octo/site/main: held 3 d ago by mona: the page is blank" in shown(status(target(state="held", held=held)))


def test_colours_are_for_terminals_alone() -> None:
    """And do not move the columns."""
    content = status(target(), target(state="behind"))
    assert "\x1b" not in shown(content)
    coloured = shown(content, has_colours=True)
    assert "\x1b[32mcurrent\x1b[0m" in coloured
    assert coloured.replace("\x1b[32m", "").replace("\x1b[33m", "").replace("\x1b[0m", "") == shown(content)


@pytest.mark.parametrize("has_colours", [False, True])
def test_what_a_repository_or_a_function_says_does_nothing_to_the_terminal(has_colours: bool) -> None:
    """Paths, refs, reasons, notes: whatever may come from elsewhere."""
    held = {"since": NOW, "by": HOSTILE, "why": HOSTILE, "commit": "", "left": []}
    hostile = target(path=HOSTILE, ref=HOSTILE, tip=HOSTILE, commit=HOSTILE, held=held, problems=[HOSTILE])
    contents: list[dict[str, Any]] = [
        status(hostile, problems=(HOSTILE,)),
        {"checks": [{"name": HOSTILE, "verdict": HOSTILE, "found": HOSTILE, "todo": HOSTILE}]},
        {"action": HOSTILE, "reason": HOSTILE, "detail": HOSTILE},
        {"targets": [{"path": HOSTILE, "ref": HOSTILE, "outcome": HOSTILE, "reason": HOSTILE, "detail": HOSTILE,
                      "commit": HOSTILE, "previous_commit": None, "notes": [HOSTILE]}]},
    ]  # fmt: skip
    for content in contents:
        text = shown(content, has_colours=has_colours)
        assert "evil" in text
        for code in ("\x1b[3", "\x1b[0m"):
            text = text.replace(code, "")
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text


def test_what_is_wrong_says_what_to_do() -> None:
    """On the line below it."""
    checks = [
        {"name": "locks", "verdict": "ok", "found": "held", "todo": ""},
        {"name": "queue", "verdict": "wrong", "found": "gone", "todo": "make it"},
    ]
    assert shown({"checks": checks}).splitlines() == [
        "ok       locks: held",
        "WRONG    queue: gone",
        "         -> make it",
    ]


def test_a_rollback_says_how_to_go_on() -> None:
    """Whoever went back at night should find it in the morning."""
    about = {"path": "octo/site/main", "ref": "r", "outcome": "published", "reason": "rolled_back"}
    text = shown({"targets": [about | {"commit": "a" * 40, "previous_commit": "b" * 40}]})
    assert "bbbbbbbbbbbb -> aaaaaaaaaaaa" in text
    assert "`resume octo/site/main`" in text
    assert shown({"targets": []}) == "There was nothing to do: no target.\n"
    assert "No target" in shown({"repositories": [], "problems": []})


@pytest.mark.parametrize(("text", "found"), [("grün", "grün"), ("a\tb", "a\\tb"), ("\x9b2J", "\\x9b2J"), (7, "7")])
def test_plain_keeps_what_can_be_printed(text: object, found: str) -> None:
    """Letters of any script."""
    assert plain(text) == found
