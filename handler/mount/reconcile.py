"""The one operation: make a target's `current` equal the tip of its ref.

lock → fetch → plan → check out → flip → record → prune. It is idempotent: a push, a redelivery, a queue message, a
timer and an operator all only say "look now". There is no first time, and whoever comes late finds the work done.

It opens no connection: the network side has asked the remote before, and asks again for what a run finds missing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from handler.errors import Git2EfsError, LockLost, TargetOccupied
from handler.exchange.answers import Need
from handler.exchange.events import Emit
from handler.exchange.publisher import PublishRequest
from handler.model import Durations, Outcome, Target
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.lock import GenerationCache, locked
from handler.mount.fs.parallel import Workers, executor_for
from handler.mount.git.fetch import Fetcher
from handler.mount.git.incoming import open_transfer
from handler.mount.git.mirror import StorePool
from handler.mount.releases import publish
from handler.mount.releases.filters import filter_at
from handler.mount.target import ending
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.hold import settle_hold
from handler.mount.target.layout import RepositoryPaths
from handler.mount.target.mode import OpenSession, Session
from handler.mount.target.run import Run
from handler.outcome import RunFailed
from handler.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """Reconciles targets on one mount. Safe for threads."""

    settings: Settings
    mirrors: StorePool
    cache: GenerationCache
    progress: Callable[[str, int, int], None]
    """Called during a long check-out with what it is, and how many of how many files are written."""
    workers: Workers
    slow_workers: Workers
    """The same, for a mount that makes every step wait."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def reconcile(self, request: PublishRequest, emit: Emit | None) -> Outcome | Need:
        """Bring the target to what the remote says; the order survives a kill between any two steps.

        Calls `emit` with the run's event (None: there is no bus). Returns the outcome, or what the network side has to
        ask first; then nothing is changed. Raises RunFailed; before it has the lock, Git2EfsError, and OSError for what
        the mount answers. After MirrorDamaged the mirror is empty: try again.
        """
        with self.locked(request, emit) as run, _failing_as(run):
            _refuse_others_target(run)
            _claim(run)
            if run.is_held:
                mirror, filter_of = self.mirrors.borrow(run.paths.mirror), partial(filter_at, run.directory)
                settle_hold(run.published, run.directory, emit=emit, mirror=mirror, filter_of=filter_of)
                return ending.held(run)
            if _is_answered(run):
                return ending.unchanged(run)
            with _mode(request.target)(run, self.mirrors) as session:
                run.step_began = started = time.perf_counter()
                fetched = _fetcher(run, session).fetch(request.target.ref, request.push)
                if isinstance(fetched, Need):
                    return fetched
                run.wanted, run.step_began = fetched.commit, time.perf_counter()
                run.fetch_ms = _milliseconds(started, run.step_began)
                durations = Durations(fetch_ms=run.fetch_ms)
                if fetched.commit is None:
                    return session.retire(ending.fetched_only(run, fetched, durations, notes=session.notes))
                started = run.step_began
                if not session.prepare(fetched):
                    ending.record_confirmed(run, session.store, fetched)
                    session.tidy()
                    return ending.confirmed(run, fetched, durations, notes=session.notes)
                visible_at = session.flip()
                ending.record_published(run, session.store, fetched, visible_at=visible_at, counts=session.counts)
                durations = replace(
                    durations,
                    checkout_ms=_milliseconds(started, session.complete_at),
                    publish_ms=_milliseconds(session.complete_at, time.perf_counter()),
                )
                outcome = ending.published(
                    run, fetched, visible_at=visible_at, counts=session.counts, durations=durations
                )
                return replace(outcome, notes=(*session.notes, *session.tidy()))

    @contextmanager
    def locked(self, request: PublishRequest, emit: Emit | None) -> Iterator[Run]:
        """Hold the repository's lock, and read what is published. Raises LockTimeout, TargetOccupied, OSError."""
        paths = RepositoryPaths.of(self.settings.mount, request.repository.full_name)
        directory = self.directory(request.target)
        with (
            locked(paths.lock, request.deadline.bound(self.settings.lock_seconds)) as lock,
            executor_for(is_slow=lock.is_slow) as executor,
        ):
            reading = executor.submit(directory.read_published)
            found, generation = lock.stamp_generation()
            key = _cache_key(paths, request.target)
            known = self.cache.pop(key, found)
            run = Run(
                settings=self.settings,
                request=request,
                paths=paths,
                lock=lock,
                directory=directory.held_by(lock),
                published=reading.result(),
                known=known,
                executor=executor,
                workers=self.slow_workers if lock.is_slow else self.workers,
                clock=self.clock,
                sleep=self.sleep,
                progress=self.progress,
                emit=emit,
            )
            yield run
            # After an exception nothing is known: the run may have stopped anywhere.
            if run.known is not None:
                self.cache.put(key, generation, run.known)

    def directory(self, target: Target) -> TargetDirectory:
        """Return the target's directory on the mount."""
        return TargetDirectory.of(self.settings.mount, target.path, self.clock, is_copy=target.is_copy)


