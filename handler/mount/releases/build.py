"""Build the next release of a target, the cheapest way there is: recycle a retired one, or write the tree whole.

Raises OSError for what the mount answers.
"""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from handler.errors import MirrorDamaged, ObjectTooLarge, ReleasesInGrace, TreeTooLarge, TreeUnsafe
from handler.model import NULL_OID, Counts
from handler.mount.fs.checkout import check_out
from handler.mount.fs.directories import make_directories, make_directory, make_link
from handler.mount.fs.files import rename
from handler.mount.fs.parallel import Executor
from handler.mount.fs.plan import TreePlan
from handler.mount.git.mirror import Mirror
from handler.mount.git.objects import BLOB, TREE, is_lfs_pointer
from handler.mount.git.plan import check_tree_bytes, plan_change
from handler.mount.releases.inventory import Inventory, read_release, seal
from handler.mount.releases.strategy import WHOLE, Strategy, StrategyKind, choose_strategy, max_releases
from handler.mount.target.directory import TargetDirectory, stage
from handler.mount.target.layout import (
    is_spare,
    journal_name,
    link_to,
    patch_name,
    read_patch_name,
    trash_name,
)
from handler.mount.target.run import Run

_NOT_AS_LEFT = (errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ELOOP, errno.EISDIR, errno.ENOTEMPTY)
"""What a patch meets where somebody changed a release: then it is thrown away, and the tree written whole."""

Step = tuple[str, str]
"""The commit that a tree comes from, and the one that it is brought to."""


