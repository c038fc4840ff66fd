"""Take a target away: its ref is gone, and its grace is over."""

import os
from contextlib import suppress

from handler.efs.directories import remove_tree
from handler.efs.layout import TargetPaths
from handler.efs.trees import trash_name


def remove_target(paths: TargetPaths, below: str) -> None:
    """Remove all that git2efs put into a target's directory, and the directories above it that this leaves empty.

    `current` goes first, so that nobody finds a tree that is half gone; the record goes when the trees have gone, since
    it says whose they are: killed anywhere, the next run goes on. What somebody else put there stays, and the directory
    with it. `below` ends the way up: no directory but those in it is removed. Raises OSError.
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
    with suppress(FileNotFoundError):
        os.unlink(paths.record)
    remove_empty(paths.directory, below)


def remove_empty(directory: str, below: str) -> None:
    """Remove a directory, and those above it up to `below`, as far as they are empty."""
    with suppress(OSError):
        while directory.startswith(below + "/"):
            os.rmdir(directory)
            directory = os.path.dirname(directory)
