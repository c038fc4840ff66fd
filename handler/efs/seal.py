"""A release's clock and its seal: the mtime of its root directory, in whole seconds.

No file system writes a whole second by itself. Whoever else makes, removes or renames something in the root directory
(a `__pycache__`, say) breaks the seal, and the release is not recycled any more. Looking costs nothing, since the clock
is looked at anyway; what it cannot see, deeper down, is for a check of whole trees.
"""

import os

from handler.efs.turns import Release

_SECOND = 1_000_000_000


def seal(path: str, now: float, *, is_intact: bool = True) -> None:
    """Set a release's clock: to a whole second, or visibly not to one where the seal was found broken."""
    at = int(now) * _SECOND + (0 if is_intact else _SECOND // 2)
    os.utime(path, ns=(at, at), follow_symlinks=False)


def read_release(path: str, commit: str) -> Release:
    """Return the release at `path`. Raises OSError."""
    mtime = os.lstat(path).st_mtime_ns
    return Release(commit, mtime / _SECOND, mtime % _SECOND == 0)
