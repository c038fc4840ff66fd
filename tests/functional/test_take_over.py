"""A repository that was renamed, transferred or replaced: its new name takes the files over, and readers see nothing.

Nothing is removed; who says what stands where is asked again; what cannot be taken over is named.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from handler import operate
from handler.deadline import NO_DEADLINE
from handler.exchange.operations import MountedTarget
from handler.model import Counts, Repository, Target
from handler.mount.git.mirror import StorePool
from handler.mount.operations.take_over import TakeOver
from handler.mount.publisher import LocalPublisher
from handler.mount.releases import verify
from handler.settings import read_settings
from testing.deliveries import LambdaContext
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive
from testing.service import Service
from tests.functional.mounts import footprint

OLD, NEW, MAIN = "octo/site", "acme/web", "octo/site/main"
RULE = {"ref": "refs/heads/main", "path": MAIN}


def rename(service: Service, origin: GitOrigin, *rules: dict[str, Any]) -> None:
    """Let the new name's parameter publish to where readers read, and delete the old name's."""
    service.put_repository(NEW, url=origin.url(OLD), publish=list(rules or (RULE,)))
    service.delete_repository(OLD)


def take_over(service: Service, **fields: str) -> dict[str, Any]:
    """Ask for it."""
    return service.operate("take-over", NEW, **({"from": OLD} | fields))


def targets_file(service: Service, name: str) -> list[str]:
    """Return the paths on a repository's registry."""
    return [line for line in (service.mount / name / ".targets").read_text().split("\n") if line]


@pytest.fixture
def published(service: Service, upstream: Upstream) -> Service:
    """Return a service in which the old name is published."""
    service.put_repository()
    upstream.commit({"a": b"1", "deep/b": b"2"})
    assert service.push(upstream).outcome == "published"
    return service


