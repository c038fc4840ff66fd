"""Take a target away: its ref is gone, and its grace is over."""

import os
from contextlib import suppress

from handler.mount.fs.directories import remove_tree
from handler.mount.releases.build import trash_name
from handler.mount.target.layout import TargetPaths


def remove_trees(paths: TargetPaths) -> None:
    """Remove `current`, and every tree. Raises OSError.

    `current` goes first, so that nobody finds a tree that is half gone. The record stays, since it says whose all this
    was: killed anywhere, the next run goes on.
    """
    with suppress(FileNotFoundError):
        os.unlink(paths.current)
    os.makedirs(paths.staging, exist_ok=True)
    with suppress(FileNotFoundError):
        for name in os.listdir(paths.releases):
            # Renamed first: a half-removed tree must not bear a release's name for a moment.
            os.rename(paths.release(name), paths.staged(trash_name()))
        os.rmdir(paths.releases)
    remove_tree(paths.staging)


def remove_rest(paths: TargetPaths, below: str) -> None:
    """Remove the record, the target's directory, and those above it that this leaves empty. Raises OSError.

    What somebody else put into one of them stays, and the directory with it. `below` ends the way up: no directory but
    those in it is removed.
    """
    with suppress(FileNotFoundError):
        os.unlink(paths.record)
    _remove_empty(paths.directory, below)


def _remove_empty(directory: str, below: str) -> None:
    """Remove a directory, and those above it up to `below`, as far as they are empty."""
    with suppress(OSError):
        while directory.startswith(below + "/"):
            os.rmdir(directory)
            directory = os.path.dirname(directory)
