"""The schedule: what a webhook did not tell, it finds; what is to go, goes; who fails, is left in peace for a while."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from handler import schedule
from handler.errors import LockTimeout
from handler.mount.maintenance.state import read_state
from handler.mount.publisher import LocalPublisher
from handler.network import pace
from testing.origin import GitOrigin
from testing.queue import MessageQueue
from testing.repositories import Link, Upstream, archive
from testing.service import Service
from tests.functional.mounts import footprint, names

PREVIEWS = [{"ref": "refs/heads/main"}, {"ref": "refs/heads/preview/*", "path": "octo/site/previews/*"}]


def age_record(target: Path, seconds: float) -> None:
    """Make it that much longer ago that the target's ref was found to be gone."""
    record = json.loads((target / "published.json").read_text())
    record["gone_since"] -= seconds
    (target / "published.json").write_text(json.dumps(record))


def test_a_lost_webhook_is_healed(service: Service, upstream: Upstream) -> None:
    """Pushed, and never told of: published all the same, by the default branch's rule."""
    service.put_repository()
    first = upstream.commit({"a": b"1"})
    done = service.run_schedule()
    assert (done["outcome"], done["looked_at"], done["behind"]) == ("done", 1, 1)
    assert service.current_commit() == first
    second = upstream.commit({"a": b"2"})
    service.run_schedule()
    assert service.tree() == archive(upstream, second)
    assert service.metric_values("RefsBehind")[-1] == 1


