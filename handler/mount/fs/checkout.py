"""Carry out a tree's plan in a staging directory that no reader looks at.

A later run finishes a plan that a killed run began.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from handler.model import FileWrite, LinkWrite, TreePlan
from handler.mount.fs.byte_budget import ByteBudget
from handler.mount.fs.checkpoint import WORTH_FILES, Checkpoint
from handler.mount.fs.directories import DirectoryHandles
from handler.mount.fs.parallel import Stage, Workers, batches, levels_by_depth
from handler.mount.fs.steps import (
    ancestors_of_changes,
    make_directories,
    remove_directories,
    remove_files,
    touch,
    write,
)

Write = FileWrite | LinkWrite
WriteBatches = list[Sequence[Write]]


@dataclass(frozen=True, slots=True)
class Written:
    """What a check-out wrote."""

    files: int
    bytes: int


def check_out(
    root: str,
    plan: TreePlan,
    workers: Workers,
    *,
    read_blob: Callable[[bytes], bytes],
    journal: str,
    progress: Callable[[int, int], None],
) -> Written:
    """Bring the directory `root` to the plan's tree.

    `read_blob(blob id)` returns a file's content and is called from several threads. `journal` is the path of the
    checkpoint of a long check-out: begun again with the same plan, the check-out goes on from there.
    `progress(done, total)` hears now and then how many files and links are written; what it raises ends the check-out.
    Raises what `read_blob` raises; `root` is then unfinished, to be finished or thrown away.
    """
    total = len(plan.files) + len(plan.links)
    writes: WriteBatches = batches([*plan.files, *plan.links])
    budget = ByteBudget(read_blob)
    with _checkpointed(journal, writes, total, progress) as (todo, on_progress):
        stages: list[Stage[DirectoryHandles, Any]] = [
            Stage(remove_files, [batches(plan.removed_files)]),
            Stage(remove_directories, levels_by_depth(plan.removed_directories, deepest_first=True)),
            Stage(make_directories, levels_by_depth(plan.made_directories)),
            Stage(partial(write, budget=budget), [todo], on_progress),
            # Last: a directory that looks new to a reader's cache must have its new content.
            Stage(touch, levels_by_depth(ancestors_of_changes(plan), deepest_first=True)),
        ]
        written = workers.run(partial(DirectoryHandles, root), stages, before_threads=budget.enforce)
    return Written(total, written)


@contextmanager
def _checkpointed(
    path: str, writes: WriteBatches, total: int, progress: Callable[[int, int], None]
) -> Iterator[tuple[WriteBatches, Callable[[int], None]]]:
    """Give the batches that are still to be written, and a callback that hears how many items of them are done."""
    if total < WORTH_FILES:
        yield writes, lambda done: progress(done, total)
        return
    checkpoint = Checkpoint(path)
    done_before, skipped = checkpoint.begin(write for batch in writes for write in batch), 0
    first = 0
    # Whole batches only: within the one under way, what is written differs from thread to thread.
    while first < len(writes) and skipped + len(writes[first]) <= done_before:
        skipped += len(writes[first])
        first += 1
    done = skipped

    def on_progress(count: int) -> None:
        nonlocal done
        done = skipped + count
        checkpoint.note(done)
        progress(done, total)

    try:
        yield writes[first:], on_progress
    except BaseException:
        with suppress(OSError):
            checkpoint.save(done)
        raise
    checkpoint.end()
