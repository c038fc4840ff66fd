"""A target's directory: what is published there, and how the next tree is put in its place.

The order is staging, rename, flip, record, prune. Killed anywhere, `current` leads to the complete old tree or to the
complete new one, and the next run goes on from what it finds.
"""

import errno
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from handler.efs.checkout import Written
from handler.efs.directories import remove_tree
from handler.efs.files import write_all
from handler.efs.layout import (
    CURRENT,
    RECORD,
    RELEASES,
    STAGING,
    is_commit,
    is_staged,
    link_to,
    patch_name,
    read_patch_name,
    release_of,
)
from handler.efs.record import Record, read_record
from handler.efs.seal import read_release, seal
from handler.efs.turns import Release, Turn, TurnKind, choose_pruned, choose_turn, most_releases
from handler.errors import MirrorDamaged, ReleasesInGrace, TargetOccupied, TreeUnsafe
from handler.model import TreePlan

PlanTree = Callable[[str | None, str], TreePlan]
"""(base commit or None, wanted commit) -> the plan between their trees; raises MirrorDamaged where one is missing."""

_NOT_AS_LEFT = (errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ELOOP, errno.EISDIR, errno.ENOTEMPTY)
"""What a patch meets where somebody changed a release: it is thrown away then, and the tree written whole."""


class WriteTree(Protocol):
    """Bring a directory to a plan's tree, as `check_out` does."""

    def __call__(self, root: str, plan: TreePlan) -> Written:
        """Return what was written; raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at a target: the commit that `current` leads to, and the record of it."""

    commit: str | None
    record: Record | None


@dataclass(frozen=True, slots=True)
class CheckedOut:
    """What it took to make the wanted tree, and what else was found beside it."""

    turn: Turn
    written: Written
    removed: int
    submodules: tuple[bytes, ...] = ()
    releases: tuple[Release, ...] = ()
    leftovers: tuple[str, ...] = ()


