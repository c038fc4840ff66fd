"""What the two sides say to each other about an operator's command is plain: it can travel as JSON."""

import json
from dataclasses import asdict, is_dataclass
from pathlib import Path

import pytest

from handler.exchange import checks, operations
from handler.exchange.operations import Hold, ReleaseStatus, RepositoryStatus, TargetState, TargetStatus
from handler.model import Usage
from handler.mount.target.record import PublishedRecord, read_record

HELD = Hold(since=1.5, by="mona", why="wait", commit="a" * 40, left=("b" * 40,))
RELEASE = ReleaseStatus(commit="a" * 40, is_current=True, is_intact=True, retired_at=None, usage=Usage(3, 4))
TARGET = TargetStatus(path="octo/site/main", state=TargetState.HELD, held=HELD, releases=(RELEASE,))
STATUS = RepositoryStatus(repository="octo/site", targets=(TARGET,), mirror=Usage(1, 2), problems=("one",))


def test_a_status_goes_through_json_as_it_is() -> None:
    """No value of it is more than a number, a text or a list."""
    (target,) = json.loads(json.dumps(asdict(STATUS)))["targets"]
    assert target["state"] == "held"
    assert target["held"] == {"since": 1.5, "by": "mona", "why": "wait", "commit": "a" * 40, "left": ["b" * 40]}
    assert target["releases"][0]["usage"] == {"files": 3, "bytes": 4}


def test_its_values_are_frozen() -> None:
    """Neither side changes what the other said."""
    values = [value for module in (checks, operations) for value in vars(module).values() if is_dataclass(value)]
    own = [value for value in values if value.__module__ in (checks.__name__, operations.__name__)]
    assert len(own) > 5
    assert [value for value in own if not getattr(value, "__dataclass_params__").frozen] == []  # noqa: B009


def test_a_hold_comes_back_from_the_file(tmp_path: Path) -> None:
    """All of it."""
    record = PublishedRecord("octo/site", "refs/heads/main", "a" * 40, "b" * 40, 1.0, 2.0, held=HELD)
    (tmp_path / "published.json").write_bytes(record.to_json())
    assert read_record(str(tmp_path / "published.json"), now=2e9) == record


@pytest.mark.parametrize(
    ("changes", "is_healthy"),
    [
        ({"problems": ()}, False),
        ({"problems": (), "targets": ()}, True),
        ({"targets": ()}, False),
        ({"problems": (), "targets": (TargetStatus(path="x", state=TargetState.CURRENT),)}, True),
        ({"problems": (), "targets": (TargetStatus(path="x", state=TargetState.RETIRING, problems=("x",)),)}, False),
    ],
)
def test_a_repository_is_healthy_where_nothing_needs_attention(changes: dict[str, object], is_healthy: bool) -> None:
    """Neither its own problems, nor a target's state or problems."""
    fields = {name: getattr(STATUS, name) for name in ("repository", "targets", "problems")} | changes
    assert RepositoryStatus(**fields).is_healthy is is_healthy
