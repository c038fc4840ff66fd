"""A rule whose filter was changed, published by a run that is stopped before each of its operations.

What readers see is the tree by the rule of before or by that of now, whole; to publish again ends with the latter; and
no release holds another part of its commit than the mount says.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing import selection
from testing.repositories import Tree, Upstream, archive, snapshot
from testing.service import Service
from tests.crash.forks import KeptMount
from tests.crash.operations import Manner, Stop

TARGET = "octo/site/main"
PUBLISH = {"action": "publish", "repository": "octo/site", "ref": "refs/heads/main"}
_MAIN: dict[str, object] = {"ref": "refs/heads/main"}
RULES = {None: _MAIN, "docs": _MAIN | {"subdirectory": "docs"}, "less": _MAIN | {"exclude": ["a", "/README"]}}


class Scene(KeptMount):
    """A mount with three releases by one rule, all past their grace but the last, and the other rule for the next."""

    def __init__(self, service: Service, upstream: Upstream, kept: Path, *, was: str | None, now: str | None) -> None:
        """Publish by the rule of before, and keep a copy."""
        self.service = service
        service.put_repository(publish=[RULES[was]])
        for number in range(3):
            upstream.commit({"README": b"%d" % number, "docs/a": b"%d" % number, "docs/same/b": b"b"})
            assert service.push(upstream).outcome == "published"
        for number, name in enumerate(each for each in service.releases() if each != service.current_commit()):
            if not name.startswith("."):
                at = 1_700_000_000 + 60 * number
                os.utime(service.mount / TARGET / "releases" / name, (at, at))
        service.put_repository(publish=[RULES[now]])
        self.commit = upstream.tip() or ""
        whole = archive(upstream, self.commit)
        docs = {path[5:]: entry for path, entry in whole.items() if path.startswith(b"docs/")}
        trees: dict[str | None, Tree] = {None: whole, "docs": docs, "less": {b"docs/same/b": whole[b"docs/same/b"]}}
        self.was, self.now = trees[was], trees[now]
        super().__init__("tests.crash.operate_run", service, kept)

    def check_stopped(self, about: object) -> None:
        """What must hold whatever the stop."""
        assert (self.service.current_commit() or "").startswith(self.commit), about
        assert self.service.tree() in (self.was, self.now), about
        assert snapshot(self.service.mount / TARGET / "releases" / self.commit) == self.was, about

    def check_published_again(self, about: object) -> None:
        """Published again, in peace."""
        assert self.forks.run(Stop(), PUBLISH)["content"]["exit_code"] == 0, about
        assert self.service.tree() == self.now, about
        assert self.service.record()["commit"] == self.commit, about
        assert [name for name in os.listdir(self.service.mount / TARGET / "staging") if name != "spares.json"] == [], (
            about
        )
        (verified,) = self.service.operate("verify", TARGET)["targets"]
        assert (verified["reason"], verified.get("notes", [])) == ("verified", []), (about, verified)


@pytest.fixture(params=[(None, "docs"), ("docs", None), (None, "less"), ("less", "docs")])
def scene(request: pytest.FixtureRequest, service: Service, upstream: Upstream, tmp_path: Path) -> Iterator[Scene]:
    """Return the scene, begun."""
    was, now = request.param
    made = Scene(service, upstream, tmp_path / "kept", was=was, now=now)
    yield made
    made.stop()


@pytest.mark.sampled(1)
def test_killed_before_any_operation(scene: Scene) -> None:
    """And the next run ends right."""
    done = scene.forks.run(Stop(), PUBLISH)
    assert done["content"]["exit_code"] == 0, done
    for point in selection.spread(range(1, len(done["modifying"]) + 1, 1 if selection.IS_EVERY else 2), 4):
        scene.begin()
        killed = scene.forks.run(Stop(Manner.KILL, point), PUBLISH)
        assert "stopped_at" in killed, f"the run ended before operation {point}"
        scene.check_stopped(killed)
        scene.check_published_again(killed)
