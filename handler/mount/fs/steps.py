"""The steps of a check-out: each takes open directories and some items, and may be done again.

Every directory on the way is opened without following links, so a write cannot leave the tree even where somebody
else put a link into it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from handler.config.names import ancestors_of
from handler.model import FileWrite, LinkWrite, TreePlan
from handler.mount.fs.byte_budget import ByteBudget
from handler.mount.fs.directories import DirectoryHandles, remove_directory
from handler.mount.fs.files import write_whole


def remove_files(directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
    """Remove files and links. Raises OSError."""
    for path in paths:
        directories.remove(path, os.unlink)
    return 0


def remove_directories(directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
    """Remove directories, and what lies in them all the same. Raises OSError."""
    for path in paths:
        directories.remove(path, remove_directory)
    return 0


def make_directories(directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
    """Make directories whose parents are there. Raises OSError."""
    for path in paths:
        descriptor, name = directories.parent(path)
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=descriptor)
    return 0


def write(directories: DirectoryHandles, writes: Sequence[FileWrite | LinkWrite], budget: ByteBudget) -> int:
    """Write files and links; returns the bytes."""
    written = 0
    for write in writes:
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
        with budget.borrow(write.blob) as content:
            write_whole(name, content, 0o755 if write.is_executable else 0o644, directory=descriptor)
            written += len(content)
    return written


def _make_link(name: bytes, target: bytes, directory: int) -> None:
    try:
        os.symlink(target, name, dir_fd=directory)
    except FileExistsError:
        # Left by the run that was killed here.
        os.unlink(name, dir_fd=directory)
        os.symlink(target, name, dir_fd=directory)


def touch(directories: DirectoryHandles, paths: Sequence[bytes]) -> int:
    """Give directories a new change attribute; one that the plan removed has none to give."""
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            descriptor, name = directories.parent(path)
            os.utime(name, dir_fd=descriptor, follow_symlinks=False)
    return 0


def ancestors_of_changes(plan: TreePlan) -> set[bytes]:
    """Return every directory above one in which something changes; the root is left to the release's seal.

    They are touched, the deepest first, when all else is done. A recycled release keeps its directories' file handles,
    and one that is made anew may have been walked through by whoever walks through everything (a backup, a search). An
    NFS client that remembers such directories looks up only what it believes to have changed: below one that looks the
    same it goes on using the names it remembers, and shows an old file under the new link, or none, for as long as its
    attributes live (60 s). Touched, each level tells it to look up the next one. From the bottom up, because a client
    that looks in between must not find the parent already new and the child still old.
    """
    changed = {path.rpartition(b"/")[0] for path in _changed_paths(plan)}
    return {above for directory in changed for above in ancestors_of(directory)}


def _changed_paths(plan: TreePlan) -> Iterator[bytes]:
    yield from plan.removed_files
    yield from plan.removed_directories
    yield from plan.made_directories
    yield from (write.path for write in plan.files)
    yield from (write.path for write in plan.links)
