"""The mirrors that stay open between deliveries, so that a warm process reads no pack twice."""

import os
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from handler.git.mirror import Mirror

_MAX_OPEN = 16
"""Each may hold its small packs in memory; a Lambda serves few repositories within the life of its process."""


class OpenMirrors:
    """Lends each mirror to one run at a time. Safe for threads."""

    def __init__(self) -> None:
        """Nothing is opened yet."""
        self._idle: OrderedDict[str, Mirror] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def lent(self, path: str) -> Iterator[Mirror]:
        """Lend the mirror at `path`, refreshed, to the holder of the repository's lock.

        After an exception it is closed and opened anew the next time: what is kept must be known to be sound. Raises
        OSError, MirrorDamaged.
        """
        with self._lock:
            mirror = self._idle.pop(path, None) or Mirror(path)
        try:
            mirror.refresh()
            yield mirror
        except BaseException:
            mirror.close()
            raise
        with self._lock:
            self._idle[path] = mirror
            evicted = self._idle.popitem(last=False)[1] if len(self._idle) > _MAX_OPEN else None
        if evicted is not None:
            evicted.close()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            while self._idle:
                self._idle.popitem()[1].close()


def discard_mirror(path: str) -> None:
    """Remove a damaged mirror; the next fetch makes it anew. Renamed first, so that no run takes half of it for one."""
    aside = f"{path}.damaged-{secrets.token_hex(8)}"
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    shutil.rmtree(aside, ignore_errors=True)