class TargetDirectory:
    """The target at `path`. Only the holder of the repository's lock may call more than `find`."""

    def __init__(self, path: str, burst_files: int, clock: Callable[[], float] = time.time) -> None:
        """`burst_files` bounds what releases in their grace may hold together. Nothing is read or made yet."""
        self._path = path
        self._burst_files = burst_files
        self._clock = clock

    def find(self) -> Found:
        """Read what is published. Raises TargetOccupied where `current` is not a link of ours, and OSError."""
        try:
            # Opened for reading and not just as a path: that makes an NFS client ask the server whether the directory
            # changed. What this host remembers of `current` may be a minute old, and another host have published since;
            # its release would look retired here, and be recycled under its readers.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return Found(None, None)
        try:
            link = os.readlink(CURRENT, dir_fd=descriptor)
        except FileNotFoundError:
            return Found(None, None)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise TargetOccupied("what stands at the target's path was not made by git2efs") from None
            raise
        finally:
            os.close(descriptor)
        commit = release_of(link)
        if commit is None:
            raise TargetOccupied("`current` is a link that git2efs did not make")
        return Found(commit, read_record(self._at(RECORD)))

    def has_release(self, commit: str) -> bool:
        """Whether the release is there: `current` may lead nowhere after somebody removed it."""
        return os.path.isdir(self._at(RELEASES, commit))

    def refuse_nested(self, mount: str) -> None:
        """Raise TargetOccupied where a directory on the way to a new target is a target itself.

        The two would sweep each other's staging. Configuration refuses what it can see of this; a deleted branch `x`
        whose tree is still there, and a new branch `x/staging`, are only seen here.
        """
        above = os.path.dirname(self._path)
        while len(above) > len(mount):
            if os.path.lexists(os.path.join(above, CURRENT)):
                raise TargetOccupied("a directory on the way to the target's path is a target itself")
            above = os.path.dirname(above)

    def make_tree(
        self,
        wanted: str,
        current: str | None,
        grace_seconds: float,
        plan: PlanTree,
        write: WriteTree,
    ) -> CheckedOut:
        """Make `releases/<wanted>`, complete, the cheapest way there is.

        Raises ReleasesInGrace, OSError and what the arguments raise.
        """
        staged, releases = self._list(STAGING), self._releases()
        patches = [patch for patch in map(read_patch_name, staged) if patch]
        if any(each.commit == wanted and not each.is_intact for each in releases):
            staged.append(_trash())
            os.rename(self._at(RELEASES, wanted), self._at(STAGING, staged[-1]))
        turn = choose_turn(wanted, current, releases, patches, self._clock(), grace_seconds)
        done = self._take_turn(turn, wanted, plan, write, len(releases))
        return replace(done, releases=tuple(releases), leftovers=tuple(staged))

    def _take_turn(self, turn: Turn, wanted: str, plan: PlanTree, write: WriteTree, releases: int) -> CheckedOut:
        if turn.kind is TurnKind.FLIP:
            return CheckedOut(turn, Written(0, 0), 0)
        if turn.kind is not TurnKind.WHOLE:
            try:
                return self._patch(turn, wanted, plan, write)
            except (MirrorDamaged, TreeUnsafe):
                # The base's objects are gone, after a fresh fetch say, and it cannot be compared any more; or what a
                # broken-off run was patching to can never be finished. Where that is the wanted tree, it is said below.
                pass
            except OSError as error:
                if error.errno not in _NOT_AS_LEFT:
                    raise
        return self._write_whole(wanted, plan, write, releases)

    def _patch(self, turn: Turn, wanted: str, plan: PlanTree, write: WriteTree) -> CheckedOut:
        """Recycle a release. Its name in staging says where it came from and where it goes, whenever this is killed."""
        assert turn.base is not None
        steps = [(turn.base, wanted)]
        if turn.halfway is not None:
            steps = [(turn.base, turn.halfway)] + ([(turn.halfway, wanted)] if turn.halfway != wanted else [])
        plans = [plan(*step) for step in steps]
        if turn.halfway is None:
            os.rename(self._at(RELEASES, turn.base), self._staged(steps[0]))
        previous = steps[0]
        written, removed = Written(0, 0), 0
        for step, change in zip(steps, plans, strict=True):
            if step != previous:
                os.rename(self._staged(previous), self._staged(step))
            done = write(self._staged(step), change)
            written = Written(written.files + done.files, written.bytes + done.bytes)
            removed += len(change.removed_files)
            previous = step
        seal(self._staged(previous), self._clock())
        os.rename(self._staged(previous), self._at(RELEASES, wanted))
        return CheckedOut(turn, written, removed, plans[-1].submodules)

    def _write_whole(self, wanted: str, plan: PlanTree, write: WriteTree, releases: int) -> CheckedOut:
        change = plan(None, wanted)
        if releases >= most_releases(len(change.files) + len(change.links), self._burst_files):
            # Neither may the disk grow without bound, nor a release go before its grace: the push has to wait.
            raise ReleasesInGrace(f"{releases} releases are still in their grace")
        staged = self._at(STAGING, f"whole-{secrets.token_hex(8)}")
        for directory in (self._at(RELEASES), self._at(STAGING)):
            os.makedirs(directory, exist_ok=True)
        os.mkdir(staged, 0o755)
        written = write(staged, change)
        seal(staged, self._clock())
        os.rename(staged, self._at(RELEASES, wanted))
        return CheckedOut(Turn(TurnKind.WHOLE), written, 0, change.submodules)

    def flip(self, wanted: str, previous: str | None, found: CheckedOut) -> float:
        """Lead `current` to the release `wanted`; returns when. The one step that readers see.

        `found` is what `make_tree` saw.

        The replaced release's clock is set before the flip: set after it, a kill between the two would leave the
        release looking as if its grace had long passed.
        """
        if previous is not None and previous != wanted:
            is_intact = all(each.is_intact for each in found.releases if each.commit == previous)
            with suppress(FileNotFoundError):
                seal(self._at(RELEASES, previous), self._clock(), is_intact=is_intact)
        temporary = self._stage("link", lambda path: os.symlink(link_to(wanted), path))
        os.rename(temporary, self._at(CURRENT))
        return self._clock()

    def write_record(self, record: Record) -> None:
        """Replace `published.json`."""

        def write(path: str) -> None:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                write_all(descriptor, record.to_json())
            finally:
                os.close(descriptor)

        os.rename(self._stage("record", write), self._at(RECORD))

    def prune(
        self, current: str, previous: str | None, found: CheckedOut, grace_seconds: float, keep_releases: int
    ) -> int:
        """Remove releases that nobody needs, and what killed runs left in staging; returns the releases removed.

        `found` is what `make_tree` saw, so that nothing is looked up twice; since then `previous` was retired. A
        reader on this host that holds a file of a release open makes its NFS client leave a `.nfs...` behind: what
        stays is removed by a later run.
        """
        now = self._clock()
        recycled = found.turn.base if found.turn.kind is TurnKind.RECYCLE else None
        standing = [each for each in found.releases if each.commit != recycled]
        releases = [replace(each, retired_at=now) if each.commit == previous else each for each in standing]
        pruned = choose_pruned(current, releases, now, grace_seconds, keep_releases)
        trash = [name for name in found.leftovers if is_staged(name)]
        for commit in pruned:
            # Renamed first: a half-removed tree must not bear a release's name for a moment.
            trash.append(_trash())
            with suppress(FileNotFoundError):
                os.rename(self._at(RELEASES, commit), self._at(STAGING, trash[-1]))
        for name in trash:
            self._remove(self._at(STAGING, name))
        return len(pruned)

    def sweep(self) -> None:
        """Remove what a run that was killed after its flip left in staging, where there is nothing to publish.

        A half-patched release stays: the next push goes on from it, and to remove it costs as much as the tree.
        """
        with suppress(OSError):
            for name in self._list(STAGING):
                if is_staged(name) and read_patch_name(name) is None:
                    self._remove(self._at(STAGING, name))

    @staticmethod
    def _remove(path: str) -> None:
        with suppress(OSError):
            try:
                remove_tree(path)
            except NotADirectoryError:
                os.unlink(path)

    def _releases(self) -> list[Release]:
        releases = []
        for name in self._list(RELEASES):
            if is_commit(name):
                with suppress(FileNotFoundError):
                    releases.append(read_release(self._at(RELEASES, name), name))
        return releases

    def _list(self, name: str) -> list[str]:
        try:
            return os.listdir(self._at(name))
        except FileNotFoundError:
            return []

    def _stage(self, kind: str, make: Callable[[str], None]) -> str:
        """Make something small in staging under a name of its own; returns its path."""
        path = self._at(STAGING, f"{kind}-{secrets.token_hex(8)}")
        try:
            make(path)
        except FileNotFoundError:  # somebody removed the directory; nothing of ours does
            os.makedirs(self._at(STAGING), exist_ok=True)
            make(path)
        return path

    def _staged(self, step: tuple[str, str]) -> str:
        return self._at(STAGING, patch_name(*step))

    def _at(self, *names: str) -> str:
        return os.path.join(self._path, *names)


def _trash() -> str:
    return f"trash-{secrets.token_hex(8)}"
