"""Carry out a tree's plan in a staging directory that nobody else looks at.

Every directory on the way is opened without following links, so a write cannot leave the tree even where somebody
else put a link into it. Each step may be done again, so that a plan which was broken off is finished by the next run.
"""

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeVar

from handler.efs.files import write_all
from handler.model import FileWrite, LinkWrite, TreePlan

T = TypeVar("T")
Write = FileWrite | LinkWrite

_CHUNK = 32
"""Files that one worker writes in one directory at a time; creates in one directory wait for each other on NFS."""
_INLINE = 4
"""So few steps are done without threads: starting them costs more than the waiting that they hide."""

_OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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
    is_recycled: bool,
    read_blob: Callable[[bytes], bytes],
    workers: int,
    progress: Callable[[int, int], None],
) -> Written:
    """Bring the directory `root` to the plan's tree.

    `read_blob(blob id)` gives a file's content and is called from several threads. `is_recycled` says that readers
    may remember `root` from when it was a release: then the directories above each change are touched (see
    `_touch_ancestors`). `progress(done, total)` is told how many files and links are written, now and then. Raises
    OSError and what `read_blob` raises; `root` is then unfinished, and to be finished or thrown away.
    """
    writes: list[Write] = [*plan.files, *plan.links]
    with _Directories(root) as directories:
        for path in plan.removed_files:
            directories.remove(path, os.unlink)
        for path in plan.removed_directories:
            directories.remove(path, _rmdir)
        if len(plan.made_directories) + len(writes) <= _INLINE:
            _make_directories(directories, plan.made_directories)
            written = _write(directories, writes, read_blob)
        else:
            written = _in_parallel(root, plan.made_directories, writes, read_blob, workers, progress)
        if is_recycled:
            _touch_ancestors(directories, plan)
    return Written(len(writes), written)


