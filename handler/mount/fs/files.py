"""The one module that opens files on the mount.

Others can put anything there. So these functions follow no link, wait for no pipe, open nothing but a regular file, and
read no more than the caller can hold. They report every failed write, and take as few round trips as they can.

Every function raises OSError: ELOOP for a link, EISDIR for a directory, ENXIO for anything else that is no regular
file.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, BinaryIO

MAX_BYTES = 64 * 1024 * 1024
"""No honest file that is read whole is larger."""
_CHUNK_BYTES = 8 * 1024 * 1024
_CREATE = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def open_to_read(path: str | bytes, *, directory: int | None = None, follow: bool = False) -> Iterator[int]:
    """Give an open descriptor until the block ends; `path` is relative to the open `directory`, if there is one.

    `follow` follows a link: for files that people replace by links.
    """
    # O_NONBLOCK: a pipe in the file's place must not be waited for.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, dir_fd=directory)
    try:
        # Not a round trip: the open has fetched the attributes.
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            code = errno.EISDIR if stat.S_ISDIR(mode) else errno.ENXIO
            raise OSError(code, os.strerror(code), path)
        yield descriptor
    finally:
        os.close(descriptor)


def read_whole(path: str | bytes, *, follow: bool = False, max_bytes: int = MAX_BYTES) -> bytes | None:
    """Return a file's content, and not more than `max_bytes` of it; None where there is no such file."""
    try:
        with open_to_read(path, follow=follow) as descriptor:
            return read_all(descriptor, max_bytes)
    except FileNotFoundError:
        return None


def read_tail(path: str | bytes, count: int) -> bytes:
    """Return the last `count` bytes of a file."""
    with open_to_read(path) as descriptor:
        return os.pread(descriptor, count, max(0, os.fstat(descriptor).st_size - count))


def read_all(descriptor: int, max_bytes: int = sys.maxsize) -> bytes:
    """Return the content of an open file from here to its end, and not more than `max_bytes`."""
    # Not the built-in `open`: it asks for the attributes again, and over the network each time is a round trip.
    chunks: list[bytes] = []
    left, is_end = max_bytes, False
    while left > 0 and not is_end:
        wanted = min(left, _CHUNK_BYTES)
        chunk = os.read(descriptor, wanted)
        chunks.append(chunk)
        left -= len(chunk)
        # A regular file gives fewer bytes than were asked for only at its end: no second read has to find that.
        is_end = len(chunk) < wanted
    return b"".join(chunks)


def reader(descriptor: int) -> IO[bytes]:
    """Return an unbuffered file object with a descriptor of its own for an open file."""
    return open(os.dup(descriptor), "rb", buffering=0)


def is_there(path: str) -> bool:
    """Whether anything is at a path, be it a link that leads nowhere."""
    # Not `os.path.lexists`: it returns False where the mount fails.
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write_whole(path: str | bytes, content: bytes, mode: int = 0o644, *, directory: int | None = None) -> None:
    """Write a file over what is there; `path` is relative to the open `directory`, if there is one."""
    # The open sets the mode: a chmod would be one more round trip, and so would be an exclusive creation that fails.
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | _CREATE, mode, dir_fd=directory)
    try:
        write_all(descriptor, content)
    finally:
        # On NFS the close sends what was written and reports what failed, so that no fsync is needed.
        os.close(descriptor)


def write_new(
    path: str | bytes, content: bytes, mode: int = 0o644, *, directory: int | None = None, exact_mode: bool = False
) -> None:
    """Write a file where nothing is, else raise FileExistsError. `exact_mode` gives it `mode` whatever the umask is."""
    descriptor = os.open(path, os.O_WRONLY | os.O_EXCL | _CREATE, mode, dir_fd=directory)
    try:
        if exact_mode:
            os.fchmod(descriptor, mode)
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


def append(path: str | bytes, content: bytes) -> None:
    """Append to a file; make it if it is missing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | _CREATE, 0o644)
    try:
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


def create(path: str, mode: int = 0o644) -> BinaryIO:
    """Open a file for reading and writing; make it if it is missing, else empty it."""
    return open(os.open(path, os.O_RDWR | os.O_TRUNC | _CREATE, mode), "w+b")


def open_to_change(path: str) -> BinaryIO:
    """Open a file that is there for reading and writing, and leave its content."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
        return open(descriptor, "r+b")
    except BaseException:
        os.close(descriptor)
        raise


@contextmanager
def create_part(path: str, *, is_first: bool) -> Iterator[int]:
    """Give an open descriptor to append a part to a file until the block ends; the first part makes the file anew."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags | (os.O_CREAT | os.O_TRUNC if is_first else 0), 0o644)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
        yield descriptor
    finally:
        # On NFS the close sends what was written and reports what failed.
        os.close(descriptor)


def open_to_lock(path: str) -> int:
    """Open a file to lock; make it if it is missing. The caller closes the descriptor, and so drops the lock."""
    # Never O_EXCL or O_TRUNC: the file stays, and its mtime is the lock's generation.
    return os.open(path, os.O_RDWR | _CREATE, 0o644)


def touch(path: str) -> None:
    """Set a file's mtime to now; make the file if it is missing."""
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:
        os.close(os.open(path, os.O_WRONLY | _CREATE, 0o644))


def modified_ns(path: str) -> int | None:
    """Return a file's mtime in nanoseconds, as the server has it now; None where there is no such file."""
    try:
        # Opened, since that makes an NFS client ask the server.
        with open_to_read(path) as descriptor:
            return os.fstat(descriptor).st_mtime_ns
    except FileNotFoundError:
        return None


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content` to an open file."""
    # `os.write` may write less than it was given, on a mount that is nearly full, say; only the next call then fails.
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def unlink_if_there(path: str) -> None:
    """Remove a file or link, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)
