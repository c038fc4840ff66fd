"""Going back, held there: neither the next push nor the schedule undoes it, until an operator lets it go on."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from handler.deadline import NO_DEADLINE
from handler.errors import TargetUnknown
from handler.exchange.operations import MountedTarget
from handler.mount.publisher import LocalPublisher
from handler.settings import read_settings
from testing.event_bus import Bus
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.mounts import footprint

MAIN = "octo/site/main"
PREVIEWS = [{"ref": "refs/heads/main"}, {"ref": "refs/heads/preview/*", "path": "octo/site/previews/*"}]


def publish(service: Service, upstream: Upstream, count: int, branch: str = "main") -> list[str]:
    """Push so many commits to a branch; return them."""
    commits = []
    for number in range(count):
        commits.append(
            upstream.commit({"a": b"%d" % number, f"only-{number}": b"x", f"only-{number - 1}": None}, branch)
        )
        assert service.push(upstream, branch).outcome == "published"
    return commits


def only(content: dict[str, Any]) -> dict[str, Any]:
    """Return the one target that the content tells of."""
    (target,) = content["targets"]
    assert isinstance(target, dict)
    return target


def apart_in_time(service: Service, commits: list[str], path: str = MAIN) -> None:
    """Make the releases retired a minute after each other, as they were published."""
    for number, commit in enumerate(reversed(commits)):
        release = service.mount / path / "releases" / commit
        then = (release.stat().st_mtime_ns // 10**9 - 60 * number) * 10**9
        os.utime(release, ns=(then, then))


def test_back_in_one_flip_and_held_until_resumed(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Neither a push nor the schedule publishes; resuming publishes what the ref names by then."""
    service.put_repository()
    first, second = publish(service, upstream, 2)
    origin.forget()
    done = service.operate("rollback", MAIN, by="mona", why="the site is blank")
    assert done["exit_code"] == 0
    assert only(done) | {"notes": None} == {
        "repository": "octo/site",
        "path": MAIN,
        "ref": "refs/heads/main",
        "outcome": "published",
        "reason": "rolled_back",
        "commit": first,
        "previous_commit": second,
        "notes": None,
    }
    assert origin.requests == [], "who goes back needs no remote"
    assert service.tree() == archive(upstream, first)
    held = service.record()["held"]
    assert (held["by"], held["why"], held["commit"], held["left"]) == ("mona", "the site is blank", first, [second])
    third = upstream.commit({"a": b"3"})
    origin.forget()
    before = footprint(service.mount / MAIN)
    request = service.push_request(upstream)
    for _ in range(2):
        origin.forget()
        answer = service.send(request)
        assert (answer.status, answer.outcome, answer.reason) == (200, "ignored", "held")
    assert [record.kind for record in origin.requests] == ["ls-refs"], "that it is held is known by now"
    assert service.run_schedule()["behind"] == 0
    assert service.run_schedule("chores")["outcome"] == "done"
    assert footprint(service.mount / MAIN) == before
    done = service.operate("resume", MAIN)
    assert (only(done)["outcome"], only(done)["commit"], done["exit_code"]) == ("published", third, 0)
    assert service.tree() == archive(upstream, third)
    assert service.record()["held"] is None
    fourth = upstream.commit({"a": b"4"})
    assert service.push(upstream).outcome == "published"
    assert service.current_commit() == fourth


def test_each_time_it_goes_further_back_and_never_forth(service: Service, upstream: Upstream) -> None:
    """What was left stays left; at the end it says what stands, and changes nothing."""
    service.put_repository(keep_releases=5)
    commits = publish(service, upstream, 4)
    apart_in_time(service, commits)
    for commit in reversed(commits[:3]):
        assert only(service.operate("rollback", MAIN))["commit"] == commit
        assert service.tree() == archive(upstream, commit)
    before = footprint(service.mount / MAIN)
    refused = service.operate("rollback", MAIN)
    assert (refused["exit_code"], refused["reason"]) == (2, "release_unusable")
    assert all(commit in refused["detail"] for commit in commits)
    assert footprint(service.mount / MAIN) == before


def test_two_pushes_within_a_second_are_told_apart(service: Service, upstream: Upstream) -> None:
    """Releases' clocks are of whole seconds: the record says which was the one before."""
    service.put_repository(keep_releases=5)
    for _ in range(3):
        _, _, _, before_last, _ = publish(service, upstream, 5)
        assert only(service.operate("rollback", MAIN))["commit"] == before_last
        service.operate("resume", MAIN)


