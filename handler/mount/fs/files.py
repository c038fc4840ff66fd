"""Small files, written so that nothing is lost without a word, with as few round trips as a shared mount allows."""

import os
import sys

MOST_BYTES = 64 * 1024 * 1024
"""No file that is read whole here is larger, unless somebody made it so on purpose."""
_CHUNK_BYTES = 8 * 1024 * 1024
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content` to an open file. Raises OSError.

    `os.write` may write less than it was given, on a mount that is nearly full say, and only the next call fails.
    """
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def write_whole(path: str | bytes, content: bytes, mode: int = 0o644, *, directory: int | None = None) -> None:
    """Write a file in one go, over what is there; `path` is relative to the open `directory` if one is given.

    On NFS the close sends it and reports what went wrong, so no fsync is needed. A link in its place is not followed.
    The mode is given at the opening: a chmod would be a round trip more, and so would be an exclusive creation that
    fails. Raises OSError.
    """
    _write(path, content, os.O_TRUNC, mode, directory)


def append(path: str | bytes, content: bytes) -> None:
    """Append to a file, made where it is missing; a link in its place is not followed. Raises OSError."""
    _write(path, content, os.O_APPEND, 0o644, None)


def read_whole(path: str | bytes, *, follows: bool = False, most_bytes: int = MOST_BYTES) -> bytes | None:
    """Return a file's content, None where there is no such file; not more than `most_bytes` of it.

    It may be anything that others put there: a link is followed only if `follows` says so, and a pipe is not waited
    for. Without the look at its size that `open` takes first. Raises OSError.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follows else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        return None
    try:
        return read_all(descriptor, most_bytes)
    finally:
        os.close(descriptor)


def is_there(path: str) -> bool:
    """Whether anything is at a path, a link that leads nowhere too. Raises OSError where the mount does not say.

    `os.path.lexists` takes a mount that fails for one where nothing is.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def read_all(descriptor: int, most_bytes: int = sys.maxsize) -> bytes:
    """Return the content of an open file from here to its end, and not more than `most_bytes`. Raises OSError.

    Without the extra look-ups that `open` does; each would be asked over the network.
    """
    chunks: list[bytes] = []
    left = most_bytes
    while left > 0 and (chunk := os.read(descriptor, min(left, _CHUNK_BYTES))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _write(path: str | bytes, content: bytes, flag: int, mode: int, directory: int | None) -> None:
    descriptor = os.open(path, _WRITE | flag, mode, dir_fd=directory)
    try:
        write_all(descriptor, content)
    finally:
        os.close(descriptor)
