"""Which filter made which release of a target: what of its commit each of them is. Raises OSError.

A release's name says it. One without a suffix was made by the target's usual filter, which a file among the releases
names; without such a file it is all of the commit's tree, as every release of older versions is. One by another filter
has that filter's id as its suffix, and a file says what the filter is: an audit or a rollback knows no rule. So after a
change of its rule a target has the same commit by both, and no run takes one for the other.
"""

import errno
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from handler.config.fields import parse_leniently
from handler.errors import LockLost, TreeUnsafe
from handler.model import WHOLE_ID, WHOLE_TREE, TreeFilter
from handler.mount.fs.directories import make_directories
from handler.mount.fs.files import NOT_REGULAR, read_whole, unlink_if_there, write_whole
from handler.mount.git.filtered import read_filter
from handler.mount.target.directory import TargetDirectory, give_name, list_names, stage, take_away
from handler.mount.target.layout import TargetPaths, filter_id_of, is_filter_file, release_name, trash_name

_PLAIN, _OTHER = ".plain-", ".filter-"
"""What the names of the files begin with that say what the usual filter is, and another one."""
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReleaseFilters:
    """The filters of a target's releases. `files` are the names of their files.

    `rule` is what the target's rule asks for, or what is published by its record; that one needs no file.
    """

    paths: TargetPaths
    files: tuple[str, ...]
    rule: TreeFilter

    def name_of(self, commit: str, tree_filter: TreeFilter) -> str:
        """Return the name of a release of the commit by the filter."""
        return release_name(commit, None if tree_filter.id == self.plain_id else tree_filter.id)

    def filter_of(self, release: str) -> TreeFilter:
        """Return the filter that made a release. Raises TreeUnsafe where nothing tells it any more."""
        wanted = filter_id_of(release) or self.plain_id
        for tree_filter in (WHOLE_TREE, self.rule):
            if tree_filter.id == wanted:
                return tree_filter
        for name in (f"{_PLAIN}{wanted}", f"{_OTHER}{wanted}"):
            found = self._read(name) if name in self.files else None
            # Readers may have written the file. What it says is held against its name.
            if found is not None and found.id == wanted:
                return found
        raise TreeUnsafe(f"nothing says any more what of its commit releases/{release} is")

    @property
    def plain_id(self) -> str | None:
        """The id of the filter that made what has no suffix; None where two files name one."""
        named = [name.removeprefix(_PLAIN) for name in self.files if name.startswith(_PLAIN)]
        if not named:
            return WHOLE_ID
        return named[0] if len(named) == 1 else None

    def _read(self, name: str) -> TreeFilter | None:
        try:
            content = read_whole(self.paths.release(name), max_bytes=_MAX_BYTES)
        except OSError as error:
            if error.errno not in (*NOT_REGULAR, errno.EISDIR):
                raise
            return None
        try:
            return read_filter(parse_leniently(content or b""))
        except ValueError:
            return None


def read_filters(paths: TargetPaths, rule: TreeFilter) -> ReleaseFilters:
    """Return the filters of a target's releases; see `ReleaseFilters`."""
    return ReleaseFilters(paths, tuple(filter(is_filter_file, list_names(paths.releases))), rule)


def filter_at(paths: TargetPaths, release: str) -> TreeFilter:
    """Return what made a release; all of the tree where nothing tells it, which the next run mends."""
    try:
        return read_filters(paths, WHOLE_TREE).filter_of(release)
    except TreeUnsafe:
        return WHOLE_TREE


def establish(directory: TargetDirectory, filters: ReleaseFilters, trees: Collection[str]) -> ReleaseFilters:
    """Write down what the rule's filter is, before the first release by it; return the filters then.

    `trees` are the names of all releases that stand, or that something in staging is like, or on its way to.
    """
    rule, files = filters.rule, set(filters.files)
    if rule.id != filters.plain_id and all(map(filter_id_of, trees)):
        # Nothing has a name without a suffix: from now on that is the rule's. Killed in between, two files name one,
        # and the next run comes here again, for still nothing has such a name.
        files = {name for name in files if not name.startswith(_PLAIN)}
        if rule != WHOLE_TREE:
            files.add(_write(directory, f"{_PLAIN}{rule.id}", rule))
        for name in set(filters.files) - files:
            trash = trash_name()
            take_away(directory, directory.release(name), trash)
            # Where others put a directory under that name, a later run removes it.
            with suppress(IsADirectoryError):
                unlink_if_there(directory.staged(trash))
    elif rule.id not in (filters.plain_id, WHOLE_ID) and f"{_OTHER}{rule.id}" not in files:
        files.add(_write(directory, f"{_OTHER}{rule.id}", rule))
    return replace(filters, files=tuple(sorted(files)))


def _write(directory: TargetDirectory, name: str, tree_filter: TreeFilter) -> str:
    make_directories(directory.releases)
    content = json.dumps(tree_filter.to_plain()).encode()
    # Written beside and renamed: half a file would say that nobody knows what the releases are.
    staged = stage(directory, "record", partial(write_whole, content=content))
    try:
        give_name(directory, staged, directory.release(name))
    except FileNotFoundError:
        # Its name is that of a record: who took the lock meanwhile has removed it.
        raise LockLost("another run took the repository's lock before the filter was written down") from None
    return name
