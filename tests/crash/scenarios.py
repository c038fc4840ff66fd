"""The start states: what was pushed before, how long ago, and which push the trials stop."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from testing.at_once import AtOnce
from testing.deliveries import NULL_OID, http_api_event
from testing.parameters import ParameterStore
from testing.reader import EXECUTABLE, LINK, tree_of
from testing.repositories import Entry, Executable, Link, Tree, Upstream, archive
from testing.service import Service
from tests.crash.modules import SETTINGS, patch
from tests.crash.replay import LIVE, ReplayingOrigin
from tests.crash.trials import TARGET, Push, Scene

GRACE_SECONDS = 300
_MAIN = [{"ref": "refs/heads/main"}]
_DOCS = [{"ref": "refs/heads/main", "subdirectory": "docs"}]
_LARGE = bytes(range(256)) * 16
_Files = Mapping[bytes, Entry | None]

SMALL: _Files = {
    b"README": b"one\n",
    b"docs/guide/deep/er": b"deep\n",
    # Alike but for a byte, push by push, so that packs hold deltas whose bases are in other packs.
    b"large": _LARGE + b"0",
}

_TURNING: _Files = {
    b"empty": b"",
    b"run": Executable(b"#!/bin/sh\n"),
    b"link": Link(b"README"),
    b"turn/file": b"a file\n",
    b"turn/directory/a": b"a\n",
    b"turn/directory/b/c": b"c\n",
    b"turn/link": Link(b"file"),
    b"odd \xff\n": b"odd\n",
}
_TURNED: _Files = {
    b"empty": Link(b"README"),
    b"run": b"was executable\n",
    b"link": b"was a link\n",
    b"turn/file/now": b"a directory\n",
    b"turn/file/a/link": Link(b"../now"),
    b"turn/directory": Link(b"file"),
    b"turn/link/was/here": Executable(b"a link\n"),
}
_GONE: _Files = dict.fromkeys((b"empty", b"run", b"link", b"turn", b"odd \xff\n"))

SITE: _Files = {**SMALL, **_TURNING}
"""Every kind of entry, in few files: each file costs some operations, and each operation is a trial."""
TO_TURNED: _Files = {**_GONE, **_TURNED}
"""Files into directories and links, directories into links, links into files and directories, modes."""
FROM_TURNED: _Files = {**_GONE, **_TURNING}


@dataclass(frozen=True, slots=True)
class Plot:
    """How a scene comes to be: `before` are pushed one by one, then `change` mounts, then `push` is what trials stop.

    An int in place of files goes back by force to the commit of that number.
    """

    before: Sequence[_Files]
    push: _Files | int
    newer: _Files | int
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
        # With the checksum of a whole one: else it would pass for what a killed run left.
        content[-20:] = hashlib.sha1(content[:-20], usedforsecurity=False).digest()
        pack.chmod(0o644)
        pack.write_bytes(content)


def litter(mount: Path) -> None:
    """Leave what killed runs of any kind could have left, all at once."""
    age(mount)
    staging = mount / TARGET / "staging"
    number = "0123456789abcdef"
    for name in (f"trash-{number}", f"trash-{number[::-1]}"):
        (staging / name / "docs/guide").mkdir(parents=True)
        (staging / name / "docs/guide/start").write_bytes(b"half")
    (staging / f"link-{number}").symlink_to("releases/" + "0" * 40)
    (staging / f"record-{number}").write_bytes(b'{"commit"')
    packs = mount / "octo/site/mirror.git/objects/pack"
    for name in (f"tmp_pack_{number}", f"tmp_idx_{number}", f"tmp_shallow_{number}", "pack-" + "1" * 40 + ".pack"):
        (packs / name).write_bytes(b"half")


def _one(number: int) -> _Files:
    """Return the change of a file deep down."""
    return {b"docs/guide/deep/er": b"deep %d\n" % number}


def _change(number: int) -> _Files:
    """Return the change of a file deep down, and of the large one."""
    return {**_one(number), b"large": _LARGE + b"%d" % number}


STEADY: Mapping[str, object] = {
    "handler.mount.fs.lock:SLOW_SECONDS": 1e9,
    "handler.mount.fs.parallel:_SLOW_STEP_SECONDS": 1e9,
}
"""Never takes the mount for a slow one, however busy this machine is: so operations are the same in every run."""
AT_ONCE: Mapping[str, object] = {"handler.network.background:Background": AtOnce, "local.lambda_api:Background": AtOnce}
"""Makes spares before the answer, so that a trial can stop that too."""
_SPARES = {"spares": 2}
SLOW: Mapping[str, object] = {"handler.mount.fs.lock:SLOW_SECONDS": 0.0}
"""Takes the mount for a slow one: then several threads are at work, and their order differs from run to run."""

PARTS: Mapping[str, object] = {
    "handler.network.pack_sender:MAX_PACK_BYTES": 150,
    "handler.network.pack_sender:PART_BYTES": 150,
}

PLOTS: Mapping[str, Plot] = MappingProxyType(
    {
        "first publish": Plot([], SITE, _change(1)),
        "one file, recycled": Plot([SITE, _one(1)], _one(2), _one(3), age),
        "types change, recycled": Plot([SITE, _change(1)], TO_TURNED, FROM_TURNED, age),
        "types change back, recycled": Plot([{**SMALL, **_TURNED}, _change(1)], FROM_TURNED, TO_TURNED, age),
        "a burst, written whole": Plot([SMALL, _change(1), _change(2)], _change(3), _change(4)),
        "pruning": Plot([SMALL, _change(1), _change(2), _change(3)], _change(4), _change(5), age, {"keep_releases": 2}),
        "back to a release that stands": Plot([SMALL, _change(1), _change(2)], 1, _change(3)),
        "a large pack": Plot(
            [SMALL, _change(1)], _change(2), _change(3), age, patches={"handler.mount.git.packs:IN_MEMORY_BYTES": 64}
        ),
        # Thin too: of the large file it holds a delta.
        "a pack in parts": Plot([SMALL, _change(1)], _change(2), _change(3), age, patches=PARTS),
        "packs are merged": Plot([SMALL, *map(_change, range(1, 6))], _change(6), _change(7)),
        "packs are rewritten": Plot(
            [SMALL, *map(_change, range(1, 6))],
            _change(6),
            _change(7),
            age,
            {"keep_releases": 4},
            {"handler.mount.git.repack:MIN_SPARE_BYTES": 0, "handler.mount.git.repack:LARGE_BYTES": 0},
        ),
        "a damaged mirror": Plot([SMALL, _change(1)], _change(2), _change(3), damage),
        "a spare is patched": Plot([SITE, _one(1)], _one(2), _one(3), parameter=_SPARES, patches=AT_ONCE),
        "a spare is patched, types change": Plot(
            [{**SMALL, **_TURNED}, _change(1)], FROM_TURNED, TO_TURNED, parameter=_SPARES, patches=AT_ONCE
        ),
        "a release becomes a spare": Plot(
            [SMALL, *map(_change, range(1, 4))],
            _change(4),
            _change(5),
            age,
            {"keep_releases": 2, **_SPARES},
            AT_ONCE,
        ),
        "a subdirectory, recycled": Plot([SITE, _one(1)], _one(2), _one(3), age, {"publish": _DOCS}),
        "leftovers": Plot([SMALL, _change(1)], _change(2), _change(3), litter),
        "first publish, side by side": Plot([], SMALL, _change(1), patches=SLOW),
        "one file, recycled side by side": Plot([SITE, _one(1)], _one(2), _one(3), age, patches=SLOW),
        "types change, recycled side by side": Plot(
            [{**SMALL, **_TURNED}, _change(1)], FROM_TURNED, TO_TURNED, age, patches=SLOW
        ),
    }
)

OVERTAKEN: Mapping[str, Plot] = MappingProxyType(
    {
        "back to what was recycled": Plot([SITE, _one(1)], _one(2), 1, age),
        "back to what was pruned": Plot([SMALL, _change(1), _change(2)], _change(3), 1, age, {"keep_releases": 1}),
        "the same again": Plot([SITE, _one(1)], _one(2), 3, age),
    }
)
"""For a run that another one overtakes: what that one flips to is what the first was about to take away, or make."""


def set_scene(name: str, directory: Path, store: ParameterStore, origin: ReplayingOrigin) -> Scene:
    """Make the start state of a plot: real pushes through the handler, in this process."""
    plot = {**PLOTS, **OVERTAKEN}[name]
    work, mount, key = directory / "work", directory / "mount", f"{LIVE}-{directory.name}"
    work.mkdir(parents=True)
    (origin.root / key).symlink_to(work)
    upstream = Upstream(work)
    parameter: dict[str, object] = {
        "grace_seconds": GRACE_SECONDS,
        "publish": [{"ref": "refs/heads/main"}],
        "spares": 0,
        **plot.parameter,
    }
    service = Service(mount, store)
    service.settings |= SETTINGS
    service.start()
    unpatched = patch(plot.patches if plot.patches is AT_ONCE else {})
    try:
        service.put_repository("octo/site", **parameter, url=origin.url(key))
        # Never delivered: it is there so that a shallow fetch leaves some history out.
        upstream.commit({b"before": b"all\n"})
        commits = []
        for files in plot.before:
            commits.append(upstream.commit(files))
            answer = service.push(upstream)
            assert answer.outcome == "published", answer
        plot.change(mount)
        pushes = []
        for at, last in enumerate((plot.push, plot.newer)):
            if isinstance(last, int):
                upstream.point("main", commits[last - 1])
                commits.append(commits[last - 1])
            else:
                commits.append(upstream.commit(last))
            phase = directory / f"phase-{at}"
            shutil.copytree(work, phase)
            pushes.append(Push(phase, http_api_event(service.push_request(upstream)), commits[-1]))
        warm_up = http_api_event(service.push_request(upstream, "gone", after=NULL_OID))
    finally:
        service.stop()
        patch(unpatched)
    trees = {commit: _part(archive(upstream, commit), parameter["publish"] is _DOCS) for commit in commits}
    old = commits[-3] if plot.before else None
    return Scene(name, mount, old, pushes[0], pushes[1], trees, parameter, warm_up, {**STEADY, **plot.patches})


def _part(tree: Tree, is_docs: bool) -> Tree:
    """Return what the rule publishes of a tree."""
    return {path[5:]: entry for path, entry in tree.items() if path.startswith(b"docs/")} if is_docs else tree


def set_series(
    count: int, grace_seconds: int, directory: Path, store: ParameterStore, origin: ReplayingOrigin
) -> tuple[Scene, ...]:
    """Make an empty mount and `count` pushes of the trees that `reader` knows, all in scenes of one target."""
    work, mount = directory / "work", directory / "mount"
    work.mkdir(parents=True)
    mount.mkdir()
    upstream = Upstream(work)
    # Only the deliveries are made with it: nothing of it is started.
    service = Service(mount, store)
    parameter = {"grace_seconds": grace_seconds, "publish": _MAIN, **_SPARES}
    warm_up = http_api_event(service.push_request(upstream, "gone", after=NULL_OID))
    pushes, trees = [], {}
    for number in range(1, count + 1):
        entries = {
            path: Link(content) if mode == LINK else Executable(content) if mode == EXECUTABLE else content
            for path, (mode, content) in tree_of(number).items()
        }
        commit = upstream.commit(entries, replace=True)
        trees[commit] = tree_of(number)
        phase = directory / f"phase-{number}"
        shutil.copytree(work, phase)
        pushes.append(Push(phase, http_api_event(service.push_request(upstream)), commit))
    return tuple(Scene("series", mount, None, push, pushes[0], trees, parameter, warm_up, AT_ONCE) for push in pushes)
