"""A release's clock and its seal: the mtime of its root directory, in whole seconds.

No file system writes a whole second by itself. If somebody else makes, removes or renames something in the root
directory (a `__pycache__`, say), that breaks the seal, and the release is not recycled any more. To look at the seal
costs nothing, since a run reads the clock anyway. What it cannot see, deeper down, an audit of whole trees finds.
"""

import os

from handler.mount.releases.strategy import Release

_SECOND = 1_000_000_000


def seal(path: str, now: float, *, is_intact: bool = True) -> None:
    """Set a release's clock to `now`: to a whole second, or to half a second more where its seal is broken."""
    at = int(now) * _SECOND + (0 if is_intact else _SECOND // 2)
    os.utime(path, ns=(at, at), follow_symlinks=False)


def read_release(path: str, commit: str, *, is_sure: bool) -> Release:
    """Return the release at `path`. `is_sure`: only this host changed it since it was last read. Raises OSError."""
    if is_sure:
        mtime = os.lstat(path).st_mtime_ns
    else:
        try:
            # Opened, since that makes an NFS client ask the server. What the client remembers may be a minute old, from
            # when the release was current; another host may have replaced it since, and its grace has only begun.
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError:
            return Release(commit, 0.0, is_intact=False)
        try:
            mtime = os.fstat(descriptor).st_mtime_ns
        finally:
            os.close(descriptor)
    return Release(commit, mtime / _SECOND, mtime % _SECOND == 0)
