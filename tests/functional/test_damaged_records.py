"""Records, states and lists in which somebody changed something: one damaged field costs no other, and never a hold."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.exchange.operations import Hold
from handler.exchange.schedule_state import BackOff, RepositoryState
from handler.mount.maintenance.state import read_state, take_lease
from handler.mount.target.record import PublishedRecord, read_record
from handler.mount.target.registry import TargetRegistry
from testing import selection
from testing.repositories import Upstream, archive
from testing.service import Service

MAIN = "octo/site/main"
RECORD = f"{MAIN}/published.json"
NOW = 1_800_000_000.0
FAR = 9e9
LONG = "<long>"
"""Stands for an integer of more digits than Python reads or writes."""
HOLD = Hold(since=NOW - 60, by="ann", why="a bad release", commit="b" * 40, left=("c" * 40,))
WHOLE = PublishedRecord(
    "octo/site",
    "refs/heads/main",
    "a" * 40,
    "b" * 40,
    NOW - 9,
    NOW - 8,
    pushed_at=int(NOW) - 10,
    delivery="d-1",
    files_written=3,
    files_removed=2,
    bytes_fetched=1,
    gone_since=NOW - 1,
    held=HOLD,
)
FIELDS = [name for name in WHOLE.__slots__ if name != "held"]
TIMES = ("published_at", "asked_at", "pushed_at", "gone_since")
NUMBERS = st.one_of(st.floats(), st.integers(), st.sampled_from([10**400, LONG, True, None, 1e300, FAR]))
TEXTS = st.text(max_size=30)
JUNK = st.recursive(
    st.one_of(NUMBERS, TEXTS),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(TEXTS, each, max_size=3),
    max_leaves=8,
)


def _spelled(value: object) -> str:
    """Return the value as JSON."""
    return json.dumps(value).replace(json.dumps(LONG), "1" * 5000)


def _read(path: Path, fields: dict[str, object], now: float = NOW) -> PublishedRecord | None:
    path.write_text(_spelled(fields))
    return read_record(str(path), now=now)


@settings(deadline=None, max_examples=selection.count(300, 60))
@given(name=st.sampled_from([*FIELDS, "since", "other"]), value=JUNK)
def test_one_damaged_field_of_a_record_costs_no_other(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: object
) -> None:
    """Whatever it holds: the hold stays, and every other field; what is believed can be written again."""
    path = tmp_path_factory.mktemp("record") / "published.json"
    record = _read(path, json.loads(WHOLE.to_json()) | {name: value})
    assert record is not None
    for each in {*FIELDS, "held"} - {name}:
        assert getattr(record, each) == getattr(WHOLE, each), each
    assert all((getattr(record, each) or 0) <= NOW + 300 for each in TIMES)
    path.write_bytes(record.to_json())
    assert read_record(str(path), now=NOW) == record


@settings(deadline=None, max_examples=selection.count(200, 40))
@given(value=JUNK, forged=st.dictionaries(st.sampled_from(["since", "by", "why", "commit", "left"]), JUNK))
def test_a_damaged_hold_is_a_hold(
    tmp_path_factory: pytest.TempPathFactory, value: object, forged: dict[str, object]
) -> None:
    """To lose one would undo a rollback. Only null is none."""
    path = tmp_path_factory.mktemp("record") / "published.json"
    whole = json.loads(WHOLE.to_json())
    for held in (value, whole["held"] | forged):
        record = _read(path, whole | {"held": held})
        assert record is not None
        assert (record.held is None) == (held is None)
        assert replace(record, held=HOLD) == WHOLE
        if record.held is not None:
            assert 0 <= record.held.since <= NOW + 300
            assert all(len(each) == 40 for each in record.held.left)


@pytest.mark.parametrize(
    "content",
    [
        b'{"held": {"since": 1',
        b'{"commit": "\xff", "held": {"since": 1}}',
        b'{"other": ' + b"[" * 5000 + b"]" * 5000 + b', "held": {"since": 1}}',
        b'{"delivery": "' + b"x" * 2_000_000 + b'", "held": {"since": 1}}',
    ],
)
def test_a_hold_outlives_what_is_no_json(tmp_path: Path, content: bytes) -> None:
    """Cut off, nested too deeply, too large, no UTF-8."""
    path = tmp_path / "published.json"
    path.write_bytes(content)
    record = read_record(str(path), now=NOW)
    assert record is not None
    assert record.held is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"null", b'{"held": null', b'{"other": 1}'])
def test_what_says_nothing_is_no_record(tmp_path: Path, content: bytes) -> None:
    """The next run makes one."""
    path = tmp_path / "published.json"
    path.write_bytes(content)
    assert read_record(str(path), now=NOW) is None


def _damage(service: Service, **fields: Any) -> None:
    (service.mount / RECORD).write_text(json.dumps(service.record() | fields))


@pytest.mark.parametrize("name", ["repository", "ref", "commit", "announced", "asked_at"])
@pytest.mark.parametrize("value", [["x"], None, FAR, "x"], ids=["list", "null", "future", "text"])
@pytest.mark.sampled(6)
def test_a_target_whose_record_is_damaged_is_held_healed_and_resumed(
    service: Service, upstream: Upstream, name: str, value: object
) -> None:
    """A push changes nothing while it is held; an operator ends the hold, and the next push is published."""
    service.put_repository()
    first = upstream.commit({"a": b"1"})
    service.push(upstream)
    service.operate("hold", MAIN)
    _damage(service, **{name: value})
    second = upstream.commit({"a": b"2"})
    assert service.push(upstream).reason == "held"
    assert service.current_commit() == first
    assert service.run_schedule()["held"] == 1
    record = service.record()
    assert (record["repository"], record["ref"]) == ("octo/site", "refs/heads/main")
    service.operate("resume", MAIN)
    assert service.current_commit() == second
    assert service.record()["commit"] == second


@pytest.mark.parametrize("name", [*FIELDS, "other"])
@pytest.mark.parametrize("value", [["x"], FAR, "x", float("nan")], ids=["list", "future", "text", "nan"])
@pytest.mark.sampled(8)
def test_a_push_to_a_target_whose_record_is_damaged_is_published(
    service: Service, upstream: Upstream, name: str, value: object
) -> None:
    """And the schedule finds nothing to do after it."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    _damage(service, **{name: value})
    commit = upstream.commit({"a": b"2"})
    if name == "repository" and value == "x":
        assert service.run_schedule()["outcomes"] == {"published:ref_moved_on": 1}
    else:
        assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert abs(service.record()["asked_at"] - time.time()) < 60
    assert service.run_schedule()["behind"] == 0


