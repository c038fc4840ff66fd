"""Each invariant sees what it is there for: a sound mount passes, and every way to spoil it is told."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.crew import Crew
from tests.crash.invariants import after_any_run, after_peace, shelter
from tests.crash.operations import Stop
from tests.crash.test_kill import SceneOf
from tests.crash.trials import TARGET, Scene

_MIRROR = "octo/site/mirror.git"


def _first(directory: Path, pattern: str) -> Path:
    return sorted(directory.glob(pattern))[0]


def _retired(mount: Path) -> Path:
    current = os.readlink(mount / TARGET / "current")
    return next(path for path in (mount / TARGET / "releases").iterdir() if not current.endswith(path.name))


def _swap_link(mount: Path, target: str) -> None:
    (mount / TARGET / "current").unlink()
    (mount / TARGET / "current").symlink_to(target)


SPOILED: dict[str, Callable[[Path], object]] = {
    "current leads nowhere": lambda mount: _swap_link(mount, "releases/" + "1" * 40),
    "current leads elsewhere": lambda mount: _swap_link(mount, "staging"),
    "current is gone": lambda mount: (mount / TARGET / "current").unlink(),
    "a file of current is of another push": lambda mount: (mount / TARGET / "current/large").write_bytes(b"?"),
    "a file of current is missing": lambda mount: (mount / TARGET / "current/large").unlink(),
    "current has a file too many": lambda mount: (mount / TARGET / "current/more").touch(),
    "a mode of current differs": lambda mount: (mount / TARGET / "current/README").chmod(0o755),
    "a retired release is touched": lambda mount: (_retired(mount) / "README").write_bytes(b"one\n"),
    "a retired release is gone": lambda mount: shutil.rmtree(_retired(mount)),
    "half a tree bears a release's name": lambda mount: (mount / TARGET / "releases" / ("2" * 40)).mkdir(),
    "half a record": lambda mount: (mount / TARGET / "published.json").write_bytes(b'{"commit": "'),
}
"""What must not be after any stop."""

LEFT_OVER: dict[str, Callable[[Path], object]] = {
    "no record": lambda mount: (mount / TARGET / "published.json").unlink(),
    "something in staging": lambda mount: (mount / TARGET / "staging/trash-0123456789abcdef").mkdir(),
    "something at the target": lambda mount: (mount / TARGET / "current.tmp").touch(),
    "something beside the mirror": lambda mount: (mount / "octo/site/mirror.git.damaged").mkdir(),
    "a temporary pack": lambda mount: (mount / _MIRROR / "objects/pack/tmp_pack_1").touch(),
    "a temporary file in the mirror": lambda mount: (mount / _MIRROR / "tmp_1").touch(),
    "a pack without its index": lambda mount: _first(mount / _MIRROR / "objects/pack", "*.idx").unlink(),
    "a pack that is no pack": lambda mount: _first(mount / _MIRROR / "objects/pack", "*.pack").write_bytes(b"PACK"),
    "history without its end": lambda mount: (mount / _MIRROR / "shallow").unlink(),
    "a list without the target": lambda mount: (mount / "octo/site/.targets").write_bytes(b"\nocto/si"),
    "a lock that is held": lambda mount: _HELD.append(_hold(mount / "octo/site/.lock")),
}
"""What must not be after a run in peace."""

_HELD: list[int] = []


def _hold(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@pytest.fixture
def sound(crew: Crew, scene_of: SceneOf) -> tuple[Scene, Path]:
    """Return a scene and a mount on which its push was published in peace."""
    scene, worker = scene_of("a burst, written whole"), crew.colleagues[0]
    worker.ask(scene, "begin")
    assert worker.ask(scene, "run", scene.push, Stop()).answer[0] == 200
    return scene, worker.mount


def test_a_sound_mount_passes(sound: tuple[Scene, Path]) -> None:
    """Nothing is told of what is as it should be."""
    scene, mount = sound
    assert after_peace(mount, scene, shelter(mount, scene), scene.push.commit) == []


@pytest.mark.parametrize("case", SPOILED)
def test_what_must_not_be_after_any_stop_is_seen(sound: tuple[Scene, Path], case: str) -> None:
    """The old tree or the new one, whole; releases in their grace untouched; a whole record or none."""
    scene, mount = sound
    before = shelter(mount, scene)
    SPOILED[case](mount)
    assert after_any_run(mount, scene, before, {scene.push.commit})


@pytest.mark.parametrize("case", LEFT_OVER)
def test_what_must_not_be_after_a_run_in_peace_is_seen(sound: tuple[Scene, Path], case: str) -> None:
    """Nothing is left over, git accepts the mirror, the lock is free."""
    scene, mount = sound
    before = shelter(mount, scene)
    LEFT_OVER[case](mount)
    try:
        assert after_any_run(mount, scene, before, {scene.push.commit}) == []
        assert after_peace(mount, scene, before, scene.push.commit)
    finally:
        while _HELD:
            os.close(_HELD.pop())


def test_a_replaced_release_whose_grace_does_not_run_is_seen(sound: tuple[Scene, Path]) -> None:
    """Had the flip not set its clock, a release that was current for days would be recycled under its readers."""
    scene, mount = sound
    release = (mount / TARGET / "current").resolve()
    os.utime(release, (1_000_000_000, 1_000_000_000))
    before = shelter(mount, scene)
    _swap_link(mount, f"releases/{_retired(mount).name}")
    problems = after_any_run(mount, scene, before, set(scene.trees))
    assert [problem for problem in problems if "grace does not run" in problem]
