"""The daily chores stopped before each of their operations, and by each failing: nothing is half mended in the end."""

import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing import selection
from testing.repositories import Tree, Upstream, archive, fsck, snapshot
from testing.service import Service
from testing.tampering import SITE, TAMPERINGS, write
from tests.crash.forks import Forks
from tests.crash.operations import Manner, Stop
from tests.functional.mounts import footprint

TARGET = "octo/site/main"
DONE_AT_ONCE = (
    "content of the same size, at the root",
    "an executable that is none any more",
    "a file that only its owner reads",
    "a link's target",
    "a file to a directory with something in it",
    "content of the same size, deep",
    "a directory to a file",
    "a link gone",
    "a file too many, deep",
    "a directory too many",
    "a file in a submodule's directory",
)
PEACE = [["published", "repaired"]]
MENDED = (PEACE, [["unchanged", "set_aside"]])
"""What the chores may say that find some of it done."""


class Scene:
    """A mount on which much is to be done: three releases, of which all are tampered with, leftovers, a bad mirror."""

    def __init__(self, service: Service, upstream: Upstream, kept: Path) -> None:
        """Publish, tamper, and keep a copy."""
        self.service, self.upstream, self._kept = service, upstream, kept
        service.put_repository()
        self.commits = []
        for files in (dict(SITE), {"docs/new": b"2\n"}, {"docs/new": b"3\n"}, {"docs/new": b"4\n", "last": b"4"}):
            self.commits.append(upstream.commit(files))
            assert service.push(upstream).outcome == "published"
        for at, commit in enumerate(self.commits):
            # The first is past its grace, and beyond those that are kept.
            then = int(time.time()) - (5000 if at == 0 else 100) + at
            os.utime(self.release(commit), (then, then))
        self.right: Tree = archive(upstream, self.current)
        for name in DONE_AT_ONCE:
            TAMPERINGS[name][1](self.release(self.current))
        self.wrong: Tree = snapshot(self.release(self.current))
        write("docs/index", b"INDEX\n")(self.release(self.commits[2]))
        staging, mirror = service.mount / TARGET / "staging", service.mount / "octo/site/mirror.git"
        (staging / "trash-0123456789abcdef/a").mkdir(parents=True)
        (mirror / "HEAD").write_bytes(b"x")
        (mirror / "shallow").write_bytes(b"x")
        next(mirror.glob("objects/pack/*.idx")).write_bytes(b"x")
        shutil.copytree(service.mount, kept, symlinks=True)
        self.untouched = {path: about for path, about in self._footprint().items() if path in ("untouched", "last")}

    @property
    def current(self) -> str:
        """The commit that is published."""
        return self.commits[3]

    def release(self, commit: str) -> Path:
        """Return a release's directory."""
        return self.service.mount / TARGET / "releases" / commit

    def begin(self) -> None:
        """Put the mount back, and forget in this process what was there."""
        shutil.rmtree(self.service.mount)
        shutil.copytree(self._kept, self.service.mount, symlinks=True)
        self.untouched = {path: about for path, about in self._footprint().items() if path in ("untouched", "last")}
        self.service.reset()

    def _footprint(self) -> dict[str, tuple[int, int, int, int]]:
        return footprint(self.release(self.current))

    def check_stopped(self) -> None:
        """What must hold after any stop."""
        assert self.service.current_commit() == self.current
        found = snapshot(self.release(self.current))
        untouched = {path: about for path, about in self._footprint().items() if path in self.untouched}
        assert untouched == self.untouched, "readers of it noticed"
        for path in (b"README/a/b/c", b"run", b"to-docs", b"docs/guide/deep/file"):
            if path in self.wrong and path in self.right:
                assert found[path] in (self.wrong[path], self.right[path]), path
        if found != self.right and found != self.wrong:
            assert self.release(self.current).stat().st_mtime_ns % 10**9, "half mended, and nobody's base"

    def check_peace(self) -> None:
        """What must hold after the chores that nothing stopped."""
        assert self.service.tree() == self.right
        assert self.service.releases() == sorted(self.commits[1:])
        sealed = [not self.release(commit).stat().st_mtime_ns % 10**9 for commit in self.commits[1:]]
        assert sealed == [True, False, True]
        assert os.listdir(self.service.mount / TARGET / "staging") == []
        mirror = self.service.mount / "octo/site/mirror.git"
        assert [name for name in os.listdir(mirror / "objects/pack") if name.startswith("tmp")] == []
        fsck(mirror)


@pytest.fixture
def scene(service: Service, upstream: Upstream, tmp_path: Path) -> Scene:
    """Return the scene, begun."""
    return Scene(service, upstream, tmp_path / "kept")


@pytest.fixture
def maintenance(scene: Scene) -> Iterator[Forks]:
    """Return the process that does the chores."""
    started = Forks("tests.crash.maintenance_run", scene.service)
    yield started
    started.stop()


def test_killed_before_any_operation_the_next_chores_go_on(scene: Scene, maintenance: Forks) -> None:
    """Every one of them in turn, with `--all`."""
    peace = maintenance.run(Stop())
    assert peace["outcomes"] == PEACE
    scene.check_peace()
    operations = peace["modifying"]
    assert sum("repair-" in each for each in operations) > 10
    for point in selection.spread(range(1, len(operations) + 1), 9):
        scene.begin()
        killed = maintenance.run(Stop(Manner.KILL, point))
        assert "stopped_at" in killed, f"the run ended before operation {point}"
        scene.check_stopped()
        after = maintenance.run(Stop())
        assert after["outcomes"] in MENDED, f"{after} after {killed}"
        scene.check_peace()


def test_killed_anywhere_the_next_pushes_do_not_build_on_what_is_half_mended(scene: Scene, maintenance: Forks) -> None:
    """From the first thing that is mended to the last, the release is marked; retired so, it goes."""
    count = len(maintenance.run(Stop())["modifying"])
    scene.service.put_repository(grace_seconds=0, keep_releases=4)
    marked = 0
    points = selection.spread(range(1, count + 1, 1 if selection.IS_EVERY else 6), 6)
    for point in points:
        scene.begin()
        # What the chores had not come to yet is not what this is about.
        for commit in scene.commits[:3]:
            shutil.rmtree(scene.release(commit))
        maintenance.run(Stop(Manner.KILL, point))
        if scene.release(scene.current).stat().st_mtime_ns % 10**9 == 0:
            continue
        marked += 1
        for number in range(3):
            commit = scene.upstream.commit({"last": b"%d %d" % (point, number)})
            assert scene.service.push(scene.upstream).outcome == "published"
            assert scene.service.tree() == archive(scene.upstream, commit)
    assert marked > len(points) / 2


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_each_operation_may_fail_and_the_next_chores_go_on(scene: Scene, maintenance: Forks, error: int) -> None:
    """It is told, or it did not matter; and nothing is half done for good."""
    count = len(maintenance.run(Stop())["modifying"])
    reason = {errno.EIO: "mount_unavailable", errno.ENOSPC: "mount_full"}[error]
    for point in selection.spread(range(1 + error % 5, count + 1, 1 if selection.IS_EVERY else 5), 4):
        scene.begin()
        refused = maintenance.run(Stop(Manner.ERROR, point, error))
        assert refused["outcomes"] in ([["failed", reason]], *MENDED), (point, refused)
        scene.check_stopped()
        maintenance.run(Stop())
        maintenance.run(Stop())
        scene.check_peace()
