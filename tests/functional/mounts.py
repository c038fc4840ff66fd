"""What a mount looks like to one who wants to see any change of it, however small."""

import os
from pathlib import Path

from testing.repositories import run_git

Footprint = dict[str, tuple[int, int, int, int]]


def footprint(directory: Path) -> Footprint:
    """Return every name below `directory` with its inode, mode, size and mtime in nanoseconds (a directory's too).

    But for the lock's mtime: each holder leaves its mark there.
    """
    found: Footprint = {}
    for parent, directories, files in os.walk(directory):
        for path in (parent, *(os.path.join(parent, name) for name in (*directories, *files))):
            about = os.lstat(path)
            changed = 0 if os.path.basename(path) == ".lock" else about.st_mtime_ns
            found[os.path.relpath(path, directory)] = (about.st_ino, about.st_mode, about.st_size, changed)
    return found


def names(directory: Path) -> list[str]:
    """Return every name below `directory`, sorted."""
    return sorted(path for path in footprint(directory) if path != ".") if directory.exists() else []


def check_mirror(mirror: Path, commit: str) -> None:
    """Let real git check that the mirror holds the whole of `commit`. Raises RuntimeError with what is missing.

    The mirror has no refs, so fsck must be told where to start; without that it would call a missing tree nothing.
    """
    run_git("fsck", "--full", "--strict", "--no-dangling", commit, directory=mirror)
    run_git("rev-list", "--objects", commit, directory=mirror)


def history(mirror: Path, commit: str) -> list[str]:
    """Return the commits that git's log shows from `commit` on."""
    return run_git("log", "--format=%H", commit, directory=mirror).decode().split()