class _Directories:
    """Opens directories below a root, one name at a time and never through a link; keeps the last one's way open."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._open: list[tuple[bytes, int]] = [(b"", os.open(root, _OPEN_DIRECTORY))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.pop()[1])

    def descriptor(self, path: bytes) -> int:
        """Return the open directory `path`; valid until the next call."""
        while not (path + b"/").startswith(self._open[-1][0]):
            os.close(self._open.pop()[1])
        prefix, descriptor = self._open[-1]
        remaining = (path + b"/")[len(prefix) :] if path else b""
        for name in remaining.split(b"/")[:-1]:
            descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=descriptor)
            prefix += name + b"/"
            self._open.append((prefix, descriptor))
        return descriptor

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """Return the open directory that holds `path`, and the name in it."""
        directory, _, name = path.rpartition(b"/")
        return self.descriptor(directory), name

    def remove(self, path: bytes, remove: Callable[..., None]) -> None:
        """Remove what stands at `path`; that it is gone already, or already something else, is the end wished for."""
        try:
            descriptor, name = self.parent(path)
            remove(name, dir_fd=descriptor)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
                raise


def _rmdir(name: bytes, *, dir_fd: int) -> None:
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
        # Something that is not of the commit lies in it: a file that a consumer wrote, or the `.nfs...` that an NFS
        # client leaves for a file which it holds open. The first goes; the second makes this fail, for the caller.
        remove_tree(name, dir_fd=dir_fd)


def _in_parallel(
    root: str,
    made: Sequence[bytes],
    writes: Sequence[Write],
    read_blob: Callable[[bytes], bytes],
    workers: int,
    progress: Callable[[int, int], None],
) -> int:
    """Make the directories, level by level, and then all writes, with `workers` operations in flight."""

    def make(chunk: Sequence[bytes]) -> tuple[int, int]:
        with _Directories(root) as directories:
            _make_directories(directories, chunk)
        return 0, 0

    def write(chunk: Sequence[Write]) -> tuple[int, int]:
        with _Directories(root) as directories:
            return len(chunk), _write(directories, chunk, read_blob)

    levels: defaultdict[int, list[bytes]] = defaultdict(list)
    for path in made:
        levels[path.count(b"/")].append(path)
    with ThreadPoolExecutor(workers, thread_name_prefix="checkout") as pool:
        for level in sorted(levels):
            chunks = (levels[level][at : at + _CHUNK] for at in range(0, len(levels[level]), _CHUNK))
            for _ in _all(pool, make, chunks):
                pass
        done = written = 0
        for files, size in _all(pool, write, _chunks(writes)):
            done, written = done + files, written + size
            progress(done, len(writes))
        return written


def _all(
    pool: ThreadPoolExecutor, work: Callable[[Sequence[T]], tuple[int, int]], chunks: Iterable[Sequence[T]]
) -> Iterator[tuple[int, int]]:
    """Do all chunks, and yield what each returns. The first failure ends it, and is raised."""
    futures = [pool.submit(work, chunk) for chunk in chunks]
    try:
        for future in futures:
            yield future.result()
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise


def _chunks(writes: Iterable[Write]) -> Iterator[Sequence[Write]]:
    """Cut the writes into chunks of one directory each, and take the directories in turn.

    Neighbouring chunks are of different directories, because an NFS client does the creates of one directory one
    after the other.
    """
    by_directory: defaultdict[bytes, list[Write]] = defaultdict(list)
    for write in writes:
        by_directory[write.path.rpartition(b"/")[0]].append(write)
    queues = list(by_directory.values())
    at = 0
    while queues:
        yield from (queue[at : at + _CHUNK] for queue in queues)
        at += _CHUNK
        queues = [queue for queue in queues if len(queue) > at]


def _make_directories(directories: _Directories, paths: Iterable[bytes]) -> None:
    for path in paths:
        descriptor, name = directories.parent(path)
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=descriptor)


def _write(directories: _Directories, writes: Iterable[Write], read_blob: Callable[[bytes], bytes]) -> int:
    """Write files and links; returns the bytes."""
    written = 0
    for write in writes:
        content = write.target if isinstance(write, LinkWrite) else read_blob(write.blob)
        descriptor, name = directories.parent(write.path)
        if write.is_replacing:
            # A new inode for changed content, so that a reader with the old file open keeps what it opened. Unlink
            # and create is one round trip less than a temporary file and a rename, and nobody looks here.
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=descriptor)
        if isinstance(write, LinkWrite):
            _make_link(name, content, descriptor)
        else:
            _write_file(name, content, 0o755 if write.is_executable else 0o644, descriptor)
        written += len(content)
    return written


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


def _touch_ancestors(directories: _Directories, plan: TreePlan) -> None:
    """Give every directory above a change a new change attribute, the deepest first; the root's is set by its seal.

    A recycled release keeps its directories' file handles. An NFS client that remembers them from when it was current
    looks up only what it believes to have changed: below an ancestor that looks the same it would go on using the
    names it remembers, and show an old file under the new link, for as long as its attributes live (60 s). Touched,
    each level tells it to look up the next one. From the bottom up, because a client that looks in between must not
    find the parent already new and the child still old.
    """
    changed = {path.rpartition(b"/")[0] for path in _changed_paths(plan)}
    ancestors = {directory[:at] for directory in changed for at in _ends(directory)}
    for path in sorted(ancestors, key=lambda each: each.count(b"/"), reverse=True):
        with suppress(FileNotFoundError, NotADirectoryError):  # a directory that the plan removed
            descriptor, name = directories.parent(path)
            os.utime(name, dir_fd=descriptor, follow_symlinks=False)


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


def remove_tree(name: str | bytes, *, dir_fd: int | None = None) -> None:
    """Remove a directory and all below it, without following links. Raises OSError for the first thing that stays."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        with os.scandir(descriptor) as entries:
            children = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_directory in children:
            if is_directory:
                remove_tree(child, dir_fd=descriptor)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(child, dir_fd=descriptor)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=dir_fd)
