"""Mend a release in place, while readers are in it: what is as it should be is not touched, not even for a moment.

Everything is made in staging under a passing name and renamed over what is wrong, so that a reader finds the wrong
file or the right one. Killed anywhere, less is left to mend; what stays in staging is swept as any leftover.
"""

import os
import secrets
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from handler.model import FileWrite, LinkWrite, TreePlan
from handler.mount.fs.byte_budget import ByteBudget
from handler.mount.fs.checkout import Written
from handler.mount.fs.directories import DirectoryHandles
from handler.mount.fs.files import write_all
from handler.mount.fs.parallel import Stage, Workers, batches, levels_by_depth
from handler.mount.fs.steps import ancestors_of_changes, touch
from handler.mount.releases.build import trash_name
from handler.mount.releases.verify import Drift, Part
from handler.mount.target.layout import TargetPaths

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Repaired:
    """What a repair took. `trash` are the names in staging to be removed: directories that did not belong."""

    written: Written
    removed: int
    trash: tuple[str, ...]


def repair(
    paths: TargetPaths,
    commit: str,
    part: Part,
    drift: Drift,
    *,
    read_blob: Callable[[bytes], bytes],
    workers: Workers,
    pulse: Callable[[], object] = lambda: None,
) -> Repaired:
    """Bring what `drift` names, of a part of `releases/<commit>`, back to what the tree has.

    The caller holds the repository's lock and has broken the release's seal; it is for the caller to seal it again.
    `pulse` may raise to end it. Raises OSError and what `read_blob` raises.
    """
    os.makedirs(paths.staging, exist_ok=True)
    plan = _plan(part, drift)
    workshop = _Workshop(paths.staging, ByteBudget(read_blob), pulse)
    stages: list[Stage[DirectoryHandles, Any]] = [
        Stage(workshop.make_directories, levels_by_depth(plan.made_directories)),
        Stage(workshop.place, [batches([*plan.files, *plan.links])]),
        Stage(workshop.remove, [batches(plan.removed_files)]),
        Stage(touch, levels_by_depth(ancestors_of_changes(plan), deepest_first=True)),
    ]
    count = workers.run(partial(DirectoryHandles, paths.release(commit)), stages)
    files = len(plan.files) + len(plan.links)
    return Repaired(Written(files, count), len(plan.removed_files), tuple(workshop.trash))


def _plan(part: Part, drift: Drift) -> TreePlan:
    """Return the repair as a plan: what does not belong is all among `removed_files`, directories too."""
    items = part.items()
    wanted = [items.get(path, path) for path in (*drift.missing, *drift.changed)]
    return TreePlan(
        removed_files=drift.extra,
        made_directories=tuple(item for item in wanted if isinstance(item, bytes)),
        files=tuple(item for item in wanted if isinstance(item, FileWrite)),
        links=tuple(item for item in wanted if isinstance(item, LinkWrite)),
    )


@dataclass(slots=True)
class _Workshop:
    """The steps of a repair; each may be done again. Several threads take them."""

    staging: str
    budget: ByteBudget
    pulse: Callable[[], object]
    trash: list[str] = field(default_factory=list)

    def make_directories(self, directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
        """Make directories that are missing, in the place of what is none, and give others their mode."""
        for path in paths:
            if path:
                descriptor, name = directories.parent(path)
                try:
                    os.mkdir(name, 0o755, dir_fd=descriptor)
                except FileExistsError:
                    if not stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                        self._set_aside(name, descriptor)
                        os.mkdir(name, 0o755, dir_fd=descriptor)
            opened = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directories.descriptor(path))
            try:
                os.fchmod(opened, 0o755)
            finally:
                os.close(opened)
        return 0

    def place(self, directories: DirectoryHandles, writes: Sequence[FileWrite | LinkWrite]) -> int:
        """Make files and links aside, and rename them over what is wrong; returns the bytes."""
        written = 0
        for write in writes:
            self.pulse()
            aside = os.path.join(self.staging, f"repair-{secrets.token_hex(8)}")
            try:
                written += self._make(aside, write)
                descriptor, name = directories.parent(write.path)
                try:
                    os.rename(aside, name, dst_dir_fd=descriptor)
                except IsADirectoryError:
                    self._set_aside(name, descriptor)
                    os.rename(aside, name, dst_dir_fd=descriptor)
            except BaseException:
                with suppress(OSError):
                    os.unlink(aside)
                raise
        return written

    def _make(self, path: str, write: FileWrite | LinkWrite) -> int:
        if isinstance(write, LinkWrite):
            os.symlink(write.target, path)
            return len(write.target)
        with self.budget.borrow(write.blob) as content:
            mode = 0o755 if write.is_executable else 0o644
            descriptor = os.open(path, _CREATE, mode)
            try:
                # Whatever this process's umask is: a mode that stays wrong would be mended again every day.
                os.fchmod(descriptor, mode)
                write_all(descriptor, content)
            finally:
                os.close(descriptor)
            return len(content)

    def remove(self, directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
        """Remove what does not belong."""
        for path in paths:
            self.pulse()
            descriptor, name = directories.parent(path)
            try:
                os.unlink(name, dir_fd=descriptor)
            except FileNotFoundError:
                pass
            except IsADirectoryError:
                self._set_aside(name, descriptor)
            except OSError:
                # An NFS client on this host has it open after all: it is gone with the last close.
                if not name.startswith(b".nfs"):
                    raise
        return 0

    def _set_aside(self, name: bytes, descriptor: int) -> None:
        """Move whatever it is to staging, in one step, however much is in it."""
        trash = trash_name()
        with suppress(FileNotFoundError):
            os.rename(name, os.path.join(self.staging, trash), src_dir_fd=descriptor)
            self.trash.append(trash)
