"""Make a target's spares, when nobody waits for a run any more: under the repository's lock, and giving way to others.

Without the lock, a push could take the objects away that are being read, or the tree that is being written. With it a
push must not wait: it says so beside the lock, the maker ends at the next batch of files, and the push goes on with the
tree that it finds half made.
"""

import time
from dataclasses import replace

from handler.errors import LockTimeout
from handler.exchange.publisher import PublishRequest
from handler.model import Counts
from handler.mount.fs.lock import Waiting
from handler.mount.reconcile import Reconciler
from handler.mount.releases.inventory import list_releases
from handler.mount.releases.prune import discard
from handler.mount.releases.spares import SpareMaker
from handler.mount.target.layout import RepositoryPaths

_PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Between tries, where another run holds the lock or waits for it."""
_LOOK_SECONDS = 0.1
"""How long another run waits at most until it is seen. To look costs up to three round trips."""


class _GaveWay(Exception):
    """Another run waits for the lock."""


def make_spares(reconciler: Reconciler, request: PublishRequest) -> Counts:
    """Make the trees that the target's next pushes need, as `SpareMaker` does; return what was written and removed.

    Gives up after some tries, where other runs have the lock all the time. Raises Git2EfsError, and OSError for what
    the mount answers.
    """
    counts = Counts()
    for pause_seconds in (*_PAUSES_SECONDS, 0.0):
        done, is_over = _try(reconciler, request)
        counts += done
        if is_over:
            break
        request.deadline.check("the spares are made another time")
        reconciler.sleep(pause_seconds)
    return counts


def _try(reconciler: Reconciler, request: PublishRequest) -> tuple[Counts, bool]:
    """Return what was done, and whether that is all: False where another run has the lock, or waits for it."""
    # Made before the lock is taken: who begins to wait in between is seen too.
    waiting = Waiting(RepositoryPaths.of(reconciler.settings.mount, request.repository.full_name).lock)
    maker: SpareMaker | None = None
    is_over = True
    try:
        with (
            _giving_way(reconciler, waiting).locked(request, None) as run,
            reconciler.mirrors.borrow(run.paths.mirror, is_unchanged=run.known is not None) as mirror,
        ):
            record = run.published.record
            if record is not None and record.repository != run.repository.full_name:
                # Another repository took the target over since: its lock guards the staging, not this one.
                return Counts(), True
            known = (run.known or {}).get(request.target.path)
            maker = SpareMaker(run, mirror, list_releases(run.directory, known, run.filter))
            maker.make()
            run.know(maker.known)
    except (_GaveWay, LockTimeout):
        is_over = False
    finally:
        if maker is not None:
            # Without the lock: to remove whole trees takes as long as to write them.
            discard(maker.run.directory, maker.trash)
    return maker.counts if maker is not None else Counts(), is_over


def _giving_way(reconciler: Reconciler, waiting: Waiting) -> Reconciler:
    """Return a reconciler that never waits for a lock, and whose check-outs end where another run waits for it."""
    looked_at = time.monotonic()

    def progress(what: str, done: int, total: int) -> None:
        nonlocal looked_at
        if done < total and time.monotonic() - looked_at >= _LOOK_SECONDS:
            looked_at = time.monotonic()
            if waiting.is_anyone():
                raise _GaveWay
        reconciler.progress(what, done, total)

    return replace(reconciler, settings=replace(reconciler.settings, lock_seconds=0), progress=progress)
