"""Run phases of work on a worktree with the engine of `fs.parallel`. Each thread gets a worktree of its own."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import cycle

from handler.mount.fs.directories import DirectoryHandles, open_directory
from handler.mount.fs.parallel import Stage, Workers, batches
from handler.mount.working_copy.worktree import Worktree

STAGING = "staging-"
"""Prefix of the staging directories that several threads write in. They stay for the next run."""
_SPREAD = 4
"""How many directories to stage files in. More would not help: Linux serializes a mount's renames between
directories."""

Phase = tuple[Callable[[Worktree, Sequence[bytes]], None], Sequence[Sequence[bytes]]]
"""What to do for some paths, and the paths, level by level. The order within a level is free."""


def run_phases(
    worktree: Worktree,
    phases: Sequence[Phase],
    workers: Workers,
    *,
    is_writing: bool = False,
    before_threads: Callable[[], None] = lambda: None,
) -> None:
    """Run the phases in order.

    `is_writing`: they stage files. A phase may run twice for a path, and must have the same effect then.
    `before_threads` and errors are those of `Workers.run`.
    """
    sizes = [len(level) for _, levels in phases for level in levels]
    if workers.stay_alone(sizes):
        # The paths are in git's order and use the handles that are open already, so each directory is opened once.
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
    """Open the same root for another thread, with the next staging directory."""
    with DirectoryHandles(worktree.root, asks_server=worktree.asks_server) as directories:
        yield worktree.with_handles(directories, next(staging))


def _staging_directory(worktree: Worktree, stack: ExitStack, number: int) -> int:
    """Open a staging directory until the stack ends; make it if it is missing."""
    name = f"{STAGING}{number}"
    try:
        return stack.enter_context(open_directory(name, directory=worktree.staging))
    except FileNotFoundError:
        os.mkdir(name, dir_fd=worktree.staging)
        return stack.enter_context(open_directory(name, directory=worktree.staging))
