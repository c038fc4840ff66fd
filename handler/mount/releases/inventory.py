"""Which releases a target has, what lies in its staging, and the flip. Raises OSError for what the mount answers.

A release's name says what of its commit it is. One without a suffix is by the target's usual filter, which a file among
the releases names; without such a file it is all of the commit's tree, as every release of older versions is. One by
another filter has that filter's id as its suffix, and a file says what the filter is: an audit or a rollback knows no
rule. So after a change of its rule a target has the same commit by both, and no run takes one for the other.

A release's clock and its seal are one thing: the mtime of its root directory, in whole seconds. No file system writes a
whole second by itself. If somebody else makes, removes or renames something in the root directory (a `__pycache__`,
say), that breaks the seal, and the release is not recycled any more. To look at the seal costs nothing, since a run
reads the clock anyway. What it cannot see, deeper down, an audit of whole trees finds.
"""

import json
import os
import stat
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from handler.config.fields import parse_leniently
from handler.errors import TreeUnsafe
from handler.model import MAX_AHEAD_SECONDS, WHOLE_ID, WHOLE_TREE, TreeFilter
from handler.mount.fs.directories import make_directories, make_link, open_directory
from handler.mount.fs.files import NOT_REGULAR, read_whole, rename, unlink_if_there, write_whole
from handler.mount.fs.parallel import Executor
from handler.mount.git.filtered import read_filter, read_tree, root_of
from handler.mount.git.objects import TREE, Objects
from handler.mount.releases.strategy import Release
from handler.mount.target.directory import TargetDirectory, list_names, stage
from handler.mount.target.layout import (
    TargetPaths,
    commit_of,
    filter_id_of,
    is_filter_file,
    is_release,
    is_spare,
    link_to,
    read_spare_name,
    release_name,
    releases_in,
)

PLAIN, OTHER = ".plain-", ".filter-"
"""What the names of the files begin with that say what the usual filter is, and another one."""
_MAX_FILTER_BYTES = 1024 * 1024
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Inventory:
    """What lies beside `current`: the names in staging, the releases, and the files that say what filters are."""

    staged: tuple[str, ...]
    releases: tuple[Release, ...]
    filter_files: tuple[str, ...] = ()
    rule: TreeFilter = WHOLE_TREE
    """What the target's rule asks for, or what is published by its record: this needs no file."""
    paths: TargetPaths | None = None

    @property
    def spares(self) -> dict[str, str]:
        """The names of the spares in staging, each with the release that it is like."""
        return {name: release for name in self.staged if (release := read_spare_name(name)) is not None}

    @property
    def trees(self) -> set[str]:
        """The names of all releases that stand, or that something in staging holds or is on its way to."""
        return {each.commit for each in self.releases}.union(*map(releases_in, self.staged))

    def name_of(self, commit: str, tree_filter: TreeFilter) -> str:
        """Return the name of a release of the commit by the filter."""
        if tree_filter is WHOLE_TREE and not self.filter_files:
            return commit
        return release_name(commit, None if tree_filter.id == self.plain_id else tree_filter.id)

    def filter_of(self, release: str) -> TreeFilter:
        """Return the filter that made a release. Raises TreeUnsafe where nothing tells it any more, and OSError."""
        if not self.filter_files and filter_id_of(release) is None:
            return WHOLE_TREE
        wanted = filter_id_of(release) or self.plain_id
        for tree_filter in (WHOLE_TREE, self.rule):
            if tree_filter.id == wanted:
                return tree_filter
        for name in (f"{PLAIN}{wanted}", f"{OTHER}{wanted}"):
            found = _read_filter(self.paths, name) if name in self.filter_files and self.paths else None
            # Readers may have written the file. What it says is held against its name.
            if found is not None and found.id == wanted:
                return found
        raise TreeUnsafe(f"nothing says any more what of its commit releases/{release} is")

    def root_of(self, objects: Objects, release: str) -> bytes:
        """Return the id of the tree that a release holds. Raises SubdirectoryMissing, TreeUnsafe, MirrorDamaged."""
        tree_filter, commit = self.filter_of(release), commit_of(release)
        return objects.tree_of(commit) if tree_filter == WHOLE_TREE else root_of(objects, commit, tree_filter)

    def reader(self, objects: Objects) -> Callable[[bytes], bytes]:
        """Return what reads a tree by its id, also by one of `root_of`."""
        is_plain = self.rule is WHOLE_TREE and not self.filter_files
        return partial(objects.read, kind=TREE) if is_plain else partial(read_tree, objects)

    @property
    def plain_id(self) -> str | None:
        """The id of the filter that made what has no suffix; None where two files name one."""
        named = [name.removeprefix(PLAIN) for name in self.filter_files if name.startswith(PLAIN)]
        if not named:
            return WHOLE_ID
        return named[0] if len(named) == 1 else None

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
    return Inventory(tuple(staged), tuple(releases), tuple(filter(is_filter_file, names)), rule, paths)