def test_to_a_named_release_by_its_first_digits(service: Service, upstream: Upstream) -> None:
    """Also forth again; to where it stands, it is held there."""
    service.put_repository(keep_releases=5)
    commits = publish(service, upstream, 3)
    assert only(service.operate("rollback", MAIN, to=commits[0][:7]))["commit"] == commits[0]
    assert only(service.operate("rollback", MAIN, to=commits[2]))["commit"] == commits[2]
    stays = only(service.operate("rollback", MAIN, to=commits[2]))
    assert (stays["outcome"], stays["reason"]) == ("unchanged", "held")
    assert service.record()["held"]["commit"] == commits[2]
    for to in ("f" * 40, "0" * 7):
        refused = service.operate("rollback", MAIN, to=to)
        assert (refused["exit_code"], refused["reason"]) == (2, "release_unusable")
        assert commits[0] in refused["detail"]
    assert service.current_commit() == commits[2]


def test_what_somebody_changed_is_not_gone_back_to(service: Service, upstream: Upstream) -> None:
    """Nor a file that bears a release's name: it says which, and takes the one before that where none is named."""
    service.put_repository(keep_releases=5)
    commits = publish(service, upstream, 3)
    apart_in_time(service, commits)
    (service.mount / MAIN / "releases" / commits[1] / "__pycache__").mkdir()
    refused = service.operate("rollback", MAIN, to=commits[1])
    assert (refused["exit_code"], refused["reason"]) == (2, "release_unusable")
    assert f"{commits[1]} was changed by somebody else" in refused["detail"]
    fake = service.mount / MAIN / "releases" / ("e" * 40)
    fake.write_bytes(b"")
    os.utime(fake, (2_000_000_000, 2_000_000_000))
    assert only(service.operate("rollback", MAIN))["commit"] == commits[0]
    assert service.tree() == archive(upstream, commits[0])


def test_the_release_that_was_left_keeps_its_grace(service: Service, upstream: Upstream) -> None:
    """Its readers may still be there: its clock starts with the flip, and it is not recycled before."""
    service.put_repository(grace_seconds=300)
    _, second = publish(service, upstream, 2)
    left = service.mount / MAIN / "releases" / second
    os.utime(left, (1_000_000_000, 1_000_000_000))
    service.operate("rollback", MAIN)
    assert left.stat().st_mtime_ns % 10**9 == 0
    assert left.stat().st_mtime > 1_700_000_000
    upstream.commit({"a": b"3"})
    service.operate("resume", MAIN)
    assert second in service.releases()


def test_a_warm_process_that_published_looks_again(service: Service, upstream: Upstream) -> None:
    """What it remembers of the releases is not true any more after a rollback and a resume by another process."""
    service.put_repository(grace_seconds=0)
    commits = publish(service, upstream, 4)
    with service.process(entry="handler.operate") as operator:
        operator.wait_until_ready()
        for event in ({"action": "rollback", "path": MAIN}, {"action": "resume", "path": MAIN}):
            assert operator.invoke(event)["exit_code"] == 0
    assert service.current_commit() == commits[3]
    for number in range(5):
        commit = upstream.commit({"a": b"again %d" % number})
        assert service.push(upstream).outcome == "published"
        assert service.tree() == archive(upstream, commit)


def test_a_target_that_the_network_side_names_is_checked_again(service: Service, upstream: Upstream) -> None:
    """It may have become another's since it was found; and a path out of the mount was never found."""
    service.put_repository()
    publish(service, upstream, 2)
    publisher = LocalPublisher(read_settings(service.environment), progress=lambda about, done, total: None)
    operations = publisher.operations
    assert operations.find_targets(MAIN) == (MountedTarget("octo/site", MAIN),)
    before = footprint(service.mount)
    for target in (
        MountedTarget("octo/other", MAIN),
        MountedTarget("octo/site", "../site"),
        MountedTarget("octo/site", "octo/site/none"),
    ):
        with pytest.raises(TargetUnknown):
            operations.roll_back(target, to=None, by="", why="", deadline=NO_DEADLINE)
        with pytest.raises(TargetUnknown):
            operations.hold(target, by="", why="", deadline=NO_DEADLINE)
        with pytest.raises(TargetUnknown):
            operations.end_hold(target, deadline=NO_DEADLINE)
        assert operations.verify(target, is_repairing=True, deadline=NO_DEADLINE).reason == TargetUnknown.reason
    assert footprint(service.mount) == before
    publisher.close()


