"""Hosts whose clocks are wrong: a grace is measured by the mount's clock, whatever the host's says."""

import os
import time
from pathlib import Path

import pytest

from handler.mount.fs.lock import locked
from testing import fake_lambda
from testing.repositories import Upstream, snapshot
from testing.service import Service

TARGET = "octo/site/main"


@fake_lambda.for_calls("the host of the mount side is the one whose clock is wrong, and there both sides are on it")
@pytest.mark.sampled(2)
@pytest.mark.parametrize("ahead", [400, 86_400, -200])
def test_a_host_whose_clock_is_wrong_keeps_every_grace(service: Service, upstream: Upstream, ahead: int) -> None:
    """Nothing is recycled or pruned within its grace, and the next host reads the same times."""
    service.put_repository(grace_seconds=300, keep_releases=1)
    commits = []
    for number in range(2):
        commits.append(upstream.commit({"a": b"%d" % number}))
        assert service.push(upstream).outcome == "published"
    releases = service.mount / TARGET / "releases"
    kept = {commit: snapshot(releases / commit) for commit in commits}
    entry = {"entry": "tests.functional.ahead", "extra": {"GIT2EFS_TEST_AHEAD": str(ahead)}}
    with service.process(**entry) as process:
        process.wait_until_ready()
        for number in range(2, 4):
            commits.append(upstream.commit({"a": b"%d" % number}))
            answer = process.send(service.push_request(upstream))
            assert answer.outcome == "published", answer.content
    assert set(service.releases()) == set(commits)
    for commit, tree in kept.items():
        assert snapshot(releases / commit) == tree
    for commit in commits[:-1]:
        assert abs(os.stat(releases / commit).st_mtime - time.time()) < 60


def test_a_stamped_lock_tells_the_mounts_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not ask the host's clock, and goes on with the seconds since the host's boot."""
    before, now = time.time(), [1000.0]
    monkeypatch.setattr("handler.mount.fs.lock._boot_seconds", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with locked(os.fspath(tmp_path / ".lock"), 1.0) as lock:
        lock.stamp_generation()
        told = lock.now()
        assert abs(told - before) < 60
        now[0] += 120
        assert lock.now() == pytest.approx(told + 120)
    now[0] += 1
    assert lock.now() == pytest.approx(told + 121)