def test_a_time_that_has_not_come_answers_no_delivery(service: Service, upstream: Upstream) -> None:
    """Neither by when the remote was asked, nor by the newest push; and the age of the last success is not zero."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    _damage(service, asked_at=FAR, pushed_at=2**60, published_at=1e300, gone_since=FAR)
    commit = upstream.commit({"a": b"2"})
    assert service.push(upstream).outcome == "published"
    assert service.current_commit() == commit


# -- the schedule's state and the list of targets -----------------------------------------------------------------


GOOD = {
    "confirmed_at": NOW - 5,
    "failures": 1,
    "not_before": NOW + 200,
    "refs": {"refs/heads/a": {"failures": 1, "not_before": NOW}},
}
READ = RepositoryState(1, NOW + 200, confirmed_at=NOW - 5, refs={"refs/heads/a": BackOff(1, NOW)})


@settings(deadline=None, max_examples=selection.count(300, 60))
@given(
    entry=JUNK,
    field=st.sampled_from(["confirmed_at", "failures", "not_before", "refs", "other"]),
    top=st.sampled_from(["stopped_at", "go_on_at", "lease", "other"]),
    value=JUNK,
)
def test_one_bad_entry_of_the_schedules_state_costs_no_other(
    tmp_path_factory: pytest.TempPathFactory, entry: object, field: str, top: str, value: object
) -> None:
    """A whole entry, a field of one, a ref of one, or what stands beside them."""
    mount = tmp_path_factory.mktemp("mount")
    refs = {"refs/heads/a": GOOD["refs"]["refs/heads/a"], "refs/heads/b": value}  # type: ignore[index]
    repositories = {"a/good": GOOD, "b/bad": entry, "c/field": GOOD | {field: value}, "d/ref": GOOD | {"refs": refs}}
    state = {"repositories": repositories, "stopped_at": "a/good", "go_on_at": {"a/good": "x", "b/bad": value}}
    (mount / ".git2efs").mkdir()
    (mount / ".git2efs/reconcile.json").write_text(_spelled(state | {top: value}))
    found = read_state(str(mount), "reconcile", now=NOW)
    assert found.repositories["a/good"] == READ
    assert found.repositories["d/ref"].refs["refs/heads/a"] == BackOff(1, NOW)
    assert set(found.repositories) == set(repositories)
    assert top == "go_on_at" or found.resume_at["a/good"] == "x"
    assert top == "stopped_at" or found.stopped_at == "a/good"
    for each in found.repositories.values():
        for pause in (each, *each.refs.values()):
            assert pause.not_before == 0 or (pause.failures and pause.not_before <= NOW + 6 * 3600)
        assert 0 <= each.confirmed_at <= NOW + 300
    # The next run can have the task, unless another one can have taken it a moment ago.
    lease = value.get("until") if top == "lease" and isinstance(value, dict) else None
    if not isinstance(lease, int | float):
        take_lease(str(mount), "reconcile", run="ours", until=NOW + 60, now=NOW)


@pytest.mark.parametrize(("until", "is_taken"), [(NOW + 60, True), (NOW + 359, True), (NOW + 361, False), (FAR, False)])
def test_a_lease_that_ends_later_than_one_of_ours_keeps_nobody_away(
    tmp_path: Path, until: float, is_taken: bool
) -> None:
    """One minute, and five for clocks that differ."""
    (tmp_path / ".git2efs").mkdir()
    lease = {"run": "theirs", "until": until}
    (tmp_path / ".git2efs/reconcile.json").write_text(json.dumps({"repositories": {}, "lease": lease}))
    try:
        take_lease(str(tmp_path), "reconcile", run="ours", until=NOW + 60, now=NOW)
    except Exception:
        assert is_taken
    else:
        assert not is_taken


def test_the_schedule_visits_what_a_forged_state_says_to_leave_alone(service: Service, upstream: Upstream) -> None:
    """And `confirmed_at` in the future, which would hide that nothing was confirmed, counts as never."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.push(upstream)
    service.run_schedule()
    state = service.mount / ".git2efs/reconcile.json"
    for not_before, failures in ((FAR, 0), (FAR, 3), (time.time() + 3600, 0)):
        content = json.loads(state.read_text())
        forged = {"confirmed_at": FAR, "failures": failures, "not_before": not_before}
        state.write_text(json.dumps(content | {"repositories": {"octo/site": forged}}))
        commit = upstream.commit({"a": b"new %d" % failures + str(not_before).encode()})
        assert service.run_schedule()["looked_at"] == 1
        assert service.current_commit() == commit


