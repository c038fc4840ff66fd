"""The bound on the file contents that a check-out holds in memory at a time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""Content that was read and is not written yet. One file alone may be larger."""
_READERS = 2
"""The processor bounds inflating: more readers bring no speed, and each holds its file twice."""


class ByteBudget:
    """Bounds the memory of a check-out. Safe for threads after `enforce`."""

    def __init__(self, read_blob: Callable[[bytes], bytes], limit: int = IN_FLIGHT_BYTES) -> None:
        """`read_blob(blob id)` returns a file's content; `limit` is in bytes."""
        self._read_blob = read_blob
        self._limit = limit
        self._readers = threading.Semaphore(_READERS)
        self._changed = threading.Condition()
        self._bytes = 0
        self._is_enforced = False

    def enforce(self) -> None:
        """Make threads wait for room. A single thread holds one file at a time, and need not pay for the locks."""
        self._is_enforced = True

    def borrow(self, blob: bytes) -> AbstractContextManager[bytes]:
        """Give a file's content, once there is room for it, until the block ends. Raises what `read_blob` raises."""
        return self._borrow(blob) if self._is_enforced else nullcontext(self._read_blob(blob))

    @contextmanager
    def _borrow(self, blob: bytes) -> Iterator[bytes]:
        with self._readers:
            content = self._read_blob(blob)
            with self._changed:
                # A file larger than the limit passes alone; else it would wait for ever.
                self._changed.wait_for(lambda: self._bytes == 0 or self._bytes + len(content) <= self._limit)
                self._bytes += len(content)
        try:
            yield content
        finally:
            with self._changed:
                self._bytes -= len(content)
                self._changed.notify_all()
