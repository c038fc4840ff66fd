"""Writing small files so that nothing is lost without a word, with as few round trips as a shared mount allows."""

import os

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


def _write(path: str | bytes, content: bytes, flag: int, mode: int, directory: int | None) -> None:
    descriptor = os.open(path, _WRITE | flag, mode, dir_fd=directory)
    try:
        write_all(descriptor, content)
    finally:
        os.close(descriptor)
