"""The start states: what was pushed before, how long ago, and which push the trials stop."""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.crash.replay import LIVE, ReplayingOrigin
from tests.crash.trials import TARGET, Push, Scene
from tests.support.deliveries import NO_COMMIT, http_api_event
from tests.support.parameters import ParameterStore
from tests.support.repositories import Executable, Files, Link, Upstream, archive
from tests.support.service import Service

GRACE_SECONDS = 300
_LARGE = bytes(range(256)) * 16

SITE: Files = {
    b"README": b"one\n",
    b"empty": b"",
    b"run": Executable(b"#!/bin/sh\n"),
    b"link": Link(b"README"),
    b"docs/index": b"index\n",
    b"docs/guide/start": b"start\n",
    b"docs/guide/deep/er": b"deep\n",
    b"docs/link": Link(b"guide/start"),
    b"odd \xff\n": b"odd\n",
    b"turn/file": b"a file\n",
    b"turn/directory/a": b"a\n",
    b"turn/directory/b/c": b"c\n",
    b"turn/link": Link(b"file"),
    # Alike but for a byte, push by push, so that packs hold deltas whose bases are in other packs.
    b"large": _LARGE + b"0",
}
"""Every kind of entry, in few files: each file costs some operations, and each operation is a trial."""

TURNED: Files = {
    b"turn/file": None,
    b"turn/file/now": b"a directory\n",
    b"turn/file/a/link": Link(b"../now"),
    b"turn/directory": Link(b"file"),
    b"turn/link": None,
    b"turn/link/was/here": Executable(b"a link\n"),
    b"empty": Link(b"README"),
    b"link": b"was a link\n",
    b"run": b"was executable\n",
    b"docs/guide": b"was a directory\n",
    b"odd \xff\n": None,
}
"""Files into directories and links, and back."""
TURNED_BACK: Files = {path: None for path in (b"turn", b"empty", b"link", b"run", b"docs/guide")} | dict(SITE)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Plot:
    """How a scene comes to be: `before` are pushed one by one, then `change` mounts, then `push` is what trials stop.

    An int in place of files goes back by force to the commit of that number.
    """

    before: Sequence[Files]
    push: Files | int
    newer: Files
    change: Callable[[Path], None] = lambda mount: None
    parameter: Mapping[str, object] = field(default_factory=dict)
    patches: Mapping[str, object] = field(default_factory=dict)


def age(mount: Path, seconds: float = GRACE_SECONDS + 60) -> None:
    """Make every release that much older, each a second less than the one before it.

    Whole seconds: any other clock of a release's root says that somebody else changed it.
    """
    releases = sorted((mount / TARGET / "releases").iterdir(), key=lambda release: release.stat().st_mtime)
    for at, release in enumerate(releases):
        then = int(time.time() - seconds) - len(releases) + at
        os.utime(release, (then, then))


def damage(mount: Path) -> None:
    """Make every pack unreadable, and the releases old enough to be recycled."""
    age(mount)
    for pack in (mount / "octo/site/mirror.git/objects/pack").glob("*.pack"):
        content = bytearray(pack.read_bytes())
        content[12:-20] = bytes(len(content) - 32)
        pack.chmod(0o644)
        pack.write_bytes(content)


def litter(mount: Path) -> None:
    """Leave what killed runs of any kind could have left, all at once."""
    age(mount)
    staging = mount / TARGET / "staging"
    number = "0123456789abcdef"
    for name in (f"whole-{number}", f"trash-{number}"):
        (staging / name / "docs/guide").mkdir(parents=True)
        (staging / name / "docs/guide/start").write_bytes(b"half")
    (staging / f"link-{number}").symlink_to("releases/" + "0" * 40)
    (staging / f"record-{number}").write_bytes(b'{"commit"')
    packs = mount / "octo/site/mirror.git/objects/pack"
    for name in (f"tmp_pack_{number}", f"tmp_idx_{number}", f"tmp_shallow_{number}", "pack-" + "1" * 40 + ".pack"):
        (packs / name).write_bytes(b"half")
    damaged = mount / f"octo/site/mirror.git.damaged-{number}"
    (damaged / "objects/pack").mkdir(parents=True)
    (damaged / "objects/pack/tmp").write_bytes(b"half")


