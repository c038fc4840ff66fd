"""What is kept on the mount is read by its types: there, others may write, and in Python `true` is a number."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from handler.exchange.operations import Hold
from handler.exchange.schedule_state import DAY_HOURS, BackOff, RepositoryState, ScheduleState
from handler.mount.maintenance.state import read_state, take_lease
from handler.mount.target.record import PublishedRecord, read_record

HELD = Hold(since=1.5, by="mona")
RECORD = PublishedRecord("octo/site", "refs/heads/main", "a" * 40, "b" * 40, 1.0, 2.0, pushed_at=3, held=HELD)
KNOWN: dict[str, object] = {"confirmed_at": 1, "failures": 2, "not_before": 3.5}
"""A repository's state as an older version wrote it, without refs."""
RESTING: dict[str, object] = {"failures": 1, "not_before": 9.0}
"""A ref's."""
NOW = 1e9
BEYOND = [True, -1, "1", None, [], 1e300, float("inf"), float("nan"), 10**400]


def record_with(tmp_path: Path, name: str, value: object) -> PublishedRecord | None:
    """Return what a run reads of a record with one field replaced."""
    path = tmp_path / "published.json"
    path.write_text(json.dumps(json.loads(RECORD.to_json()) | {name: value}))
    return read_record(str(path), now=NOW)


@pytest.mark.parametrize("value", BEYOND)
@pytest.mark.parametrize("name", ["published_at", "asked_at", "pushed_at", "gone_since"])
def test_a_records_times_are_times(tmp_path: Path, name: str, value: object) -> None:
    """One that is no date would fail each run that writes the record again: it counts as never, and the rest stays."""
    never = 0.0 if name in ("published_at", "asked_at") else None
    assert record_with(tmp_path, name, value) == replace(RECORD, **{name: never})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "values", "missing"),
    [
        ("files_written", [True, -1, 1.0, "1", None], 0),
        ("bytes_fetched", [True, -1, 1.0, "1", None], 0),
        ("previous_commit", [1, ["b" * 40], "../x", "B" * 40], None),
        ("commit", [None, 1, "../x"], ""),
        ("announced", [1, None], False),
        ("ref", [1, None], ""),
    ],
)
def test_a_records_other_fields_have_their_types(
    tmp_path: Path, name: str, values: list[object], missing: object
) -> None:
    """Else the field counts as missing, and the rest stays."""
    assert record_with(tmp_path, "delivery", "d") == replace(RECORD, delivery="d")
    read = replace(RECORD, **{name: missing})  # type: ignore[arg-type]
    assert [record_with(tmp_path, name, value) for value in values] == [read] * len(values)


def test_a_record_of_a_newer_version_is_read(tmp_path: Path) -> None:
    """What it has more is passed over; a hold in it stays one."""
    assert record_with(tmp_path, "key_of_tomorrow", [1]) == RECORD


@pytest.mark.parametrize("value", BEYOND)
def test_a_hold_since_nonsense_is_a_hold(tmp_path: Path, value: object) -> None:
    """To lose one would undo a rollback."""
    found = record_with(tmp_path, "held", {"since": value, "by": "mona"})
    assert found is not None
    assert found.held == Hold(since=0.0, by="mona")


def state_with(tmp_path: Path, known: object = KNOWN, **changes: Any) -> ScheduleState:
    """Return what the schedule reads of a state with a repository's own, and other fields replaced."""
    (tmp_path / ".git2efs").mkdir(exist_ok=True)
    fields = {"repositories": {"octo/site": known}, "stopped_at": None, "go_on_at": {}, **changes}
    (tmp_path / ".git2efs/reconcile.json").write_text(json.dumps(fields))
    return read_state(str(tmp_path), "reconcile", now=NOW)


READ = RepositoryState(2, 3.5, confirmed_at=1.0)
T = TypeVar("T", bound=BackOff)


def _without(state: T, name: str) -> T:
    """Return the state without what cannot be read; without a failure there is no pause."""
    return replace(state, not_before=0.0, failures=0) if name == "failures" else replace(state, **{name: 0.0})  # type: ignore[arg-type]


def test_a_schedules_state_is_read(tmp_path: Path) -> None:
    """Whole numbers for times too."""
    read = RepositoryState(2, 3.5, confirmed_at=1.0, refs={"refs/heads/main": BackOff(1, 9.0)})
    assert state_with(tmp_path, KNOWN | {"refs": {"refs/heads/main": RESTING}}) == ScheduleState({"octo/site": read})


@pytest.mark.parametrize("value", [True, "7", None, [], float("inf"), float("nan"), 10**400])
@pytest.mark.parametrize("name", ["confirmed_at", "failures", "not_before"])
def test_a_schedules_numbers_are_numbers(tmp_path: Path, name: str, value: object) -> None:
    """A time that never comes would keep the schedule away from a repository for ever."""
    assert state_with(tmp_path, KNOWN | {name: value}) == ScheduleState({"octo/site": _without(READ, name)})
    if name != "confirmed_at":
        refs = {"refs/heads/main": RESTING | {name: value}}
        read = replace(READ, refs={"refs/heads/main": _without(BackOff(1, 9.0), name)})
        assert state_with(tmp_path, KNOWN | {"refs": refs}) == ScheduleState({"octo/site": read})


TURN: dict[str, object] = {"asked_at": 5.0, "due_at": NOW + 900, "pushes": 2.5, "tips": "0123456789ab"}
"""What a version has that asks by turns."""


@pytest.mark.parametrize("name", TURN)
@pytest.mark.parametrize("value", [True, None, [], -1, "\n", float("nan"), 1e300, 10**400, NOW + 6 * 3600 + 1])
def test_a_turn_that_cannot_be_is_now(tmp_path: Path, name: str, value: object) -> None:
    """Whoever may write there keeps the schedule away from a repository for six hours at most; the rest stays."""
    read = replace(READ, **TURN)  # type: ignore[arg-type]
    hours = [0.5] * DAY_HOURS
    assert state_with(tmp_path, KNOWN | TURN, hours=hours) == ScheduleState({"octo/site": read}, hours=tuple(hours))
    if (name, value) == ("pushes", NOW + 6 * 3600 + 1):
        return
    wrong = replace(read, **{name: "" if name == "tips" else 0.0})  # type: ignore[arg-type]
    assert state_with(tmp_path, KNOWN | TURN | {name: value}) == ScheduleState({"octo/site": wrong})


@pytest.mark.parametrize("hours", [None, [], [1.0] * 23, [1.0] * 23 + [-1], [1.0] * 23 + ["1"], {"1": 1}])
def test_hours_are_a_days(tmp_path: Path, hours: object) -> None:
    """Anything else is not known, and the rest stays."""
    assert state_with(tmp_path, hours=hours) == ScheduleState({"octo/site": READ})


@pytest.mark.parametrize("value", [-1, 1.5, 2**40])
def test_a_schedules_failures_are_counted(tmp_path: Path, value: object) -> None:
    """Whole, and no more than can be."""
    assert state_with(tmp_path, KNOWN | {"failures": value}) == ScheduleState({"octo/site": _without(READ, "failures")})


@pytest.mark.parametrize("lease", [{"run": 1, "until": 1.0}, {"run": "a", "until": True}, {"run": "a", "until": "1"}])
def test_a_lease_is_a_run_and_a_time(tmp_path: Path, lease: dict[str, object]) -> None:
    """Anything else keeps no run away, and the state stays."""
    read = state_with(tmp_path, lease=lease)
    assert read == ScheduleState({"octo/site": READ})
    assert take_lease(str(tmp_path), "reconcile", run="ours", until=NOW + 60, now=NOW) == read
