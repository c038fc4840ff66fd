"""Work on many paths of a working tree: one after the other, or many at a time where the mount makes each wait."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle

from handler.mount.fs.checkout import carry_out, chunks
from handler.mount.fs.directories import DirectoryHandles
from handler.mount.fs.steps import Item
from handler.mount.working_copy.worktree import Worktree

STAGING = "staging-"
"""How the names of directories begin that are made in the staging directory, and stay for the next time."""
_FEW = 64
"""So few paths are worked on one after the other, unless the mount is known to be slow."""
_SPREAD = 4
"""Directories to stage many files in. More bring nothing: all renamings of a mount into other directories wait for each
other, in Linux."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Work = Callable[[Worktree, Sequence[bytes]], None]
Phase = tuple[Work, Sequence[Sequence[bytes]]]
"""What to do for some paths, and the paths: level after level, those of one level in any order."""


@dataclass(frozen=True, slots=True)
class Crew:
    """So many `workers` for long work, where waiting for the mount is worth hiding. `is_slow`: it is, for short too."""

    workers: int = 1
    is_slow: bool = False

    def carry_out(
        self,
        worktree: Worktree,
        phases: Sequence[Phase],
        *,
        is_writing: bool = False,
        share: Callable[[], None] = lambda: None,
    ) -> None:
        """Do the phases, one after the other and level by level; within a level many paths at a time where it helps.

        Each worker gets a worktree of its own. Work is done for some paths twice, and has to be the same again.
        `is_writing`: it puts files. `share()` is called before several threads begin. Raises what the work raises, the
        first failure; then no further work is begun.
        """
        sizes = [len(level) for _, levels in phases for level in levels]
        if max(sizes, default=0) <= 1 or (sum(sizes) <= _FEW and not self.is_slow):
            for work, levels in phases:
                for level in levels:
                    work(worktree, level)
            return
        with ExitStack() as stack:
            staging = [worktree.staging]
            if is_writing and self.is_slow and max(sizes) > _SPREAD:
                staging = [_staging_directory(worktree, stack, number) for number in range(_SPREAD)]
            turns = cycle(staging)

            def with_own(work: Work, directories: DirectoryHandles, paths: Sequence[Item]) -> int:
                work(
                    worktree.with_handles(directories, next(turns)), [path for path in paths if isinstance(path, bytes)]
                )
                return 0

            carry_out(
                worktree.root,
                [(partial(with_own, work), [chunks(level) for level in levels], None) for work, levels in phases],
                self.workers,
                is_slow=self.is_slow,
                share=share,
                asks_server=worktree.asks_server,
            )


ALONE = Crew()


def _staging_directory(worktree: Worktree, stack: ExitStack, number: int) -> int:
    """Open one of several directories to stage files in, until the stack ends.

    A network file system's client makes the files of one directory one after the other.
    """
    name = f"{STAGING}{number}"
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=worktree.staging)
    except FileNotFoundError:
        os.mkdir(name, dir_fd=worktree.staging)
        descriptor = os.open(name, _DIRECTORY, dir_fd=worktree.staging)
    stack.callback(os.close, descriptor)
    return descriptor