def test_one_bad_line_of_the_target_list_costs_no_other(tmp_path: Path) -> None:
    """A path out of the mount, no UTF-8, a NUL, a name that is too long, a link in a circle: no one is believed."""
    (tmp_path / "a/site/main/releases" / ("a" * 40)).mkdir(parents=True)
    (tmp_path / "a/site/loop").symlink_to("loop")
    lines = [b"../out", b"\xff\xfe", b"a\0b", b"x" * 5000, b"a/site/loop", b"/etc", b"a/site/main", b"a/site/m"]
    (tmp_path / "list").write_bytes(b"\n".join(lines))
    registry = TargetRegistry(str(tmp_path / "list"), str(tmp_path))
    assert registry.release_commits() == ["a" * 40]
    assert "a/site/main" in registry.target_paths()


def test_holds_are_counted(service: Service, upstream: Upstream) -> None:
    """An operator's, and one that a reader forged: nothing else shows that pushes have no effect."""
    service.put_repository(publish=[{"ref": "refs/heads/main"}, {"ref": "refs/heads/main", "path": "octo/twin"}])
    upstream.commit({"a": b"1"})
    service.push(upstream)
    assert service.run_schedule()["held"] == 0
    _damage(service, held={"since": 1})
    assert service.run_schedule()["held"] == 1
    service.operate("hold", "octo/twin")
    assert service.run_schedule()["held"] == 2
    (service.mount / MAIN / "current").unlink()
    assert service.run_schedule()["held"] == 2
    assert service.metric_values("TargetsHeld")[-4:] == [0, 1, 2, 2]
