"""Open and remove directories without following a link."""

import errno
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from handler.mount.fs.files import DIRECTORY, open_beneath, open_path

_OPEN = os.O_PATH | os.O_DIRECTORY
_LIST = os.O_RDONLY | os.O_DIRECTORY
_KEPT = 6
"""Directories that `DirectoryHandles` keeps open below its root, however deep the tree is."""
_REMOVAL_LEVELS = 4
"""Directories that `remove_tree` holds open at a time."""
DESCRIPTORS_PER_WORKER = 12
"""What one thread of a check-out or a comparison holds open at most: both of the above, the root and one file."""


class DirectoryHandles:
    """Opens directories below a root, and keeps the last one and the nearest above it open. Not safe for threads.

    It holds at most 7 descriptors, whatever the depth: Lambda allows a process 1,024, and a tree may be 200 deep.

    With `asks_server` it opens them for reading, and not only as paths: then an NFS client asks the server what is new
    in them.
    """

    def __init__(self, root: str, *, asks_server: bool = False) -> None:
        self._flags = _OPEN ^ (os.O_PATH if asks_server else 0)
        self._open: list[tuple[bytes, int]] = [(b"", open_path(root, self._flags))]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            os.close(self._open.pop()[1])

    def descriptor(self, path: bytes) -> int:
        """Return the descriptor of the directory `path`; valid until the next call."""
        while not (path + b"/").startswith(self._open[-1][0]):
            os.close(self._open.pop()[1])
        prefix, descriptor = self._open[-1]
        remaining = (path + b"/")[len(prefix) :] if path else b""
        # One name at a time: O_NOFOLLOW speaks of the last name alone, and would let a link above it pass.
        for name in remaining.split(b"/")[:-1]:
            if len(self._open) > _KEPT:
                # The one next to the root goes, and not the last: the next paths are most likely near the last one.
                os.close(self._open.pop(1)[1])
            descriptor = open_path(name, self._flags, directory=descriptor)
            prefix += name + b"/"
            self._open.append((prefix, descriptor))
        return descriptor

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """Return the descriptor of the directory that holds `path`, and the name in it."""
        at = path.rfind(b"/") + 1
        prefix, descriptor = self._open[-1]
        # Most paths lie in the directory of the one before.
        return descriptor if path[:at] == prefix else self.descriptor(path[: at - 1] if at else b""), path[at:]

    def remove(self, path: bytes, remove: Callable[..., None]) -> None:
        """Remove what stands at `path` by `remove(name, dir_fd=...)`."""
        try:
            descriptor, name = self.parent(path)
            remove(name, dir_fd=descriptor)
        except OSError as error:
            # Gone already, or something else already: a killed run was here, and went on to the next step.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
                raise


