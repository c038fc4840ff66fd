"""A take-over stopped before each of its operations, within each write, and by each failing.

Readers see the same tree all along; the target is one repository's at every moment, and on its registry; to ask again
ends where asking once would have, and a push of whoever has it is published.
"""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testing import selection
from testing.origin import GitOrigin
from testing.repositories import Upstream
from testing.service import Service
from tests.crash.forks import KeptMount
from tests.crash.operations import Manner, Stop

OLD, NEW = "octo/site", "acme/web"
PATHS = ("octo/site/main", "octo/site/second")
TAKE_OVER = {"action": "take-over", "repository": NEW, "from": OLD}
REASONS = {errno.EIO: "mount_unavailable", errno.ENOSPC: "mount_full"}


class Scene(KeptMount):
    """A mount with two targets of the old name, and a process that carries out commands on it."""

    def __init__(self, service: Service, upstream: Upstream, origin: GitOrigin, kept: Path) -> None:
        """Publish, and keep a copy."""
        self.service, self.upstream = service, upstream
        rules = [{"ref": "refs/heads/main", "path": PATHS[0]}, {"ref": "refs/heads/second", "path": PATHS[1]}]
        service.put_repository(publish=rules)
        service.put_repository(NEW, url=origin.url(OLD), publish=rules)
        for branch in ("main", "second"):
            upstream.commit({"a": branch.encode()}, branch)
            assert service.push(upstream, branch).outcome == "published"
        self._trees = {path: service.tree(path) for path in PATHS}
        super().__init__("tests.crash.operate_run", service, kept)

    def run(self, stop: Stop) -> dict[str, Any]:
        """Ask for it, stopped or not."""
        return self.forks.run(stop, TAKE_OVER)

    def registered(self, name: str) -> list[str]:
        """Return what is on a repository's registry."""
        file = self.service.mount / name / ".targets"
        return [line for line in file.read_text().split("\n") if line] if file.exists() else []

    def check_stopped(self, about: object) -> None:
        """What must hold whatever the stop."""
        for path in PATHS:
            assert self.service.tree(path) == self._trees[path], about
            owner = self.service.record(path)["repository"]
            assert owner in (OLD, NEW), about
            assert path in self.registered(owner), about

    def check_asked_again(self, about: object) -> None:
        """The command, asked again in peace, ends where it would have."""
        again = self.run(Stop())["content"]
        assert again["exit_code"] == 0, (about, again)
        for path in PATHS:
            assert self.service.record(path)["repository"] == NEW, about
        # Half a line that a killed run left stays, and names no target.
        assert set(PATHS) <= set(self.registered(NEW)), about
        assert not set(PATHS) & set(self.registered(OLD)), about
        self.check_stopped(about)

    def check_published(self, about: object) -> None:
        """Whoever has the target brings it up to date, and nobody else."""
        owners = {self.service.record(path)["repository"] for path in PATHS[:1]}
        self.service.reset()
        for name in (OLD, NEW):
            (found,) = self.service.operate("publish", name, ref="main")["targets"]
            assert found["reason"] == ("already_published" if name in owners else "target_occupied"), (about, found)


@pytest.fixture
def scene(service: Service, upstream: Upstream, origin: GitOrigin, tmp_path: Path) -> Iterator[Scene]:
    """Return the scene, begun."""
    made = Scene(service, upstream, origin, tmp_path / "kept")
    yield made
    made.stop()


def own_operations(scene: Scene) -> list[str]:
    """Return its operations, without those of the runs that publish afterwards."""
    scene.begin()
    operations: list[str] = scene.run(Stop())["modifying"]
    return operations[: next(at for at, each in enumerate(operations) if "mirror.git" in each)]


def test_in_peace_it_writes_names_alone(scene: Scene) -> None:
    """For each target the new registry, the record, the old registry: in this order."""
    operations = own_operations(scene)
    steps = [each for each in operations if each.split()[0] in ("create", "rename") and not each.endswith(".lock")]
    assert [each.split("/")[-1].split("-")[0] for each in steps if "acme" in each or each.startswith("rename")] == [
        ".targets",
        "record",
        ".targets.new",
    ] * 2, operations
    scene.check_asked_again("twice")


def test_killed_before_any_operation(scene: Scene) -> None:
    """To ask again ends the same; and until then each target is somebody's."""
    count = len(own_operations(scene))
    checks = (scene.check_asked_again, scene.check_published)
    cases = [(point, check) for point in range(1, count + 4) for check in checks]
    # Every point, with the two checks in turn; a long run makes both at each.
    in_turn = [case for at, case in enumerate(cases) if at % 4 in (0, 3)]
    for point, check in selection.spread(cases if selection.IS_EVERY else in_turn, 6):
        scene.begin()
        killed = scene.run(Stop(Manner.KILL, point))
        assert "stopped_at" in killed, f"the run ended before operation {point}"
        scene.check_stopped(killed)
        check(killed)


def test_torn_within_any_write(scene: Scene) -> None:
    """Half a line on a registry names no target, and half a record bears another name."""
    operations = own_operations(scene)
    for point in selection.spread([at for at, each in enumerate(operations, 1) if each.startswith("write ")], 2):
        scene.begin()
        scene.check_stopped(scene.run(Stop(Manner.TORN, point)))
        scene.check_asked_again(operations[point - 1])


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_each_operation_may_fail(scene: Scene, error: int) -> None:
    """It is told with its reason, and asked again ends where it would have."""
    # Each operation meets one of the two.
    for point in selection.spread(range(1 + error % 2, len(own_operations(scene)) + 1, 2), 2, shift=error):
        scene.begin()
        refused = scene.run(Stop(Manner.ERROR, point, error))
        content = refused["content"]
        reasons = {each.get("reason") for each in (content, *content.get("targets", ()))}
        assert content["exit_code"] == 0 or (content["exit_code"] == 3 and REASONS[error] in reasons), refused
        scene.check_stopped(refused)
        scene.check_asked_again(refused)
