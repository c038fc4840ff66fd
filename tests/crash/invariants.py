"""What must hold on the mount: after any stop, and after the next run in peace. Each check returns what is wrong."""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from handler.mount.git.incoming import sweep
from testing.repositories import run_git, snapshot
from tests.crash.trials import TARGET, Scene
from tests.functional.mounts import Footprint, footprint

_REPOSITORY_NAMES = {".lock", ".targets", "main", "mirror.git"}
_TARGET_NAMES = {"current", "releases", "staging", "published.json"}
_MIRROR_NAMES = re.compile(
    r"HEAD|config|shallow|refs|refs/heads|objects|objects/pack|objects/pack/pack-[0-9a-f]{40}\.(pack|idx)"
)
_SWEPT_SECONDS = 3601.0
_HALF = re.compile(r"[0-9a-f]{40}-[0-9a-f]{40}(\.[0-9a-f-]{50})?(\.journal)?")
_FILTER = re.compile(r"\.plain-[0-9a-f]{16}")
"""The file that says what of their commits the releases are."""
_SPARE = re.compile(r"([0-9a-f]{40})-\1(\.[2-9])?")
_CLOCK_SECONDS = 1.0
"""A release's clock is kept in whole seconds; the grace is a second longer for it."""
_accepted: set[tuple[str, bytes]] = set()
"""Commits and mirrors that git has checked in this process, and accepted."""
MAX_PACKS = 8
"""Small packs may be six and one large one beside them; one more may come with the push that was stopped."""


@dataclass(frozen=True, slots=True)
class Sheltered:
    """The releases that readers may be in, as they are now: `current` and those within their grace.

    `turned` is one that becomes current, and is replaced again, before the next look.
    """

    at: float
    current: str | None
    releases: dict[str, Footprint]
    turned: str | None = None


def commit_of_current(mount: Path) -> str | None:
    """Return the commit that `current` names, None where there is no link. Raises ValueError, OSError."""
    try:
        link = os.readlink(mount / TARGET / "current")
    except FileNotFoundError:
        return None
    directory, _, commit = link.partition("/")
    if directory != "releases":
        raise ValueError(f"`current` leads to {link}")
    return commit


def shelter(mount: Path, scene: Scene) -> Sheltered:
    """Look at what the next run must leave alone."""
    now = time.time()
    current = commit_of_current(mount)
    directory = mount / TARGET / "releases"
    releases = {}
    for name in os.listdir(directory) if directory.is_dir() else []:
        is_young = now - os.lstat(directory / name).st_mtime < scene.grace_seconds
        if not _FILTER.fullmatch(name) and (name == current or is_young):
            releases[name] = footprint(directory / name)
    return Sheltered(now, current, releases)


def after_any_run(mount: Path, scene: Scene, before: Sheltered, allowed: set[str | None]) -> list[str]:
    """Return what is wrong after a run that was stopped anywhere; `allowed` are the commits that may be current."""
    problems = [*_current(mount, scene, allowed), *_releases(mount, scene), *_record(mount, scene)]
    with suppress(OSError, ValueError):  # told by the first of these checks
        problems += [*_shelter(mount, before, allowed), *_times(mount, scene, before)]
    return problems


def after_peace(mount: Path, scene: Scene, before: Sheltered, wanted: str) -> list[str]:
    """Return what is wrong after the run that nothing stopped: it must have healed everything."""
    problems = after_any_run(mount, scene, before, {wanted})
    # A part of a pack may be another run's, so that it stays for an hour.
    sweep(os.fspath(mount / "octo/site/.incoming"), lambda: time.time() + _SWEPT_SECONDS)
    problems += [*_leftovers(mount, scene, wanted), *_mirror(mount, wanted), *_lock(mount)]
    try:
        record = json.loads((mount / TARGET / "published.json").read_bytes())
    except OSError as error:
        return [*problems, f"published.json cannot be read: {error}"]
    if record["commit"] != wanted:
        problems.append(f"published.json names {record['commit']}, not {wanted}")
    return problems


def _current(mount: Path, scene: Scene, allowed: set[str | None]) -> Iterator[str]:
    try:
        commit = commit_of_current(mount)
    except (OSError, ValueError) as error:
        yield f"`current` cannot be followed: {error}"
        return
    if commit not in allowed:
        yield f"`current` is {commit}, not one of {allowed}"
    elif commit is not None and not (mount / TARGET / "current/").is_dir():
        yield f"`current` leads to {commit}, which is not there"


def _releases(mount: Path, scene: Scene) -> Iterator[str]:
    """Whatever bears a release's name is whole, `current` among it."""
    directory = mount / TARGET / "releases"
    for name in os.listdir(directory) if directory.is_dir() else []:
        if _FILTER.fullmatch(name):
            continue
        if name not in scene.trees:
            yield f"releases/{name} is no commit that was pushed"
        elif (found := snapshot(directory / name)) != (wanted := scene.trees[name]):
            differing = [path for path in {**found, **wanted} if found.get(path) != wanted.get(path)]
            yield f"releases/{name} is not the commit's tree: {sorted(differing)[:5]}"


def _record(mount: Path, scene: Scene) -> Iterator[str]:
    try:
        content = (mount / TARGET / "published.json").read_bytes()
    except FileNotFoundError:
        return
    try:
        if json.loads(content)["commit"] not in scene.trees:
            yield "published.json names no commit that was pushed"
    except (ValueError, KeyError, TypeError) as error:
        yield f"published.json is not whole ({type(error).__name__}): {content[:80]!r}"


