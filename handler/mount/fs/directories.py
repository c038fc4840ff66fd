"""Directories below a root, opened without ever following a link, and their removal."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryHandles:
    """Opens directories below a root, one name at a time and never through a link; keeps the last one's way open.

    With `asks_server` they are opened for reading, and not just as paths: then an NFS client asks what is new in them.
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
        """Return the open directory `path`; valid until the next call."""
        while not (path + b"/").startswith(self._open[-1][0]):
            os.close(self._open.pop()[1])
        prefix, descriptor = self._open[-1]
        remaining = (path + b"/")[len(prefix) :] if path else b""
        for name in remaining.split(b"/")[:-1]:
            descriptor = os.open(name, self._flags, dir_fd=descriptor)
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


def remove_directory(name: bytes, *, dir_fd: int) -> None:
    """Remove a directory that should be empty, and what lies in it all the same. Raises OSError."""
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            raise
        # Something that is not of the commit lies in it: a file that a consumer wrote, or the `.nfs...` that an NFS
        # client leaves for a file which it holds open. The first goes; the second makes this fail, for the caller.
        remove_tree(name, dir_fd=dir_fd)


def remove_tree(name: str | bytes, *, dir_fd: int | None = None) -> None:
    """Remove a directory and all below it, without following links. Raises OSError for the first thing that stays."""
    with open_directory(name, directory=dir_fd) as descriptor:
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
    """Give an open descriptor of a directory, until the block ends; no link is followed.

    It is opened for reading, not only as a path: so an NFS client asks the server what is new in it.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
