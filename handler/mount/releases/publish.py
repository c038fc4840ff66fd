"""Publish a target as releases: a session of `reconcile` that checks out a tree beside, and flips `current` to it."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from handler.errors import Git2EfsError, MirrorDamaged
from handler.model import Counts, Outcome, OutcomeKind
from handler.mount.fs.errno_map import as_failure
from handler.mount.git.fetch import Fetched
from handler.mount.git.mirror import Mirror, StorePool, discard_mirror
from handler.mount.releases.build import ReleaseBuilder
from handler.mount.releases.inventory import Inventory, flip, list_releases, revoke
from handler.mount.releases.prune import prune, sweep
from handler.mount.releases.retire import retire
from handler.mount.target.directory import list_names
from handler.mount.target.ending import unchanged
from handler.mount.target.run import Run

_MAX_NOTED = 20


@contextmanager
def open_session(run: Run, mirrors: StorePool) -> Iterator["ReleaseSession"]:
    """Open the mirror for one run. A damaged one is emptied on the way out: the next run fetches it anew."""
    try:
        with mirrors.borrow(run.paths.mirror, is_unchanged=run.known is not None) as mirror:
            yield ReleaseSession(run, mirror)
    except MirrorDamaged:
        # What is published stays: readers need no object. Where the lock was lost, another run may have repacked the
        # mirror under this one, and needs it.
        run.lock.check()
        discard_mirror(run.paths.mirror)
        raise


class ReleaseSession:
    """One run of a target with releases; see `Session`."""

    def __init__(self, run: Run, mirror: Mirror) -> None:
        self._run = run
        self.store = mirror
        self.have = run.published.commit
        known = (run.known or {}).get(run.target.path)
        # Listed while the remote is asked: both only wait.
        self._listing = run.executor.submit(partial(list_releases, run.directory, known))
        self._inventory = Inventory((), ())
        self._commit = ""
        self.notes: tuple[str, ...] = ()
        self._builder: ReleaseBuilder | None = None
        self.counts = Counts()
        self.complete_at = 0.0

    def deepening(self, commit: str, deeper_than: int) -> None:
        """Return None: a release needs no history."""

    def retire(self, unchanged: Outcome) -> Outcome:
        """Take the target away, if it ends with its ref."""
        _revoke(self._run, self._listing.result().staged)
        outcome = retire(self._run, unchanged)
        self._run.know(None)
        return outcome

    def prepare(self, fetched: Fetched) -> bool:
        """Check the commit's tree out under its name, unless readers have it already."""
        run = self._run
        retired: tuple[str, ...] = ()
        self._inventory, self._commit = self._listing.result(), fetched.commit or ""
        _revoke(run, self._inventory.staged)
        # `current` may lead nowhere, after somebody removed its release: then it is written again.
        if self._commit == run.published.commit and self._inventory.has(self._commit):
            return False
        if run.published.commit is None:
            retired = self._make_way()
            run.refuse_new()
            # On the list before its first release: a target that is not on it is lost to maintenance after a kill.
            run.registry.add(run.target.path)
        self._builder = builder = ReleaseBuilder(run, self.store, self._inventory)
        builder.build(self._commit)
        self.counts, self.complete_at = builder.counts, time.perf_counter()
        submodules = (f"{path!r} is a submodule: an empty directory" for path in builder.submodules[:_MAX_NOTED])
        pointers = (
            f"{path!r} is a Git LFS pointer: its content is not fetched" for path in builder.pointers[:_MAX_NOTED]
        )
        changed = (
            f"releases/{each.commit} was changed by somebody else: it is not recycled"
            for each in self._inventory.releases
            if not each.is_intact
        )
        self.notes = (*retired, *submodules, *pointers, *changed, *builder.notes)
        return True

    def _make_way(self) -> tuple[str, ...]:
        """Retire the target of a branch that is gone, where this one's path leads through it; return notes."""
        run = self._run
        outgoing = run.outgoing()
        # The remote has just shown this target's ref, so that the other one's is gone, whoever tells it first.
        if outgoing is None:
            return ()
        _revoke(outgoing, list_names(outgoing.directory.staging))
        if retire(outgoing, unchanged(outgoing)).kind is not OutcomeKind.RETIRED:
            return ()
        outgoing.know(None)
        run.known = outgoing.known
        return (f"{outgoing.target.path} was retired first: there is no {outgoing.target.ref} any more",)

    def flip(self) -> float:
        """Make `current` lead to what was built."""
        assert self._builder is not None
        # Everything is complete and named; before this line a kill leaves the old tree, after it the new one.
        flip(self._run.directory, self._builder.link)
        self._run.reserved_record = self._builder.record
        return self._run.clock()

    def tidy(self) -> tuple[str, ...]:
        """Prune what is past its grace, and repack the mirror."""
        run = self._run
        if self._builder is None:
            is_swept = sweep(run.directory, self._inventory)
            run.know(self._inventory.known if is_swept else None)
            return ()
        # Readers have the new tree. Whatever fails from here on must not make the push look failed.
        try:
            standing = prune(run, self._inventory, self._builder, current=self._commit)
            run.lock.check_after_pause()
            self.store.maintain(self._release_commits, keeps_history=run.repository.depth == 0)
        except (Git2EfsError, OSError) as error:
            run.known = None
            return (f"after the flip: {as_failure(error)}",)
        run.know(standing)
        return ()

    def _release_commits(self) -> list[str]:
        return self._run.registry.release_commits()


def _revoke(run: Run, staged: Iterable[str]) -> None:
    """Before the first change; see `inventory.revoke`."""
    revoke(run.directory, staged, run.published.commit)
