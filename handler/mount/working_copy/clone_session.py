"""The first run of a working copy, which makes it; and what every run of one shares."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from handler.model import Counts, Outcome, OutcomeKind
from handler.mount.fs.errno_map import as_failure
from handler.mount.fs.parallel import Workers
from handler.mount.git.fetch import Fetched, Have
from handler.mount.git.store_pool import StorePool
from handler.mount.target.run import Run
from handler.mount.working_copy.clone import Clone
from handler.mount.working_copy.gitdir.copy_store import CopyStore
from handler.mount.working_copy.gitdir.refs import Refs
from handler.mount.working_copy.gitdir.staging_area import StagingArea
from handler.mount.working_copy.gitdir.validate import validate
from handler.mount.working_copy.open_copy import DEFAULT_COMMITTER, OpenCopy
from handler.mount.working_copy.paths import CopyPaths, prepare_state_directory

_MAX_NOTED = 20


def is_warm(run: Run) -> bool:
    """Whether this process did the last run here, and it succeeded: then no killed run left anything."""
    return run.known is not None


@contextmanager
def opened(run: Run, stores: StorePool) -> Iterator[OpenCopy]:
    """Open the copy, if it is one that can be pulled into. Raises CopyUnusable, MirrorDamaged, OSError."""
    paths = CopyPaths(run.directory.paths.directory)
    config = validate(paths.root, run.repository.url, run.target.ref)
    if not is_warm(run):
        prepare_state_directory(paths)
    # Not refreshed, though others may have repacked it: the store sees that by itself, where it matters.
    with stores.borrow_as(CopyStore, paths.git, is_unchanged=True) as store:
        store.executor = run.executor
        # An NFS client makes files of one directory one after the other, and refs are written beside all else.
        staging = StagingArea(paths.ref_staging) if run.is_slow else None
        refs = Refs(paths.git, makes_logs=config.makes_logs, staging=staging)
        workers = Workers(run.settings.checkout_workers, is_slow=run.is_slow)
        yield OpenCopy(paths=paths, config=config, branch=run.target.ref, store=store, refs=refs, workers=workers)


class CopySession:
    """What both kinds of session share."""

    def __init__(self, run: Run, stores: StorePool, stack: ExitStack) -> None:
        self._run = run
        self._stores = stores
        self._stack = stack
        self.notes: tuple[str, ...] = ()
        self.counts = Counts()
        self.complete_at = 0.0

    def retire(self, unchanged: Outcome) -> Outcome:
        """Leave the copy as it is: somebody's work may be in it."""
        return replace(unchanged, kind=OutcomeKind.IGNORED, reason="ref_gone")


class CloneSession(CopySession):
    """The first run of a working copy: make it beside, and rename it into its place when it is complete."""

    def __init__(self, run: Run, stores: StorePool, stack: ExitStack, clone: Clone) -> None:
        super().__init__(run, stores, stack)
        run.registry.add(run.target.path)
        self._clone = clone
        self.store = CopyStore(clone.git)
        stack.callback(self.store.close)
        self.store.refresh()
        self.have = Have(None, run.confirmed_pushed_at)
        self._commit = ""
        self._is_published = False

    def prepare(self, fetched: Fetched) -> bool:
        """Say what is about to be published; the clone checks out where it makes the copy."""
        self._commit = fetched.commit or ""
        self._run.begin(self._commit)
        return True

    def flip(self) -> float:
        """Check out beside, and rename the copy into its place."""
        written, plan = self._clone.finish(self.store, self._commit, DEFAULT_COMMITTER)
        self.store.close()
        # Its objects are at their new place now; the event and the repacking read them there.
        self.store = self._stack.enter_context(opened(self._run, self._stores)).store
        self.notes = tuple(f"{path!r} is a submodule: an empty directory" for path in plan.submodules[:_MAX_NOTED])
        self.counts = Counts(files_written=written.files, bytes_written=written.bytes)
        self.complete_at = time.perf_counter()
        return self._run.clock()

    def tidy(self) -> tuple[str, ...]:
        """Repack what pulls wrote."""
        return repacked(self.store)


def repacked(store: CopyStore) -> tuple[str, ...]:
    """Repack the store; returns notes on what failed: the pull is done."""
    try:
        store.maintain()
    except Exception as error:
        return (f"after the pull: {as_failure(error)}",)
    return ()
