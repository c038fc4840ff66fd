"""A release's clock and its seal: the mtime of its root directory, in whole seconds.

No file system writes a whole second by itself. Whoever else makes, removes or renames something in the root directory
(a `__pycache__`, say) breaks the seal, and the release is not recycled any more. Looking costs nothing, since the clock
is looked at anyway; what it cannot see, deeper down, is for a check of whole trees.
"""

import os

from handler.mount.releases.strategy import Release

_SECOND = 1_000_000_000


def seal(path: str, now: float, *, is_intact: bool = True) -> None:
    """Set a release's clock: to a whole second, or visibly not to one where the seal was found broken."""
    at = int(now) * _SECOND + (0 if is_intact else _SECOND // 2)
    os.utime(path, ns=(at, at), follow_symlinks=False)


def read_release(path: str, commit: str, *, is_sure: bool) -> Release:
    """Return the release at `path`. Raises OSError.

    `is_sure` says that only this host changed it since it was last looked at. Else it is opened: that makes an NFS
    client ask the server. What it remembers may be a minute old, from when the release was current for long; another
    host may have replaced it since, and its grace has only begun.
    """
    if is_sure:
        mtime = os.lstat(path).st_mtime_ns
    else:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError:
            return Release(commit, 0.0, is_intact=False)
        try:
            mtime = os.fstat(descriptor).st_mtime_ns
        finally:
            os.close(descriptor)
    return Release(commit, mtime / _SECOND, mtime % _SECOND == 0)
