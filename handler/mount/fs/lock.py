"""One writer a repository, across threads, processes and hosts: `flock`, which NFSv4 and so EFS carries to the server.

The lock dies with its holder: the kernel drops it with the process, and the server with the client's lease. The file
is never removed; a lock on a removed file would exclude nobody.
"""

import errno
import fcntl
import os
import random
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from handler.errors import LockTimeout
from handler.mount.fs.files import open_to_lock

_MAX_ENTRIES = 1000
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5
SLOW_SECONDS = 0.0015
"""A mount that takes longer to open and lock a file is one over the network, where waiting is worth hiding."""
_MARKS = 2**30
"""Marks are whole seconds from here to twice as much (2004 to 2038): every file system keeps such times."""


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that is held, and the seconds waited for it; `is_slow` says that the mount is."""

    descriptor: int
    waited_seconds: float
    is_slow: bool

    def stamp_generation(self) -> tuple[int, int]:
        """Put a mark on the lock; returns the mark that was found and the one that was put. Raises OSError.

        Every holder puts a mark of its own before it changes anything: who finds the mark that it put itself knows that
        nobody held the lock in between, and that all is as it left it. The mark is the file's mtime, a random number:
        one round trip to set, and none to read beyond the one that an NFS client makes after it took a lock.
        """
        found = int(os.fstat(self.descriptor).st_mtime)
        mark = _MARKS + secrets.randbelow(_MARKS)
        os.utime(self.descriptor, (mark, mark))
        return found, mark


@contextmanager
def locked(path: str, wait_seconds: float) -> Iterator[HeldLock]:
    """Hold the lock at `path` within the `with` block.

    Makes the directory if need be. Raises LockTimeout after `wait_seconds`, and OSError.
    """
    started = time.monotonic()
    try:
        descriptor = open_to_lock(path)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = open_to_lock(path)
    try:
        waited = _take(descriptor, wait_seconds)
        yield HeldLock(descriptor, waited, time.monotonic() - started >= SLOW_SECONDS)
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


Known = dict[str, frozenset[str]]
"""A target's path -> the commits of its releases, all of them; its staging is empty."""


class GenerationCache:
    """What this process knows of a repository, until another holder stamps the lock with its own generation.

    With it a warm process lists no directory. Safe for threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[int, Known]] = OrderedDict()

    def pop(self, key: str, generation: int) -> Known | None:
        """Take what was put under `generation`; None where the lock bears another one."""
        # Taken out, not only read: a run that stops anywhere leaves nothing known.
        with self._lock:
            kept, known = self._entries.pop(key, (None, {}))
        return known if kept == generation else None

    def put(self, key: str, generation: int, known: Known) -> None:
        """Put what is known at the end of a run that succeeded."""
        with self._lock:
            self._entries[key] = (generation, known)
            if len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
