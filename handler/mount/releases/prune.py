"""Remove what nobody needs: releases beyond those that are kept, and what killed runs left in staging."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from handler.mount.fs.directories import remove_tree
from handler.mount.releases.build import BuildResult, trash_name
from handler.mount.releases.inventory import Inventory
from handler.mount.releases.strategy import Release, StrategyKind, choose_pruned
from handler.mount.target.layout import TargetPaths, is_passing, is_staged


def prune(
    paths: TargetPaths,
    current: str,
    previous: str | None,
    looked: Inventory,
    made: BuildResult,
    now: float,
    grace_seconds: float,
    keep_releases: int,
) -> frozenset[str] | None:
    """Remove what is not needed after a flip; returns the commits of the releases that stand, None if not sure.

    `looked` is what was there before, so that nothing is looked up twice; since then `previous` was retired. A reader
    on this host that holds a file of a release open makes its NFS client leave a `.nfs...` behind: what stays is
    removed by a later run.
    """
    recycled = made.strategy.base if made.strategy.kind is StrategyKind.RECYCLE else None
    standing = [each for each in looked.releases if each.commit != recycled]
    releases = [replace(each, retired_at=now) if each.commit == previous else each for each in standing]
    pruned = choose_pruned(current, releases, now, grace_seconds, keep_releases)
    trash = [name for name in made.leftovers if is_staged(name)]
    is_sure = len(trash) == len(made.leftovers)
    trash += [_retire(paths, commit) for commit in pruned]
    for name in trash:
        is_sure &= _remove(paths.staged(name))
    return frozenset({current, *(each.commit for each in standing)} - set(pruned)) if is_sure else None


def prune_at_rest(
    paths: TargetPaths, current: str, looked: Inventory, now: float, grace_seconds: float, keep_releases: int
) -> tuple[tuple[Release, ...], tuple[str, ...]]:
    """Take what is past out of the releases, where nothing was pushed that would do it. Raises OSError.

    Returns the releases that stand, and what lies in staging for `discard`. That needs no lock: nobody uses those names
    again, and to remove whole trees takes minutes.
    """
    pruned = choose_pruned(current, looked.releases, now, grace_seconds, keep_releases)
    if pruned:
        os.makedirs(paths.staging, exist_ok=True)
    trash = [name for name in looked.staged if is_passing(name)] + [_retire(paths, commit) for commit in pruned]
    return tuple(each for each in looked.releases if each.commit not in pruned), tuple(trash)


def discard(paths: TargetPaths, names: Iterable[str], pulse: Callable[[], object] = lambda: None) -> None:
    """Remove what nobody needs from staging; what cannot be removed is left to a later run. `pulse` may end it."""
    for name in names:
        pulse()
        _remove(paths.staged(name))


def sweep(paths: TargetPaths, looked: Inventory) -> bool:
    """Remove what a run that was killed after its flip left in staging; returns whether staging is empty.

    A half-made tree stays, with its journal: the next push goes on from it, and to remove it costs as much as the tree.
    """
    passing = [name for name in looked.staged if is_passing(name)]
    swept = [_remove(paths.staged(name)) for name in passing]
    return all(swept) and len(passing) == len(looked.staged)


def _retire(paths: TargetPaths, commit: str) -> str:
    """Rename a release into staging: half removed, it must not bear a release's name for a moment."""
    trash = trash_name()
    with suppress(FileNotFoundError):
        os.rename(paths.release(commit), paths.staged(trash))
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
