"""Open and remove directories without following a link."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryHandles:
    """Opens directories below a root, and keeps the last one and those above it open. Not safe for threads.

    With `asks_server` it opens them for reading, and not only as paths: then an NFS client asks the server what is new
    in them.
    """

    def __init__(self, root: str, *, asks_server: bool = False) -> None:
        self._flags = _OPEN ^ (os.O_PATH if asks_server else 0)
        self._open: list[tuple[bytes, int]] = [(b"", os.open(root, self._flags))]

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
            descriptor = os.open(name, self._flags, dir_fd=descriptor)
            prefix += name + b"/"
            self._open.append((prefix, descriptor))
        return descriptor

    def parent(self, path: bytes) -> tuple[int, bytes]:
        """Return the descriptor of the directory that holds `path`, and the name in it."""
        directory, _, name = path.rpartition(b"/")
        return self.descriptor(directory), name

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
    """Remove a directory and all below it. Raises OSError for the first thing that cannot be removed."""
    with open_directory(name, directory=dir_fd) as descriptor:
        # The whole list before the first removal: POSIX does not say what a removal does to an open listing.
        with os.scandir(descriptor) as entries:
            children = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_directory in children:
            if is_directory:
                remove_tree(child, dir_fd=descriptor)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(child, dir_fd=descriptor)
    os.rmdir(name, dir_fd=dir_fd)


@contextmanager
def open_directory(path: str | bytes, *, directory: int | None = None) -> Iterator[int]:
    """Give an open descriptor of a directory, until the block ends."""
    # Open for reading, not only as a path: that makes an NFS client ask the server what is new in it.
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=directory)
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
