"""How much of the mount some directories take: files and bytes below each, counted side by side."""

import os
import stat
from collections.abc import Callable, Sequence

from handler.model import Usage
from handler.mount.fs.parallel import Workers

_AT_A_TIME = 4096
"""Directories; between so many it is asked whether to go on."""


def usage_of(
    roots: Sequence[str], *, workers: int, pulse: Callable[[int], object] = lambda files: None
) -> tuple[Usage, ...]:
    """Count what lies below each directory, links not followed; what goes meanwhile is not counted.

    On a network file system each file is a round trip: so `workers` directories are read at a time. `pulse` hears how
    many files were counted so far; what it raises ends the counting. Raises OSError.
    """
    files, sizes, total = [0] * len(roots), [0] * len(roots), 0
    waiting = [(number, root) for number, root in enumerate(roots) if _is_directory(root)]
    while waiting:
        now, waiting = waiting[:_AT_A_TIME], waiting[_AT_A_TIME:]
        counts = Workers(workers).map(_read, [path for _, path in now])
        for (number, _), (found, size, below) in zip(now, counts, strict=True):
            files[number] += found
            sizes[number] += size
            total += found
            waiting += [(number, path) for path in below]
        pulse(total)
    return tuple(map(Usage, files, sizes))


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _read(directory: str) -> tuple[int, int, list[str]]:
    files, size, below = 0, 0, []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                    continue
                try:
                    size += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
                files += 1
    except (FileNotFoundError, NotADirectoryError):
        pass
    return files, size, below
