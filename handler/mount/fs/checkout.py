"""Carry out a tree's plan in a staging directory that no reader opens.

Every step may be repeated, so that a run can finish what a killed run began. `DirectoryHandles` follows no link, so no
write leaves the tree, even where somebody has put a link into it.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from handler.config.names import ancestors_of
from handler.errors import LockLost
from handler.model import Counts
from handler.mount.fs.checkpoint import WORTH_FILES, Checkpoint
from handler.mount.fs.directories import DirectoryHandles, remove_directory
from handler.mount.fs.files import write_whole
from handler.mount.fs.parallel import Stage, Workers, batches, levels_by_depth
from handler.mount.fs.plan import FileWrite, LinkWrite, TreePlan

IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""Content that was read and is not written yet. One file alone may be larger."""
_READERS = 2
"""The processor bounds inflating: more readers bring no speed, and each holds its file twice."""

Write = FileWrite | LinkWrite
WriteBatches = list[Sequence[Write]]


def check_out(
    root: str,
    plan: TreePlan,
    workers: Workers,
    *,
    read_blob: Callable[[bytes], bytes],
    journal: str,
    progress: Callable[[int, int], None],
) -> Counts:
    """Bring the directory `root` to the plan's tree; return what was written and removed.

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
            # Removals come first: a directory can take a removed file's name, and a file a removed directory's.
            Stage(remove_files, [batches(plan.removed_files)]),
            Stage(remove_directories, levels_by_depth(plan.removed_directories, deepest_first=True)),
            Stage(make_directories, levels_by_depth(plan.made_directories)),
            Stage(partial(write, budget=budget), [todo], on_progress),
            *_touches(plan),
        ]
        written = workers.run(partial(DirectoryHandles, root), stages, before_threads=budget.enforce)
    return Counts(files_written=total, files_removed=len(plan.removed_files), bytes_written=written)


def touch_only(root: str, plan: TreePlan, workers: Workers) -> None:
    """Touch what the plan touches below `root`, and change nothing else."""
    workers.run(partial(DirectoryHandles, root), _touches(plan))


def _touches(plan: TreePlan) -> list[Stage[DirectoryHandles, Any]]:
    # Touch last, the deepest first: a client that looks in between must not find a directory that is new already and
    # one below it that is still old.
    return [
        Stage(touch, [batches(plan.touched_files)]),
        Stage(touch, levels_by_depth(ancestors_of_changes(plan), deepest_first=True)),
    ]


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
    # Skip whole batches only: of a batch under way nothing says which files are written.
    while first < len(writes) and skipped + len(writes[first]) <= done_before:
        skipped += len(writes[first])
        first += 1
    done = skipped

    def on_progress(count: int) -> None:
        nonlocal done
        done = skipped + count
        # These items' batches have ended, and a batch ends when its files are closed: so all of them are on the mount.
        checkpoint.note(done)
        progress(done, total)

    try:
        yield writes[first:], on_progress
    except LockLost:
        # What lies beside the tree is another run's to remove.
        raise
    except BaseException:
        # Out of time, most likely: the next run goes on from here. A checkpoint that cannot be saved costs time only.
        with suppress(OSError):
            checkpoint.save(done)
        raise
    # Only after the last stage: a run that is killed while it touches directories goes on from the last write.
    checkpoint.end()


class ByteBudget:
    """Bounds the memory of a check-out. Safe for threads after `enforce`."""

    def __init__(self, read_blob: Callable[[bytes], bytes], limit: int = IN_FLIGHT_BYTES) -> None:
        """`read_blob(blob id)` returns a file's content; `limit` is in bytes."""
        self._read_blob = read_blob
        self._limit = limit
        self._readers = threading.Semaphore(_READERS)
        self._changed = threading.Condition()
        self._bytes = 0
        self._is_enforced = False

    def enforce(self) -> None:
        """Make threads wait for room. A single thread holds one file at a time, and need not pay for the locks."""
        self._is_enforced = True

    def borrow(self, blob: bytes) -> AbstractContextManager[bytes]:
        """Give a file's content, once there is room for it, until the block ends. Raises what `read_blob` raises."""
        return self._borrow(blob) if self._is_enforced else nullcontext(self._read_blob(blob))

    @contextmanager
    def _borrow(self, blob: bytes) -> Iterator[bytes]:
        with self._readers:
            content = self._read_blob(blob)
            with self._changed:
                # A file larger than the limit passes alone; else it would wait for ever.
                self._changed.wait_for(lambda: self._bytes == 0 or self._bytes + len(content) <= self._limit)
                self._bytes += len(content)
        try:
            yield content
        finally:
            with self._changed:
                self._bytes -= len(content)
                self._changed.notify_all()


