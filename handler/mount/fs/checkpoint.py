"""How far a long check-out came, so that the next run goes on from there.

Beside the staged tree lies a file with the plan's digest and the number of files that are written and closed.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable

from handler.mount.fs.files import NOT_REGULAR, read_whole, unlink_if_there, write_whole
from handler.mount.fs.plan import FileWrite, LinkWrite

WORTH_FILES = 2000
"""To repeat a shorter check-out is faster than to save checkpoints of it."""
PERIOD_SECONDS = 5.0
_MAX_BYTES = 100


class Checkpoint:
    """The checkpoint of one check-out, in the file at `path`."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._digest = ""
        self._saved_at = clock()
        self._is_there = False

    def begin(self, writes: Iterable[FileWrite | LinkWrite]) -> int:
        """Return how many of `writes`, in their order, an earlier run has done."""
        digest = hashlib.sha1(usedforsecurity=False)
        for write in writes:
            digest.update(b"%s\0%s\0" % (write.path, write.blob if isinstance(write, FileWrite) else write.target))
        self._digest = digest.hexdigest()
        try:
            content = read_whole(self._path, max_bytes=_MAX_BYTES)
        except OSError as error:
            if error.errno not in NOT_REGULAR:
                raise
            # A link or a pipe of somebody else's: left, it would stop this check-out each time.
            os.unlink(self._path)
            content = None
        if content is None:
            return 0
        self._is_there = True
        found, _, count = content.decode("ascii", "replace").strip().partition(" ")
        # With another digest the plan was another one: of another release of this code, say. Torn by a kill, the file
        # has fewer digits, and so claims less than was done.
        return int(count) if found == self._digest and count.isdecimal() else 0

    def note(self, done: int) -> None:
        """Save how many are done, if the last time was long enough ago."""
        if self._clock() - self._saved_at >= PERIOD_SECONDS:
            self.save(done)

    def save(self, done: int) -> None:
        """Save how many are done."""
        self._is_there = True
        # Only after these files are closed: the file must not claim more than is on the mount.
        write_whole(self._path, f"{self._digest} {done}\n".encode())
        self._saved_at = self._clock()

    def end(self) -> None:
        """Remove the file: the check-out is complete."""
        if self._is_there:
            unlink_if_there(self._path)
