"""Remove what nobody needs: releases beyond those that are kept, and what killed runs left in staging."""

import os
from contextlib import suppress
from dataclasses import replace

from handler.efs.directories import remove_tree
from handler.efs.layout import TargetPaths, is_passing, is_staged
from handler.efs.releases import Looked
from handler.efs.trees import Made, trash_name
from handler.efs.turns import TurnKind, choose_pruned


def prune(
    paths: TargetPaths,
    current: str,
    previous: str | None,
    looked: Looked,
    made: Made,
    now: float,
    grace_seconds: float,
    keep_releases: int,
) -> frozenset[str] | None:
    """Remove what is not needed after a flip; returns the commits of the releases that stand, None if not sure.

    `looked` is what was there before, so that nothing is looked up twice; since then `previous` was retired. A reader
    on this host that holds a file of a release open makes its NFS client leave a `.nfs...` behind: what stays is
    removed by a later run.
    """
    recycled = made.turn.base if made.turn.kind is TurnKind.RECYCLE else None
    standing = [each for each in looked.releases if each.commit != recycled]
    releases = [replace(each, retired_at=now) if each.commit == previous else each for each in standing]
    pruned = choose_pruned(current, releases, now, grace_seconds, keep_releases)
    trash = [name for name in made.leftovers if is_staged(name)]
    is_sure = len(trash) == len(made.leftovers)
    for commit in pruned:
        # Renamed first: a half-removed tree must not bear a release's name for a moment.
        trash.append(trash_name())
        with suppress(FileNotFoundError):
            os.rename(paths.release(commit), paths.staged(trash[-1]))
    for name in trash:
        is_sure &= _remove(paths.staged(name))
    return frozenset({current, *(each.commit for each in standing)} - set(pruned)) if is_sure else None


def sweep(paths: TargetPaths, looked: Looked) -> bool:
    """Remove what a run that was killed after its flip left in staging; returns whether staging is empty.

    A half-made tree stays, with its journal: the next push goes on from it, and to remove it costs as much as the tree.
    """
    passing = [name for name in looked.staged if is_passing(name)]
    swept = [_remove(paths.staged(name)) for name in passing]
    return all(swept) and len(passing) == len(looked.staged)


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
