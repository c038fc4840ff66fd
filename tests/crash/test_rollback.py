"""A rollback stopped before each of its operations, within each write, and by each failing.

What readers see is the one tree or the other; a flip without a hold there never is; and to ask again ends where asking
once would have, and no release further back.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing import selection
from testing.repositories import Tree, Upstream, archive
from testing.service import Service
from tests.crash.forks import KeptMount
from tests.crash.operations import Manner, Stop

TARGET = "octo/site/main"
ROLLBACK = {"action": "rollback", "path": TARGET, "by": "mona", "why": "a test"}
REASONS = {errno.EIO: "mount_unavailable", errno.ENOSPC: "mount_full"}


class Scene(KeptMount):
    """A mount with four releases, the last of them published, and a process that carries out commands on it."""

    def __init__(self, service: Service, upstream: Upstream, kept: Path) -> None:
        """Publish, and keep a copy."""
        self.service, self.upstream = service, upstream
        service.put_repository(keep_releases=5, grace_seconds=300)
        self.commits = []
        for number in range(4):
            self.commits.append(upstream.commit({"a": b"%d" % number}))
            assert service.push(upstream).outcome == "published"
        for number, commit in enumerate(self.commits):
            at = 1_700_000_000 + 60 * number
            os.utime(service.mount / TARGET / "releases" / commit, (at, at))
        self.trees: dict[str, Tree] = {commit: archive(upstream, commit) for commit in self.commits}
        self.upstream.commit({"a": b"newer"})
        super().__init__("tests.crash.operate_run", service, kept)

    def run(self, stop: Stop, event: object = ROLLBACK) -> dict[str, Any]:
        """Carry out a command, stopped or not."""
        return self.forks.run(stop, event)

    @property
    def newest(self) -> str:
        """What was published at the beginning."""
        return self.commits[3]

    @property
    def wanted(self) -> str:
        """What one rollback goes back to."""
        return self.commits[2]

    def check_stopped(self, about: object) -> None:
        """What must hold whatever the stop."""
        current = self.service.current_commit()
        assert current in (self.newest, self.wanted), about
        assert self.service.tree() == self.trees[current], about
        if current == self.wanted:
            assert self.service.record()["held"]["commit"] == self.wanted, about
        assert self.service.releases() == sorted(self.commits), about

    def check_asked_again(self, about: object) -> None:
        """The command, asked again in peace, ends where it would have."""
        again = self.run(Stop())["content"]
        assert again["exit_code"] == 0, (about, again)
        record = self.service.record()
        assert (self.service.current_commit(), record["commit"]) == (self.wanted, self.wanted), about
        assert (record["previous_commit"], record["held"]["by"]) == (self.newest, "mona"), about
        assert os.listdir(self.service.mount / TARGET / "staging") == [], about
        retired = (self.service.mount / TARGET / "releases" / self.newest).stat()
        assert retired.st_mtime > 1_700_001_000, f"{about}: its grace starts with the flip"

    def check_pushed(self, about: object) -> None:
        """The next push publishes, if there was no hold yet; else it leaves what is, and ends what was begun."""
        held, current = self.service.record()["held"], self.service.current_commit()
        answer = self.service.push(self.upstream)
        if held is None:
            assert answer.outcome == "published", about
            return
        assert (answer.status, answer.reason) == (200, "held"), about
        assert (self.service.current_commit(), self.service.record()["commit"]) == (current, current), about
        assert self.service.record()["held"] == held, about


@pytest.fixture
def scene(service: Service, upstream: Upstream, tmp_path: Path) -> Iterator[Scene]:
    """Return the scene, begun."""
    made = Scene(service, upstream, tmp_path / "kept")
    yield made
    made.stop()


def test_in_peace_a_rollback_is_a_dozen_operations(scene: Scene) -> None:
    """The hold is written before the link is flipped."""
    done = scene.run(Stop())
    operations = done["modifying"]
    assert done["content"]["exit_code"] == 0
    renames = [each for each in operations if each.startswith("rename ")]
    assert [each.split("/")[-1].split("-")[0] for each in renames] == ["record", "link", "record"], operations
    assert len(operations) <= 16, operations
    assert scene.service.current_commit() == scene.wanted


def test_killed_before_any_operation(scene: Scene) -> None:
    """To ask again ends the same; and so does the next push."""
    count = len(scene.run(Stop())["modifying"])
    for point in selection.spread(range(1, count + 1), 5):
        for check in (scene.check_asked_again, scene.check_pushed):
            scene.begin()
            killed = scene.run(Stop(Manner.KILL, point))
            assert "stopped_at" in killed, f"the run ended before operation {point}"
            scene.check_stopped(killed)
            if scene.service.record()["commit"] != scene.wanted:
                check(killed)


def test_torn_within_any_write(scene: Scene) -> None:
    """A record half written bears another name."""
    operations = scene.run(Stop())["modifying"]
    for point, operation in enumerate(operations, 1):
        if operation.startswith("write "):
            scene.begin()
            scene.check_stopped(scene.run(Stop(Manner.TORN, point)))
            scene.check_asked_again(operation)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "lasting"])
def test_each_operation_may_fail(scene: Scene, error: int, is_lasting: bool) -> None:
    """It is told with its reason, and asked again ends where it would have."""
    count = len(scene.run(Stop())["modifying"])
    for point in selection.spread(range(1, count + 1), 3, shift=error + is_lasting):
        scene.begin()
        refused = scene.run(Stop(Manner.ERROR, point, error, is_lasting=is_lasting))
        content = refused["content"]
        assert content["exit_code"] == 0 or (content["exit_code"], content["reason"]) == (3, REASONS[error]), refused
        scene.check_stopped(refused)
        if content["exit_code"] == 3:
            scene.check_asked_again(refused)


def test_a_resume_killed_before_any_operation(scene: Scene) -> None:
    """Held or not held any more; asked again, or at the next push, what the ref names is published."""
    scene.run(Stop())
    shutil.rmtree(scene.kept)
    shutil.copytree(scene.service.mount, scene.kept, symlinks=True)
    event = {"action": "resume", "path": TARGET}
    operations = scene.run(Stop(), event)["modifying"]
    release = scene.upstream.tip("refs/heads/main")
    assert scene.service.current_commit() == release
    for point in selection.spread(range(1, len(operations) + 1, 3), 3):
        scene.begin()
        scene.run(Stop(Manner.KILL, point), event)
        assert scene.service.current_commit() in (scene.wanted, release)
        again = scene.run(Stop(), event)["content"]
        assert again["exit_code"] == 0, (point, again)
        assert (scene.service.current_commit(), scene.service.record()["held"]) == (release, None)
