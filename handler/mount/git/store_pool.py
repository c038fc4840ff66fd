"""Stores that stay open between deliveries, so that a warm process reads no pack twice."""

import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Lock
from typing import TypeVar, cast

from handler.mount.git.mirror import Mirror
from handler.mount.git.pack_store import PackStore

S = TypeVar("S", bound=PackStore)

_MAX_OPEN = 16
"""Each holds its small packs in memory, and a process serves few repositories in its life."""


class StorePool:
    """Lends each store to one run at a time. Safe for threads."""

    def __init__(self) -> None:
        self._idle: OrderedDict[str, PackStore] = OrderedDict()
        self._lock = Lock()

    def borrow(self, path: str, *, is_unchanged: bool = False) -> AbstractContextManager[Mirror]:
        """Lend the mirror at `path`; see `borrow_as`."""
        return self.borrow_as(Mirror, path, is_unchanged=is_unchanged)

    @contextmanager
    def borrow_as(self, make: Callable[[str], S], path: str, *, is_unchanged: bool = False) -> Iterator[S]:
        """Lend the store that `make` opens at `path` to the holder of the repository's lock.

        It is refreshed, unless `is_unchanged` says that nobody else worked on it since it was lent. Raises
        MirrorDamaged.
        """
        with self._lock:
            kept = self._idle.pop(path, None)
        # The same `make` made what is kept at a path: a mirror's path is never that of a working copy.
        store = cast(S, kept) if kept is not None else make(path)
        try:
            if kept is None or not is_unchanged:
                store.refresh()
            yield store
        except BaseException:
            # Open it anew the next time: only a store that is known to be sound is kept.
            store.close()
            raise
        store.release()
        with self._lock:
            self._idle[path] = store
            evicted = self._idle.popitem(last=False)[1] if len(self._idle) > _MAX_OPEN else None
        if evicted is not None:
            evicted.close()

    def close(self) -> None:
        """Close the idle stores."""
        with self._lock:
            while self._idle:
                self._idle.popitem()[1].close()


def discard_mirror(path: str) -> None:
    """Empty a damaged mirror; the next fetch fills it anew."""
    # Not renamed aside as a whole: after a kill nobody would look for that directory.
    packs = os.path.join(path, "objects", "pack")
    try:
        names = os.listdir(packs)
    except FileNotFoundError:
        return
    # The indexes first: killed in between, this leaves fewer packs, or packs without an index, which `refresh` sweeps.
    # The file `shallow` goes after the commits that it is about.
    for name in (*(name for name in names if name.endswith(".idx")), os.path.join("..", "..", "shallow")):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(packs, name))
    shutil.rmtree(packs)
