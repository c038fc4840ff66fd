"""How far a long check-out came, so that a run which ends in the middle is gone on with instead of begun anew.

Beside the staged tree lies a file with the plan's digest and the number of files that are written and closed. It is
written every few seconds, never for a short check-out, and says at most what is true: torn anywhere, it says less.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from handler.model import FileWrite, LinkWrite
from handler.mount.fs.files import read_whole, write_whole

WORTH_FILES = 2000
"""A shorter check-out is quicker done again than written down."""
PERIOD_SECONDS = 5.0
_MAX_BYTES = 100


class Checkpoint:
    """The journal of one check-out, at `path`."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is read or written yet."""
        self._path = path
        self._clock = clock
        self._digest = ""
        self._saved_at = clock()
        self._is_there = False

    def begin(self, writes: Iterable[FileWrite | LinkWrite]) -> int:
        """Return how many of `writes`, in their order, an earlier run has done. Raises OSError."""
        digest = hashlib.sha1(usedforsecurity=False)
        for write in writes:
            digest.update(b"%s\0%s\0" % (write.path, write.blob if isinstance(write, FileWrite) else write.target))
        self._digest = digest.hexdigest()
        content = read_whole(self._path, max_bytes=_MAX_BYTES)
        if content is None:
            return 0
        self._is_there = True
        found, _, count = content.decode("ascii", "replace").strip().partition(" ")
        # Another digest: the plan was another, by another release of this code say. What is there is written over.
        return int(count) if found == self._digest and count.isdecimal() else 0

    def note(self, done: int) -> None:
        """Write down how many are done, if it is time to. Raises OSError."""
        if self._clock() - self._saved_at >= PERIOD_SECONDS:
            self.save(done)

    def save(self, done: int) -> None:
        """Write down how many are done. Raises OSError."""
        self._is_there = True
        write_whole(self._path, f"{self._digest} {done}\n".encode())
        self._saved_at = self._clock()

    def end(self) -> None:
        """Remove the file: all is done. Raises OSError."""
        if self._is_there:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
