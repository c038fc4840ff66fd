"""How much of a check-out is under way at a time: bytes in memory, and threads where waiting is worth them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""Content that was read and is not written yet; one file alone may be larger."""
_READERS = 2
"""Inflating is bound by the processor: more readers at a time bring no speed, and each holds its file twice."""
_WORTH_WAITING_SECONDS = 0.001


class ByteBudget:
    """Bounds the memory of a check-out. Safe for threads."""

    def __init__(self, read_blob: Callable[[bytes], bytes], limit: int = IN_FLIGHT_BYTES) -> None:
        """`read_blob(blob id)` gives a file's content."""
        self._read_blob = read_blob
        self._limit = limit
        self._readers = threading.Semaphore(_READERS)
        self._changed = threading.Condition()
        self._bytes = 0
        self._is_shared = False

    def share(self) -> None:
        """Let several threads use it. One alone has one file in memory at a time, and need not ask for room."""
        self._is_shared = True

    def content(self, blob: bytes) -> AbstractContextManager[bytes]:
        """Give a file's content, once there is room for it, until the block ends. Raises what `read_blob` raises."""
        return self._in_turn(blob) if self._is_shared else nullcontext(self._read_blob(blob))

    @contextmanager
    def _in_turn(self, blob: bytes) -> Iterator[bytes]:
        with self._readers:
            content = self._read_blob(blob)
            with self._changed:
                self._changed.wait_for(lambda: self._bytes == 0 or self._bytes + len(content) <= self._limit)
                self._bytes += len(content)
        try:
            yield content
        finally:
            with self._changed:
                self._bytes -= len(content)
                self._changed.notify_all()


def is_waiting_long(work: Callable[[], object], steps: int) -> bool:
    """Do the work, of so many file operations, and tell whether each took long enough for threads to hide it.

    On a local disk a file is written in some tens of microseconds, and threads that take turns only cost time; over
    the network it is milliseconds.
    """
    started = time.perf_counter()
    work()
    return time.perf_counter() - started >= steps * _WORTH_WAITING_SECONDS
