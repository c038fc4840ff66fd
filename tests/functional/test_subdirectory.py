"""A rule that publishes a directory of the tree alone: what readers get, and what becomes of a changed rule."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from testing.event_bus import Bus
from testing.origin import GitOrigin
from testing.repositories import Entry, Executable, Link, Tree, Upstream, archive, snapshot
from testing.service import Service

TARGET = "octo/site/main"
DAGS = {"ref": "refs/heads/main", "subdirectory": "team/dags"}
PLAIN: dict[str, Entry | None] = {"README": b"1", "team/dags/a.py": b"a", "team/dags/lib/b.py": b"b", "team/c": b"c"}


def part(upstream: Upstream, commit: str, subdirectory: str = "team/dags") -> Tree:
    """Return what git has below a directory of a commit."""
    prefix = subdirectory.encode() + b"/"
    return {path[len(prefix) :]: entry for path, entry in archive(upstream, commit).items() if path.startswith(prefix)}


def push(service: Service, upstream: Upstream, content: dict[str, Entry | None], reason: str = "pushed") -> str:
    """Commit, push, and return the commit."""
    commit = upstream.commit(content)
    answer = service.push(upstream)
    assert (answer.reason, answer.content["commit"]) == (reason, commit), answer.content
    return commit


def checked(service: Service, action: str = "verify") -> list[dict[str, Any]]:
    """Return the outcomes of an operator's command about the target."""
    targets = service.operate(action, TARGET)["targets"]
    assert isinstance(targets, list)
    return targets


def test_its_files_alone_are_published_with_modes_and_links(service: Service, upstream: Upstream) -> None:
    """And `readlink` names the commit, as ever."""
    service.put_repository(publish=[DAGS])
    run: dict[str, Entry | None] = {"team/dags/run": Executable(b"#!"), "team/dags/lib/up": Link(b"../a.py")}
    commit = push(service, upstream, {**PLAIN, **run})
    assert service.current_commit() == commit
    assert service.tree() == part(upstream, commit)
    assert sorted(service.tree()) == [b"a.py", b"lib/b.py", b"lib/up", b"run"]
    assert service.record()["filter"] == {"subdirectory": "team/dags"}
    assert [each["reason"] for each in checked(service)] == ["verified"]


def test_a_push_outside_of_it_is_unchanged_and_confirms_the_commit(service: Service, upstream: Upstream) -> None:
    """`current` is not flipped; the schedule finds nothing to do; and the next change is fetched on top of it."""
    service.put_repository(publish=[DAGS])
    first = push(service, upstream, PLAIN)
    before = os.lstat(service.current()).st_ino
    second = push(service, upstream, {"README": b"2"}, "subdirectory_unchanged")
    assert (service.current_commit(), os.lstat(service.current()).st_ino) == (first, before)
    record = service.record()
    assert (record["commit"], record["confirmed_commit"]) == (first, second)
    assert service.run_schedule()["outcomes"] == {}
    (status,) = service.operate("status", "octo/site")["repositories"][0]["targets"]
    assert (status["state"], status["commit"], status["tip"]) == ("current", first, second)
    third = push(service, upstream, {"team/dags/a.py": b"3"})
    assert service.tree() == part(upstream, third)
    assert "confirmed_commit" not in service.record()
    assert service.record()["previous_commit"] == first


@pytest.mark.parametrize("missing", [{}, {"team/dags": b"a file"}, {"team/dags": Link(b"../other"), "other/x": b"x"}])
def test_where_there_is_no_such_directory_the_push_is_refused(
    service: Service, upstream: Upstream, missing: dict[str, Entry | None]
) -> None:
    """500 subdirectory_missing, which names it; what was published stays, and the next push heals."""
    service.put_repository(publish=[DAGS])
    first = push(service, upstream, PLAIN)
    commit = upstream.commit({"README": b"2", **missing}, replace=True)
    answer = service.push(upstream)
    assert (answer.status, answer.reason) == (500, "subdirectory_missing")
    assert answer.content["refused_commit"] == commit
    assert "'team/dags'" in answer.content["detail"]
    assert service.tree() == part(upstream, first)
    third = upstream.commit(PLAIN, replace=True)
    assert service.push(upstream).outcome in ("published", "unchanged")
    assert service.tree() == part(upstream, third)


