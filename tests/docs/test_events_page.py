"""What docs/events.md gives to be copied works: its template is clean, its patterns match the events they are for."""

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from handler.exchange.events import ChangedPaths, Event, EventKind, detail_of
from testing.stack import ROOT, parse, transform
from tests.infrastructure.test_lint import _lint

PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
BLOCKS = [block.partition("```")[0] for block in PAGE.split("```yaml\n")[1:]]
EXAMPLE = PAGE.partition("```json\n")[2].partition("```")[0]


def event(changes: ChangedPaths | None = None, path: str = "OWNER/NAME/main", **fields: Any) -> dict[str, Any]:
    """Return an event as EventBridge hands it to rules."""
    about: dict[str, Any] = {"kind": EventKind.PUBLISHED, "commit": "a" * 40, "previous_commit": "b" * 40}
    about |= {"repository": "OWNER/NAME", "ref": "refs/heads/main", "delivery": "1", "at": 0.0} | fields
    announcement = Event(path=path, changes=changes, **about)
    return {
        "source": "git2efs",
        "detail-type": str(announcement.kind),
        "detail": json.loads(detail_of(announcement)),
    }


def matches(pattern: Any, one: Any) -> bool:
    """Whether an event fits a rule's pattern."""
    return bool(EventPattern.load(json.dumps(pattern)).matches_event(one))


def test_the_page_has_a_template_and_two_patterns() -> None:
    """So that none of the tests below looks at nothing."""
    assert len(BLOCKS) == 3


def test_the_template_is_clean_as_written_and_transformed() -> None:
    """What `sam deploy` would say to it."""
    assert _lint(BLOCKS[0]) == []
    assert _lint(json.dumps(transform(parse(BLOCKS[0])))) == []


def test_the_rule_restarts_for_its_target_alone() -> None:
    """A release of that path, and neither another's nor a failure."""
    properties = parse(BLOCKS[0])["Resources"]["RestartService"]["Properties"]
    pattern = properties["Events"]["Published"]["Properties"]["Pattern"]
    assert matches(pattern, event(ChangedPaths()))
    assert not matches(pattern, event(ChangedPaths(), path="OWNER/NAME/next"))
    assert not matches(pattern, event(ChangedPaths(), kind=EventKind.FAILED))


@pytest.mark.parametrize(
    ("changes", "is_matched"),
    [
        (ChangedPaths(added=(b"dags/a.py",)), True),
        (ChangedPaths(modified=(b"README", b"dags/a.py")), True),
        (ChangedPaths(removed=(b"dags/a/b.py",)), True),
        (ChangedPaths(added=(b"README",), modified=(b"docs/dags/a.py",)), False),
        (ChangedPaths(), False),
        (None, True),
    ],
)
def test_the_narrow_pattern_matches_what_changed_below_a_directory(
    changes: ChangedPaths | None, is_matched: bool
) -> None:
    """And what is not known to be complete."""
    assert matches(parse(BLOCKS[1]), event(changes)) is is_matched


@pytest.mark.parametrize("is_transient", [True, False])
def test_the_pattern_for_failures_leaves_out_what_passes(is_transient: bool) -> None:
    """Nobody is to be woken for a time-out."""
    failure = event(kind=EventKind.FAILED, reason="mount_full", is_transient=is_transient)
    assert matches(parse(BLOCKS[2]), failure) is not is_transient


def test_the_example_has_the_fields_of_an_event() -> None:
    """In their order."""
    example = json.loads(EXAMPLE)
    detail = event(ChangedPaths())["detail"]
    assert list(example["detail"]) == list(detail)
    assert list(example["detail"]["changes"]) == list(detail["changes"])
    assert list(example["detail"]["counts"]) == list(detail["counts"])


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_field_and_kind_is_on_the_page(kind: EventKind) -> None:
    """Whoever adds one tells its readers."""
    assert f"`{kind}`" in PAGE
    for name in event(ChangedPaths(), kind=kind)["detail"]:
        assert f"`{name}`" in PAGE, name