def _site(number: int, **changes: Any) -> Files:
    """Return the change of one file deep down, and of the large one."""
    return {b"docs/guide/deep/er": b"deep %d\n" % number, b"large": _LARGE + b"%d" % number, **changes}


def _file(number: int) -> Files:
    return {b"docs/guide/deep/er": b"deep %d\n" % number}


PLOTS: Mapping[str, Plot] = MappingProxyType(
    {
        "first publish": Plot([], SITE, _file(1)),
        "one file, recycled": Plot([SITE, _file(1)], _file(2), _file(3), age),
        "types change, recycled": Plot([SITE, _file(1)], TURNED, TURNED_BACK, age),
        "types change back, recycled": Plot(
            [SITE, TURNED, {b"README": b"two\n"}], TURNED_BACK, TURNED, age, {"keep_releases": 2}
        ),
        "a burst, written whole": Plot([SITE, _file(1), _file(2)], _file(3), _file(4)),
        "pruning": Plot([SITE, _file(1), _file(2), _file(3)], _file(4), _file(5), age, {"keep_releases": 2}),
        "back to a release that stands": Plot([SITE, _file(1), _file(2)], 1, _file(3)),
        "a large pack": Plot(
            [SITE, _site(1)], _site(2), _site(3), age, patches={"handler.git.packs:IN_MEMORY_BYTES": 64}
        ),
        "packs are merged": Plot(
            [SITE, *map(_site, range(1, 7))], _site(8), _site(9), parameter={"keep_releases": 2}
        ),
        "packs are rewritten": Plot(
            [SITE, *map(_site, range(1, 7))],
            _site(8),
            _site(9),
            age,
            {"keep_releases": 2},
            {"handler.git.consolidate:MIN_SPARE_BYTES": 0, "handler.git.consolidate:LARGE_BYTES": 0},
        ),
        "a damaged mirror": Plot([SITE, _file(1)], _file(2), _file(3), damage),
        "leftovers": Plot([SITE, _file(1)], _file(2), _file(3), litter),
    }
)


def set_scene(name: str, directory: Path, store: ParameterStore, origin: ReplayingOrigin) -> Scene:
    """Make the start state of a plot: real pushes through the handler, in this process."""
    plot = PLOTS[name]
    work, mount, key = directory / "work", directory / "mount", f"{LIVE}-{directory.name}"
    work.mkdir(parents=True)
    (origin.root / key).symlink_to(work)
    upstream = Upstream(work)
    parameter = {"grace_seconds": GRACE_SECONDS, "publish": [{"ref": "refs/heads/main"}], **plot.parameter}
    service = Service(mount, store).start()
    try:
        service.put_repository(**parameter, url=origin.url(key))
        commits = []
        for files in plot.before:
            commits.append(upstream.commit(files))
            answer = service.push(upstream)
            assert answer.outcome == "published", answer
        plot.change(mount)
        pushes = []
        for at, files in enumerate((plot.push, plot.newer)):
            if isinstance(files, int):
                upstream.point("main", commits[files - 1])
                commits.append(commits[files - 1])
            else:
                commits.append(upstream.commit(files))
            phase = directory / f"phase-{at}"
            shutil.copytree(work, phase)
            pushes.append(Push(phase, http_api_event(service.push_request(upstream)), commits[-1]))
        warm_up = http_api_event(service.push_request(upstream, "gone", after=NO_COMMIT))
    finally:
        service.stop()
    trees = {commit: archive(upstream, commit) for commit in commits}
    old = commits[-3] if plot.before else None
    return Scene(name, mount, old, *pushes, trees, parameter, warm_up, plot.patches)