def test_a_new_target_without_it_leaves_nothing(service: Service, upstream: Upstream) -> None:
    """Nothing is written below the target's path."""
    service.put_repository(publish=[DAGS])
    upstream.commit({"README": b"1"})
    assert service.push(upstream).reason == "subdirectory_missing"
    assert not (service.mount / TARGET).exists()


def test_links_that_leave_it_lead_out(service: Service, upstream: Upstream) -> None:
    """Though they stay inside the commit's tree."""
    service.put_repository(publish=[DAGS])
    upstream.commit({**PLAIN, "team/dags/lib/out": Link(b"../../c")})
    answer = service.push(upstream)
    assert answer.reason == "tree_unsafe"
    assert "'lib/out'" in answer.content["detail"]


def test_several_rules_publish_several_directories_of_one_ref(service: Service, upstream: Upstream) -> None:
    """Each to its own path; a push of one leaves the other."""
    rules = [DAGS, {"ref": "refs/heads/main", "path": "all"}, {**DAGS, "path": "lib", "subdirectory": "team/dags/lib"}]
    service.put_repository(publish=rules)
    push(service, upstream, PLAIN)
    commit = push(service, upstream, {"team/dags/a.py": b"2"})
    reasons = {each["path"]: each["reason"] for each in service.answers[-1].content["targets"]}
    assert reasons == {TARGET: "pushed", "all": "pushed", "lib": "subdirectory_unchanged"}
    assert service.tree("all") == archive(upstream, commit)
    assert service.tree("lib") == part(upstream, commit, "team/dags/lib")


@pytest.mark.parametrize("spare_files", [0, 1000])
@pytest.mark.parametrize("order", [(None, "team", "team/dags", None), ("team/dags", None, "team", "team/dags")])
def test_a_changed_rule_publishes_the_same_commit_once_more(
    service: Service, upstream: Upstream, order: tuple[str | None, ...], spare_files: int
) -> None:
    """The schedule notices it. The tree of before stays through its grace, under the name of its own filter."""
    service.configure(spare_files=spare_files)
    commit = upstream.commit(PLAIN)
    seen: dict[Path, Tree] = {}
    for number, subdirectory in enumerate(order):
        rule = {"ref": "refs/heads/main"} | ({"subdirectory": subdirectory} if subdirectory else {})
        service.put_repository(publish=[rule], grace_seconds=3600)
        service.reset()
        found = service.run_schedule()["outcomes"]
        assert found == {"published:ref_moved_on": 1}, (number, found)
        wanted = archive(upstream, commit) if subdirectory is None else part(upstream, commit, subdirectory)
        assert service.tree() == wanted
        assert (service.current_commit() or "").startswith(commit)
        seen[service.current().resolve()] = wanted
        for directory, tree in seen.items():
            assert snapshot(directory) == tree, "what readers may still be in"
        assert service.run_schedule()["outcomes"] == {}
    assert {each["reason"] for each in checked(service)} == {"verified"}


def test_after_some_pushes_names_are_plain_again(service: Service, upstream: Upstream) -> None:
    """When nothing of the rule of before stands any more."""
    service.put_repository(grace_seconds=0, keep_releases=1)
    push(service, upstream, PLAIN)
    service.put_repository(publish=[DAGS], grace_seconds=0, keep_releases=1)
    service.reset()
    for number in range(4):
        commit = push(service, upstream, {"team/dags/a.py": b"%d" % number})
        assert service.tree() == part(upstream, commit)
    assert service.current_commit() == commit
    assert {each["reason"] for each in checked(service)} == {"verified"}
    files = [name for name in service.releases() if name.startswith(".")]
    assert [name[:7] for name in files] == [".filter", ".plain-"]


