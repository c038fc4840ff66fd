"""Remove what nobody needs: releases beyond those that are kept, and what killed runs left in staging."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from handler.model import Repository
from handler.mount.fs.directories import make_directories, remove_tree
from handler.mount.releases.build import ReleaseBuilder
from handler.mount.releases.inventory import Inventory
from handler.mount.releases.strategy import Release, StrategyKind, choose_pruned, missed_by
from handler.mount.target.directory import TargetDirectory, revoke, take_away
from handler.mount.target.layout import TargetPaths, is_passing, is_spare, is_staged, read_patch_name, trash_name
from handler.mount.target.run import Run


def prune(run: Run, inventory: Inventory, built: ReleaseBuilder, *, current: str) -> frozenset[str] | None:
    """Remove what is not needed after a flip to `current`.

    `inventory` is what was there before, so that nothing is listed twice; since then the flip retired the release that
    was published. Returns the commits of the releases that stand, None if not sure. Raises OSError.
    """
    now, paths = run.directory.clock(), run.directory
    recycled = built.strategy.base if built.strategy.kind is StrategyKind.RECYCLE else None
    standing = [each for each in inventory.releases if each.commit != recycled]
    retired = run.published.release
    releases = [replace(each, retired_at=now) if each.commit == retired else each for each in standing]
    pruned = choose_pruned(current, releases, now, run.repository.grace_seconds, run.repository.keep_releases)
    trash = [name for name in built.leftovers if is_staged(name)]
    is_sure = len(trash) == len(built.leftovers)
    if run.makes_spares:
        # What is left over becomes a spare, when readers have the new tree and nobody waits for this run any more. To
        # remove a tree here would take as long as to write it.
        halves = [name for name in trash if not is_passing(name)]
        pruned, trash, is_sure = [], [name for name in trash if is_passing(name)], is_sure and not halves
    built.let_go(frozenset(pruned), releases, current)
    # Half-made trees are renamed first: by the same name another run may have given up another one meanwhile.
    trash = [_set_aside(paths, paths.staged(name)) if read_patch_name(name) else name for name in trash]
    trash += [_set_aside(paths, paths.release(commit)) for commit in pruned]
    for name in trash:
        # A reader on this host that holds a file open makes its NFS client leave a `.nfs...` behind, and the directory
        # cannot be removed. That is no failure: a later run removes what stays.
        is_sure &= _remove(paths.staged(name))
    if not is_sure:
        return None
    kept = [name for name in filter(is_spare, inventory.staged) if name != built.spare]
    return frozenset({current, *(each.commit for each in standing), *kept, *built.inventory.filter_files} - set(pruned))


def prune_at_rest(
    paths: TargetDirectory,
    inventory: Inventory,
    repository: Repository,
    *,
    current: str,
    renew: Callable[[str, str, Iterable[str]], None],
) -> tuple[tuple[Release, ...], tuple[str, ...]]:
    """Take the releases that are past their grace out, where no push came that would do it. Raises OSError.

    Returns the releases that stand, and the names in staging to `discard`. Discarding needs no lock: nobody uses those
    names again, and to remove whole trees takes minutes. `renew` gives what stays its times (see `times.renew`).
    """
    # A run that wakes could flip to what is pruned here.
    revoke(paths, inventory.staged, current)
    pruned = choose_pruned(
        current, inventory.releases, paths.clock(), repository.grace_seconds, repository.keep_releases
    )
    if any(read_patch_name(name) and not is_spare(name) for name in inventory.staged):
        # A run was killed there. The next one goes on, and has to know what readers had since it began.
        pruned = []
    if pruned:
        make_directories(paths.staging)
    for commit, shown in missed_by(frozenset(pruned), current, inventory.releases).items():
        renew(paths.release(commit), commit, shown)
    for name, commit in inventory.spares.items() if pruned else ():
        renew(paths.staged(name), commit, pruned)
    trash = [name for name in inventory.staged if is_passing(name)]
    trash += [_set_aside(paths, paths.release(commit)) for commit in pruned]
    return tuple(each for each in inventory.releases if each.commit not in pruned), tuple(trash)


def discard(paths: TargetPaths, names: Iterable[str], check: Callable[[], object] = lambda: None) -> None:
    """Remove what nobody needs from staging; a later run removes what cannot be removed now.

    Calls `check` before each name; what it raises ends the work.
    """
    for name in names:
        check()
        _remove(paths.staged(name))


def sweep(paths: TargetPaths, inventory: Inventory) -> bool:
    """Remove what a run that was killed after its flip left in staging; returns whether nothing but spares is there."""
    # A half-made tree stays, with its journal: the next push goes on from it, and to remove it costs as much as to
    # write it.
    passing = [name for name in inventory.staged if is_passing(name)]
    swept = [_remove(paths.staged(name)) for name in passing]
    staying = [name for name in inventory.staged if is_spare(name)]
    return all(swept) and len(passing) + len(staying) == len(inventory.staged)


def _set_aside(paths: TargetDirectory, path: str) -> str:
    """Rename a tree that is to be removed; returns its new name in staging. Raises LockLost."""
    # Renamed before it is removed: half removed it must not bear a release's name for a moment.
    trash = trash_name()
    with suppress(FileNotFoundError):
        take_away(paths, path, trash)
    return trash


def _remove(path: str) -> bool:
    try:
        try:
            remove_tree(path)
        except NotADirectoryError:
            os.unlink(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
