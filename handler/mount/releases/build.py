"""Build the next release of a target, the cheapest way there is: recycle a retired one, or write the tree whole.

Raises OSError for what the mount answers.
"""

import errno
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial

from handler.errors import ReleasesInGrace
from handler.model import NULL_OID, Counts, ExternalLinks
from handler.mount.fs.checkout import check_out, with_touches
from handler.mount.fs.directories import make_directories, make_directory
from handler.mount.fs.files import is_there, rename
from handler.mount.fs.plan import TreePlan
from handler.mount.git.filtered import FilteredTrees
from handler.mount.git.mirror import Mirror
from handler.mount.git.objects import BLOB, is_lfs_pointer
from handler.mount.git.plan import NOT_PLANNED, check_tree_bytes, plan_change, plan_touches
from handler.mount.releases.inventory import (
    Inventory,
    Step,
    Trees,
    at_work,
    free_trees,
    prepare_flip,
    read_spares,
    take_over,
)
from handler.mount.releases.strategy import (
    WHOLE,
    Release,
    Strategy,
    StrategyKind,
    choose_strategy,
    max_releases,
    missed_by,
    shown_since,
)
from handler.mount.releases.times import renew
from handler.mount.target.directory import TargetDirectory, take_away
from handler.mount.target.layout import is_spare, journal_name, patch_name, trash_name, work_name
from handler.mount.target.run import Run

NOT_AS_LEFT = (errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ELOOP, errno.EISDIR, errno.ENOTEMPTY)
"""What a patch meets where somebody changed a release: then it is thrown away, and the tree written whole."""


