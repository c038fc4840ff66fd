"""Go back to an earlier release in one flip, hold a target where it stands, and let it go on.

The hold is in the record before the flip is made: killed in between, the target is held where it was; killed after
the flip, the next rollback, push or schedule brings the record to what `current` says. Neither undoes the rollback.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from handler.deadline import NO_DEADLINE, Deadline
from handler.errors import ReleaseUnusable, TargetUnknown
from handler.exchange.events import Emit
from handler.model import Outcome, OutcomeKind
from handler.mount.fs.executor import Executor
from handler.mount.fs.lock import HeldLock, locked
from handler.mount.git.store_pool import StorePool
from handler.mount.operations.targets import MountedTarget, refuse_stranger
from handler.mount.releases.build import prepare_flip
from handler.mount.releases.inventory import flip, list_releases
from handler.mount.releases.prune import sweep
from handler.mount.releases.strategy import Release
from handler.mount.target.directory import Published
from handler.mount.target.hold import notify_and_write, record_of_flip, settle_hold
from handler.mount.target.record import Hold, PublishedRecord
from handler.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rollback:
    """Turns targets back and holds them, each under its repository's lock. Asks neither remote nor Parameter Store.

    Every method raises TargetUnknown, TargetOccupied, LockTimeout and OSError.
    """

    settings: Settings
    mirrors: StorePool
    emit: Emit | None = None
    clock: Callable[[], float] = time.time

    def roll_back(
        self, standing: MountedTarget, to: str | None, by: str = "", why: str = "", deadline: Deadline = NO_DEADLINE
    ) -> Outcome:
        """Go back to the release `to` (a commit, or how it begins), None: the one before, and hold the target there.

        Done twice it goes back twice, and never forth again to what was left. Raises ReleaseUnusable too.
        """

        def turn(hold: HeldLock) -> Outcome:
            if standing.directory.paths.is_copy:
                raise ReleaseUnusable(
                    f"{standing.path} is a working copy, which has no releases: go back with git in it"
                )
            with Executor(is_slow=hold.is_slow) as beside:
                return self._turn(standing, to, by, why, beside)

        return self._locked(standing, deadline, turn)

    def _turn(self, standing: MountedTarget, to: str | None, by: str, why: str, beside: Executor) -> Outcome:
        found, record, current = self._find(standing)
        looked = list_releases(standing.directory.paths)
        held = record.held
        if held is not None and held.commit == current != record.commit and _fits(to, current):
            self._settle_hold(standing, found)  # the flip of a killed rollback: it was this one
            sweep(standing.directory.paths, looked)
            return _outcome(standing, record, current, record.commit, reason="rolled_back")
        wanted = choose_release(current, record.previous_commit, looked.releases, to, held.left if held else ())
        left = dict.fromkeys((*(held.left if held else ()), current))
        left.pop(wanted, None)
        held = Hold(self.clock(), by, why, wanted, tuple(left))
        standing.directory.write_record(replace(record, held=held))
        if wanted == current:
            self._settle_hold(standing, self._find(standing)[0])
            return _outcome(standing, record, current, current, reason="held")
        link = prepare_flip(standing.directory, looked, previous=current, wanted=wanted, staged=None, executor=beside)
        flip(standing.directory.paths, link)
        flipped_at = self.clock()
        fresh = record_of_flip(record, commit=wanted, previous=current, at=flipped_at, held=held)
        mirror = self.mirrors.borrow(standing.paths.mirror)
        notify_and_write(fresh, found, standing.directory, emit=self.emit, mirror=mirror)
        sweep(standing.directory.paths, looked)
        return _outcome(standing, record, wanted, current, reason="rolled_back")

    def hold(self, standing: MountedTarget, by: str = "", why: str = "", deadline: Deadline = NO_DEADLINE) -> Outcome:
        """Hold the target where it stands; one that is held already stays so, for the reason now given."""

        def keep(_: HeldLock) -> Outcome:
            found, record, current = self._find(standing)
            left = record.held.left if record.held is not None else ()
            held = Hold(self.clock(), by, why, current, left)
            standing.directory.write_record(replace(record, held=held))
            self._settle_hold(standing, replace(found, record=replace(record, held=held)))
            return _outcome(standing, record, current, current, reason="held")

        return self._locked(standing, deadline, keep)

    def let_go(self, standing: MountedTarget, deadline: Deadline = NO_DEADLINE) -> str:
        """End a hold, if there is one; returns the ref that is to be published now."""

        def end(_: HeldLock) -> str:
            record = standing.directory.read_record()
            if record is None or record.repository != standing.repository:
                raise TargetUnknown(f"{standing.path} is not what it was")
            if record.held is not None:
                standing.directory.write_record(replace(record, held=None))
            return record.ref

        return self._locked(standing, deadline, end)

    def _locked(self, standing: MountedTarget, deadline: Deadline, work: Callable[[HeldLock], T]) -> T:
        """Work under the repository's lock, with a mark, so that warm processes look afresh."""
        wait = deadline.bound(self.settings.lock_seconds)
        done: list[T] = []
        try:
            with locked(standing.paths.lock, wait) as hold:
                hold.stamp_generation()
                done.append(work(hold))
        except OSError:
            # To close the lock's file may fail when all is done; told of a failure, one would go back a second time.
            if not done:
                raise
        return done[0]

    def _find(self, standing: MountedTarget) -> tuple[Published, PublishedRecord, str]:
        """Look again under the lock: somebody may have been there since the target was found."""
        found = standing.directory.read_published()
        if found.commit is None or found.record is None:
            raise TargetUnknown(f"nothing is published at {standing.path}, or its record is gone: publish it first")
        if found.record.repository != standing.repository:
            raise TargetUnknown(f"{standing.path} is not {standing.repository}'s any more")
        refuse_stranger(self.settings.mount, standing.path, found.record)
        return found, found.record, found.commit

    def _settle_hold(self, standing: MountedTarget, published: Published) -> None:
        mirror = self.mirrors.borrow(standing.paths.mirror)
        settle_hold(published, standing.directory, emit=self.emit, mirror=mirror)


