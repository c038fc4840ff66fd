"""Repair a release in place, while readers are in it. It does not touch what is as it should be.

Each file is made in staging under a temporary name and renamed over what is wrong, so that a reader finds the wrong
file or the right one. Killed anywhere, less is left to repair; a later run sweeps what stays in staging.
"""

import os
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from handler.model import Counts
from handler.mount.fs.checkout import ByteBudget, ancestors_of_changes, touch
from handler.mount.fs.directories import DirectoryHandles, make_directories, open_directory
from handler.mount.fs.files import write_new
from handler.mount.fs.parallel import Stage, Workers, batches, levels_by_depth
from handler.mount.fs.plan import FileWrite, LinkWrite, TreePlan
from handler.mount.releases.verify import Drift, Part
from handler.mount.target.layout import TargetPaths, trash_name


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What a repair took. `trash` are the names in staging to be removed: directories that did not belong."""

    counts: Counts
    trash: tuple[str, ...]


def repair(
    paths: TargetPaths,
    commit: str,
    damage: tuple[Part, Drift],
    *,
    budget: ByteBudget,
    workers: Workers,
    check: Callable[[], object] = lambda: None,
) -> RepairResult:
    """Bring what the drift of a part of `releases/<commit>` names back to what the tree has.

    The caller holds the repository's lock, has broken the release's seal, and seals it again. `budget` reads the blobs.
    `check` is called all the while; what it raises ends the repair. Raises OSError and what reading a blob raises.
    """
    make_directories(paths.staging)
    plan = _plan(*damage)
    steps = _Steps(paths.staging, budget, check)
    # What readers miss comes first, what does not belong goes last: nobody reads less in between.
    stages: list[Stage[DirectoryHandles, Any]] = [
        Stage(steps.make_directories, levels_by_depth(plan.made_directories)),
        Stage(steps.replace, [batches([*plan.files, *plan.links])]),
        Stage(steps.remove, [batches(plan.removed_files)]),
        Stage(touch, levels_by_depth(ancestors_of_changes(plan), deepest_first=True)),
    ]
    written = workers.run(partial(DirectoryHandles, paths.release(commit)), stages, before_threads=budget.enforce)
    counts = Counts(len(plan.files) + len(plan.links), len(plan.removed_files), written)
    return RepairResult(counts, tuple(steps.trash))


def _plan(part: Part, drift: Drift) -> TreePlan:
    """Return the repair as a plan. `removed_files` has all that does not belong, directories too."""
    items = part.items()
    wanted = [items.get(path, path) for path in (*drift.missing, *drift.changed)]
    return TreePlan(
        removed_files=drift.extra,
        made_directories=tuple(item for item in wanted if isinstance(item, bytes)),
        files=tuple(item for item in wanted if isinstance(item, FileWrite)),
        links=tuple(item for item in wanted if isinstance(item, LinkWrite)),
    )


@dataclass(slots=True)
class _Steps:
    """The steps of a repair. Each may be done again; several threads take them."""

    staging: str
    budget: ByteBudget
    check: Callable[[], object]
    trash: list[str] = field(default_factory=list)

    def make_directories(self, directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
        """Make missing directories, also in the place of something else, and set the mode of the others."""
        for path in paths:
            if path:
                descriptor, name = directories.parent(path)
                try:
                    os.mkdir(name, 0o755, dir_fd=descriptor)
                except FileExistsError:
                    if not stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                        self._set_aside(name, descriptor)
                        os.mkdir(name, 0o755, dir_fd=descriptor)
            with open_directory(b".", directory=directories.descriptor(path)) as opened:
                os.fchmod(opened, 0o755)
        return 0

    def replace(self, directories: DirectoryHandles, writes: Sequence[FileWrite | LinkWrite]) -> int:
        """Make files and links in staging, and rename them over what is wrong; returns the bytes."""
        written = 0
        for write in writes:
            self.check()
            staged = os.path.join(self.staging, f"repair-{secrets.token_hex(8)}")
            try:
                written += self._make(staged, write)
                descriptor, name = directories.parent(write.path)
                try:
                    os.rename(staged, name, dst_dir_fd=descriptor)
                except IsADirectoryError:
                    # A rename replaces no directory by a file. It goes to staging, in one step.
                    self._set_aside(name, descriptor)
                    os.rename(staged, name, dst_dir_fd=descriptor)
            except BaseException:
                with suppress(OSError):
                    os.unlink(staged)
                raise
        return written

    def _make(self, path: str, write: FileWrite | LinkWrite) -> int:
        if isinstance(write, LinkWrite):
            os.symlink(write.target, path)
            return len(write.target)
        with self.budget.borrow(write.blob) as content:
            mode = 0o755 if write.is_executable else 0o644
            # Whatever this process's umask is: an audit would find a mode that stays wrong again every day.
            write_new(path, content, mode, exact_mode=True)
            return len(content)

    def remove(self, directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
        """Remove what does not belong."""
        for path in paths:
            self.check()
            descriptor, name = directories.parent(path)
            try:
                os.unlink(name, dir_fd=descriptor)
            except FileNotFoundError:
                pass
            except IsADirectoryError:
                self._set_aside(name, descriptor)
            except OSError:
                # An NFS client on this host keeps a file that is open under such a name: it goes with the last close.
                if not name.startswith(b".nfs"):
                    raise
        return 0

    def _set_aside(self, name: bytes, descriptor: int) -> None:
        # A rename is one step, however much is in it; to remove it takes as long as it is large.
        trash = trash_name()
        with suppress(FileNotFoundError):
            os.rename(name, os.path.join(self.staging, trash), src_dir_fd=descriptor)
            self.trash.append(trash)