def remove_files(directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
    """Remove files and links."""
    for path in paths:
        directories.remove(path, os.unlink)
    return 0


def remove_directories(directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
    """Remove directories, and what others have put into them."""
    for path in paths:
        directories.remove(path, remove_directory)
    return 0


def make_directories(directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
    """Make directories whose parents are there."""
    for path in paths:
        descriptor, name = directories.parent(path)
        # There already: a killed run made it, or the probe for a slow mount did.
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=descriptor)
    return 0


def write(directories: DirectoryHandles, writes: Sequence[Write], budget: ByteBudget) -> int:
    """Write files and links; return the number of bytes."""
    written = 0
    for write in writes:
        descriptor, name = directories.parent(write.path)
        if write.is_replacing:
            # Give changed content a new inode: a reader that has the old file open keeps what it opened. To unlink and
            # create takes one round trip less than a temporary file and a rename, and no reader opens this tree.
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
        if isinstance(write, LinkWrite):
            _make_link(name, write.target, descriptor)
            written += len(write.target)
            continue
        with budget.borrow(write.blob) as content:
            write_whole(name, content, 0o755 if write.is_executable else 0o644, directory=descriptor)
            written += len(content)
    return written


def _make_link(name: bytes, target: bytes, directory: int) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        # A run was killed here.
        os.unlink(name, dir_fd=directory)
        os.symlink(target, name, dir_fd=directory)


def touch(directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
    """Set mtimes to now, and so give directories a new change attribute. Skip what the plan has removed."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            descriptor, name = directories.parent(path)
            os.utime(name, dir_fd=descriptor, follow_symlinks=False)
    return 0


def ancestors_of_changes(plan: TreePlan) -> set[bytes]:
    """Return every directory that `touch` gives a new change attribute when all else is done, the deepest first.

    These are all above one in which something changes, and those that the plan touches; not the root, which the
    release's seal touches.
    """
    # A recycled release keeps its directories' file handles, and a backup or a search may have walked through one that
    # is written whole. An NFS client that has cached such directories asks the server only about those that it believes
    # to have changed: below a directory that looks the same it uses the names that it remembers, and shows an old file
    # under the new link, or none, until its attributes expire (60 s). A touched directory makes it look up the next
    # level.
    changed = {path.rpartition(b"/")[0] for path in _changed_paths(plan)}
    return {*plan.touched_directories, *(above for directory in changed for above in ancestors_of(directory))}


def with_touches(plan: TreePlan, touches: TreePlan, *, is_resumed: bool) -> TreePlan:
    """Return the plan with what `touches` touches, where its changes do not set that mtime anyway.

    With `is_resumed` an earlier run may have made some of the changes.
    """
    # To create or remove a name gives its directory a new mtime too.
    changed = set() if is_resumed else set(_changed_paths(plan))
    fresh = changed | {path.rpartition(b"/")[0] for path in changed}
    return replace(
        plan,
        touched_files=tuple(path for path in touches.touched_files if path not in fresh),
        touched_directories=tuple(path for path in touches.touched_directories if path not in fresh),
    )


def _changed_paths(plan: TreePlan) -> Iterator[bytes]:
    yield from plan.removed_files
    yield from plan.removed_directories
    yield from plan.made_directories
    yield from (write.path for write in plan.files)
    yield from (write.path for write in plan.links)
