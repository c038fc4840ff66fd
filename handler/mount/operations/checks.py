"""Check that the mount does what publishing needs: try it in a directory of the doctor's own, and remove that."""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress

from handler.exchange.checks import MAX_SKEW_SECONDS, Check, CheckList
from handler.mount.fs.directories import remove_tree
from handler.mount.fs.errno_map import mount_errors
from handler.mount.fs.files import open_to_lock, write_whole

MIN_FREE_BYTES = 1024**3
_SECOND = 1_000_000_000
_READABLE, _PASSABLE = 0o444, 0o555


def mount_checks(mount: str, clock: Callable[[], float]) -> tuple[Check, ...]:
    """Return the checks of the file system at `mount`. Raises no Exception: a failed step is a wrong check."""
    checks = CheckList()
    if not os.path.isdir(mount):
        todo = "mount the file system there, or set GIT2EFS_MOUNT"
        checks.wrong("mount", found=f"{mount} is not a directory", todo=todo)
        return tuple(checks)
    directory = os.path.join(mount, ".git2efs", f"doctor-{secrets.token_hex(8)}")
    try:
        os.makedirs(directory)
    except OSError as error:
        todo = "give the function's user the directory, and its role elasticfilesystem:ClientWrite"
        checks.wrong("mount", found=f"{mount} cannot be written ({error.strerror})", todo=todo)
        return tuple(checks)
    checks.ok("mount", found=f"{mount} can be written")
    try:
        for name, check in (("locks", _locks), ("links and renames", _links), ("times", _times), ("modes", _modes)):
            todo = "git2efs cannot publish to this file system: use EFS, NFS 4 or a local disk"
            with checks.step(name, todo=todo), mount_errors():
                check(checks, directory)
        with checks.step("mount's clock", todo="correct the clock of this host"), mount_errors():
            _clock(checks, directory, clock)
        with checks.step("free space", todo="check the file system"), mount_errors():
            _space(checks, mount)
    finally:
        with suppress(OSError):
            remove_tree(directory)
    return tuple(checks)


def _locks(checks: CheckList, directory: str) -> None:
    path = os.path.join(directory, "lock")
    # Two open files of one path, as two processes have: flock tells them apart within one process too.
    first, second = open_to_lock(path), open_to_lock(path)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            checks.ok("locks", found="a lock keeps a second one out")
            return
        todo = "two runs would work on one repository at once: mount with NFS 4 and without `nolock`"
        checks.wrong("locks", found="a lock does not keep a second one out", todo=todo)
    finally:
        os.close(first)
        os.close(second)


def _links(checks: CheckList, directory: str) -> None:
    """Do what publishing does: replace a link by renaming another over it, and rename a directory."""
    names = [os.path.join(directory, name) for name in ("releases", "current", "link", "renamed")]
    releases, current, link, renamed = names
    os.mkdir(releases)
    os.symlink("releases", current)
    os.symlink("renamed", link)
    os.rename(link, current)
    os.rename(releases, renamed)
    if os.readlink(current) == "renamed" and os.path.isdir(current):
        checks.ok("links and renames", found="a link is replaced in one step, a directory renamed")
    else:
        todo = "readers would see half a release: this is not a POSIX file system"
        checks.wrong("links and renames", found="a renamed link does not lead where it should", todo=todo)


def _times(checks: CheckList, directory: str) -> None:
    # A release's seal is its directory's mtime in whole seconds; a fraction says that somebody changed it.
    for at in (1_700_000_000 * _SECOND, 1_700_000_000 * _SECOND + _SECOND // 2):
        os.utime(directory, ns=(at, at))
        found = os.stat(directory).st_mtime_ns
        if found != at:
            todo = "a release that somebody changed would look like any other: use EFS, NFS 4 or a local disk"
            checks.wrong("times", found=f"a time of {at} ns is kept as {found}", todo=todo)
            return
    checks.ok("times", found="whole seconds and halves are kept")


def _modes(checks: CheckList, parent: str) -> None:
    directory = os.path.join(parent, "directory")
    os.mkdir(directory, 0o755)
    file = open_to_lock(os.path.join(directory, "file"))
    try:
        mode = stat.S_IMODE(os.fstat(file).st_mode)
    finally:
        os.close(file)
    directory_mode = stat.S_IMODE(os.stat(directory).st_mode)
    if mode & _READABLE == _READABLE and directory_mode & _PASSABLE == _PASSABLE:
        checks.ok("modes", found="what is made can be read by everybody")
    else:
        todo = "set the umask to 022, and take default ACLs from the mount"
        checks.wrong("modes", found=f"a new file has mode {mode:o}, a directory {directory_mode:o}", todo=todo)


def _clock(checks: CheckList, directory: str, clock: Callable[[], float]) -> None:
    path = os.path.join(directory, "clock")
    write_whole(path, b"now")
    skew = os.stat(path).st_mtime_ns / _SECOND - clock()
    if abs(skew) <= MAX_SKEW_SECONDS:
        checks.ok("mount's clock", found="agrees with this host's")
    else:
        todo = "correct the clock of this host, or of the file server: grace periods depend on both"
        checks.wrong("mount's clock", found=f"is {skew:+.0f} s from this host's", todo=todo)


def _space(checks: CheckList, mount: str) -> None:
    about = os.statvfs(mount)
    free = about.f_bavail * about.f_frsize
    if free < MIN_FREE_BYTES:
        checks.wrong("free space", found=f"{free // 2**20} MiB are left", todo="make room, or a larger file system")
    elif about.f_files and not about.f_favail:
        checks.wrong("free space", found="no file can be made any more", todo="make room, or a larger file system")
    else:
        checks.ok("free space", found=f"{free // 2**30} GiB")
