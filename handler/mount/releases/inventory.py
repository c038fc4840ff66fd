"""Which releases a target has, what lies in its staging, and the flip. Raises OSError for what the mount answers.

A release's clock and its seal are one thing: the mtime of its root directory, in whole seconds. No file system writes a
whole second by itself. If somebody else makes, removes or renames something in the root directory (a `__pycache__`,
say), that breaks the seal, and the release is not recycled any more. To look at the seal costs nothing, since a run
reads the clock anyway. What it cannot see, deeper down, an audit of whole trees finds.

And the fence around a target: what a run that lost its lock, and wakes, cannot undo of another run's work. To read the
lock before a step is not enough, since a run can be stopped between the two. So
- what a run made ready for a flip or a record, the next holder removes before its own first change (`revoke`);
- what a run takes away, it renames first, looks then, and puts it back where the lock was lost (`take_away`);
- what a run makes bears a token of its own, and no other goes on with it while it may be at work (`free_trees`).
A law holds the rooms of the mount to it: nothing else renames or removes what others know by its name.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from handler.errors import LockLost
from handler.model import MAX_AHEAD_SECONDS, WHOLE_TREE, TreeFilter
from handler.mount.fs.directories import make_link, open_directory
from handler.mount.fs.files import rename, unlink_if_there
from handler.mount.fs.lock import may_be_at_work
from handler.mount.fs.parallel import Executor
from handler.mount.git.filtered import FilteredTrees
from handler.mount.git.objects import TREE, Objects
from handler.mount.releases.filters import ReleaseFilters
from handler.mount.releases.strategy import Release
from handler.mount.target.directory import TargetDirectory, list_names, stage, take_away
from handler.mount.target.layout import (
    TargetPaths,
    commit_of,
    is_filter_file,
    is_release,
    is_spare,
    journal_name,
    link_to,
    patch_name,
    read_patch_name,
    read_spare_name,
    releases_in,
)

LEASE_SECONDS = 900.0
"""No run of a function lives longer. What nobody changed for so long, no run changes any more."""

Step = tuple[str, str]
"""The release that a tree comes from, and the one that it is brought to, by their names on the mount."""

Trees = tuple[Callable[[str], bytes], Callable[[bytes], bytes]]
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Inventory:
    """What lies beside `current`: the names in staging, the releases, and the filters that made them."""

    staged: tuple[str, ...]
    releases: tuple[Release, ...]
    filters: ReleaseFilters | None = None
    """What of its commit each release is; None: all of its tree."""

    @property
    def spares(self) -> dict[str, str]:
        """The names of the spares in staging, each with the release that it is like."""
        return {name: release for name in self.staged if (release := read_spare_name(name)) is not None}

    @property
    def named(self) -> set[str]:
        """The names of all releases that stand, or that something in staging holds or is on its way to."""
        return {each.commit for each in self.releases}.union(*map(releases_in, self.staged))

    def name_of(self, commit: str, tree_filter: TreeFilter) -> str:
        """Return the name of a release of the commit by the filter."""
        return commit if self.filters is None else self.filters.name_of(commit, tree_filter)

    def trees(self, objects: Objects, filtered: FilteredTrees | None) -> Trees:
        """Return two functions: the id of the tree that a release holds, and a tree's content by its id.

        `filtered` is what the filters leave of trees (see `filtered`). The first function raises SubdirectoryMissing,
        and TreeUnsafe where nothing tells what of its commit the release is; both what reading objects raises.
        """
        if self.filters is None or filtered is None:
            return lambda release: objects.tree_of(commit_of(release)), partial(objects.read, kind=TREE)
        filter_of = self.filters.filter_of
        return lambda release: filtered.root(commit_of(release), filter_of(release)), filtered.read

    def filtered(self, objects: Objects) -> FilteredTrees | None:
        """Return the trees as filters leave them; None where all releases are whole."""
        return None if self.filters is None else FilteredTrees(objects)

    @property
    def filter_files(self) -> tuple[str, ...]:
        """The names of the files that say what the filters are."""
        return () if self.filters is None else self.filters.files

    @property
    def known(self) -> frozenset[str]:
        """What `list_releases` takes as known, where nothing else lies in staging: what stays between runs."""
        releases = (each.commit for each in self.releases)
        return frozenset((*releases, *filter(is_spare, self.staged), *self.filter_files))

    def has(self, release: str) -> bool:
        """Whether a release is there: `current` may lead nowhere after somebody removed it."""
        return any(each.commit == release for each in self.releases)


def list_releases(paths: TargetPaths, known: Collection[str] | None = None, rule: TreeFilter = WHOLE_TREE) -> Inventory:
    """List what lies beside `current`.

    `known` names the releases and the spares where this process is sure of them, and that nothing else is in staging:
    then it lists no directory. It reads the releases' clocks all the same, since they tell whether somebody else
    changed a release.
    """
    # To list costs a round trip for each directory; a warm process that nobody overtook knows what it left.
    names = list_names(paths.releases) if known is None else known
    releases = []
    for name in names:
        if is_release(name):
            with suppress(FileNotFoundError):
                releases.append(read_release(paths.release(name), name, is_sure=known is not None))
    staged = list_names(paths.staging) if known is None else filter(is_spare, known)
    files = tuple(filter(is_filter_file, names))
    filters = ReleaseFilters(paths, files, rule) if files or rule is not WHOLE_TREE else None
    return Inventory(tuple(staged), tuple(releases), filters)


def flip(paths: TargetPaths, link: str) -> None:
    """Put the temporary link in the place of `current`: the one step that readers see. Raises LockLost."""
    # One rename. Unlinking `current` first would leave a moment, and after a kill a mount, without any tree.
    try:
        rename(link, paths.current)
    except FileNotFoundError:
        # To read the lock first cannot be enough: a run can be stopped between the two. See `revoke`.
        raise LockLost("another run took the repository's lock before the flip") from None


def time_to_show(inventory: Inventory, now: float) -> float:
    """Return what to seal a release with that readers will get: `now`, or later than what they saw of any other."""
    # Two flips may come within one second, and the replaced release gets its clock in the very second of the flip. A
    # time far ahead is not ours: somebody set it.
    shown = (each.retired_at for each in inventory.releases if each.retired_at <= now + MAX_AHEAD_SECONDS)
    return max(now, max(shown, default=0.0) + 1)


def seal(path: str, now: float, *, is_intact: bool = True) -> None:
    """Set a release's clock to `now`: to a whole second, or to half a second more where its seal is broken."""
    at = int(now) * _SECOND + (0 if is_intact else _SECOND // 2)
    os.utime(path, ns=(at, at), follow_symlinks=False)


def read_release(path: str, commit: str, *, is_sure: bool) -> Release:
    """Return the release at `path`. `is_sure`: only this host changed it since it was last read. Raises OSError."""
    if is_sure:
        about = os.lstat(path)
        if not stat.S_ISDIR(about.st_mode):
            return Release(commit, 0.0, is_intact=False)
        mtime = about.st_mtime_ns
    else:
        try:
            # Opened, since that makes an NFS client ask the server. What the client remembers may be a minute old, from
            # when the release was current; another host may have replaced it since, and its grace has only begun.
            with open_directory(path) as descriptor:
                mtime = os.fstat(descriptor).st_mtime_ns
        except NotADirectoryError:
            return Release(commit, 0.0, is_intact=False)
    return Release(commit, mtime / _SECOND, mtime % _SECOND == 0)


def prepare_flip(
    directory: TargetDirectory,
    inventory: Inventory,
    *,
    previous: str | None,
    wanted: str,
    staged: str | None,
    executor: Executor,
) -> tuple[str, str]:
    """Give the staged tree (None: the release stands already) its name, and make the flip ready.

    Returns the path of the link, and that of the reserved record. Three things before that do not wait for each other:
    seal the tree, set the replaced release's clock, make link and record. Raises LockLost.
    """
    # The clock is set before the flip. Set after it, a kill between the two would leave the replaced release looking
    # as if its grace were long over, and the next run would recycle it under its readers.
    retiring = executor.submit(partial(_start_grace, directory, inventory, previous if previous != wanted else None))
    ready: list[str] = []
    linking = executor.submit(partial(_make_ready, directory, wanted, ready))
    try:
        # Sealed before it gets its name: a release that bears its name is complete and intact. One that stands already
        # is sealed again, so that an NFS client looks up what was touched in it.
        seal(staged or directory.release(wanted), time_to_show(inventory, directory.clock()))
        retiring.result()
        linking.result()
        # Once for the rename, the flip and the record, which follow at once; and after link and record are there: who
        # takes the lock from now on finds and removes them (see `revoke`). Then flip and record fail.
        directory.check_lock()
        if staged is not None:
            rename(staged, directory.release(wanted))
    except BaseException:
        # The builder may try again at once, with a link of its own: nothing of this try may still be under way then.
        retiring.exception()
        linking.exception()
        for path in ready:
            with suppress(OSError):
                os.unlink(path)
        raise
    link, record = ready
    return link, record


def _make_ready(directory: TargetDirectory, wanted: str, ready: list[str]) -> None:
    ready.append(stage(directory, "link", partial(make_link, link_to(wanted))))
    ready.append(directory.reserve_record())


def _start_grace(directory: TargetDirectory, inventory: Inventory, previous: str | None) -> None:
    if previous is None:
        return
    is_intact = all(each.is_intact for each in inventory.releases if each.commit == previous)
    with suppress(FileNotFoundError):
        seal(directory.release(previous), directory.clock(), is_intact=is_intact)


def read_spares(paths: TargetPaths, inventory: Inventory) -> dict[str, Release]:
    """Return the spares by name; not intact where somebody changed one, as far as its seal tells, or took it away."""
    spares = {}
    for name, commit in inventory.spares.items():
        spares[name] = Release(commit, 0.0, is_intact=False)
        with suppress(FileNotFoundError):
            spares[name] = read_release(paths.staged(name), commit, is_sure=True)
    return spares


def free_trees(directory: TargetDirectory, staged: Iterable[str]) -> dict[Step, str]:
    """Return the half-made trees in staging that no run can be at work in: (base, wanted) -> name. No spares.

    A run that was stopped may wake, and go on writing into what it has open. In a tree that another run finished
    meanwhile, readers would get both. So a tree is free where its run gave it up, where that run's process is gone, and
    where nobody changed it for LEASE_SECONDS.
    """
    found = {}
    for name in sorted(staged):
        # What is on its way from a commit to itself was a spare: nothing is gained by going on with it.
        if (patch := read_patch_name(name)) and not is_spare(name) and patch[0] != patch[1]:
            base, wanted, token = patch
            if not token or not may_be_at_work(token) or _is_past_lease(directory, name):
                found[base, wanted] = name
    return found


def _is_past_lease(directory: TargetDirectory, name: str) -> bool:
    changed_at = 0.0
    for each in (name, journal_name(name)):
        with suppress(FileNotFoundError):
            # The ctime: a recycled tree has its mtime of long ago. A long check-out writes its checkpoint all the time.
            changed_at = max(changed_at, os.lstat(directory.staged(each)).st_ctime)
    return directory.clock() - changed_at >= LEASE_SECONDS


def take_over(directory: TargetDirectory, name: str, mine: str) -> None:
    """Rename a free tree, and its checkpoint, to this run's name. Raises LockLost."""
    # The checkpoint first: without the tree it says nothing, but beside another tree it would claim too much.
    with suppress(FileNotFoundError):
        rename(directory.staged(journal_name(name)), directory.staged(journal_name(mine)))
    take_away(directory, directory.staged(name), mine)


@contextmanager
def at_work(directory: TargetDirectory, mine: str, step: Step) -> Iterator[None]:
    """Give a half-made tree up where the block fails: rename it so that the next run may go on with it at once."""
    try:
        yield
    except LockLost:
        raise
    except BaseException:
        # This run touches it no more. Where giving up fails, it is free when the process is gone, or after its lease.
        with suppress(LockLost, OSError):
            _give_up(directory, mine, patch_name(*step))
        raise


def _give_up(directory: TargetDirectory, mine: str, name: str) -> None:
    directory.check_lock()
    # The tree before its checkpoint, which would claim too much beside another tree.
    unlink_if_there(directory.staged(journal_name(name)))
    rename(directory.staged(mine), directory.staged(name))
    rename(directory.staged(journal_name(mine)), directory.staged(journal_name(name)))