def _shelter(mount: Path, before: Sheltered, allowed: set[str | None]) -> Iterator[str]:
    directory = mount / TARGET / "releases"
    current = commit_of_current(mount)
    for name, then in before.releases.items():
        if not (directory / name).is_dir():
            yield f"releases/{name} is gone within its grace"
            continue
        now, seen = footprint(directory / name), then
        if name in (before.current, before.turned):
            # The flip sets the replaced release's clock: its own mtime, and nothing else of it.
            is_replaced = name == before.current != current
            if is_replaced and os.lstat(directory / name).st_mtime < before.at - _CLOCK_SECONDS:
                yield f"releases/{name} was replaced, and its grace does not run from then"
            now, seen = ({path: about for path, about in each.items() if path != "."} for each in (now, seen))
        if name in (allowed | {before.turned}) - {before.current}:
            # A flip, or one that failed after that, gives what readers saw otherwise a later mtime, and changes
            # nothing else.
            if any(about[3] < seen[path][3] for path, about in now.items() if path in seen):
                yield f"releases/{name} has a time that went backwards: {_differing(now, seen)}"
            now, seen = ({path: (*about[:3], 0) for path, about in each.items()} for each in (now, seen))
        if now != seen:
            yield f"releases/{name} changed within its grace: {_differing(now, seen)}"


def _times(mount: Path, scene: Scene, before: Sheltered) -> Iterator[str]:
    """What readers now see otherwise than before has a later mtime."""
    current = commit_of_current(mount)
    if before.current is None or current is None or before.current == current or current not in scene.trees:
        return
    old, new, then = scene.trees[before.current], scene.trees[current], before.releases.get(before.current, {})
    for path in new:
        if old.get(path) == new[path] or (seen := then.get(os.fsdecode(path))) is None:
            continue
        if os.lstat(mount / TARGET / "current" / os.fsdecode(path)).st_mtime_ns <= seen[3]:
            yield f"{path!r} differs from what readers saw, and its mtime does not tell it"


def _differing(now: Footprint, seen: Footprint) -> list[str]:
    return sorted(path for path in {**now, **seen} if now.get(path) != seen.get(path))[:5]


def _leftovers(mount: Path, scene: Scene, wanted: str) -> Iterator[str]:
    """The bound: spares in staging, nothing but packs in the mirror, nothing beside the two but the lock's file."""
    staged = set(os.listdir(mount / TARGET / "staging"))
    spares = {name for name in staged if scene.parameter.get("spares") and _SPARE.fullmatch(name)}
    # What becomes a spare stays half made until the next publish, after which it is finished.
    halves = {name for name in staged if scene.parameter.get("spares") and _HALF.fullmatch(name)}
    if scene.parameter.get("spares") and wanted == scene.newer.commit:
        halves = set()
        if wanted not in {name[:40] for name in spares}:
            yield "there is no spare of what is published"
    if others := staged - spares - halves - ({"spares.json"} if scene.parameter.get("spares") else set()):
        yield f"left in staging: {others}"
    for name in spares:
        if snapshot(mount / TARGET / "staging" / name) != scene.trees[name[:40]]:
            yield f"the spare {name} is not the commit's tree"
    if others := set(os.listdir(mount / TARGET)) - _TARGET_NAMES:
        yield f"left at the target: {others}"
    if others := set(os.listdir(mount / "octo/site")) - _REPOSITORY_NAMES:
        yield f"left beside the mirror: {others}"
    mirror = mount / "octo/site/mirror.git"
    names = [os.path.relpath(path, mirror) for path in mirror.rglob("*")]
    if others := {name for name in names if not _MIRROR_NAMES.fullmatch(name)}:
        yield f"left in the mirror: {others}"
    packs, indexes = ({name[: -len(end)] for name in names if name.endswith(end)} for end in (".pack", ".idx"))
    if packs != indexes or len(packs) > MAX_PACKS:
        yield f"{len(packs)} packs and {len(indexes)} indexes are in the mirror"
    targets = (mount / "octo/site/.targets").read_text().split("\n")
    if TARGET not in targets:
        yield f"the list of targets lacks {TARGET}: {targets}"


def _mirror(mount: Path, wanted: str) -> Iterator[str]:
    mirror = mount / "octo/site/mirror.git"
    # What git says hangs on the bytes alone, and nearly all trials of a scene end with the same ones.
    about = wanted, _digest(mirror)
    if about in _accepted:
        return
    try:
        # The commit is named because the mirror has no refs: git would find nothing to follow, and nothing missing.
        run_git("fsck", "--full", "--strict", "--no-dangling", wanted, directory=mirror)
    except RuntimeError as error:
        yield f"git does not accept the mirror: {error}"
    else:
        _accepted.add(about)


def _digest(directory: Path) -> bytes:
    """Return a digest of all that is below a directory: names, modes, contents."""
    digest = hashlib.sha256()
    for path, (mode, content) in sorted(snapshot(directory).items()):
        digest.update(b"%d %o %d\0%b%b" % (len(path), mode, len(content), path, content))
    return digest.digest()


def _lock(mount: Path) -> Iterator[str]:
    descriptor = os.open(mount / "octo/site/.lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield "the lock is held"
    finally:
        os.close(descriptor)
