"""Git's lock files (`index.lock`, `refs/heads/main.lock`), held so that ours can be told from git's after a crash.

Git creates `<name>.lock` exclusively, and whoever finds it keeps out. Ours is a symbolic link of that name to
`git2efs`. It is created in one step, git finds that the file exists, and the run after a killed one recognizes it.
Under the repository's own lock (flock) a link of ours can only be stale.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from handler.errors import CopyBusy

_OURS = "git2efs"


def acquire_lock(path: str) -> None:
    """Create the lock at `path`, or take over a stale one of ours. Raises CopyBusy if git holds it."""
    try:
        os.symlink(_OURS, path)
    except FileExistsError:
        if not is_ours(path):
            raise CopyBusy(f"{os.path.basename(path)} is there: git is at work, or was killed at it") from None


def release_lock(path: str) -> None:
    """Remove a lock of ours. It may be gone: people remove locks by hand."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def is_ours(path: str) -> bool:
    """Whether there is a lock and it is ours."""
    try:
        return os.readlink(path) == _OURS
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.EINVAL:  # a regular file: git holds it
            return False
        raise


def release_stale_lock(path: str) -> None:
    """Remove a lock that a killed run of ours left; git's stays."""
    if is_ours(path):
        release_lock(path)


@contextmanager
def lock_held(path: str) -> Iterator[None]:
    """Hold the lock at `path` until the block ends. Raises CopyBusy."""
    acquire_lock(path)
    try:
        yield
    finally:
        release_lock(path)