def choose_release(
    current: str, previous: str | None, releases: Sequence[Release], to: str | None, left: Iterable[str]
) -> str:
    """Return the commit to go back to: the one that `to` begins, else of those not `left` the one retired last.

    Of those retired in the same second it is `previous`. Raises ReleaseUnusable, which says what stands.
    """
    if to is not None:
        named = [each for each in releases if each.commit.startswith(to)]
        if len(named) == 1 and (named[0].is_intact or named[0].commit == current):
            return named[0].commit
        problem = "begins more than one release" if len(named) > 1 else "does not stand"
        if len(named) == 1:
            problem = "was changed by somebody else"
        raise ReleaseUnusable(f"{to} {problem}; {_what_stands(current, releases)}")
    passed = {current, *left}
    usable = [each for each in releases if each.is_intact and each.commit not in passed]
    if not usable:
        raise ReleaseUnusable(f"no earlier release stands; {_what_stands(current, releases)}")
    return max(usable, key=lambda each: (each.retired_at, each.commit == previous, each.commit)).commit


def _what_stands(current: str, releases: Sequence[Release]) -> str:
    """Say what there is to go back to; only what is certain is called so."""
    phrases = []
    for each in sorted(releases, key=lambda each: (each.commit != current, -each.retired_at)):
        since = datetime.fromtimestamp(each.retired_at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        about = "published" if each.commit == current else f"retired {since}"
        phrases.append(f"{each.commit} ({about}{'' if each.is_intact else ', changed by somebody else'})")
    return "what stands: " + (", ".join(phrases) or "nothing")


def _fits(to: str | None, commit: str) -> bool:
    return to is None or commit.startswith(to)


def _outcome(standing: MountedTarget, record: PublishedRecord, commit: str, previous: str, *, reason: str) -> Outcome:
    kind = OutcomeKind.PUBLISHED if commit != previous else OutcomeKind.UNCHANGED
    return Outcome(
        kind=kind,
        reason=reason,
        repository=standing.repository,
        ref=record.ref,
        path=standing.path,
        commit=commit,
        previous_commit=previous,
    )
