"""One writer a repository, across threads, processes and hosts: `flock`, which NFSv4 and so EFS carries to the server.

The lock dies with its holder: the kernel drops it with the process, and the server with the client's lease. The file
is never removed; a lock on a removed file would exclude nobody.
"""

import errno
import fcntl
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from handler.errors import LockTimeout

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5


@contextmanager
def locked(path: str, wait_seconds: float) -> Iterator[float]:
    """Hold the lock at `path` within the `with` block; gives the seconds waited for it.

    Makes the directory if need be. Raises LockTimeout after `wait_seconds`, and OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o644)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, flags, 0o644)
    try:
        yield _take(descriptor, wait_seconds)
    finally:
        os.close(descriptor)  # and with it the lock


def _take(descriptor: int, wait_seconds: float) -> float:
    """Poll. A blocking flock knows no deadline, and the NFS client itself polls, at up to 30 seconds apart."""
    start = time.monotonic()
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return time.monotonic() - start
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        waited = time.monotonic() - start
        if waited >= wait_seconds:
            raise LockTimeout(f"another run held the repository's lock for {waited:.1f} seconds")
        time.sleep(min(pause * random.uniform(0.5, 1), wait_seconds - waited))  # noqa: S311
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
