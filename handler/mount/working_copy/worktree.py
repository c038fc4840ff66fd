"""The files of a working copy: look at one, put one in its place by a rename, take one away.

They are somebody's: consumers read them while they change, and people may have put anything anywhere. Every directory
on the way is opened without following links, and nothing is written through one.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from handler.mount.fs.directories import DirectoryHandles
from handler.mount.fs.files import read_all, write_all
from handler.mount.fs.mounts import is_shared

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = "tmp_file_"


_CANNOT_BE_OPENED = (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM)
"""A link, a socket, a file that nobody may read."""


@dataclass(frozen=True, slots=True)
class PathStatus:
    """What stands at a path; `status` is None where nothing does.

    `blocker` is then the path of what stands in the place of a directory on the way, None where that is missing too.
    """

    status: os.stat_result | None
    blocker: bytes | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.status is not None and stat.S_ISREG(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.status is not None and stat.S_ISLNK(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    @property
    def is_executable(self) -> bool:
        """Whether the owner may execute it, which is all that git keeps of a mode."""
        return self.status is not None and bool(self.status.st_mode & 0o100)


class Worktree:
    """The directory at `root`. `staging` is one beside it, on the same file system, where nobody else looks.

    Paths are relative, in bytes as git has them. All methods raise OSError. Not safe for threads.
    """

    def __init__(self, root: str, directories: DirectoryHandles, staging: int, *, asks_server: bool) -> None:
        """`directories` are those below the root; `staging` is open, and somebody else's to close.

        `asks_server`: the file system is one over the network, whose client may answer from what it remembers.
        """
        self.root = root
        self.asks_server = asks_server
        self._directories = directories
        self.staging = staging

    @classmethod
    @contextmanager
    def opened(cls, root: str, staging: str) -> Iterator[Self]:
        """Open both, until the block ends."""
        asks_server = is_shared(root)
        with DirectoryHandles(root, asks_server=asks_server) as directories:
            descriptor = os.open(staging, _DIRECTORY)
            try:
                yield cls(root, directories, descriptor, asks_server=asks_server)
            finally:
                os.close(descriptor)

    def beside(self, directories: DirectoryHandles, staging: int) -> Self:
        """Return another one of the same root, for another thread."""
        return type(self)(self.root, directories, staging, asks_server=self.asks_server)

    # -- looking -----------------------------------------------------------------------------------------------------

    def look(self, path: bytes) -> PathStatus:
        """Return what stands at the path."""
        try:
            directory, name = self._directories.parent(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return PathStatus(None, None if error.errno == errno.ENOENT else self._blocker(path))
        try:
            return PathStatus(self._status(directory, name))
        except FileNotFoundError:
            return PathStatus(None)

    def _status(self, directory: int, name: bytes) -> os.stat_result:
        """Return what stands there now; what another host changed a moment ago, too.

        What an NFS client remembers of a file may be a minute old, and somebody's change would be written over.
        """
        if self.asks_server:
            try:
                descriptor = os.open(name, _READ, dir_fd=directory)
            except OSError as error:
                if error.errno not in _CANNOT_BE_OPENED:
                    raise
            else:
                try:
                    return os.fstat(descriptor)
                finally:
                    os.close(descriptor)
        return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def _blocker(self, path: bytes) -> bytes:
        """Return the first directory on the way to `path` that is none."""
        parts = path.split(b"/")
        for count in range(1, len(parts)):
            above = b"/".join(parts[:count])
            directory, name = self._directories.parent(above)
            if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                return above
        return path  # it has changed meanwhile: then this is what is in the way

    def content(self, path: bytes, seen: PathStatus) -> bytes:
        """Return a file's content, or a link's target."""
        directory, name = self._directories.parent(path)
        if seen.is_link:
            return os.readlink(name, dir_fd=directory)
        descriptor = os.open(name, _READ, dir_fd=directory)
        try:
            return read_all(descriptor)
        finally:
            os.close(descriptor)

    def files_below(self, path: bytes) -> Iterator[bytes]:
        """Yield all that is no directory below the directory `path`."""
        descriptor = self._open(path)
        try:
            with os.scandir(descriptor) as entries:
                children = sorted((os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries)
        finally:
            os.close(descriptor)
        for name, is_directory in children:
            if is_directory:
                yield from self.files_below(path + b"/" + name)
            else:
                yield path + b"/" + name

    def _open(self, path: bytes) -> int:
        directory, name = self._directories.parent(path)
        return os.open(name, _DIRECTORY, dir_fd=directory)

    # -- changing ----------------------------------------------------------------------------------------------------

    def put_file(self, path: bytes, content: bytes, *, is_executable: bool) -> os.stat_result:
        """Put a file in its place, whole; returns its status there.

        Never by writing into the old one: who reads it reads it to its end, and who is killed leaves no half file.
        """
        temporary = os.fsencode(_TEMPORARY + secrets.token_hex(8))
        file = os.open(temporary, _CREATE, 0o755 if is_executable else 0o644, dir_fd=self.staging)
        try:
            write_all(file, content)
        finally:
            os.close(file)
        return self._place(temporary, path)

    def put_link(self, path: bytes, target: bytes) -> os.stat_result:
        """Put a symbolic link in its place; returns its status there."""
        temporary = os.fsencode(_TEMPORARY + secrets.token_hex(8))
        os.symlink(target, temporary, dir_fd=self.staging)
        return self._place(temporary, path)

    def _place(self, temporary: bytes, path: bytes) -> os.stat_result:
        directory, name = self._directories.parent(path)
        os.rename(temporary, name, src_dir_fd=self.staging, dst_dir_fd=directory)
        # Not of the open file: the renaming changes its ctime.
        return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def make_directory(self, path: bytes) -> None:
        """Make a directory whose parent is there, unless it is there."""
        directory, name = self._directories.parent(path)
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=directory)

    def remove(self, path: bytes) -> None:
        """Take a file or link away; one that is gone, or is a directory, is left."""
        self._directories.remove(path, os.unlink)

    def remove_hollow(self, path: bytes) -> None:
        """Take a directory away in which there are directories at most; where there is more, it stays."""
        descriptor = self._open(path)
        try:
            with os.scandir(descriptor) as entries:
                children = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
        finally:
            os.close(descriptor)
        for name in children:
            self.remove_hollow(path + b"/" + name)
        self.remove_directory(path)

    def remove_directory(self, path: bytes) -> bool:
        """Take a directory away if it is empty; returns whether it is gone. What else lies in it is somebody's."""
        try:
            directory, name = self._directories.parent(path)
            os.rmdir(name, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return True
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                return False
            raise
        return True