def test_where_nothing_moved_it_costs_one_request_and_changes_nothing(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Every five minutes, for every repository: so no lock is taken, and nothing is fetched."""
    service.put_repository(publish=PREVIEWS)
    upstream.commit({"a": b"1"})
    upstream.commit({"a": b"2"}, "preview/one")
    service.run_schedule()
    before = footprint(service.mount / "octo")
    origin.forget()
    done = service.run_schedule()
    assert (done["looked_at"], done["behind"], done["failing"]) == (1, 0, 0)
    assert [record.kind for record in origin.requests] == ["ls-refs"]
    assert footprint(service.mount / "octo") == before


def test_a_deleted_branch_goes_after_its_grace_and_not_before(service: Service, upstream: Upstream) -> None:
    """Found gone twice, the grace apart; the others and the mirror stay."""
    service.put_repository(publish=PREVIEWS, grace_seconds=300)
    upstream.commit({"a": b"1"})
    upstream.commit({"a": b"2"}, "preview/one")
    upstream.commit({"a": b"3"}, "preview/team/two")
    service.run_schedule()
    upstream.delete("preview/one")
    one = service.mount / "octo/site/previews/one"
    assert service.push(upstream, "preview/one", after="0" * 40).reason == "retiring"
    service.run_schedule()
    assert (one / "current/a").read_bytes() == b"2"
    age_record(one, 301)
    service.run_schedule()
    assert not one.exists()
    assert [line["reason"] for line in service.log_lines if line.get("outcome") == "retired"] == ["ref_gone"]
    assert (service.mount / "octo/site/previews/team/two/current/a").read_bytes() == b"3"
    assert (service.mount / "octo/site/main/current/a").read_bytes() == b"1"
    assert "previews/one" not in (service.mount / "octo/site/.targets").read_text()
    upstream.delete("preview/team/two")
    service.run_schedule()
    age_record(service.mount / "octo/site/previews/team/two", 301)
    service.run_schedule()
    assert not (service.mount / "octo/site/previews").exists(), "directories that are left empty go too"
    assert service.run_schedule()["behind"] == 0


def test_a_branch_that_comes_back_within_the_grace_stays(service: Service, upstream: Upstream) -> None:
    """At the same commit or another: what was written down is taken back."""
    service.put_repository(publish=PREVIEWS)
    one = upstream.commit({"a": b"2"}, "preview/one")
    for tip in (one, upstream.commit({"a": b"3"}, "preview/other")):
        upstream.point("preview/one", one)
        service.run_schedule()
        upstream.delete("preview/one")
        service.run_schedule()
        assert service.record("octo/site/previews/one")["gone_since"] is not None
        upstream.point("preview/one", tip)
        service.run_schedule()
        assert service.record("octo/site/previews/one")["gone_since"] is None
        assert service.current_commit("octo/site/previews/one") == tip


@pytest.mark.parametrize("rule", [{"ref": "refs/heads/main"}, {}])
def test_what_the_configuration_names_is_never_taken_away(
    service: Service, upstream: Upstream, rule: dict[str, str]
) -> None:
    """More likely a mistake than a wish: readers keep what they have."""
    fields: dict[str, object] = {"publish": [rule]} if rule else {}
    service.put_repository("octo/site", grace_seconds=0, **fields)
    upstream.commit({"a": b"1"})
    upstream.commit({"a": b"1"}, "other")
    service.run_schedule()
    upstream.delete("main")
    for _ in range(2):
        service.run_schedule()
    assert (service.mount / "octo/site/main/current/a").read_bytes() == b"1"


def test_nothing_of_anothers_is_taken_away(service: Service, upstream: Upstream) -> None:
    """The record says whose the tree is; a list that says otherwise does not count."""
    service.put_repository(publish=PREVIEWS, grace_seconds=0)
    upstream.commit({"a": b"2"}, "preview/one")
    service.run_schedule()
    target = service.mount / "octo/site/previews/one"
    record = json.loads((target / "published.json").read_text())
    (target / "published.json").write_text(json.dumps(record | {"repository": "octo/other"}))
    upstream.delete("preview/one")
    for _ in range(3):
        service.run_schedule()
    assert (target / "current/a").read_bytes() == b"2"


def test_what_a_killed_retirement_left_is_finished(service: Service, upstream: Upstream) -> None:
    """`current` is gone already, the trees half, and even the record."""
    service.put_repository(publish=PREVIEWS, grace_seconds=0)
    for stage in range(3):
        upstream.commit({"a": b"2"}, "preview/one")
        service.run_schedule()
        target = service.mount / "octo/site/previews/one"
        upstream.delete("preview/one")
        service.run_schedule(remaining_ms=0)
        (target / "current").unlink()
        if stage > 0:
            for release in list((target / "releases").iterdir()):
                release.rename(target / "staging/trash-0123456789abcdef")
        record = json.loads((target / "published.json").read_text()) | {"gone_since": time.time() - 9}
        (target / "published.json").write_text(json.dumps(record))
        service.run_schedule()
        assert not target.exists(), stage
        assert service.run_schedule()["behind"] == 0


def test_tags_are_published_by_the_newest_version(service: Service, upstream: Upstream) -> None:
    """Whatever order they are pushed in; a pre-release does not count, and a tag taken back gives way."""
    service.put_repository(publish=[{"ref": "refs/tags/v*", "path": "octo/site/latest", "latest": True}])
    for version in ("v1.9.0", "v1.10.0", "v1.2.0", "v2.0.0-rc1"):
        commit = upstream.commit({"version": version.encode()}, "work")
        upstream.point(f"refs/tags/{version}", commit)
        service.push(upstream, f"refs/tags/{version}")
    latest = service.mount / "octo/site/latest/current/version"
    assert latest.read_bytes() == b"v1.10.0"
    upstream.point("refs/tags/v1.11.0", upstream.commit({"version": b"v1.11.0"}, "work"))
    service.run_schedule()
    assert latest.read_bytes() == b"v1.11.0"
    upstream.delete("refs/tags/v1.11.0")
    assert service.push(upstream, "refs/tags/v1.11.0", after="0" * 40).outcome == "published"
    assert latest.read_bytes() == b"v1.10.0"
    assert service.run_schedule()["behind"] == 0


def test_with_a_queue_it_sends_and_a_worker_publishes(
    service: Service, upstream: Upstream, queue: MessageQueue
) -> None:
    """It fans out: one message a ref that is behind, and none where nothing is."""
    service.use_queue(queue)
    service.put_repository(publish=PREVIEWS)
    commit = upstream.commit({"a": b"1"})
    upstream.commit({"a": b"2"}, "preview/one")
    assert service.run_schedule()["outcomes"] == {"accepted:queued": 2}
    assert not (service.mount / "octo/site/main").exists()
    assert queue.deliver_all(service.work) >= 1
    assert service.current_commit() == commit
    assert service.run_schedule()["behind"] == 0


def test_a_run_that_cannot_end_its_lease_is_not_told_as_another_ones(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has done its work; and the next run waits until the lease is over."""
    service.put_repository()
    commit = upstream.commit({"a": b"1"})

    def fail(*_: object, **__: object) -> None:
        raise LockTimeout("for the test")

    monkeypatch.setattr(LocalPublisher, "end_lease", fail)
    done = service.run_schedule()
    assert (done["outcome"], done["reason"]) == ("failed", "lock_timeout")
    assert service.current_commit() == commit
    assert service.run_schedule()["reason"] == "already_running"


def test_one_bad_branch_does_not_keep_its_neighbours_from_their_turn(service: Service, upstream: Upstream) -> None:
    """Whoever may push a branch could take the schedule away from the repository; the bad one alone rests."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    upstream.commit({"a": b"1"})
    bad = upstream.commit({"link": Link(b"/etc/passwd")}, "bad")
    assert service.run_schedule()["outcomes"] == {"published:ref_moved_on": 1, "failed:tree_unsafe": 1}
    assert service.current_commit("octo/site/bad") is None
    for number in range(2):
        commit = upstream.commit({"a": b"again %d" % number}, "main")
        done = service.run_schedule()
        assert (done["behind"], done["failing"], done["resting"]) == (2, 1, 0)
        assert done["outcomes"] == {"published:ref_moved_on": 1}
        assert service.current_commit() == commit
    state = json.loads((service.mount / ".git2efs/reconcile.json").read_text())["repositories"]["octo/site"]
    assert state["failures"] == 0
    assert {ref: each["failures"] for ref, each in state["refs"].items()} == {"refs/heads/bad": 1}
    status = service.operate("status", "octo/site")
    assert "to publish refs/heads/bad" in json.dumps(status)
    upstream.point("bad", upstream.tip("main") or bad)
    assert service.push(upstream, "bad").outcome == "published"
    assert service.run_schedule()["failing"] == 0


@pytest.mark.parametrize("kind", ["a tag of a blob", "one branch too many", "a name that is none", "a file too large"])
def test_whatever_is_wrong_with_a_ref_it_alone_rests(service: Service, upstream: Upstream, kind: str) -> None:
    """All that whoever may push can make; its neighbours get their turn at every run."""
    service.configure(max_targets=2, max_object_bytes=50_000)
    rules = [{"ref": "refs/heads/*", "path": "octo/b/*"}, {"ref": "refs/tags/*", "path": "octo/t/*"}]
    service.put_repository(publish=rules)
    upstream.commit({"a": b"1"})
    upstream.commit({"a": b"1"}, "side")
    for branch in ("main", "side"):
        assert service.push(upstream, branch).outcome == "published"
    if kind != "one branch too many":
        service.configure(max_targets=100)
    if kind == "a tag of a blob":
        upstream.tag("v1", upstream.blob(b"no commit"))
    elif kind == "one branch too many":
        upstream.commit({"a": b"1"}, "third")
    elif kind == "a name that is none":
        upstream.commit({"git~1": b"1"}, "third")
    else:
        upstream.commit({"large": bytes(60_000)}, "third")
    upstream.commit({"a": b"2"}, "main")
    done = service.run_schedule()
    assert (done["failing"], done["outcomes"]["published:ref_moved_on"]) == (1, 1)
    for number in range(3, 6):
        commits = {branch: upstream.commit({"a": b"%d" % number}, branch) for branch in ("main", "side")}
        done = service.run_schedule()
        assert (done["resting"], done["outcomes"]) == (0, {"published:ref_moved_on": 2})
        assert {branch: service.current_commit(f"octo/b/{branch}") for branch in commits} == commits
    state = read_state(str(service.mount), "reconcile", now=time.time()).repositories["octo/site"]
    assert (state.failures, [each.failures for each in state.refs.values()]) == (0, [1])


def test_with_a_queue_a_ref_rests_that_a_worker_could_not_publish(
    service: Service, upstream: Upstream, queue: MessageQueue
) -> None:
    """The schedule does not see how a worker ends, but that the ref is behind still: no dead letter at every run."""
    service.use_queue(queue)
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    upstream.commit({"a": b"1"})
    upstream.commit({"link": Link(b"/etc/passwd")}, "bad")

    def run(*, is_due: bool = False) -> dict[str, object]:
        if is_due:
            state = json.loads((service.mount / ".git2efs/reconcile.json").read_text())
            for each in state["repositories"]["octo/site"]["refs"].values():
                each["not_before"] = 0
            (service.mount / ".git2efs/reconcile.json").write_text(json.dumps(state))
        done = service.run_schedule()
        queue.deliver_all(service.work)
        return {"outcomes": done["outcomes"], "failing": done["failing"], "letters": len(queue.dead_letters)}

    assert run() == {"outcomes": {"accepted:queued": 2}, "failing": 0, "letters": 1}
    assert run() == {"outcomes": {}, "failing": 0, "letters": 1}
    commit = upstream.commit({"a": b"2"}, "main")
    assert run() == {"outcomes": {"accepted:queued": 1}, "failing": 0, "letters": 1}
    assert service.current_commit() == commit
    assert run(is_due=True) == {"outcomes": {"accepted:queued": 1}, "failing": 1, "letters": 2}
    assert run() == {"outcomes": {}, "failing": 1, "letters": 2}
    upstream.point("bad", commit)
    assert service.push(upstream, "bad").outcome == "accepted"
    queue.deliver_all(service.work)
    assert run() == {"outcomes": {}, "failing": 0, "letters": 2}


def test_one_wrong_repository_does_not_keep_the_others_from_their_turn(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """A parameter that is no JSON, a remote that is not there: told, and looked at less often."""
    service.put_repository()
    service.put_repository_text("octo/broken", "{")
    service.put_repository_text("octo/gone", json.dumps({"url": origin.url("octo/nowhere")}))
    commit = upstream.commit({"a": b"1"})
    done = service.run_schedule()
    assert service.current_commit() == commit
    assert (done["looked_at"], done["failing"]) == (3, 2)
    again = service.run_schedule()
    assert (again["looked_at"], again["resting"]) == (1, 2)
    diary = read_state(str(service.mount), "reconcile", now=2e9)
    assert {name: entry.failures for name, entry in diary.repositories.items()} == {
        "octo/broken": 1,
        "octo/gone": 1,
        "octo/site": 0,
    }


def test_a_run_that_is_short_of_time_goes_on_where_it_stopped(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Nothing is begun that cannot be ended; and the next run begins with what had no turn."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    done = service.run_schedule(remaining_ms=40_000)
    assert (done["looked_at"], done["left"]) == (0, 1)
    assert read_state(str(service.mount), "reconcile", now=2e9).stopped_at == "octo/site"
    assert service.run_schedule()["looked_at"] == 1
    assert read_state(str(service.mount), "reconcile", now=2e9).stopped_at is None


def test_how_old_the_oldest_confirmation_is_becomes_a_metric(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """A remote that does not answer lets it grow; a look that finds all in order sets it back."""
    service.put_repository()
    upstream.commit({"a": b"1"})
    service.run_schedule()
    assert service.run_schedule()["failing"] == 0
    diary = json.loads((service.mount / ".git2efs/reconcile.json").read_text())
    diary["repositories"]["octo/site"]["confirmed_at"] -= 5000
    (service.mount / ".git2efs/reconcile.json").write_text(json.dumps(diary))
    origin.fail_next(99)
    service.run_schedule()
    assert service.metric_values("LastSuccessAgeSeconds")[-1] >= 5000
    origin.clear_faults()


@pytest.mark.parametrize("event", [None, {}, [], {"task": "x" * 9999}, {"task": 7}, "reconcile"])
def test_an_event_that_is_none_of_ours_is_told_and_raises_nothing(service: Service, event: object) -> None:
    """By hand, or by another rule."""
    with service.capturing():
        assert schedule.handler(event, None)["outcome"] == "rejected"


def test_a_damaged_diary_is_begun_anew(service: Service, upstream: Upstream) -> None:
    """It only saves work."""
    service.put_repository()
    commit = upstream.commit({"a": b"1"})
    service.run_schedule()
    for damage in (b"", b"[]", b'{"repositories": {"octo/site": 7}}', b"\xff" * 99, b"[" * 99_999):
        (service.mount / ".git2efs/reconcile.json").write_bytes(damage)
        assert service.run_schedule()["outcome"] == "done"
    assert service.current_commit() == commit
    assert sorted(names(service.mount / ".git2efs")) == ["reconcile.json", "reconcile.lock"]


# -- chores -----------------------------------------------------------------------------------------------------


def test_the_daily_run_mends_what_somebody_changed_and_tells_it(service: Service, upstream: Upstream) -> None:
    """Deep in the tree, where no push looks."""
    service.put_repository(publish=PREVIEWS)
    commit = upstream.commit({"a/b/c": b"1", "d": b"2"})
    service.run_schedule()
    (service.mount / "octo/site/main/current/a/b/c").write_bytes(b"!")
    done = service.run_schedule("chores")
    assert done["outcomes"] == {"published:repaired": 1}
    assert service.tree() == archive(upstream, commit)
    assert service.run_schedule("chores")["outcomes"] == {"unchanged:verified": 1}


def test_the_daily_run_fetches_a_damaged_mirror_anew(service: Service, upstream: Upstream) -> None:
    """Else nothing would look until the next push, and nothing could be compared."""
    service.put_repository(publish=PREVIEWS)
    upstream.commit({"a": b"1"})
    service.run_schedule()
    for pack in (service.mount / "octo/site/mirror.git/objects/pack").iterdir():
        pack.unlink()
    done = service.run_schedule("chores")
    assert done["outcomes"] == {"failed:mirror_damaged": 1, "unchanged:already_published": 1}
    diary = read_state(str(service.mount), "chores", now=2e9)
    assert diary.repositories["octo/site"].failures == 1
    service.configure()
    (service.mount / ".git2efs/chores.json").unlink()
    assert service.run_schedule("chores")["outcomes"] == {"unchanged:verified": 1}


def test_targets_are_bounded_and_those_that_are_there_go_on(service: Service, upstream: Upstream) -> None:
    """A pattern and a bot that makes branches: the next one is refused by name, and room comes with a deletion."""
    service.configure(max_targets=2)
    service.put_repository(publish=PREVIEWS, grace_seconds=0)
    for branch in ("main", "preview/one"):
        upstream.commit({"a": b"1"}, branch)
        assert service.push(upstream, branch).outcome == "published"
    upstream.commit({"a": b"1"}, "preview/two")
    answer = service.push(upstream, "preview/two")
    assert (answer.status, answer.reason) == (500, "too_many_targets")
    upstream.commit({"a": b"2"}, "preview/one")
    assert service.push(upstream, "preview/one").outcome == "published"
    upstream.delete("preview/one")
    assert service.push(upstream, "preview/one", after="0" * 40).outcome == "retired"
    assert service.push(upstream, "preview/two").outcome == "published"


def test_with_a_queue_a_branch_that_is_gone_is_retired_without_a_rest(
    service: Service, upstream: Upstream, queue: MessageQueue
) -> None:
    """It is behind until its grace is over, which is no failure: each run of the schedule asks for its end again."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}], grace_seconds=0)
    upstream.commit({"a": b"1"})
    upstream.commit({"a": b"2"}, branch="gone")
    for branch in ("main", "gone"):
        assert service.push(upstream, branch).outcome == "published"
    upstream.delete("gone")
    service.use_queue(queue)
    for _ in range(3):
        done = service.run_schedule()
        assert (done["outcomes"], done["failing"]) == ({"accepted:queued": 1}, 0)


def _diary(service: Service) -> dict[str, Any]:
    found = json.loads((service.mount / ".git2efs/reconcile.json").read_text())
    assert isinstance(found, dict)
    return found


def _set(service: Service, full_name: str = "octo/site", **fields: object) -> None:
    """Change what the schedule remembers of a repository."""
    diary = _diary(service)
    diary["repositories"][full_name] |= fields
    (service.mount / ".git2efs/reconcile.json").write_text(json.dumps(diary))


@pytest.fixture
def in_turns(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return the service, whose schedule takes a single repository for one of many."""
    monkeypatch.setattr(pace, "ALWAYS_ASKED", 0)
    return service


def test_a_repository_in_which_nothing_happens_is_asked_in_its_turn(
    in_turns: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Not before: no request, no visit, and no alarm. What was lost meanwhile is found then, and looked at again."""
    in_turns.put_repository()
    upstream.commit({"a": b"1"})
    assert [in_turns.run_schedule()["behind"] for _ in range(2)] == [1, 0]
    state = _diary(in_turns)["repositories"]["octo/site"]
    assert time.time() + 600 < state["due_at"] <= time.time() + 5400
    lost = upstream.commit({"a": b"2"})
    origin.forget()
    done = in_turns.run_schedule()
    assert (done["looked_at"], done["not_due"], origin.requests) == (0, 1, [])
    assert in_turns.metric_values("LastSuccessAgeSeconds")[-1] == 0
    _set(in_turns, due_at=time.time() + 20)
    done = in_turns.run_schedule()
    assert (done["looked_at"], done["behind"], done["not_due"]) == (1, 1, 0)
    assert in_turns.current_commit() == lost
    found = _diary(in_turns)["repositories"]["octo/site"]
    assert (found["due_at"], found["pushes"]) == (0.0, pace.LOST_PUSHES)
    assert in_turns.run_schedule()["looked_at"] == 1
    # Now, that one was lost, its turn comes sooner.
    assert _diary(in_turns)["repositories"]["octo/site"]["due_at"] < state["due_at"] - 400


def test_a_push_that_its_delivery_brought_makes_a_repository_busier(in_turns: Service, upstream: Upstream) -> None:
    """By one, and it is no lost one; the hour is remembered."""
    in_turns.put_repository()
    upstream.commit({"a": b"1"})
    in_turns.push(upstream)
    in_turns.run_schedule()
    assert "hours" not in _diary(in_turns)
    upstream.commit({"a": b"2"})
    in_turns.push(upstream)
    _set(in_turns, due_at=0)
    in_turns.run_schedule()
    assert _diary(in_turns)["repositories"]["octo/site"]["pushes"] == 1
    assert sum(_diary(in_turns)["hours"]) == 1


def test_where_deliveries_do_not_arrive_all_are_asked_in_the_same_run(
    in_turns: Service, upstream: Upstream, origin: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever's turn it is not may have lost one as well."""
    monkeypatch.setattr(pace, "_FEWEST_LOST", 1)
    other = Upstream(origin.root, "octo/other")
    for each in (upstream, other):
        in_turns.put_repository(each.full_name)
        each.commit({"a": b"1"})
    in_turns.run_schedule()
    in_turns.run_schedule()
    for each in (upstream, other):
        each.commit({"a": b"2"})
    assert in_turns.run_schedule()["not_due"] == 2
    _set(in_turns, due_at=0)
    done = in_turns.run_schedule()
    assert (done["looked_at"], done["behind"], done["not_due"]) == (2, 2, 0)
    assert in_turns.current_commit("octo/other/main") == other.tip()


def test_what_fails_is_late_however_far_its_turn_was(in_turns: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """The metric of the alarm tells the whole time since it was last confirmed."""
    in_turns.put_repository()
    upstream.commit({"a": b"1"})
    in_turns.run_schedule()
    in_turns.run_schedule()
    _set(in_turns, due_at=0, confirmed_at=time.time() - 5000)
    origin.fail_next(99)
    in_turns.run_schedule()
    assert in_turns.metric_values("LastSuccessAgeSeconds")[-1] >= 5000


def test_without_a_pause_all_are_asked_in_every_run(in_turns: Service, upstream: Upstream) -> None:
    """As before there were turns, also where an earlier run had set one."""
    in_turns.put_repository()
    upstream.commit({"a": b"1"})
    in_turns.run_schedule()
    in_turns.run_schedule()
    in_turns.configure(longest_pause_seconds=0)
    in_turns.reset()
    assert in_turns.run_schedule()["looked_at"] == 1