def test_other_targets_of_the_repository_go_on(service: Service, upstream: Upstream) -> None:
    """A hold is one target's; a repository's name holds all of them, and cannot be gone back with."""
    service.put_repository(publish=PREVIEWS)
    main = publish(service, upstream, 2)
    preview = publish(service, upstream, 2, "preview/one")
    service.operate("rollback", MAIN)
    newer = upstream.commit({"a": b"9"}, "preview/one")
    assert service.push(upstream, "preview/one").outcome == "published"
    assert service.current_commit("octo/site/previews/one") == newer
    refused = service.operate("rollback", "octo/site")
    assert (refused["exit_code"], refused["reason"]) == (2, "target_unknown")
    assert MAIN in refused["detail"]
    assert [each["reason"] for each in service.operate("hold", "octo/site", why="freeze")["targets"]] == [
        "held",
        "held",
    ]
    for branch in ("main", "preview/one"):
        upstream.commit({"a": b"10"}, branch)
        assert service.push(upstream, branch).reason == "held"
    assert service.current_commit() == main[0]
    assert service.record()["held"]["left"] == [main[1]], "a later hold remembers what was left"
    done = service.operate("resume", "octo/site")
    assert [each["outcome"] for each in done["targets"]] == ["published", "published"]
    assert preview


def test_a_held_preview_outlives_its_branch_and_a_held_tag_newer_tags(service: Service, upstream: Upstream) -> None:
    """Nothing of a held target is retired; a newest tag waits."""
    rules = [*PREVIEWS, {"ref": "refs/tags/v*", "path": "octo/site/latest", "latest": True}]
    service.put_repository(publish=rules, grace_seconds=0)
    publish(service, upstream, 1)
    publish(service, upstream, 1, "preview/one")
    first = upstream.commit({"version": b"1"}, "work")
    upstream.point("refs/tags/v1", first)
    assert service.push(upstream, "refs/tags/v1").outcome == "published"
    for path in ("octo/site/previews/one", "octo/site/latest"):
        assert service.operate("hold", path)["exit_code"] == 0
    upstream.delete("preview/one")
    upstream.point("refs/tags/v2", upstream.commit({"version": b"2"}, "work"))
    for _ in range(3):
        service.run_schedule()
    assert service.push(upstream, "preview/one", after="0" * 40).reason == "held"
    assert service.push(upstream, "refs/tags/v2").reason == "held"
    assert (service.mount / "octo/site/previews/one/current/a").read_bytes() == b"0"
    assert service.current_commit("octo/site/latest") == first
    assert only(service.operate("resume", "octo/site/latest"))["outcome"] == "published"
    assert (service.mount / "octo/site/latest/current/version").read_bytes() == b"2"
    service.operate("resume", "octo/site/previews/one")
    service.run_schedule()
    assert not (service.mount / "octo/site/previews/one").exists()


def test_a_hold_outlives_a_removed_link_and_a_hold_that_cannot_be_read_holds(
    service: Service, upstream: Upstream
) -> None:
    """To lose a hold undoes a rollback behind the operator's back."""
    service.put_repository()
    publish(service, upstream, 2)
    service.operate("rollback", MAIN)
    service.current().unlink()
    upstream.commit({"a": b"3"})
    assert service.push(upstream).reason == "held"
    record = service.record()
    nonsenses: list[object] = ["yes", 1, [], {}, {"since": "x", "left": 7}]
    for nonsense in nonsenses:
        (service.mount / MAIN / "published.json").write_text(json.dumps(record | {"held": nonsense}))
        assert service.push(upstream).reason == "held"
    assert only(service.operate("resume", MAIN))["outcome"] == "published"


