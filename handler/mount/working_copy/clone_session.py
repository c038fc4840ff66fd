"""The session of a working copy's first run, which clones it, and what every session shares."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from handler.exchange.remote import FetchQuery
from handler.model import Counts, Outcome, OutcomeKind
from handler.mount.fs.errno_map import as_failure
from handler.mount.git.fetch import Fetched
from handler.mount.git.mirror import StorePool
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
    """Whether this process did the last run here, and it succeeded. Then no killed run left anything."""
    return run.known is not None


@contextmanager
def opened(run: Run, stores: StorePool) -> Iterator[OpenCopy]:
    """Open the copy, if it can be pulled into. Raises CopyUnusable, MirrorDamaged."""
    paths = CopyPaths(run.directory.root)
    config = validate(paths.root, run.repository.url, run.target.ref)
    if not is_warm(run):
        prepare_state_directory(paths)
    # Not refreshed, though others may have repacked it: a store that misses an object looks again.
    with stores.borrow_as(CopyStore, paths.git, is_unchanged=True) as store:
        store.use_executor(run.executor)
        # An NFS client creates the files of one directory one by one, and refs are written beside all else.
        staging = StagingArea(paths.ref_staging) if run.workers.is_slow else None
        refs = Refs(paths.git, makes_logs=config.makes_logs, staging=staging)
        yield OpenCopy(paths=paths, config=config, branch=run.target.ref, store=store, refs=refs, workers=run.workers)


class CopySession:
    """What both kinds of session share."""

    def __init__(self, run: Run, stores: StorePool, stack: ExitStack) -> None:
        self._run = run
        self._stores = stores
        self._stack = stack
        self.notes: tuple[str, ...] = ()
        self.counts = Counts()
        self.complete_at = 0.0

    def deepening(self, commit: str, deeper_than: int) -> FetchQuery | None:
        """Return None: there is enough history."""
        return None

    def retire(self, unchanged: Outcome) -> Outcome:
        """Leave the copy as it is: it may have somebody's work."""
        return replace(unchanged, kind=OutcomeKind.IGNORED, reason="ref_gone")


class CloneSession(CopySession):
    """The first run of a working copy: clone it beside its place, and rename it when it is complete."""

    def __init__(self, run: Run, stores: StorePool, stack: ExitStack, clone: Clone) -> None:
        super().__init__(run, stores, stack)
        run.registry.add(run.target.path)
        self._clone = clone
        # Here too, and not only when the copy is opened: by then this process counts as warm.
        prepare_state_directory(CopyPaths(clone.stage))
        self.store = CopyStore(clone.git)
        self.store.max_object_bytes = run.settings.max_object_bytes
        stack.callback(self.store.close)
        self.store.refresh()
        self.have: str | None = None
        self._commit = ""

    def prepare(self, fetched: Fetched) -> bool:
        """Note the commit. `flip` checks it out."""
        self._commit = fetched.commit or ""
        return True

    def flip(self) -> float:
        """Check the commit out, and move the copy into its place."""
        written, plan = self._clone.finish(self.store, self._commit, DEFAULT_COMMITTER)
        self.store.close()
        # Its objects have moved. The event and the repacking read them at their new place.
        self.store = self._stack.enter_context(opened(self._run, self._stores)).store
        self.notes = tuple(f"{path!r} is a submodule: an empty directory" for path in plan.submodules[:_MAX_NOTED])
        self.counts = written
        self.complete_at = time.perf_counter()
        return self._run.clock()

    def tidy(self) -> tuple[str, ...]:
        """Repack what pulls wrote."""
        return repacked(self.store)


def repacked(store: CopyStore) -> tuple[str, ...]:
    """Repack the store. Returns a note if that fails: the pull is done."""
    try:
        store.maintain()
    except Exception as error:
        return (f"after the pull: {as_failure(error)}",)
    return ()