@dataclass(slots=True)
class ReleaseBuilder:
    """Builds one release for a run. `inventory` is what lies in the target's directory,
    `filtered` what its filters leave of trees (see `Inventory.filtered`).

    After `build`, the other fields say what it took; `submodules` and `pointers` (Git LFS's) are paths. `link` is the
    path of the temporary link to the release, ready for the flip, `record` that of the record's file; `spare` is the
    name of the spare that was taken; `leftovers` are the names in staging that nobody needs any more, `notes` say what
    others had put there.
    """

    run: Run
    mirror: Mirror
    inventory: Inventory
    filtered: FilteredTrees | None = None
    strategy: Strategy = field(default_factory=lambda: WHOLE)
    counts: Counts = field(default_factory=Counts)
    submodules: tuple[bytes, ...] = ()
    pointers: tuple[bytes, ...] = ()
    link: str = ""
    record: str = ""
    spare: str = ""
    leftovers: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _spares: dict[str, Release] = field(default_factory=dict)
    _lfs_blobs: set[bytes] = field(default_factory=set)

    def build(self, wanted: str) -> None:
        """Build `releases/<wanted>`, complete.

        Raises ReleasesInGrace, MirrorDamaged, TreeUnsafe, TreeTooLarge, ObjectTooLarge, OutOfTime, LockLost.
        """
        self.run.let_clock_tick()
        self.leftovers = [name for name in self.inventory.staged if not is_spare(name)]
        free = free_trees(self._paths, self.leftovers)
        self._spares = {name: each for name, each in read_spares(self._paths, self.inventory).items() if each.is_intact}
        patches = [*free, *((each.commit, each.commit) for each in self._spares.values())]
        if any(each.commit == wanted and not each.is_intact for each in self.inventory.releases):
            # Somebody changed it: it cannot be flipped to, and its name is needed for a sound one.
            self.let_go((wanted,), self.inventory.releases, self.run.published.release)
            self._set_aside(self._paths.release(wanted))
        now, grace_seconds = self._paths.clock(), self.run.repository.grace_seconds
        self.strategy = choose_strategy(
            wanted, self.run.published.release, self.inventory.releases, patches, now, grace_seconds
        )
        if self.strategy.kind is StrategyKind.FLIP:
            self.renew(self._paths.release(wanted), wanted, self._shown_since(self._release(wanted)))
            self._make_directories()
            self._name_and_link(None, wanted)
        elif self.strategy.kind is StrategyKind.WHOLE or not self._patch(wanted, free):
            self._write_whole(wanted)

    @property
    def _paths(self) -> TargetDirectory:
        return self.run.directory

    @property
    def _trees(self) -> Trees:
        return self.inventory.trees(self.mirror, self.filtered)

    def _patch(self, wanted: str, free: Mapping[Step, str]) -> bool:
        """Recycle a release, or go on with a half-made tree. Returns False where only a whole write can help."""
        strategy = self.strategy
        assert strategy.base is not None
        steps = [(strategy.base, wanted)]
        if strategy.halfway is not None:
            steps = [(strategy.base, strategy.halfway)]
            steps += [(strategy.halfway, wanted)] if strategy.halfway != wanted else []
        token = self.run.lock.new_token()
        mine = work_name(*steps[0], token)
        try:
            # All plans come before the first change: what cannot be planned must not cost a release.
            plans = [self.plan(None if base == NULL_OID else base, to) for base, to in steps]
            if strategy.kind is StrategyKind.SPARE:
                self.spare = next(name for name, each in self._spares.items() if each.commit == strategy.base)
                plans = self.with_touches(plans, self._spares[self.spare], wanted)
                take_away(self._paths, self._paths.staged(self.spare), mine)
            elif strategy.halfway is not None:
                plans = self.with_touches(plans, None, wanted)
                take_over(self._paths, free[steps[0]], mine)
            else:
                plans = self.with_touches(plans, self._release(strategy.base), wanted)
                self.let_go((strategy.base,), self.inventory.releases, self.run.published.release)
                # Renamed before its first file changes: half patched it must not bear a release's name for a moment.
                take_away(self._paths, self._paths.release(strategy.base), mine)
            self._give_name(self.check_out(steps, plans, token), wanted)
        except NOT_PLANNED:
            # The base's objects are gone, after a fresh fetch say, and it cannot be compared any more; or what a killed
            # run was patching to can never be finished. Where that is the wanted tree, the whole write tells it.
            pass
        except OSError as error:
            if error.errno not in NOT_AS_LEFT:
                raise
            # Another run may have taken it away, too, after this one lost the lock.
            self._paths.check_lock()
        else:
            return True
        # Whatever came of it stands under one of these names, and the next run would go on from it.
        given_up = [name for step in steps for name in (patch_name(*step), work_name(*step, token))]
        self.leftovers += [name for each in given_up for name in (each, journal_name(each))]
        return False

    def check_out(self, steps: Sequence[Step], plans: Sequence[TreePlan], token: str) -> str:
        """Bring what is staged for the first step, by the token, to the last one's tree; return its name then.

        Raises OutOfTime, MirrorDamaged, ObjectTooLarge; then it is given up to the next run. Raises LockLost.
        """
        name, counts, wanted = work_name(*steps[0], token), Counts(), steps[-1][1]
        for step, plan in zip(steps, plans, strict=True):
            if step != steps[0]:
                # Its name says where it comes from and where it goes. After a kill the next run goes on by that name.
                previous, name = name, work_name(*step, token)
                rename(self._paths.staged(previous), self._paths.staged(name))
            with at_work(self._paths, name, step):
                done = check_out(
                    self._paths.staged(name),
                    plan,
                    self.run.workers,
                    read_blob=self._read_blob,
                    journal=self._paths.staged(journal_name(name)),
                    progress=partial(self.run.report_progress, wanted),
                )
            counts = Counts(
                files_written=counts.files_written + done.files_written,
                files_removed=counts.files_removed + done.files_removed,
                bytes_written=counts.bytes_written + done.bytes_written,
            )
        self.counts, self.submodules = counts, plans[-1].submodules
        if self._lfs_blobs:
            self.pointers = tuple(write.path for write in plans[-1].files if write.blob in self._lfs_blobs)
        return name

    def _read_blob(self, blob: bytes) -> bytes:
        # Looked at while it is at hand: to find the pointers later would read every blob a second time.
        # Any of the check-out's threads comes here; adding to a set is atomic.
        content = self.mirror.read(blob, BLOB)
        if is_lfs_pointer(content):
            self._lfs_blobs.add(blob)
        return content

    def _write_whole(self, wanted: str) -> None:
        """Patch an empty directory: the tree that it comes from has nothing."""
        self.strategy = WHOLE
        plan = self.plan(None, wanted)
        releases = len(self.inventory.releases)
        if releases >= max_releases(len(plan.files) + len(plan.links), self.run.settings.burst_files):
            # The disk may not grow without bound, and no release may go before its grace: the push has to wait.
            raise ReleasesInGrace(f"{releases} releases are still in their grace")
        step, token = (NULL_OID, wanted), self.run.lock.new_token()
        self._make_directories()
        make_directory(self._paths.staged(work_name(*step, token)), 0o755)
        self._give_name(self.check_out([step], [plan], token), wanted)

    def with_touches(self, plans: Sequence[TreePlan], base: Release | None, wanted: str) -> list[TreePlan]:
        """Return the plans with touches for all that is right in the tree, but that readers saw otherwise since.

        `base` is what the tree was when its times were right; None: it is half made. Raises MirrorDamaged, TreeUnsafe.
        """
        root_of, read = self._trees
        tree = root_of(wanted)
        try:
            touches = plan_touches(read, map(root_of, self._shown_since(base)), tree)
        except NOT_PLANNED:
            # Objects of one that readers had are gone: then whatever is not written may differ from it.
            touches = plan_touches(read, [None], tree)
        # What a killed run wrote, readers may have seen otherwise since then: an operator may have gone back.
        return [*plans[:-1], with_touches(plans[-1], touches, is_resumed=base is None)]

    def _shown_since(self, base: Release | None) -> Sequence[str]:
        return shown_since(base, self.run.published.release, self.inventory.releases)

    def _release(self, commit: str) -> Release:
        return next(each for each in self.inventory.releases if each.commit == commit)

    def let_go(self, leaving: Collection[str], releases: Iterable[Release], current: str | None) -> None:
        """Prepare for the end of the releases `leaving` of `releases`."""
        # Before it: later only the releases that stand say what readers had since they had one of them.
        for commit, shown in missed_by(leaving, current, releases).items():
            self.renew(self._paths.release(commit), commit, shown)

    def renew(self, path: str, commit: str, shown: Iterable[str]) -> None:
        """See `times.renew`."""
        renew(path, commit, shown, self.inventory, lambda: nullcontext(self.mirror), self.run.workers)

    def _make_directories(self) -> None:
        for directory in (self._paths.staging, self._paths.releases):
            try:
                make_directories(directory)
            except NotADirectoryError:
                if not os.path.isfile(directory) or os.path.islink(directory):
                    raise
                # It cannot go to the trash, which lies in staging.
                os.unlink(directory)
                make_directory(directory)
                self._note(directory)

    def _set_aside(self, path: str) -> None:
        """Rename what stands under a name that is needed to the trash: prune removes it after the flip."""
        self.leftovers.append(trash_name())
        self._note(path)
        # Whatever it is, one rename frees the name; to remove a tree takes as long as it is large.
        try:
            take_away(self._paths, path, self.leftovers[-1])
        except (FileNotFoundError, NotADirectoryError):
            self._make_directories()
            with suppress(FileNotFoundError):
                take_away(self._paths, path, self.leftovers[-1])

    def _note(self, path: str) -> None:
        self.notes.append(f"{os.path.relpath(path, self._paths.root)} was in the way, and is removed")

    def _give_name(self, name: str, wanted: str) -> None:
        staged = self._paths.staged(name)
        try:
            self._name_and_link(staged, wanted)
        except OSError as error:
            if error.errno not in NOT_AS_LEFT or not is_there(self._paths.release(wanted)):
                raise
            # Not listed, or made since: the tree is complete, and only the name is taken.
            self._set_aside(self._paths.release(wanted))
            self._name_and_link(staged, wanted)

    def _name_and_link(self, staged: str | None, wanted: str) -> None:
        self.link, self.record = prepare_flip(
            self.run.directory,
            self.inventory,
            previous=self.run.published.release,
            wanted=wanted,
            staged=staged,
            executor=self.run.executor,
        )

    def plan(self, base: str | None, wanted: str) -> TreePlan:
        """Return what brings the tree of `base` (None: nothing) to that of `wanted`.

        Raises MirrorDamaged, TreeUnsafe, TreeTooLarge, ObjectTooLarge, SubdirectoryMissing.
        """
        root_of, read = self._trees
        plan = plan_change(
            read,
            partial(self.mirror.read, kind=BLOB),
            None if base is None else root_of(base),
            root_of(wanted),
            allow_external_links=self.run.repository.external_links is ExternalLinks.KEEP,
        )
        whole = partial(self.plan, None, wanted) if base is not None else None
        check_tree_bytes(plan, self.mirror.size_of, self.run.max_tree_bytes, whole)
        return plan