def test_parameter_store_and_the_remote_may_be_away(service: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Whoever has to go back has no time for either; a resume needs both, and holds on until it has them."""
    service.put_repository()
    first, _ = publish(service, upstream, 2)
    service.delete_repository("octo/site")
    origin.fail_next(99)
    assert only(service.operate("rollback", MAIN))["commit"] == first
    assert service.operate("resume", MAIN)["exit_code"] == 2
    assert service.record()["held"] is not None
    origin.clear_faults()


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside",
        "octo/../../outside",
        "/etc",
        "octo/site/.git2efs",
        "octo//main",
        "octo/site/mirror.git",
        "a\0b",
        "x" * 2000,
    ],
)
def test_no_path_leads_out_of_the_mount(service: Service, upstream: Upstream, path: str) -> None:
    """It is refused, whatever the action."""
    for action in ("rollback", "hold", "resume", "verify"):
        refused = service.operate(action, path)
        assert (refused["exit_code"], refused["reason"]) == (2, "malformed"), action


@pytest.fixture
def outside(service: Service, upstream: Upstream, tmp_path: Path) -> Path:
    """Return a directory beside the mount that looks like a target with two releases."""
    service.put_repository()
    publish(service, upstream, 2)
    place = tmp_path / "outside"
    (service.mount / MAIN).rename(place)
    return place


def test_a_link_on_the_way_is_not_followed(service: Service, outside: Path) -> None:
    """Somebody put one in a target's place, or above it, or where its releases should be."""
    before = footprint(outside)
    target = service.mount / MAIN
    target.symlink_to(outside)
    for action in ("rollback", "hold", "resume", "verify"):
        refused = service.operate(action, MAIN)
        assert (refused["exit_code"], refused["reason"]) == (2, "target_unknown"), action
    assert service.operate("status", offline=True)["exit_code"] == 1
    target.unlink()
    target.mkdir()
    (target / "releases").symlink_to(outside / "releases")
    for name in ("current", "published.json", "staging"):
        (outside / name).rename(target / name)
    before = footprint(outside)
    for action in ("rollback", "hold", "resume", "verify"):
        assert service.operate(action, MAIN)["reason"] == "target_unknown", action
    assert footprint(outside) == before


@pytest.mark.parametrize("repository", ["octo/other", "../../outside", "", "octo/site/main"])
def test_a_record_that_names_somebody_else_is_not_believed(
    service: Service, upstream: Upstream, repository: str
) -> None:
    """Its list has to say so too: else the lock that is taken would be another's, or somewhere else."""
    service.put_repository()
    publish(service, upstream, 2)
    record = service.mount / MAIN / "published.json"
    record.write_text(json.dumps(service.record() | {"repository": repository}))
    before = footprint(service.mount)
    for action in ("rollback", "hold", "resume", "verify"):
        assert service.operate(action, MAIN)["reason"] == "target_unknown", action
    assert footprint(service.mount) == before


# -- events -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def bus(service: Service, bus: Bus) -> Bus:
    """Return a bus that the service tells."""
    service.configure(event_bus=bus.name)
    service.put_repository()
    return bus


def test_consumers_are_told_of_a_rollback_as_of_a_publish(service: Service, upstream: Upstream, bus: Bus) -> None:
    """What changed for them, the other way round."""
    first, second = publish(service, upstream, 2)
    service.operate("rollback", MAIN)
    detail = bus.of_type("ReleasePublished")[-1]
    assert (detail["commit"], detail["previous_commit"]) == (first, second)
    assert detail["changes"]["added"] == ["only-0"]
    assert detail["changes"]["removed"] == ["only-1"]


def test_an_untold_rollback_is_told_by_the_schedule(service: Service, upstream: Upstream, bus: Bus) -> None:
    """A held target is looked at for that alone."""
    first, _ = publish(service, upstream, 2)
    bus.fail_next(9)
    assert service.operate("rollback", MAIN)["exit_code"] == 0
    bus.forget_faults()
    count = len(bus.of_type("ReleasePublished"))
    assert service.run_schedule()["behind"] == 1
    assert len(bus.of_type("ReleasePublished")) == count + 1
    assert service.current_commit() == first
    assert service.run_schedule()["behind"] == 0


def test_a_damaged_mirror_keeps_nobody_from_going_back(service: Service, upstream: Upstream, bus: Bus) -> None:
    """Only what changed cannot be said."""
    first, _ = publish(service, upstream, 2)
    for pack in (service.mount / "octo/site/mirror.git/objects/pack").iterdir():
        pack.write_bytes(b"x")
    assert service.operate("rollback", MAIN)["exit_code"] == 0
    assert bus.of_type("ReleasePublished")[-1]["commit"] == first