def test_the_new_name_publishes_where_readers_read(published: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Refused before, published after: the same link, the same files, and the next push changes them."""
    rename(published, origin)
    refused = published.operate("publish", NEW)
    assert (refused["exit_code"], refused["targets"][0]["reason"]) == (3, "target_occupied")
    assert OLD in refused["targets"][0]["detail"]
    commit, before = published.current_commit(), footprint(published.mount / MAIN / "releases")
    content = take_over(published)
    assert content["exit_code"] == 0
    taken, delivered = content["targets"]
    assert (taken["outcome"], taken["reason"], taken["repository"], taken["path"]) == (
        "unchanged",
        "taken_over",
        NEW,
        MAIN,
    )
    assert taken["detail"] == f"from {OLD}: {NEW} publishes it from now on"
    assert "notes" not in taken
    assert (delivered["outcome"], delivered["reason"]) == ("unchanged", "already_published")
    assert (published.current_commit(), footprint(published.mount / MAIN / "releases")) == (commit, before)
    assert (published.record()["repository"], published.record()["commit"]) == (NEW, commit)
    assert (targets_file(published, NEW), targets_file(published, OLD)) == ([MAIN], [])
    assert (published.mount / OLD / "mirror.git/objects/pack").is_dir(), "nothing is removed"
    newer = upstream.commit({"a": b"3"})
    assert published.operate("publish", NEW)["targets"][0]["outcome"] == "published"
    assert published.tree() == archive(upstream, newer)
    assert published.operate("verify", MAIN)["exit_code"] == 0
    status = published.operate("status")
    assert [each["repository"] for each in status["repositories"]] == [NEW]
    assert status["exit_code"] == 0


def test_the_old_name_is_refused_there_from_then_on(published: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """Its parameter is still there: the answer says so, and a late push of the old name changes nothing."""
    published.put_repository(NEW, url=origin.url(OLD), publish=[RULE])
    content = take_over(published)
    assert content["targets"][0]["notes"] == [
        f"{OLD} still has a parameter, and its pushes are refused here: delete it"
    ]
    upstream.commit({"a": b"2"})
    assert published.push(upstream).reason == "target_occupied"
    assert published.operate("publish", NEW)["targets"][0]["outcome"] == "published"


def test_all_targets_or_one(published: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """A path takes that one; without one all go, and what no rule publishes is named with the rule that would."""
    published.put_repository(publish=[{"ref": "refs/heads/main"}, {"ref": "refs/heads/pr/*", "path": "octo/site/pr/*"}])
    published.reset()  # parameters are remembered for half a minute
    for branch in ("pr/1", "pr/2"):
        upstream.commit({"a": b"1"}, branch)
        published.push(upstream, branch)
    rename(published, origin)
    content = take_over(published, path="octo/site/pr/1")
    assert [each["path"] for each in content["targets"]] == ["octo/site/pr/1"]
    (note,) = content["targets"][0]["notes"]
    assert '{"publish": [{"ref": "refs/heads/pr/1", "path": "octo/site/pr/1"}]}' in note
    assert targets_file(published, OLD) == [MAIN, "octo/site/pr/2"]
    content = take_over(published)
    assert [each["path"] for each in content["targets"]] == [MAIN, "octo/site/pr/2", MAIN]
    states = {each["path"]: each["state"] for each in published.operate("status")["repositories"][0]["targets"]}
    assert states == {MAIN: "current", "octo/site/pr/1": "left over", "octo/site/pr/2": "left over"}


def test_asked_again_there_is_nothing_to_do(published: Service, origin: GitOrigin) -> None:
    """Neither is a failure."""
    rename(published, origin)
    assert take_over(published)["exit_code"] == 0
    before = footprint(published.mount / "octo")
    assert take_over(published) == {"action": "take-over", "exit_code": 0, "targets": []}
    again = take_over(published, path=MAIN)
    assert (again["exit_code"], again["targets"][0]["reason"]) == (0, "taken_over")
    assert footprint(published.mount / "octo") == before


def test_a_hold_and_earlier_releases_come_along(published: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """The new name neither ends a hold nor loses what can be rolled back to."""
    first = published.current_commit()
    upstream.commit({"a": b"2"})
    published.push(upstream)
    published.operate("hold", MAIN, why="wait")
    rename(published, origin)
    content = take_over(published)
    assert [each["reason"] for each in content["targets"]] == ["taken_over", "held"]
    assert published.record()["held"]["why"] == "wait"
    back = published.operate("rollback", MAIN)
    assert (back["exit_code"], back["targets"][0]["commit"], back["targets"][0]["repository"]) == (0, first, NEW)


def test_what_cannot_be_taken_over_is_named(published: Service, upstream: Upstream, origin: GitOrigin) -> None:
    """And nothing is done: no directory is made for a name that somebody misspelt."""
    missing = take_over(published)
    assert (missing["exit_code"], missing["reason"]) == (2, "repository_unknown")
    rename(published, origin)
    before = footprint(published.mount / "octo")
    typo = take_over(published, **{"from": "octo/sight"})
    assert (typo["exit_code"], typo["reason"]) == (2, "target_unknown")
    assert "octo/sight" in typo["detail"]
    nowhere = take_over(published, path="octo/site/nowhere")
    assert (nowhere["exit_code"], nowhere["reason"]) == (2, "target_unknown")
    published.put_repository("third/one", url=origin.url(OLD), publish=[{"ref": "refs/heads/main"}])
    assert published.operate("publish", "third/one")["exit_code"] == 0
    others = take_over(published, path="third/one/main")
    assert (others["exit_code"], "third/one" in others["detail"]) == (2, True)
    (published.mount / "elsewhere").mkdir()
    (published.mount / "acme").rename(published.mount / "moved")
    (published.mount / "acme").symlink_to("elsewhere")
    linked = take_over(published)
    assert (linked["exit_code"], linked["reason"]) == (2, "target_unknown")
    assert os.listdir(published.mount / "elsewhere") == []
    assert footprint(published.mount / "octo") == before


@pytest.mark.parametrize(
    "fields",
    [
        {"from": NEW},
        {"from": "octo"},
        {"from": None},
        {"from": "../x"},
        {"path": "../x"},
        {"from": OLD, "to": "abcdef0"},
    ],
)
def test_bad_names_are_refused_before_anything(published: Service, fields: dict[str, Any]) -> None:
    """No parameter is read for them."""
    published.store.calls.clear()
    content = take_over(published, **fields)
    assert (content["exit_code"], content["reason"]) == (2, "malformed")
    assert published.store.calls == []


@contextmanager
def holding(service: Service, name: str) -> Iterator[None]:
    """Hold a repository's lock, as another run does."""
    path = service.mount / name / ".lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize("name", [OLD, NEW])
def test_it_waits_for_a_run_of_either(published: Service, origin: GitOrigin, name: str) -> None:
    """Neither a push of the old name nor one of the new one works on the target meanwhile."""
    rename(published, origin)
    published.configure(lock_seconds=0.2)
    with holding(published, name):
        content = take_over(published)
    assert (content["exit_code"], content["reason"]) == (3, "lock_timeout")
    assert published.record()["repository"] == OLD


def test_a_function_whose_time_is_up_ends_between_two_targets(published: Service, origin: GitOrigin) -> None:
    """It says that asking again goes on."""
    rename(published, origin)
    published.reset()
    event = {"action": "take-over", "repository": NEW, "from": OLD}
    content = operate.handler(event, LambdaContext(remaining_ms=0))
    assert (content["exit_code"], content["reason"]) == (3, "out_of_time")
    assert published.record()["repository"] == OLD
    assert take_over(published)["exit_code"] == 0


def test_a_remote_that_fails_does_not_hide_what_was_done(published: Service, origin: GitOrigin) -> None:
    """The target is the new name's; the failure stands beside it."""
    rename(published, origin)
    origin.fail_next(99)
    content = take_over(published)
    assert content["exit_code"] == 3
    assert [each["reason"] for each in content["targets"]] == ["taken_over", "remote_unavailable"]
    assert published.record()["repository"] == NEW


def test_a_working_copy_goes_over_when_its_remote_follows(
    published: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """Its own config names the old url until its owner changes that; the note says so."""
    copy = "octo/site/copy"
    rule = {"ref": "refs/heads/main", "path": copy, "mode": "working-copy"}
    published.put_repository(publish=[rule])
    published.reset()
    upstream.commit({"a": b"2"})
    assert published.push(upstream).outcome == "published"
    renamed = upstream.path.parent.parent / "acme" / "web.git"
    renamed.parent.mkdir()
    renamed.symlink_to(upstream.path)
    published.put_repository(NEW, publish=[rule])
    published.delete_repository(OLD)
    content = take_over(published, path=copy)
    assert "git remote set-url" in content["targets"][0]["notes"][0]
    assert (content["exit_code"], content["targets"][1]["reason"]) == (3, "copy_unusable")
    assert (published.mount / copy / "a").read_bytes() == b"2"
    config = published.mount / copy / ".git/config"
    config.write_text(config.read_text().replace(origin.url(OLD), origin.url(NEW)))
    upstream.commit({"a": b"3"})
    assert published.operate("publish", NEW)["targets"][0]["outcome"] == "published"
    assert (published.mount / copy / "a").read_bytes() == b"3"


# -- what the old name had begun ---------------------------------------------------------------------------------------


def test_spares_that_the_old_name_wanted_are_not_made(published: Service, origin: GitOrigin) -> None:
    """They would be written below the other lock, beside the new name's runs."""
    published.configure(spare_files=10_000)
    shutil.rmtree(published.mount / MAIN / "staging", ignore_errors=True)
    rename(published, origin)
    assert take_over(published)["exit_code"] == 0
    before = footprint(published.mount / MAIN)
    publisher = LocalPublisher(read_settings(os.environ), progress=lambda what, done, total: None)
    target = Target(ref="refs/heads/main", path=MAIN)
    done = publisher.make_spares(Repository(full_name=OLD, url=""), target, deadline=NO_DEADLINE)
    assert (done, footprint(published.mount / MAIN)) == (Counts(), before)
    assert publisher.make_spares(Repository(full_name=NEW, url=""), target, deadline=NO_DEADLINE) != Counts()
    publisher.close()


@pytest.mark.parametrize("repair", [False, True])
def test_an_audit_that_the_old_name_had_begun_ends(
    published: Service, origin: GitOrigin, monkeypatch: pytest.MonkeyPatch, repair: bool
) -> None:
    """It compares without a lock, and finds the target taken over when it comes to repair or seal."""
    rename(published, origin)
    release = published.current(MAIN).resolve()
    if repair:
        (release / "a").write_bytes(b"9")
    else:
        os.utime(release, ns=(10**18, 10**18 + 1))  # no seal: whoever compared it seals it
    before = footprint(published.mount / MAIN / "releases")
    compare = verify.compare
    taken: list[object] = []

    def compare_late(*arguments: Any, **options: Any) -> Any:
        drift = compare(*arguments, **options)
        if not taken:
            taken.append(TakeOver(read_settings(os.environ), StorePool()).take_over(OLD, repository=NEW, path=None))
        return drift

    monkeypatch.setattr("handler.mount.maintenance.audit.compare", compare_late)
    mount = LocalPublisher(read_settings(os.environ), progress=lambda what, done, total: None)
    mount.operations.verify(MountedTarget(OLD, MAIN), is_repairing=True, deadline=NO_DEADLINE)
    mount.close()
    assert taken
    assert footprint(published.mount / MAIN / "releases") == before
    assert published.record()["repository"] == NEW


# -- who says so ------------------------------------------------------------------------------------------------------


def checks_of(service: Service, name: str) -> list[dict[str, str]]:
    """Return the doctor's checks of that name."""
    return [each for each in service.operate("doctor")["checks"] if each["name"] == name]


def test_the_doctor_names_the_case_and_what_to_do(published: Service, origin: GitOrigin) -> None:
    """Whether the new name is refused where readers read, or has nothing there yet."""
    rename(published, origin)
    (occupied,) = checks_of(published, f"{NEW}: {MAIN}")
    assert occupied["verdict"] == "wrong"
    assert OLD in occupied["found"]
    assert f"git2efs take-over {NEW} --from {OLD}" in occupied["todo"]
    (left,) = checks_of(published, f"{OLD}: files")
    assert left["verdict"] == "ok"
    assert MAIN in left["found"]
    assert f"--from {OLD}" in left["todo"]
    refused = next(each for each in published.operate("status")["repositories"] if each["repository"] == NEW)
    assert refused["targets"][0]["published_from"] == OLD
    assert OLD in refused["targets"][0]["problems"][0]
    take_over(published)
    assert checks_of(published, f"{NEW}: {MAIN}") == checks_of(published, f"{OLD}: files") == []


def test_a_record_that_a_reader_wrote_names_nobody(published: Service, origin: GitOrigin) -> None:
    """What it says instead of a name reaches no command line."""
    rename(published, origin)
    record = published.mount / MAIN / "published.json"
    record.write_text(record.read_text().replace(OLD, "x; rm -rf /"))
    assert checks_of(published, f"{NEW}: {MAIN}") == []
    status = published.operate("status", NEW)
    assert status["repositories"][0]["targets"][0]["published_from"] is None
    assert take_over(published)["exit_code"] == 2


def test_a_redirection_tells_where_the_repository_went(published: Service, origin: GitOrigin) -> None:
    """In the log, the status and the doctor; it is not followed."""
    location = f"{origin.address}/{NEW}.git/git-upload-pack?token=abc"
    for action in ("publish", "doctor"):
        origin.fail_next(9, 301, headers={"Location": location})
        text = str(published.operate(action, OLD))
        assert f"the remote answered 301: it has moved to {origin.address}/{NEW}.git." in text
        assert "take-over" in text
        assert "abc" not in text
        origin.clear_faults()
    origin.fail_next(9, 301, headers={"Location": location})
    published.run_schedule()
    assert f"it has moved to {origin.address}/{NEW}.git." in published.text