def test_a_rollback_goes_back_to_another_rules_release(service: Service, upstream: Upstream) -> None:
    """And the rule's own is published when it is resumed."""
    service.put_repository(grace_seconds=3600)
    first = push(service, upstream, PLAIN)
    service.put_repository(publish=[DAGS], grace_seconds=3600)
    service.reset()
    assert service.run_schedule()["outcomes"] == {"published:ref_moved_on": 1}
    (outcome,) = service.operate("rollback", TARGET)["targets"]
    assert (outcome["reason"], outcome["commit"], outcome["previous_commit"]) == ("rolled_back", first, first)
    assert service.tree() == archive(upstream, first)
    assert "filter" not in service.record()
    assert checked(service)[0]["reason"] == "verified"
    (outcome,) = service.operate("resume", TARGET)["targets"]
    assert outcome["outcome"] == "published"
    assert service.tree() == part(upstream, first)


def test_a_changed_rule_is_told_with_unknown_changes_though_its_run_is_killed(
    service: Service, upstream: Upstream, bus: Bus
) -> None:
    """As if every path had changed: also by the run that finds the flip made, and the record of the rule before."""
    service.configure(event_bus=bus.name)
    service.put_repository()
    commit = push(service, upstream, PLAIN)
    before = (service.mount / TARGET / "published.json").read_bytes()
    service.put_repository(publish=[DAGS])
    service.reset()
    service.run_schedule()
    (service.mount / TARGET / "published.json").write_bytes(before)
    assert service.run_schedule()["outcomes"] == {"unchanged:already_published": 1}
    assert service.record()["filter"] == {"subdirectory": "team/dags"}
    told = [each["detail"] for each in bus.events]
    assert [(each["commit"], each["changes"]["is_complete"]) for each in told] == [
        (commit, True),
        (commit, False),
        (commit, False),
    ]
    push(service, upstream, {"team/dags/a.py": b"2", "README": b"2"})
    assert bus.events[-1]["detail"]["changes"]["modified"] == ["a.py"]


def test_a_rollback_between_two_rules_that_was_killed_is_not_done_twice(service: Service, upstream: Upstream) -> None:
    """The commit is the same: what is published of it tells that the flip was made."""
    service.put_repository(grace_seconds=3600)
    push(service, upstream, {**PLAIN, "README": b"0"})
    first = push(service, upstream, PLAIN)
    service.put_repository(publish=[DAGS], grace_seconds=3600)
    service.reset()
    service.run_schedule()
    published = service.record()
    assert service.operate("rollback", TARGET)["targets"][0]["reason"] == "rolled_back"
    left = {**published, "held": service.record()["held"]}
    (service.mount / TARGET / "published.json").write_text(json.dumps(left))
    assert service.operate("rollback", TARGET)["targets"][0]["reason"] == "rolled_back"
    assert os.readlink(service.current()) == f"releases/{first}"
    assert (service.record()["commit"], "filter" in service.record()) == (first, False)


@pytest.mark.parametrize("mode", ["current", "retired"])
def test_what_somebody_changed_in_it_is_found_and_mended(service: Service, upstream: Upstream, mode: str) -> None:
    """By verify and by maintenance, which know no rule: the mount says what a release is."""
    service.put_repository(publish=[DAGS], grace_seconds=3600)
    first = push(service, upstream, PLAIN)
    if mode == "retired":
        push(service, upstream, {"team/dags/a.py": b"2"})
    damaged = service.mount / TARGET / "releases" / first / "lib" / "b.py"
    damaged.write_bytes(b"damaged")
    assert checked(service)[0]["reason"] == "drifted"
    service.run_schedule("chores")
    if mode == "current":
        assert damaged.read_bytes() == b"b"
        assert checked(service)[0]["reason"] == "verified"
    assert service.tree() == part(upstream, upstream.tip() or "")


