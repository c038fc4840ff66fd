"""What a process remembers of the repositories that it worked on, so that a warm one need not list directories."""

from collections import OrderedDict
from threading import Lock

_MAX_REMEMBERED = 1000

Releases = dict[str, frozenset[str]]
"""A target's path -> the commits of its releases; its staging is empty."""


class GenerationCache:
    """Remembers until somebody else held the repository's lock (see `CopyLock.mark`). Safe for threads."""

    def __init__(self) -> None:
        """Nothing is remembered yet."""
        self._lock = Lock()
        self._kept: OrderedDict[str, tuple[int, Releases]] = OrderedDict()

    def pop(self, lock: str, mark: int) -> Releases | None:
        """Return what was kept, None where the lock's mark is another. It is not kept any more: a run may break off."""
        with self._lock:
            kept_mark, releases = self._kept.pop(lock, (None, {}))
        return releases if kept_mark == mark else None

    def put(self, lock: str, mark: int, releases: Releases) -> None:
        """Keep what is known at the end of a run that went well."""
        with self._lock:
            self._kept[lock] = (mark, releases)
            if len(self._kept) > _MAX_REMEMBERED:
                self._kept.popitem(last=False)
