"""Which targets of a repository are behind their remote: compare what its refs name with each target."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from handler.config.names import is_pattern
from handler.config.targets import targets_in, targets_of
from handler.config.versions import newest
from handler.exchange.drift import RepositoryDrift, TargetDrift
from handler.exchange.remote import RemoteRefs
from handler.model import Repository, Target, TreeFilter, filter_of
from handler.mount.target.directory import Published, TargetDirectory, has_releases
from handler.mount.target.registry import TargetRegistry
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class DriftDetector:
    """Detects drift on one mount. Safe for threads.

    It takes no lock, so its answer may be out of date at once: `reconcile` reads the target again under the lock.
    """

    settings: Settings
    clock: Callable[[], float] = time.time

    def detect(self, repository: Repository, refs: RemoteRefs) -> RepositoryDrift:
        """Compare every target with what the remote's refs name. Raises ConfigurationInvalid, TargetOccupied, OSError.

        `refs` answers for `targets.ref_prefixes`, with HEAD where the repository publishes its default branch.
        """
        targets = targets_in(repository, refs.tips, refs.head)
        behind: dict[str, None] = {}
        drifts: list[TargetDrift] = []
        for target in targets:
            ref, commit = _tip_of(target, refs)
            # A configured ref that the remote does not have publishes nothing, and removes nothing.
            published = self._read_published(target)
            is_behind = commit is not None and not self._is_settled(published, commit, filter_of(repository, target))
            drifts.append(TargetDrift(target.path, ref, commit, is_behind, self._is_held(target, published)))
            if is_behind:
                behind[ref] = None
        paths, left_over = {target.path for target in targets}, list[TargetDrift]()
        drifts += _targets_without_ref(repository, refs)
        known = {drift.path for drift in drifts}
        for path in TargetRegistry.of(self.settings.mount, repository.full_name).target_paths():
            if path in paths:
                continue
            if retirable := self._retirable_ref(repository, path, refs.head):
                behind |= dict.fromkeys(retirable)
            elif path not in known:
                left_over += self._left_over(repository.full_name, path)
        return RepositoryDrift(tuple(behind), tuple(drifts), tuple(left_over))

    def published_refs(self, repository: str) -> tuple[str, ...]:
        """Return the refs of all targets that are published on the mount. Raises OSError."""
        mount = self.settings.mount
        paths = TargetRegistry.of(mount, repository).target_paths()
        records = [TargetDirectory.at(mount, path, self.clock).read_record() for path in paths]
        refs = [record.ref for record in records if record is not None and record.repository == repository]
        return tuple(dict.fromkeys(filter(None, refs)))

    def _left_over(self, repository: str, path: str) -> Iterator[TargetDrift]:
        """Yield the target at a path that no rule publishes to, if readers can read it, and no operator holds it."""
        directory = TargetDirectory.at(self.settings.mount, path, self.clock)
        record = directory.read_record()
        if record is None or record.repository != repository or record.held is not None:
            return
        if directory.is_copy or has_releases(directory.root):
            yield TargetDrift(path, record.ref, None, is_behind=False)

    def _read_published(self, target: Target) -> Published:
        return TargetDirectory.of(self.settings.mount, target.path, self.clock, is_copy=target.is_copy).read_published()

    def _is_held(self, target: Target, published: Published) -> bool:
        record = published.record
        if published.commit is None and not target.is_copy:
            # Where somebody removed `current` the record may still have a hold, and a run obeys it.
            record = TargetDirectory.of(self.settings.mount, target.path, self.clock).read_record()
        return record is not None and record.held is not None

    def _is_settled(self, published: Published, commit: str, tree_filter: TreeFilter) -> bool:
        """Whether the commit is published, or an operator's hold keeps it away, and no event is pending.

        What readers have may be an earlier commit's, if it was confirmed that the filter leaves the same of both.
        """
        record = published.record
        if record is None or record.commit != published.commit or not record.is_whole:
            return False
        if self.settings.event_bus and not record.announced:
            return False
        is_published = published.confirmed_commit == commit and record.filter == tree_filter
        return record.held is not None or (is_published and record.gone_since is None)

    def _retirable_ref(self, repository: Repository, path: str, head: str | None) -> list[str]:
        """Return the ref of a target that a pattern made, and that the remote does not have any more."""
        directory = TargetDirectory.at(self.settings.mount, path, self.clock)
        # Never retire a working copy: somebody's work may be in it.
        record = None if directory.is_copy else directory.read_record()
        if record is None or record.repository != repository.full_name or record.held is not None:
            return []
        targets = targets_of(repository, record.ref, head)
        return [record.ref for target in targets if target.path == path and target.is_retirable]


def _targets_without_ref(repository: Repository, refs: RemoteRefs) -> Iterator[TargetDrift]:
    """Yield the targets of configured refs that the remote does not have: misspelt, not pushed yet, or deleted."""
    names = dict.fromkeys(rule.ref for rule in repository.publish if rule.ref is not None and not is_pattern(rule.ref))
    for ref in names:
        if ref not in refs.tips and ref != refs.head:
            for target in targets_of(repository, ref, refs.head):
                if target.ref == ref and not target.is_retirable:
                    yield TargetDrift(target.path, ref, None, is_behind=False)


def _tip_of(target: Target, refs: RemoteRefs) -> tuple[str, str | None]:
    """Return the ref that the target publishes now, and its commit; None where the remote does not have the ref."""
    ref = newest(refs.tips, target.ref, prereleases=target.prereleases) if target.is_latest else target.ref
    tip = refs.tips.get(ref) if ref is not None else None
    return ref or target.ref, tip.commit if tip is not None else None