def test_a_target_that_is_taken_over_stays_what_it_is(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """The run that follows has an empty mirror, in which it finds no commit to compare with, and publishes the same."""
    service.put_repository(publish=[DAGS])
    push(service, upstream, PLAIN)
    first = push(service, upstream, {"README": b"2"}, "subdirectory_unchanged")
    renamed = Upstream(origin.root, "octo/renamed")
    renamed.git("fetch", "--quiet", origin.root / "octo/site.git", "main:main")
    service.put_repository("octo/renamed", publish=[{**DAGS, "path": TARGET}])
    service.delete_repository("octo/site")
    service.reset()
    assert service.operate("take-over", "octo/renamed", **{"from": "octo/site"})["exit_code"] == 0
    assert service.record()["filter"] == {"subdirectory": "team/dags"}
    assert service.push(renamed).reason == "already_published"
    assert service.record()["commit"] == service.current_commit() == first
    assert service.tree() == part(upstream, first)


def test_a_retired_targets_files_are_all_gone(service: Service, upstream: Upstream) -> None:
    """Those that say what its filters are, too."""
    rule = {"ref": "refs/heads/preview/*", "path": "octo/site/p/*", "subdirectory": "team/dags"}
    service.put_repository(publish=[rule], grace_seconds=0)
    upstream.commit(PLAIN, branch="preview/x")
    assert service.push(upstream, "preview/x").outcome == "published"
    upstream.delete("refs/heads/preview/x")
    for _ in range(2):
        service.push(upstream, "preview/x")
    assert not (service.mount / "octo/site/p").exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "directory", "another one's"])
def test_whatever_stands_in_a_filters_files_place_does_not_stop_a_push(
    service: Service, upstream: Upstream, kind: str
) -> None:
    """Readers may have put it there: nothing waits for it or follows it, and what is published is as the rule says."""
    service.put_repository(publish=[DAGS])
    push(service, upstream, PLAIN)
    releases = service.mount / TARGET / "releases"
    (name,) = (name for name in service.releases() if name.startswith("."))
    place = releases / (name if kind != "another one's" else f".plain-{'1' * 16}")
    place.unlink(missing_ok=True)
    makers = {"pipe": os.mkfifo, "link": lambda path: path.symlink_to("/etc/passwd"), "directory": Path.mkdir}
    makers.get(kind, Path.touch)(place)
    for subdirectory in ("team/dags", "team", "team/dags"):
        service.put_repository(publish=[{**DAGS, "subdirectory": subdirectory}])
        service.reset()
        for number in range(2):
            commit = push(service, upstream, {"team/dags/a.py": f"{subdirectory} {number}".encode()})
            assert service.tree() == part(upstream, commit, subdirectory)


def test_where_a_filters_file_is_lost_the_next_push_writes_the_tree_anew(service: Service, upstream: Upstream) -> None:
    """Nothing is patched that nobody knows what it is. An audit knows from the record what is published."""
    service.put_repository(publish=[DAGS])
    first = push(service, upstream, PLAIN)
    push(service, upstream, {"team/dags/a.py": b"2"})
    for name in service.releases():
        if name.startswith("."):
            (service.mount / TARGET / "releases" / name).write_bytes(json.dumps({"subdirectory": "team"}).encode())
    (outcome,) = checked(service)
    assert (outcome["reason"], outcome.get("notes", [])) == ("verified", [])
    service.put_repository()
    service.reset()
    for number in range(3):
        commit = push(service, upstream, {"team/dags/a.py": b"whole %d" % number})
        assert service.tree() == archive(upstream, commit)
    (outcome,) = checked(service)
    assert f"releases/{first} cannot be compared" in str(outcome["notes"])
