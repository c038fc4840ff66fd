"""Take targets over from the repository that they were published from: it was renamed, transferred or replaced.

No file of a target moves. Its record names the new repository from then on, and the new repository's registry has it:
so readers see nothing of this. The new mirror may lack the objects of what is published; the next run fetches them.

Killed anywhere, each target is one repository's. The same command again goes on where the first one was killed.
"""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import TargetUnknown
from handler.model import Outcome, OutcomeKind
from handler.mount.fs.lock import HeldLock
from handler.mount.git.mirror import StorePool
from handler.mount.maintenance.context import RepositoryContext
from handler.mount.operations.targets import is_target, refuse_links, target_at
from handler.mount.target.directory import TargetDirectory, list_names, revoke
from handler.mount.target.registry import TargetRegistry
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Takes targets over on one mount, under both repositories' locks."""

    settings: Settings
    mirrors: StorePool
    clock: Callable[[], float] = time.time

    def take_over(
        self, previous: str, *, repository: str, path: str | None, deadline: Deadline = NO_DEADLINE
    ) -> tuple[Outcome, ...]:
        """Make the target at `path` `repository`'s (None: every target of `previous`); one outcome a target.

        What is taken over already is an outcome too. Raises TargetUnknown where nothing was ever published from
        `previous`, or the target is another repository's; TargetOccupied, LockTimeout, OutOfTime between two targets,
        and OSError.
        """
        mount = self.settings.mount
        _refuse_linked(mount, repository)
        before, after = TargetRegistry.of(mount, previous), TargetRegistry.of(mount, repository)
        # Before the locks: to take one makes a directory, also for a name that somebody misspelt.
        if not os.path.lexists(before.path):
            raise TargetUnknown(f"nothing was ever published from {previous}")
        refuse_links(mount, previous)
        with ExitStack() as locks:
            # In one order, whichever is taken over: two commands that go opposite ways would wait for each other.
            names = sorted((previous, repository))
            held = {name: locks.enter_context(self._context(name, deadline).locked()) for name in names}
            paths = [path] if path is not None else [each for each in before.target_paths() if is_target(mount, each)]
            owned = [(each, self._owner(each)) for each in paths]
            if path is not None and owned[0][1] not in (previous, repository):
                raise TargetUnknown(f"{path} is published from {owned[0][1]}, and not from {previous}")
            outcomes = []
            for each, owner in owned:
                if owner in (previous, repository):
                    deadline.check("what is left is taken over when you ask again")
                    outcomes.append(
                        self._take(self._guarded(each, held, previous), before, after, previous, repository)
                    )
            return tuple(outcomes)

    def _owner(self, path: str) -> str:
        """Return the repository that the target at `path` is published from."""
        refuse_links(self.settings.mount, path)
        return target_at(self.settings.mount, path).repository

    def _guarded(self, path: str, held: dict[str, HeldLock], previous: str) -> TargetDirectory:
        """Return the target's directory. Raises LockLost where one of the locks was lost since."""
        for lock in held.values():
            lock.check()
        # Of the two locks that one guards the target, as long as the record names the old repository.
        return TargetDirectory.at(self.settings.mount, path, self.clock).held_by(held[previous])

    def _take(
        self, directory: TargetDirectory, before: TargetRegistry, after: TargetRegistry, previous: str, repository: str
    ) -> Outcome:
        path = directory.path
        published, record = directory.read_published(), directory.read_record()
        assert record is not None, "it says whose the target is"
        if record.repository == previous:
            # First the new registry, then the record, the old registry last. The record decides whose the target is,
            # and its repository's registry has to name it at every moment: else maintenance would lose it, and the
            # mirror drop its objects. A registry that names another's target does no harm.
            after.add(path)
            # A run of the old name that wakes would take the target back with its record.
            revoke(directory, list_names(directory.staging), published.name)
            directory.write_record(replace(record, repository=repository))
        if path in before.read():
            before.remove(path, directory.check_lock)
        outcome = Outcome(
            kind=OutcomeKind.UNCHANGED,
            reason="taken_over",
            repository=repository,
            ref=record.ref,
            path=path,
            commit=published.commit,
            previous_commit=published.commit,
            detail=f"from {previous}: {repository} publishes it from now on",
        )
        if not directory.is_copy:
            return outcome
        note = f"it is a working copy: let its remote have {repository}'s url (git remote set-url)"
        return replace(outcome, notes=(note,))

    def _context(self, name: str, deadline: Deadline) -> RepositoryContext:
        return RepositoryContext(
            name=name, settings=self.settings, mirrors=self.mirrors, clock=self.clock, deadline=deadline
        )


def _refuse_linked(mount: str, repository: str) -> None:
    """Raise TargetUnknown where the repository's directory, or its owner's, is there and is no directory."""
    owner = repository.partition("/")[0]
    for name in (owner, repository):
        if os.path.lexists(f"{mount}/{name}"):
            refuse_links(mount, name)
