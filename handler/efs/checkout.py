"""Carry out a tree's plan in a staging directory that nobody else looks at.

Every directory on the way is opened without following links, so a write cannot leave the tree even where somebody
else put a link into it. Each step may be done again, so that a plan which was broken off is finished by the next run.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from handler.efs.directories import Directories, remove_directory
from handler.efs.files import write_all
from handler.efs.flow import Flow, is_waiting_long
from handler.model import FileWrite, LinkWrite, TreePlan

Item = bytes | FileWrite | LinkWrite
"""A directory's or file's path, or what to write."""
Work = Callable[[Directories, Sequence[Item]], int]

_CHUNK = 32
"""Files that one worker writes in one directory at a time; creates in one directory wait for each other on NFS."""
_REPORT = 1000
_FEW = 64
"""Of so few steps none is spent on finding out whether the mount is slow: the caller's word is taken."""
_PROBE = 4
"""Steps that it takes to find out."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Written:
    """What a check-out wrote."""

    files: int
    bytes: int


def check_out(
    root: str,
    plan: TreePlan,
    *,
    read_blob: Callable[[bytes], bytes],
    workers: int,
    is_slow: bool,
    progress: Callable[[int, int], None],
) -> Written:
    """Bring the directory `root` to the plan's tree, with `workers` where waiting for the mount is worth hiding.

    `is_slow` is what the caller knows of the mount; where there is much to do, it is found out by doing some of it.
    `read_blob(blob id)` gives a file's content and is called from several threads. `progress(done, total)` is told
    how many files and links are written, now and then. Raises OSError and what `read_blob` raises; `root` is then
    unfinished, and to be finished or thrown away.
    """
    writes: list[Item] = [*plan.files, *plan.links]
    phases: list[tuple[Work, Sequence[Sequence[Item]]]] = [
        (_remove_files, [plan.removed_files]),
        (_remove_directories, _levels(plan.removed_directories, deepest_first=True)),
        (_make_directories, _levels(plan.made_directories)),
        (partial(_write, flow=Flow(read_blob)), [writes]),
        (_touch, _levels(_ancestors_of_changes(plan), deepest_first=True)),
    ]
    if workers == 1 or not _is_waiting_worth_hiding(root, phases, is_slow=is_slow):
        with Directories(root) as directories:
            written = 0
            for work, levels in phases:
                for level in levels:
                    for at in range(0, len(level), _REPORT):
                        written += work(directories, level[at : at + _REPORT])
                        if level is writes:
                            progress(min(at + _REPORT, len(writes)), len(writes))
        return Written(len(writes), written)
    written = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="checkout") as pool:
        for work, levels in phases:
            for level in levels:
                report = progress if level is writes else None
                written += _side_by_side(pool, partial(_with_directories, root, work), level, report)
    return Written(len(writes), written)


def _is_waiting_worth_hiding(
    root: str, phases: Iterable[tuple[Work, Sequence[Sequence[Item]]]], *, is_slow: bool
) -> bool:
    """Tell whether the mount makes each step wait; where there are many, by doing the first few of them.

    They are done again with the rest: each step may be.
    """
    phases = [(work, [level for level in levels if level]) for work, levels in phases]
    sizes = [len(level) for _, levels in phases for level in levels]
    if max(sizes, default=0) <= 1:
        return False
    if sum(sizes) <= _FEW:
        return is_slow
    work, first = next((work, levels[0]) for work, levels in phases if levels)
    return is_waiting_long(lambda: _with_directories(root, work, first[:_PROBE]), _PROBE)


def _levels(paths: Iterable[bytes], *, deepest_first: bool = False) -> list[Sequence[bytes]]:
    """Part directories by their depth: those of one level may be done side by side."""
    levels: defaultdict[int, list[bytes]] = defaultdict(list)
    for path in paths:
        levels[path.count(b"/")].append(path)
    return [levels[depth] for depth in sorted(levels, reverse=deepest_first)]


def _with_directories(root: str, work: Work, chunk: Sequence[Item]) -> int:
    with Directories(root) as directories:
        return work(directories, chunk)


def _side_by_side(
    pool: ThreadPoolExecutor,
    work: Callable[[Sequence[Item]], int],
    items: Sequence[Item],
    progress: Callable[[int, int], None] | None,
) -> int:
    """Do all items, and add up what the work returns. The first failure ends it, and is raised."""
    chunks = list(_chunks(items, _CHUNK if len(items) > _FEW else 1))
    futures = [pool.submit(work, chunk) for chunk in chunks]
    result = done = 0
    try:
        for chunk, future in zip(chunks, futures, strict=True):
            result += future.result()
            done += len(chunk)
            if progress is not None:
                progress(done, len(items))
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    return result


def _chunks(items: Iterable[Item], size: int) -> Iterator[Sequence[Item]]:
    """Cut the items into chunks of one directory each, at most `size` long, and take the directories in turn.

    Neighbouring chunks are of different directories, because an NFS client does the creates of one directory one
    after the other.
    """
    by_directory: defaultdict[bytes, list[Item]] = defaultdict(list)
    for item in items:
        path = item if isinstance(item, bytes) else item.path
        by_directory[path.rpartition(b"/")[0]].append(item)
    queues = list(by_directory.values())
    at = 0
    while queues:
        yield from (queue[at : at + size] for queue in queues)
        at += size
        queues = [queue for queue in queues if len(queue) > at]


def _remove_files(directories: Directories, paths: Sequence[Item]) -> int:
    for path in paths:
        directories.remove(_bytes(path), os.unlink)
    return 0


def _remove_directories(directories: Directories, paths: Sequence[Item]) -> int:
    for path in paths:
        directories.remove(_bytes(path), remove_directory)
    return 0


def _make_directories(directories: Directories, paths: Sequence[Item]) -> int:
    for path in paths:
        descriptor, name = directories.parent(_bytes(path))
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=descriptor)
    return 0


def _write(directories: Directories, writes: Sequence[Item], flow: Flow) -> int:
    """Write files and links; returns the bytes."""
    written = 0
    for write in writes:
        assert not isinstance(write, bytes)
        descriptor, name = directories.parent(write.path)
        if write.is_replacing:
            # A new inode for changed content, so that a reader with the old file open keeps what it opened. Unlink
            # and create is one round trip less than a temporary file and a rename, and nobody looks here.
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
        if isinstance(write, LinkWrite):
            _make_link(name, write.target, descriptor)
            written += len(write.target)
            continue
        with flow.content(write.blob) as content:
            _write_file(name, content, 0o755 if write.is_executable else 0o644, descriptor)
            written += len(content)
    return written


def _bytes(item: Item) -> bytes:
    assert isinstance(item, bytes)
    return item


def _make_link(name: bytes, target: bytes, directory: int) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        # Left by the run that was killed here.
        os.unlink(name, dir_fd=directory)
        os.symlink(target, name, dir_fd=directory)


def _write_file(name: bytes, content: bytes, mode: int, directory: int) -> None:
    """Create with the right mode (a chmod would be a round trip more); no O_EXCL, for the same reason."""
    file = os.open(name, _CREATE, mode, dir_fd=directory)
    try:
        write_all(file, content)
    finally:
        os.close(file)


def _touch(directories: Directories, paths: Sequence[Item]) -> int:
    """Give directories a new change attribute; one that the plan removed has none to give."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            descriptor, name = directories.parent(_bytes(path))
            os.utime(name, dir_fd=descriptor, follow_symlinks=False)
    return 0


def _ancestors_of_changes(plan: TreePlan) -> set[bytes]:
    """Return every directory above one in which something changes; the root is left to the release's seal.

    They are touched, the deepest first, when all else is done. A recycled release keeps its directories' file handles,
    and one that is made anew may have been walked through by whoever walks through everything (a backup, a search). An
    NFS client that remembers such directories looks up only what it believes to have changed: below one that looks the
    same it goes on using the names it remembers, and shows an old file under the new link, or none, for as long as its
    attributes live (60 s). Touched, each level tells it to look up the next one. From the bottom up, because a client
    that looks in between must not find the parent already new and the child still old.
    """
    changed = {path.rpartition(b"/")[0] for path in _changed_paths(plan)}
    return {directory[:at] for directory in changed for at in _ends(directory)}


def _changed_paths(plan: TreePlan) -> Iterator[bytes]:
    yield from plan.removed_files
    yield from plan.removed_directories
    yield from plan.made_directories
    yield from (write.path for write in plan.files)
    yield from (write.path for write in plan.links)


def _ends(path: bytes) -> Iterator[int]:
    """Yield the lengths of the path's proper ancestors, without the root."""
    at = path.find(b"/")
    while at >= 0:
        yield at
        at = path.find(b"/", at + 1)