@contextmanager
def _failing_as(run: Run) -> Iterator[None]:
    """Raise what the run fails with as RunFailed: with what it was to publish, and what it has cost."""
    try:
        yield
    except Exception as error:
        raise _failed(run, _explained(run, as_failure(error))) from error


def _explained(run: Run, error: Git2EfsError) -> Git2EfsError:
    """Return LockLost in the place of any failure of a run that lost its lock: another run's work explains it."""
    try:
        run.lock.check()
    except LockLost as lost:
        return lost
    except OSError:
        pass  # the mount fails, and the run said how
    return error


def _failed(run: Run, error: Git2EfsError) -> RunFailed:
    spent = 0.0 if run.step_began is None else _milliseconds(run.step_began, time.perf_counter())
    durations = Durations(fetch_ms=spent)
    if run.fetch_ms is not None:
        # What fails after the fetch fails in the check-out, or close behind it.
        durations = Durations(fetch_ms=run.fetch_ms, checkout_ms=spent)
    return RunFailed(error, refused_commit=run.wanted, durations=durations)


def _fetcher(run: Run, session: Session) -> Fetcher:
    return Fetcher(
        answers=run.request.answers,
        store=session.store,
        have=session.have,
        not_before=run.not_before,
        confirmed_pushed_at=run.confirmed_pushed_at,
        depth=run.repository.depth,
        max_pack_bytes=run.settings.max_pack_bytes,
        lag_seconds=run.settings.lag_seconds,
        is_payload_trusted=run.repository.trust_payload,
        bases=run.others_commits if not run.target.is_copy else tuple,
        open_transfer=partial(open_transfer, run.paths.incoming),
        on_decided=run.want,
        deepening=session.deepening,
        clock=run.clock,
    )


def _mode(target: Target) -> OpenSession:
    if target.is_copy:
        # Imported when it is used: who keeps no working copy does not pay for merging and rebasing.
        from handler.mount.working_copy import pull

        return pull.open_session
    return publish.open_session


def _cache_key(paths: RepositoryPaths, target: Target) -> str:
    """Return the key of what is known: of all of a repository's releases together, of a working copy by itself."""
    return f"{paths.lock}#{target.path}" if target.is_copy else paths.lock


def _refuse_others_target(run: Run) -> None:
    record = run.published.record
    if record is not None and record.repository not in ("", run.repository.full_name):
        raise TargetOccupied(f"{run.target.path} is published from {record.repository}")


def _claim(run: Run) -> None:
    """Write whose the target is where somebody damaged that: without it no operator could end a hold."""
    record = run.published.record
    if record is not None and not (record.repository and record.ref):
        record = replace(record, repository=run.repository.full_name, ref=record.ref or run.target.ref)
        run.directory.write_record(record)
        run.published = replace(run.published, record=record)


def _is_answered(run: Run) -> bool:
    """Whether another run asked the remote after this delivery came, and has put its event.

    Then all is said, unless this delivery's push is the newest known. In a burst that holds for most runs that waited
    for the lock.
    """
    record, push = run.published.record, run.request.push
    if record is None or record.commit != run.published.commit or record.ref != run.target.ref:
        return False
    if record.filter != run.filter:
        return False
    pushed_at = push.pushed_at if push is not None else None
    is_newest = pushed_at is not None and pushed_at > (run.confirmed_pushed_at or 0)
    is_asked_since = record.asked_at >= run.request.received_at
    return is_asked_since and not is_newest and not run.has_pending_event


def _milliseconds(since: float, until: float) -> float:
    return (until - since) * 1000