def remove_directory(name: bytes, *, dir_fd: int) -> None:
    """Remove a directory that should be empty, with what others have put into it."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
        # It holds something that is not of the commit: a file that a consumer wrote, which is removed, or the `.nfs...`
        # of a file that an NFS client holds open, which makes this fail.
        remove_tree(name, dir_fd=dir_fd)


def remove_tree(name: str | bytes, *, dir_fd: int | None = None) -> None:
    """Remove a directory and all below it. Raises OSError for the first thing that cannot be removed.

    It takes no more memory or descriptors for a deep tree than for a flat one.
    """
    with open_directory(name, directory=dir_fd) as top:
        _empty(top)
    os.rmdir(name, dir_fd=dir_fd)


def _empty(top: int) -> None:
    """Remove all that is in an open directory."""
    # A stack of our own: others can nest directories deeper than Python recurses, and than descriptors go round.
    # Each entry is an open directory and the names of the directories that are left in it; the last one is under way.
    stack: list[tuple[int, list[bytes]]] = [(top, _remove_files(top))]
    try:
        while True:
            descriptor, left = stack[-1]
            if left and len(stack) < _REMOVAL_LEVELS:
                child = open_path(left[-1], _LIST, directory=descriptor)
                stack.append((child, []))
                stack[-1][1].extend(_remove_files(child))
                continue
            while left:
                # Too deep to go on: move it to the top, and empty it from there. Not by `..`, which leads wherever
                # somebody has moved the directory meanwhile.
                moved = b"deep-" + secrets.token_hex(8).encode()
                os.rename(left[-1], moved, src_dir_fd=descriptor, dst_dir_fd=top)
                left.pop()
                stack[0][1].insert(0, moved)
            if len(stack) == 1:
                return
            os.close(stack.pop()[0])
            above, names = stack[-1]
            os.rmdir(names.pop(), dir_fd=above)
    finally:
        for descriptor, _ in stack[1:]:
            os.close(descriptor)


def _remove_files(descriptor: int) -> list[bytes]:
    """Remove all in an open directory that is no directory; return the names of the directories in it."""
    # The whole list before the first removal: POSIX does not say what a removal does to an open listing.
    with os.scandir(descriptor) as entries:
        children = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for child, is_directory in children:
        if not is_directory:
            with suppress(FileNotFoundError):
                os.unlink(child, dir_fd=descriptor)
    return [child for child, is_directory in children if is_directory]


@contextmanager
def parent_of(path: str) -> Iterator[tuple[int, str]]:
    """Give the directory above `path`, open as a path only until the block ends, and the last name."""
    above, name = os.path.split(path)
    descriptor = open_beneath(above, DIRECTORY, 0, None)
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)


def make_directory(path: str, mode: int = 0o777) -> None:
    """Make a directory, through no link on the way to it. Raises FileExistsError, FileNotFoundError, OSError."""
    with parent_of(path) as (above, name):
        os.mkdir(name, mode, dir_fd=above)


def make_directories(path: str) -> None:
    """Make a directory and those above it, unless they are there. Raises OSError, for a link on the way too."""
    try:
        os.close(open_beneath(path, DIRECTORY, 0, None))
    except FileNotFoundError:
        make_directories(os.path.dirname(path))
        # There already: somebody else made it meanwhile.
        with suppress(FileExistsError):
            make_directory(path)


def make_link(target: str, path: str) -> None:
    """Make a symbolic link at `path`, through no link on the way to it. Raises FileExistsError, OSError."""
    with parent_of(path) as (above, name):
        os.symlink(target, name, dir_fd=above)


def names_in(path: str) -> list[str]:
    """Return what is in a directory. Raises FileNotFoundError where it is missing, ELOOP or ENOTDIR for a link."""
    with open_directory(path) as descriptor:
        return os.listdir(descriptor)


def remove_files(path: str, names: Collection[str]) -> None:
    """Remove files and links from a directory, those that are there. Raises OSError, for a link in its place too."""
    if names:
        with open_directory(path) as descriptor:
            for name in names:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)


@contextmanager
def open_directory(path: str | bytes, *, directory: int | None = None) -> Iterator[int]:
    """Give an open descriptor of a directory, until the block ends."""
    # Open for reading, not only as a path: that makes an NFS client ask the server what is new in it.
    descriptor = open_path(path, _LIST, directory=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def list_below(root: str) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return the paths, relative to `root`, of all that is no directory below it, and of all directories."""
    others: list[bytes] = []
    directories: list[bytes] = []
    # A list and no recursion: a tree may be deeper than Python's stack.
    waiting = [b""]
    with DirectoryHandles(root) as handles:
        while waiting:
            above = waiting.pop()
            with (
                open_directory(b".", directory=handles.descriptor(above)) as descriptor,
                os.scandir(descriptor) as entries,
            ):
                for entry in entries:
                    path = above + b"/" * bool(above) + os.fsencode(entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(path)
                        waiting.append(path)
                    else:
                        others.append(path)
    return tuple(others), tuple(directories)
