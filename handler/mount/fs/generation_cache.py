"""What a process knows of the repositories that it worked on, so that a warm one lists no directory."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from handler.mount.fs.lock import HeldLock

_MAX_ENTRIES = 1000

Known = dict[str, frozenset[str]]
"""A target's path -> the commits of its releases, all of them; its staging is empty."""


@dataclass(slots=True)
class Cached:
    """What is known while a run goes on; the run sets `known` to what is so at its end, None where it is not sure."""

    known: Known | None = None

    def set(self, path: str, commits: frozenset[str] | None) -> None:
        """Set what is known of one target; None: nothing. What is known of the repository's other targets stays."""
        others = {each: known for each, known in (self.known or {}).items() if each != path}
        self.known = others if commits is None else {**others, path: commits}


class GenerationCache:
    """Knows until another holder stamped the lock with its own generation. Safe for threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: OrderedDict[str, tuple[int, Known]] = OrderedDict()

    @contextmanager
    def borrow(self, key: str, lock: HeldLock) -> Iterator[Cached]:
        """Lend what is known to the lock's holder, and keep what it is at the block's end. Raises OSError.

        After an exception nothing is known: the run may have stopped anywhere.
        """
        found, generation = lock.stamp_generation()
        with self._lock:
            kept_generation, known = self._entries.pop(key, (None, {}))
        cached = Cached(known if kept_generation == found else None)
        yield cached
        if cached.known is not None:
            with self._lock:
                self._entries[key] = (generation, cached.known)
                if len(self._entries) > _MAX_ENTRIES:
                    self._entries.popitem(last=False)
