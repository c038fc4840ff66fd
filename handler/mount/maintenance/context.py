"""What maintenance and operators' commands need to work on one repository: paths, lock, mirror, deadline."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import MirrorDamaged
from handler.mount.fs.lock import HeldLock, locked
from handler.mount.git.mirror import Mirror, StorePool, discard_mirror
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.layout import RepositoryPaths
from handler.mount.target.registry import TargetRegistry
from handler.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryContext:
    """The repository `name` (`<owner>/<name>`) on one mount."""

    name: str
    settings: Settings
    mirrors: StorePool
    clock: Callable[[], float]
    deadline: Deadline = NO_DEADLINE

    @property
    def paths(self) -> RepositoryPaths:
        """The repository's own paths on the mount."""
        return RepositoryPaths.of(self.settings.mount, self.name)

    @property
    def registry(self) -> TargetRegistry:
        """The targets that the repository was ever published to."""
        return TargetRegistry.of(self.settings.mount, self.name)

    def directory(self, target_path: str) -> TargetDirectory:
        """Return the directory of a target."""
        return TargetDirectory.at(self.settings.mount, target_path, self.clock)

    def check_deadline(self) -> None:
        """Raise OutOfTime at the deadline. Safe for threads."""
        self.deadline.check("maintenance continues another time")

    @contextmanager
    def locked(self) -> Iterator[HeldLock]:
        """Hold the repository's lock within the `with` block. Raises LockTimeout, OSError."""
        with locked(self.paths.lock, self.deadline.bound(self.settings.lock_seconds)) as lock:
            # A warm process trusts its cache while it finds its own generation: a new one makes it read again what
            # this block changes.
            lock.stamp_generation()
            yield lock

    @contextmanager
    def borrowed_mirror(self, lock: HeldLock) -> Iterator[Mirror]:
        """Borrow the mirror; only the lock's holder may. Raises MirrorDamaged, LockLost, OSError.

        Empties a damaged mirror, as `reconcile` does: the next run fetches it afresh.
        """
        try:
            with self.mirrors.borrow(self.paths.mirror) as mirror:
                yield mirror
        except MirrorDamaged:
            # Where the lock was lost, another run may have repacked the mirror under this one, and needs it.
            lock.check()
            discard_mirror(self.paths.mirror)
            raise
