"""Run stages of work on a worktree by the engine of `fs.parallel`; each thread gets a worktree of its own."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle

from handler.mount.fs.directories import DirectoryHandles
from handler.mount.fs.parallel import Stage, Workers, batches
from handler.mount.working_copy.worktree import Worktree

STAGING = "staging-"
"""Prefix of the directories in the staging directory that several threads write in; they stay for the next run."""
_SPREAD = 4
"""Directories to stage many files in. More bring nothing: Linux serialises a mount's renames between directories."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Phase = tuple[Callable[[Worktree, Sequence[bytes]], None], Sequence[Sequence[bytes]]]
"""What to do for some paths, and the paths: level after level, those of one level in any order."""


def run_phases(
    worktree: Worktree,
    phases: Sequence[Phase],
    workers: Workers,
    *,
    is_writing: bool = False,
    before_threads: Callable[[], None] = lambda: None,
) -> None:
    """Run the phases in order; `is_writing` says that they put files in place.

    A phase may be run twice for some paths, and must then have the same effect. See `Workers.run` for the rest.
    """
    sizes = [len(level) for _, levels in phases for level in levels]
    if workers.stay_alone(sizes):
        # With the directories that are open already, and path by path as git sorts them: each is opened once.
        for task, levels in phases:
            for level in levels:
                task(worktree, level)
        return
    with ExitStack() as stack:
        staging = [worktree.staging]
        if is_writing and workers.is_slow and max(sizes) > _SPREAD:
            staging = [_staging_directory(worktree, stack, number) for number in range(_SPREAD)]
        stages = [Stage(partial(_run, task), [batches(level) for level in levels]) for task, levels in phases]
        workers.run(partial(_another, worktree, cycle(staging)), stages, before_threads=before_threads)


def _run(task: Callable[[Worktree, Sequence[bytes]], None], worktree: Worktree, paths: Sequence[bytes]) -> int:
    task(worktree, paths)
    return 0


@contextmanager
def _another(worktree: Worktree, staging: Iterator[int]) -> Iterator[Worktree]:
    """Open the same root for one more thread, with the next one of the staging directories."""
    with DirectoryHandles(worktree.root, asks_server=worktree.asks_server) as directories:
        yield worktree.with_handles(directories, next(staging))


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
