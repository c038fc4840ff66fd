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

from handler.efs.checkout import Written, check_out, remove_tree
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
from handler.efs.turns import Release, Turn, TurnKind, choose_pruned, choose_turn
from handler.errors import MirrorDamaged, TargetOccupied
from handler.model import TreePlan

PlanTree = Callable[[str | None, str], TreePlan]
"""(base commit or None, wanted commit) -> the plan between their trees; raises MirrorDamaged where one is missing."""

_NOT_AS_LEFT = (errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ELOOP, errno.EISDIR, errno.ENOTEMPTY)
"""What a patch meets where somebody changed a release: it is thrown away then, and the tree written whole."""


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

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        """Nothing is read or made yet."""
        self._path = path
        self._clock = clock

    def find(self) -> Found:
        """Read what is published. Raises TargetOccupied where `current` is not a link of ours, and OSError."""
        try:
            link = os.readlink(self._at(CURRENT))
        except FileNotFoundError:
            return Found(None, None)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTDIR):
                raise TargetOccupied("what stands at the target's path was not made by git2efs") from None
            raise
        commit = release_of(link)
        if commit is None:
            raise TargetOccupied("`current` is a link that git2efs did not make")
        return Found(commit, read_record(self._at(RECORD)))

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
        read_blob: Callable[[bytes], bytes],
        workers: int,
    ) -> CheckedOut:
        """Make `releases/<wanted>`, complete, the cheapest way there is.

        Raises OSError and what the arguments raise.
        """
        staged, releases = self._list(STAGING), self._releases()
        patches = [patch for patch in map(read_patch_name, staged) if patch]
        turn = choose_turn(wanted, current, releases, patches, self._clock(), grace_seconds)
        done = self._take_turn(turn, wanted, plan, read_blob, workers)
        return replace(done, releases=tuple(releases), leftovers=tuple(staged))

    def _take_turn(
        self, turn: Turn, wanted: str, plan: PlanTree, read_blob: Callable[[bytes], bytes], workers: int
    ) -> CheckedOut:
        if turn.kind is TurnKind.FLIP:
            return CheckedOut(turn, Written(0, 0), 0)
        if turn.kind is not TurnKind.WHOLE:
            try:
                return self._patch(turn, wanted, plan, read_blob, workers)
            except MirrorDamaged:
                pass  # the base's objects are gone, after a fresh fetch say: it cannot be compared any more
            except OSError as error:
                if error.errno not in _NOT_AS_LEFT:
                    raise
        return self._write_whole(wanted, plan, read_blob, workers)

    def _patch(
        self, turn: Turn, wanted: str, plan: PlanTree, read_blob: Callable[[bytes], bytes], workers: int
    ) -> CheckedOut:
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
            done = check_out(self._staged(step), change, read_blob, workers, is_recycled=True)
            written = Written(written.files + done.files, written.bytes + done.bytes)
            removed += len(change.removed_files)
            previous = step
        os.rename(self._staged(previous), self._at(RELEASES, wanted))
        return CheckedOut(turn, written, removed, plans[-1].submodules)

    def _write_whole(
        self, wanted: str, plan: PlanTree, read_blob: Callable[[bytes], bytes], workers: int
    ) -> CheckedOut:
        change = plan(None, wanted)
        staged = self._at(STAGING, f"whole-{secrets.token_hex(8)}")
        for directory in (self._at(RELEASES), self._at(STAGING)):
            os.makedirs(directory, exist_ok=True)
        os.mkdir(staged, 0o755)
        written = check_out(staged, change, read_blob, workers, is_recycled=False)
        os.rename(staged, self._at(RELEASES, wanted))
        return CheckedOut(Turn(TurnKind.WHOLE), written, 0, change.submodules)

    def flip(self, wanted: str, previous: str | None) -> float:
        """Lead `current` to the release `wanted`; returns when. The one step that readers see.

        The replaced release's clock is set before the flip: set after it, a kill between the two would leave the
        release looking as if its grace had long passed.
        """
        if previous is not None and previous != wanted:
            with suppress(FileNotFoundError):
                os.utime(self._at(RELEASES, previous))
        temporary = self._at(STAGING, f"link-{secrets.token_hex(8)}")
        os.symlink(link_to(wanted), temporary)
        os.rename(temporary, self._at(CURRENT))
        return self._clock()

    def write_record(self, record: Record) -> None:
        """Replace `published.json`."""
        temporary = self._at(STAGING, f"record-{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, record.to_json())
        finally:
            os.close(descriptor)
        os.rename(temporary, self._at(RECORD))

    def prune(self, current: str, found: CheckedOut, grace_seconds: float, keep_releases: int) -> int:
        """Remove releases that nobody needs, and what killed runs left in staging; returns the releases removed.

        `found` is what `make_tree` saw, so that nothing is looked up twice. A reader on this host that holds a file of
        a release open makes its NFS client leave a `.nfs...` behind: what stays is removed by a later run.
        """
        pruned = choose_pruned(current, found.releases, self._clock(), grace_seconds, keep_releases)
        trash = [name for name in found.leftovers if is_staged(name)]
        for commit in pruned:
            # Renamed first: a half-removed tree must not bear a release's name for a moment.
            trash.append(f"trash-{secrets.token_hex(8)}")
            with suppress(FileNotFoundError):  # it was recycled
                os.rename(self._at(RELEASES, commit), self._at(STAGING, trash[-1]))
        for name in trash:
            self._remove(self._at(STAGING, name))
        return len(pruned)

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
                    releases.append(Release(name, os.lstat(self._at(RELEASES, name)).st_mtime))
        return releases

    def _list(self, name: str) -> list[str]:
        try:
            return os.listdir(self._at(name))
        except FileNotFoundError:
            return []

    def _staged(self, step: tuple[str, str]) -> str:
        return self._at(STAGING, patch_name(*step))

    def _at(self, *names: str) -> str:
        return os.path.join(self._path, *names)


def confirmed(record: Record, asked_at: float, pushed_at: int | None) -> Record:
    """Return the record after the remote confirmed what it says again, for a delivery of `pushed_at`."""
    latest = max((time_ for time_ in (record.pushed_at, pushed_at) if time_ is not None), default=None)
    return replace(record, asked_at=asked_at, pushed_at=latest)