@dataclass(slots=True)
class ReleaseBuilder:
    """Builds one release for a run. `inventory` is what lies in the target's directory.

    After `build`, the other fields say what it took; `submodules` and `pointers` (Git LFS's) are paths. `link` is the
    path of the temporary link to the release, ready for the flip; `spare` is the name of the spare that was taken;
    `leftovers` are the names in staging that nobody
    needs any more.
    """

    run: Run
    mirror: Mirror
    inventory: Inventory
    strategy: Strategy = field(default_factory=lambda: WHOLE)
    counts: Counts = field(default_factory=Counts)
    submodules: tuple[bytes, ...] = ()
    pointers: tuple[bytes, ...] = ()
    link: str = ""
    spare: str = ""
    leftovers: list[str] = field(default_factory=list)
    _lfs_blobs: set[bytes] = field(default_factory=set)

    def build(self, wanted: str) -> None:
        """Build `releases/<wanted>`, complete.

        Raises ReleasesInGrace, MirrorDamaged, TreeUnsafe, TreeTooLarge, ObjectTooLarge, OutOfTime.
        """
        self.leftovers = [name for name in self.inventory.staged if not is_spare(name)]
        patches = [patch for patch in map(read_patch_name, self.leftovers) if patch]
        patches += [(each, each) for name, each in self.inventory.spares.items() if self._is_intact(name, each)]
        if any(each.commit == wanted and not each.is_intact for each in self.inventory.releases):
            # Somebody changed it: it cannot be flipped to, and its name is needed for a sound one.
            self.leftovers.append(trash_name())
            rename(self._paths.release(wanted), self._paths.staged(self.leftovers[-1]))
        self.strategy = choose_strategy(
            wanted,
            self.run.published.commit,
            self.inventory.releases,
            patches,
            now=self._paths.clock(),
            grace_seconds=self.run.repository.grace_seconds,
        )
        if self.strategy.kind is StrategyKind.FLIP:
            self._name_and_link(None, wanted)
        elif self.strategy.kind is StrategyKind.WHOLE or not self._patch(wanted):
            self._write_whole(wanted)

    @property
    def _paths(self) -> TargetDirectory:
        return self.run.directory

    def _patch(self, wanted: str) -> bool:
        """Recycle a release, or go on with a half-made tree. Returns False where only a whole write can help."""
        strategy = self.strategy
        assert strategy.base is not None
        steps = [(strategy.base, wanted)]
        if strategy.halfway is not None:
            steps = [(strategy.base, strategy.halfway)]
            steps += [(strategy.halfway, wanted)] if strategy.halfway != wanted else []
        try:
            # All plans come before the first change: what cannot be planned must not cost a release.
            plans = [self.plan(None if base == NULL_OID else base, to) for base, to in steps]
            if strategy.kind is StrategyKind.SPARE:
                self.spare = next(name for name, each in self.inventory.spares.items() if each == strategy.base)
                rename(self._paths.staged(self.spare), self._staged(steps[0]))
            elif strategy.halfway is None:
                # Renamed before its first file changes: half patched it must not bear a release's name for a moment.
                rename(self._paths.release(strategy.base), self._staged(steps[0]))
            self.check_out(steps, plans, wanted)
            self._name_and_link(self._staged(steps[-1]), wanted)
        except (MirrorDamaged, ObjectTooLarge, TreeTooLarge, TreeUnsafe):
            # The base's objects are gone, after a fresh fetch say, and it cannot be compared any more; or what a killed
            # run was patching to can never be finished. Where that is the wanted tree, the whole write tells it.
            return False
        except OSError as error:
            if error.errno not in _NOT_AS_LEFT:
                raise
            # Whatever came of it stands under one of these names, and the next run would go on from it.
            self.leftovers += [patch_name(*step) for step in steps]
            return False
        return True

    def check_out(self, steps: Sequence[Step], plans: Sequence[TreePlan], wanted: str) -> None:
        """Bring what is staged for the first step to the last one's tree; it is then staged for the last step.

        Raises OutOfTime, MirrorDamaged, ObjectTooLarge.
        """
        previous, counts = steps[0], Counts()
        for step, plan in zip(steps, plans, strict=True):
            if step != previous:
                # Its name says where it comes from and where it goes. After a kill the next run goes on by that name.
                rename(self._staged(previous), self._staged(step))
            done = check_out(
                self._staged(step),
                plan,
                self.run.workers,
                read_blob=self._read_blob,
                journal=self._paths.staged(journal_name(*step)),
                progress=partial(self.run.report_progress, wanted),
            )
            counts = Counts(
                files_written=counts.files_written + done.files_written,
                files_removed=counts.files_removed + done.files_removed,
                bytes_written=counts.bytes_written + done.bytes_written,
            )
            previous = step
        self.counts, self.submodules = counts, plans[-1].submodules
        if self._lfs_blobs:
            self.pointers = tuple(write.path for write in plans[-1].files if write.blob in self._lfs_blobs)

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
        step = (NULL_OID, wanted)
        for directory in (self._paths.releases, self._paths.staging):
            make_directories(directory)
        if patch_name(*step) in self.inventory.staged:
            # The patch above found that somebody changed what stands there.
            self.leftovers.append(trash_name())
            with suppress(FileNotFoundError):
                rename(self._staged(step), self._paths.staged(self.leftovers[-1]))
        make_directory(self._staged(step), 0o755)
        self.check_out([step], [plan], wanted)
        self._name_and_link(self._staged(step), wanted)

    def _is_intact(self, spare: str, commit: str) -> bool:
        """Whether nobody changed the spare, as far as its seal tells, or took it away."""
        with suppress(FileNotFoundError):
            return read_release(self._paths.staged(spare), commit, is_sure=True).is_intact
        return False

    def _name_and_link(self, staged: str | None, wanted: str) -> None:
        self.link = prepare_flip(
            self.run.directory,
            self.inventory,
            previous=self.run.published.commit,
            wanted=wanted,
            staged=staged,
            executor=self.run.executor,
        )

    def plan(self, base: str | None, wanted: str) -> TreePlan:
        """Return what brings the tree of `base` (None: nothing) to that of `wanted`.

        Raises MirrorDamaged, TreeUnsafe, TreeTooLarge, ObjectTooLarge.
        """
        plan = plan_change(
            partial(self.mirror.read, kind=TREE),
            partial(self.mirror.read, kind=BLOB),
            None if base is None else self.mirror.tree_of(base),
            self.mirror.tree_of(wanted),
            allow_external_links=self.run.repository.allow_external_links,
        )
        whole = partial(self.plan, None, wanted) if base is not None else None
        check_tree_bytes(plan, self.mirror.size_of, self.run.max_tree_bytes, whole)
        return plan

    def _staged(self, step: Step) -> str:
        return self._paths.staged(patch_name(*step))


def prepare_flip(
    directory: TargetDirectory,
    inventory: Inventory,
    *,
    previous: str | None,
    wanted: str,
    staged: str | None,
    executor: Executor,
) -> str:
    """Give the staged tree (None: the release stands already) its name, and make the flip ready; returns the link.

    Three things that do not wait for each other: name the tree, set the replaced release's clock, make the link.
    """
    # The clock is set before the flip. Set after it, a kill between the two would leave the replaced release looking
    # as if its grace were long over, and the next run would recycle it under its readers.
    retiring = executor.submit(partial(_start_grace, directory, inventory, previous if previous != wanted else None))
    linking = executor.submit(partial(stage, directory, "link", partial(make_link, link_to(wanted))))
    try:
        if staged is not None:
            # Sealed before it gets its name: a release that bears its name is complete and intact.
            seal(staged, directory.clock())
            rename(staged, directory.release(wanted))
        retiring.result()
    except BaseException:
        # The builder may try again at once, with a link of its own: nothing of this try may still be under way then.
        retiring.exception()
        if linking.exception() is None:
            with suppress(OSError):
                os.unlink(linking.result())
        raise
    return linking.result()


def _start_grace(directory: TargetDirectory, inventory: Inventory, previous: str | None) -> None:
    if previous is None:
        return
    is_intact = all(each.is_intact for each in inventory.releases if each.commit == previous)
    with suppress(FileNotFoundError):
        seal(directory.release(previous), directory.clock(), is_intact=is_intact)
