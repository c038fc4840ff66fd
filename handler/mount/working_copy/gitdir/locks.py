"""Git's own locks (`index.lock`, `refs/heads/main.lock`), taken so that they can be told from git's after a crash.

Git makes the file `<name>.lock` exclusively, and whoever finds it there keeps out. Ours is a symbolic link of that name
that leads to `git2efs`: it is made in one step, git finds that the file exists, and a run that comes after a killed one
knows it as its own. The repository's own lock (flock) stands above: under it, a link of ours can only be a leftover.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from handler.errors import CopyBusy

_OURS = "git2efs"


def acquire_lock(path: str) -> None:
    """Take the lock at `path`; one that is ours already is a killed run's, and is gone on with.

    Raises CopyBusy where git holds it, and OSError.
    """
    try:
        os.symlink(_OURS, path)
    except FileExistsError:
        if not is_ours(path):
            raise CopyBusy(f"{os.path.basename(path)} is there: git is at work, or was killed at it") from None


def release_lock(path: str) -> None:
    """Let go of a lock of ours; it may be gone, as people remove locks by hand. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def is_ours(path: str) -> bool:
    """Whether a lock is there and ours. Raises OSError."""
    try:
        return os.readlink(path) == _OURS
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.EINVAL:  # a regular file: git's
            return False
        raise


def release_stale_lock(path: str) -> None:
    """Let go of a lock if it is ours, which a killed run left; git's stays. Raises OSError."""
    if is_ours(path):
        release_lock(path)


@contextmanager
def lock_held(path: str) -> Iterator[None]:
    """Hold the lock at `path`. Raises CopyBusy, OSError."""
    acquire_lock(path)
    try:
        yield
    finally:
        release_lock(path)
