"""The fence around a target's directory: what a run that lost its lock, and wakes, cannot undo of another run's work.

To read the lock before a step is not enough, since a run can be stopped between the two. So
- what a run names or flips, it names after a look at the lock, and what it made ready for that bears a name that the
  next holder removes first (`revoke`);
- what it takes away, it renames first, looks then, and puts it back where the lock was lost (`take_away`);
- what it makes bears a token of its own, and no other run goes on with it while it may be at work (`free_trees`).

A law holds the mount's rooms to it: nothing else in them renames or removes. Raises OSError for what the mount answers.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from handler.errors import LockLost
from handler.mount.fs.directories import make_link
from handler.mount.fs.files import rename, unlink_if_there
from handler.mount.fs.tokens import may_be_at_work
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.layout import is_passing, is_spare, journal_name, patch_name, read_patch_name

LEASE_SECONDS = 900.0
"""No run of a function lives longer. What nobody changed for so long, no run changes any more."""

Step = tuple[str, str]
"""The commit that a tree comes from, and the one that it is brought to."""


def revoke(directory: TargetDirectory, staged: Iterable[str], published: str | None) -> None:
    """Remove the links and records that another run made ready, so that it cannot flip, or record, when it wakes.

    Every holder that changes what readers have, or the record, calls it first. `staged` is what lies in staging, listed
    after the lock's stamp. Raises LockLost where that run flipped until then: `published` is what was read before.
    """
    ready = [name for name in staged if is_passing(name) and name.startswith(("link-", "record-"))]
    for name in ready:
        # Where others put a directory under such a name, nothing can be renamed over `current` from there.
        with suppress(IsADirectoryError):
            unlink_if_there(directory.staged(name))
    if ready and directory.read_published().commit != published:
        raise LockLost("a run that had lost the lock flipped while this one began")


def give_name(directory: TargetDirectory, staged: str, path: str) -> None:
    """Rename what is complete in staging to `path`, where others find it. Raises LockLost."""
    directory.check_lock()
    rename(staged, path)


def take_away(directory: TargetDirectory, path: str, name: str) -> None:
    """Rename what stands at `path` to `name` in staging; put it back, and raise LockLost, where the lock was lost."""
    # Read after the rename: between a reading and the rename another run may flip to what stands there.
    rename(path, directory.staged(name))
    try:
        directory.check_lock()
    except LockLost:
        with suppress(OSError):
            _put_back(directory.staged(name), path)
        raise


def _put_back(staged: str, path: str) -> None:
    if os.path.islink(staged):
        # A rename would replace the link that another run made meanwhile. A directory replaces no full one.
        make_link(os.readlink(staged), path)
        os.unlink(staged)
    else:
        rename(staged, path)


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