def read_filters(paths: TargetPaths, rule: TreeFilter) -> Inventory:
    """Return an inventory that lists no trees, and only tells what each release is."""
    return Inventory((), (), tuple(filter(is_filter_file, list_names(paths.releases))), rule, paths)


def filter_at(paths: TargetPaths, release: str) -> TreeFilter:
    """Return what made a release; all of the tree where nothing tells it, which the next run mends."""
    try:
        return read_filters(paths, WHOLE_TREE).filter_of(release)
    except TreeUnsafe:
        return WHOLE_TREE


def _read_filter(paths: TargetPaths, name: str) -> TreeFilter | None:
    try:
        content = read_whole(paths.release(name), max_bytes=_MAX_FILTER_BYTES)
    except OSError as error:
        if error.errno not in NOT_REGULAR:
            raise
        return None
    try:
        return read_filter(parse_leniently(content or b""))
    except ValueError:
        return None


def establish(directory: TargetDirectory, inventory: Inventory, rule: TreeFilter) -> Inventory:
    """Write down what the rule's filter is, before the first release by it; return the inventory with it."""
    if rule is WHOLE_TREE and not inventory.filter_files:
        return inventory
    files = set(inventory.filter_files)
    if rule.id != inventory.plain_id and all(map(filter_id_of, inventory.trees)):
        # Nothing has a name without a suffix: from now on that is the rule's. Killed in between, two files name one,
        # and the next run comes here again, for still nothing has such a name.
        files = {name for name in files if not name.startswith(PLAIN)}
        if rule != WHOLE_TREE:
            files.add(_write_filter(directory, f"{PLAIN}{rule.id}", rule))
        for name in set(inventory.filter_files) - files:
            unlink_if_there(directory.release(name))
    elif rule.id not in (inventory.plain_id, WHOLE_ID) and f"{OTHER}{rule.id}" not in files:
        files.add(_write_filter(directory, f"{OTHER}{rule.id}", rule))
    return replace(inventory, filter_files=tuple(sorted(files)), rule=rule)


def _write_filter(directory: TargetDirectory, name: str, tree_filter: TreeFilter) -> str:
    make_directories(directory.releases)
    content = json.dumps(tree_filter.to_plain()).encode()
    # Written beside and renamed: half a file would say that nobody knows what the releases are.
    rename(stage(directory, "record", partial(write_whole, content=content)), directory.release(name))
    return name


def flip(paths: TargetPaths, link: str) -> None:
    """Put the temporary link in the place of `current`: the one step that readers see."""
    # One rename. Unlinking `current` first would leave a moment, and after a kill a mount, without any tree.
    rename(link, paths.current)


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
) -> str:
    """Give the staged tree (None: the release stands already) its name, and make the flip ready; returns the link.

    Three things that do not wait for each other: name the tree, set the replaced release's clock, make the link.
    """
    # The clock is set before the flip. Set after it, a kill between the two would leave the replaced release looking
    # as if its grace were long over, and the next run would recycle it under its readers.
    retiring = executor.submit(partial(_start_grace, directory, inventory, previous if previous != wanted else None))
    linking = executor.submit(partial(stage, directory, "link", partial(make_link, link_to(wanted))))
    try:
        # Sealed before it gets its name: a release that bears its name is complete and intact. One that stands already
        # is sealed again, so that an NFS client looks up what was touched in it.
        seal(staged or directory.release(wanted), time_to_show(inventory, directory.clock()))
        if staged is not None:
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


def read_spares(paths: TargetPaths, inventory: Inventory) -> dict[str, Release]:
    """Return the spares by name; not intact where somebody changed one, as far as its seal tells, or took it away."""
    spares = {}
    for name, commit in inventory.spares.items():
        spares[name] = Release(commit, 0.0, is_intact=False)
        with suppress(FileNotFoundError):
            spares[name] = read_release(paths.staged(name), commit, is_sure=True)
    return spares
