"""Roll a target back to an earlier release in one flip; hold a target where it is; end a hold.

The record says "held" before the flip. Killed in between, the target is held where it was. Killed after the flip, the
next rollback, push or schedule makes the record agree with `current`. Neither undoes the rollback.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import ReleaseUnusable, TargetUnknown
from handler.exchange.events import Emit
from handler.exchange.operations import Hold, MountedTarget
from handler.model import Outcome, OutcomeKind
from handler.mount.fs.lock import HeldLock
from handler.mount.fs.parallel import Workers, executor_for
from handler.mount.git.mirror import Mirror, StorePool
from handler.mount.maintenance.context import RepositoryContext
from handler.mount.operations.targets import open_target, refuse_unregistered
from handler.mount.releases.filters import filter_at
from handler.mount.releases.inventory import Inventory, flip, list_releases, prepare_flip
from handler.mount.releases.prune import sweep
from handler.mount.releases.strategy import Release, shown_since
from handler.mount.releases.times import renew
from handler.mount.target.directory import Published, TargetDirectory, let_clock_tick, list_names, revoke
from handler.mount.target.hold import is_of_release, notify_and_write, record_of_flip, settle_hold
from handler.mount.target.layout import RepositoryPaths, commit_of
from handler.mount.target.record import PublishedRecord
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class Rollback:
    """Rolls targets back and holds them, under their repository's lock. Needs neither remote nor Parameter Store.

    Every method raises TargetUnknown, TargetOccupied, LockTimeout and OSError.
    """

    settings: Settings
    mirrors: StorePool
    emit: Emit | None = None
    """Hand out an event; None: there is no bus."""
    clock: Callable[[], float] = time.time

    def roll_back(
        self,
        target: MountedTarget,
        *,
        to: str | None,
        by: str = "",
        why: str = "",
        deadline: Deadline = NO_DEADLINE,
    ) -> Outcome:
        """Flip to the release `to` (a commit's id, or its first digits), and hold the target there.

        None is the release before the current one. Done twice it goes back twice, and never forth to a release that an
        earlier rollback of the same hold left. Raises ReleaseUnusable too.
        """
        directory = self._open(target)
        if directory.is_copy:
            raise ReleaseUnusable(f"{target.path} is a working copy, which has no releases: go back with git in it")
        with self._lock(target, deadline) as lock:
            directory = directory.held_by(lock)
            locked = self._read(target, directory)
            inventory = list_releases(directory)
            revoke(directory, inventory.staged, locked.release)
            if locked.is_rolled_back and (to is None or locked.release.startswith(to)):
                # A rollback was killed after its flip, and this command asks for the same one.
                self._settle(target, locked)
                sweep(directory, inventory)
                return locked.outcome(reason="rolled_back", release=locked.release, previous=locked.record.commit)
            previous = locked.record.previous_commit
            wanted = choose_release(locked.release, previous, inventory.releases, to, left=locked.left)
            left = tuple(each for each in dict.fromkeys((*locked.left, locked.release)) if each != wanted)
            hold = Hold(since=self.clock(), by=by, why=why, commit=wanted, left=left)
            # Before the flip: a push that came between the two would undo a rollback that the record does not know.
            directory.write_record(replace(locked.record, held=hold))
            if wanted == locked.release:
                self._settle(target, self._read(target, directory))
                return locked.outcome(reason="held", release=wanted, previous=wanted)
            self._flip(target, locked, inventory, hold, is_slow=lock.is_slow)
            return locked.outcome(reason="rolled_back", release=wanted, previous=locked.release)

    def _flip(
        self, target: MountedTarget, locked: "_LockedTarget", inventory: Inventory, hold: Hold, *, is_slow: bool
    ) -> None:
        """Flip to the release that `hold` names, and write the record of it."""
        directory = locked.directory
        release = next(each for each in inventory.releases if each.commit == hold.commit)
        let_clock_tick(locked.record.published_at, self.clock, time.sleep)
        renew(
            directory.release(hold.commit),
            hold.commit,
            shown_since(release, locked.release, inventory.releases),
            inventory,
            partial(self._mirror, target),
            Workers(self.settings.checkout_workers, is_slow=is_slow),
        )
        with executor_for(is_slow=is_slow) as executor:
            link, reserved = prepare_flip(
                directory, inventory, previous=locked.release, wanted=hold.commit, staged=None, executor=executor
            )
        flip(directory, link)
        record = record_of_flip(
            locked.record,
            commit=commit_of(hold.commit),
            previous=locked.commit,
            at=self.clock(),
            held=hold,
            tree_filter=filter_at(directory, hold.commit),
        )
        mirror = self._mirror(target)
        notify_and_write(record, locked.published, directory, emit=self.emit, mirror=mirror, reserved=reserved)
        sweep(directory, inventory)

    def hold(self, target: MountedTarget, *, by: str = "", why: str = "", deadline: Deadline = NO_DEADLINE) -> Outcome:
        """Hold the target where it is. A target that is held already stays so, for the reason given now."""
        directory = self._open(target)
        with self._lock(target, deadline) as lock:
            directory = directory.held_by(lock)
            locked = self._read(target, directory)
            # A run that wakes would take the hold away with its record, or flip in spite of it.
            revoke(directory, list_names(directory.staging), locked.release)
            held = Hold(since=self.clock(), by=by, why=why, commit=locked.release, left=locked.left)
            record = replace(locked.record, held=held)
            directory.write_record(record)
            self._settle(target, replace(locked, record=record))
            return locked.outcome(reason="held", release=locked.release, previous=locked.release)

    def end_hold(self, target: MountedTarget, *, deadline: Deadline = NO_DEADLINE) -> str:
        """End the target's hold, if there is one; return the ref to publish now."""
        directory = self._open(target)
        with self._lock(target, deadline) as lock:
            directory = directory.held_by(lock)
            # Not `_read`: where somebody removed `current`, the hold has to end all the same.
            record = directory.read_record()
            if record is None or record.repository != target.repository:
                raise TargetUnknown(f"{target.path} is not {target.repository}'s any more")
            if record.held is not None:
                revoke(directory, list_names(directory.staging), directory.read_published().name)
                directory.write_record(replace(record, held=None))
            return record.ref

    def _open(self, target: MountedTarget) -> TargetDirectory:
        return open_target(self.settings.mount, target, self.clock)

    @contextmanager
    def _lock(self, target: MountedTarget, deadline: Deadline) -> Iterator[HeldLock]:
        context = RepositoryContext(
            name=target.repository,
            settings=self.settings,
            mirrors=self.mirrors,
            clock=self.clock,
            deadline=deadline,
        )
        is_done = False
        try:
            with context.locked() as lock:
                yield lock
                is_done = True
        except OSError:
            # Closing the lock's file may fail after all is done. An operator who is told of a failure asks again, and
            # would go back a second time.
            if not is_done:
                raise

    def _read(self, target: MountedTarget, directory: TargetDirectory) -> "_LockedTarget":
        """Read the target under the lock: another run may have changed it since it was found."""
        published = directory.read_published()
        if published.commit is None or published.record is None:
            raise TargetUnknown(f"nothing is published at {target.path}, or its record is gone: publish it first")
        if published.record.repository != target.repository:
            raise TargetUnknown(f"{target.path} is not {target.repository}'s any more")
        refuse_unregistered(self.settings.mount, target.path, published.record)
        return _LockedTarget(directory, published.name or published.commit, published.record)

    def _settle(self, target: MountedTarget, locked: "_LockedTarget") -> None:
        """Make the record agree with `current`, and send the event that is pending."""
        settle_hold(
            locked.published,
            locked.directory,
            emit=self.emit,
            mirror=self._mirror(target),
            filter_of=partial(filter_at, locked.directory),
        )

    def _mirror(self, target: MountedTarget) -> AbstractContextManager[Mirror]:
        return self.mirrors.borrow(RepositoryPaths.of(self.settings.mount, target.repository).mirror)


@dataclass(frozen=True, slots=True)
class _LockedTarget:
    """What is published at a target, read under its repository's lock."""

    directory: TargetDirectory
    release: str
    """What `current` leads to; of a working copy the commit."""
    record: PublishedRecord

    @property
    def commit(self) -> str:
        return commit_of(self.release)

    @property
    def published(self) -> Published:
        return Published(self.commit, self.record, self.release)

    @property
    def left(self) -> tuple[str, ...]:
        return self.record.held.left if self.record.held is not None else ()

    @property
    def is_rolled_back(self) -> bool:
        """Whether `current` leads where the hold says, and the record still names the release before the rollback."""
        held = self.record.held
        # A record whose commit was damaged says nothing of that.
        if held is None or held.commit != self.release or not self.record.commit:
            return False
        return not is_of_release(self.record, self.published, partial(filter_at, self.directory))

    def outcome(self, *, reason: str, release: str, previous: str) -> Outcome:
        return Outcome(
            kind=OutcomeKind.PUBLISHED if release != previous else OutcomeKind.UNCHANGED,
            reason=reason,
            repository=self.record.repository,
            ref=self.record.ref,
            path=self.directory.path,
            commit=commit_of(release),
            previous_commit=commit_of(previous),
        )


def choose_release(
    current: str, previous: str | None, releases: Sequence[Release], to: str | None, left: Iterable[str]
) -> str:
    """Return the release to roll back to: the one that `to` begins, else the one retired last that is not in `left`.

    Of several that were retired in the same second it is `previous`. Raises ReleaseUnusable, which lists the releases.
    """
    if to is not None:
        # A commit may have two releases, by two filters: its id alone then means the one whose name that is.
        named = [each for each in releases if each.commit == to]
        named = named or [each for each in releases if each.commit.startswith(to)]
        if len(named) == 1 and (named[0].is_intact or named[0].commit == current):
            return named[0].commit
        problem = "begins more than one release" if len(named) > 1 else "does not stand"
        if len(named) == 1:
            problem = "was changed by somebody else"
        raise ReleaseUnusable(f"{to} {problem}; {_listed(current, releases)}")
    passed = {current, *left}
    usable = [each for each in releases if each.is_intact and each.commit not in passed]
    if not usable:
        raise ReleaseUnusable(f"no earlier release stands; {_listed(current, releases)}")
    return max(usable, key=lambda each: (each.retired_at, commit_of(each.commit) == previous, each.commit)).commit


def _listed(current: str, releases: Sequence[Release]) -> str:
    """List the releases for the operator, the current one first."""
    phrases = []
    for each in sorted(releases, key=lambda each: (each.commit != current, -each.retired_at)):
        since = datetime.fromtimestamp(each.retired_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        about = "published" if each.commit == current else f"retired {since}"
        phrases.append(f"{each.commit} ({about}{'' if each.is_intact else ', changed by somebody else'})")
    return "what stands: " + (", ".join(phrases) or "nothing")
