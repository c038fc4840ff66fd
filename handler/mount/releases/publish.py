"""Publish a target as releases: a session of `reconcile` that checks out a tree beside, and flips `current` to it."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice

from handler.errors import Git2EfsError, MirrorDamaged
from handler.model import WHOLE_TREE, Counts, Outcome, OutcomeKind
from handler.mount.fs.errno_map import as_failure
from handler.mount.git.fetch import Fetched
from handler.mount.git.filtered import FilteredTrees
from handler.mount.git.mirror import Mirror, StorePool, discard_mirror
from handler.mount.releases.build import ReleaseBuilder
from handler.mount.releases.filters import establish
from handler.mount.releases.inventory import Inventory, flip, list_releases
from handler.mount.releases.prune import prune, sweep
from handler.mount.releases.retire import retire
from handler.mount.target.directory import list_names, revoke
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
        confirmed = run.published.confirmed_commit
        # What the mirror has lost must not be claimed; it keeps what releases are of.
        self.have = confirmed if confirmed is not None and mirror.holds(confirmed) else run.published.commit
        known = (run.known or {}).get(run.target.path)
        # Listed while the remote is asked: both only wait.
        self._listing = run.executor.submit(partial(list_releases, run.directory, known, run.filter))
        self._inventory = Inventory((), ())
        self._release = ""
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
        run, commit = self._run, fetched.commit or ""
        retired: tuple[str, ...] = ()
        self._inventory = self._listing.result()
        _revoke(run, self._inventory.staged)
        if self._is_shown(commit):
            return False
        if run.published.commit is None:
            retired = self._make_way()
            run.refuse_new()
            # On the list before its first release: a target that is not on it is lost to maintenance after a kill.
            run.registry.add(run.target.path)
        if (filters := self._inventory.filters) is not None:
            self._inventory = replace(self._inventory, filters=establish(run.directory, filters, self._inventory.named))
        self._release = self._inventory.name_of(commit, run.filter)
        filtered = self._inventory.filtered(self.store)
        self._builder = builder = ReleaseBuilder(run, self.store, self._inventory, filtered)
        builder.build(self._release)
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
        left_out = (
            f"{path!r} may lead out of what is published, and is left out"
            for path in (islice(self._links_left_out(filtered), _MAX_NOTED) if filtered is not None else ())
        )
        self.notes = (*retired, *submodules, *pointers, *left_out, *changed, *builder.notes)
        return True

    def _is_shown(self, commit: str) -> bool:
        """Whether what readers have is what the rule publishes of the commit. Raises SubdirectoryMissing."""
        published, inventory, rule = self._run.published, self._inventory, self._run.filter
        # Before anything is written, also of a target that is new.
        trees = FilteredTrees(self.store) if rule is not WHOLE_TREE else None
        root = trees.root(commit, rule) if trees is not None else None
        # `current` may lead nowhere, after somebody removed its release: then it is written again.
        if published.commit is None or published.release is None or not inventory.has(published.release):
            return False
        if published.release != inventory.name_of(published.commit, rule):
            return False  # by another rule
        if published.commit == commit:
            return True
        try:
            # One comparison. Of all of the tree it is not made: `current` then names each commit that was pushed.
            return trees is not None and rule.subdirectory is not None and root == trees.root(published.commit, rule)
        except Git2EfsError:
            return False  # objects of what is published are gone, after a fresh fetch say

    def _links_left_out(self, filtered: FilteredTrees) -> Iterator[bytes]:
        """Yield the links that the release is without, and that were not left out of what was published before."""
        root_of, _ = self._inventory.trees(self.store, filtered)
        old: bytes | None = None
        with suppress(Git2EfsError):  # its objects are gone, say: then all of them are told
            old = root_of(self._run.published.release) if self._run.published.release is not None else None
        yield from filtered.links_left_out(old, root_of(self._release))

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
            standing = prune(run, self._inventory, self._builder, current=self._release)
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
    """Before the first change; see `directory.revoke`."""
    revoke(run.directory, staged, run.published.name)
