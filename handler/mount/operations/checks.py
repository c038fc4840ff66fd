"""Whether the mount does what publishing needs of it: tried out in a directory of its own, which is removed again."""

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress

from handler.exchange.checks import Check, carried_out, ok, wrong
from handler.mount.fs.directories import remove_tree
from handler.mount.fs.files import write_whole

LEAST_FREE_BYTES = 1024**3
MOST_SKEW_SECONDS = 5.0
_SECOND = 1_000_000_000
_READABLE, _PASSABLE = 0o444, 0o555


def mount_checks(mount: str, clock: Callable[[], float]) -> Iterator[Check]:
    """Yield the checks of the file system at `mount`."""
    if not os.path.isdir(mount):
        yield wrong(
            "mount", found=f"{mount} is not a directory", todo="mount the file system there, or set GIT2EFS_MOUNT"
        )
        return
    place = os.path.join(mount, ".git2efs", f"doctor-{secrets.token_hex(8)}")
    try:
        os.makedirs(place)
        yield ok("mount", found=f"{mount} can be written")
    except OSError as error:
        todo = "give the function's user the directory, and its role elasticfilesystem:ClientWrite"
        yield wrong("mount", found=f"{mount} cannot be written ({error.strerror})", todo=todo)
        return
    try:
        steps = (("locks", _locks), ("links and renames", _links), ("times", _times), ("modes", _modes))
        for name, step in steps:
            todo = "this is not the file system that git2efs is made for: use EFS, NFS 4 or a local disk"
            yield from carried_out(name, lambda step=step: step(place), todo)  # type: ignore[misc]
        yield from carried_out("mount's clock", lambda: _clock(place, clock), "see to the clock of this host")
        yield from carried_out("free space", lambda: _space(mount), "see to the file system")
    finally:
        with suppress(OSError):
            remove_tree(place)


def _make(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def _locks(place: str) -> Iterator[Check]:
    path = os.path.join(place, "lock")
    one, other = _make(path), _make(path)
    try:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield ok("locks", found="a lock keeps a second one out")
            return
        todo = "two runs would work on one repository at once: mount with NFS 4 and without `nolock`"
        yield wrong("locks", found="a lock does not keep a second one out", todo=todo)
    finally:
        os.close(one)
        os.close(other)


def _links(place: str) -> Iterator[Check]:
    names = [os.path.join(place, name) for name in ("releases", "current", "link", "renamed")]
    releases, current, link, renamed = names
    os.mkdir(releases)
    os.symlink("releases", current)
    os.symlink("renamed", link)
    os.rename(link, current)
    os.rename(releases, renamed)
    if os.readlink(current) == "renamed" and os.path.isdir(current):
        yield ok("links and renames", found="a link is replaced in one step, a directory renamed")
    else:
        todo = "readers would see half a release: this is not a POSIX file system"
        yield wrong("links and renames", found="a renamed link does not lead where it should", todo=todo)


def _times(place: str) -> Iterator[Check]:
    for at in (1_700_000_000 * _SECOND, 1_700_000_000 * _SECOND + _SECOND // 2):
        os.utime(place, ns=(at, at))
        found = os.stat(place).st_mtime_ns
        if found != at:
            todo = "releases that somebody changed could not be told from others: use EFS, NFS 4 or a local disk"
            yield wrong("times", found=f"a time of {at} ns is kept as {found}", todo=todo)
            return
    yield ok("times", found="whole seconds and halves are kept")


def _modes(place: str) -> Iterator[Check]:
    directory = os.path.join(place, "directory")
    os.mkdir(directory, 0o755)
    file = _make(os.path.join(directory, "file"))
    try:
        mode = stat.S_IMODE(os.fstat(file).st_mode)
    finally:
        os.close(file)
    made = stat.S_IMODE(os.stat(directory).st_mode)
    if mode & _READABLE == _READABLE and made & _PASSABLE == _PASSABLE:
        yield ok("modes", found="what is made can be read by everybody")
    else:
        todo = "set the umask to 022, and take default ACLs from the mount"
        yield wrong("modes", found=f"a new file has mode {mode:o}, a directory {made:o}", todo=todo)


def _clock(place: str, clock: Callable[[], float]) -> Iterator[Check]:
    path = os.path.join(place, "clock")
    write_whole(path, b"now")
    skew = os.stat(path).st_mtime_ns / _SECOND - clock()
    if abs(skew) <= MOST_SKEW_SECONDS:
        yield ok("mount's clock", found="goes with this host's")
    else:
        todo = "see to the clock of this host, or of the file server: graces are told by both"
        yield wrong("mount's clock", found=f"is {skew:+.0f} s from this host's", todo=todo)


def _space(mount: str) -> Iterator[Check]:
    about = os.statvfs(mount)
    free = about.f_bavail * about.f_frsize
    if free < LEAST_FREE_BYTES:
        yield wrong("free space", found=f"{free // 2**20} MiB are left", todo="make room, or a larger file system")
    elif about.f_files and not about.f_favail:
        yield wrong("free space", found="no file can be made any more", todo="make room, or a larger file system")
    else:
        yield ok("free space", found=f"{free // 2**30} GiB")
