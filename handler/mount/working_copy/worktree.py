"""The worktree: read a file's status, replace a file by a rename, remove one.

Consumers read the files while they change, and people may have put anything anywhere. Every directory on the way to a
file is opened without following links, so nothing is written through one.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from handler.mount.fs.directories import DirectoryHandles, open_directory
from handler.mount.fs.files import open_to_read, read_all, write_new
from handler.mount.fs.mounts import is_shared

_TEMPORARY = b"tmp_file_"
_UNOPENABLE = (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM)
"""What `open` says of a link, a socket, a file without read permission."""


@dataclass(frozen=True, slots=True)
class PathStatus:
    """What is at a path: `stat` is None if nothing is.

    `blocker` is then the path of what is in the place of one of its directories; None if that is only missing.
    """

    stat: os.stat_result | None
    blocker: bytes | None = None

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.stat is not None and stat.S_ISREG(self.stat.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.stat is not None and stat.S_ISLNK(self.stat.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.stat is not None and stat.S_ISDIR(self.stat.st_mode)

    @property
    def is_executable(self) -> bool:
        """Whether the owner may execute it: all that git records of a file's mode."""
        return self.stat is not None and bool(self.stat.st_mode & 0o100)


class Worktree:
    """The worktree at `root`. Files are staged in a directory of the same file system that nobody else reads.

    Paths are relative, in bytes as git has them. Not safe for threads.
    """

    def __init__(self, root: str, directories: DirectoryHandles, staging: int, *, asks_server: bool) -> None:
        """`directories` are the handles below the root. `staging` is an open directory, which the caller closes.

        `asks_server`: it is a network file system, whose client may answer from its cache.
        """
        self.root = root
        self.asks_server = asks_server
        self._directories = directories
        self.staging = staging
        # Drawn once, and counted up: a draw for each file is a system call.
        self._number = secrets.randbits(63)

    @classmethod
    @contextmanager
    def opened(cls, root: str, staging: str) -> Iterator[Self]:
        """Open the directories `root` and `staging`, until the block ends."""
        asks_server = is_shared(root)
        with DirectoryHandles(root, asks_server=asks_server) as directories, open_directory(staging) as descriptor:
            yield cls(root, directories, descriptor, asks_server=asks_server)

    def with_handles(self, directories: DirectoryHandles, staging: int) -> Self:
        """Return a worktree of the same root, for another thread."""
        return type(self)(self.root, directories, staging, asks_server=self.asks_server)

    # -- reading -----------------------------------------------------------------------------------------------------

    def lstat(self, path: bytes) -> PathStatus:
        """Return the status of a path; on a network file system, as the server has it."""
        try:
            directory, name = self._directories.parent(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return PathStatus(None, None if error.errno == errno.ENOENT else self._blocker(path))
        try:
            return PathStatus(self._lstat_from_server(directory, name))
        except FileNotFoundError:
            return PathStatus(None)

    def _lstat_from_server(self, directory: int, name: bytes) -> os.stat_result:
        if self.asks_server:
            # An open makes the NFS client ask the server. Its cache may be a minute old, and a pull that trusts it
            # would overwrite what somebody has changed on another host.
            try:
                with open_to_read(name, directory=directory) as descriptor:
                    return os.fstat(descriptor)
            except OSError as error:
                if error.errno not in _UNOPENABLE:
                    raise
        return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def _blocker(self, path: bytes) -> bytes:
        """Return the first of the directories above `path` that is not a directory."""
        parts = path.split(b"/")
        for count in range(1, len(parts)):
            above = b"/".join(parts[:count])
            directory, name = self._directories.parent(above)
            if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                return above
        return path  # it has changed meanwhile, and now the path itself is in the way

    def read(self, path: bytes, status: PathStatus) -> bytes:
        """Return a file's content, or a link's target. `status` says which of them it is."""
        directory, name = self._directories.parent(path)
        if status.is_link:
            return os.readlink(name, dir_fd=directory)
        with open_to_read(name, directory=directory) as descriptor:
            return read_all(descriptor)

    def list_files(self, path: bytes) -> Iterator[bytes]:
        """Yield the paths of all files and links below the directory `path`."""
        # Not recursive: people can nest directories deeper than Python recurses.
        waiting = [(path, True)]
        while waiting:
            each, is_directory = waiting.pop()
            if not is_directory:
                yield each
                continue
            directory, base = self._directories.parent(each)
            with open_directory(base, directory=directory) as descriptor, os.scandir(descriptor) as entries:
                found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
            waiting += [(each + b"/" + name, is_below) for name, is_below in sorted(found, reverse=True)]

    # -- writing -----------------------------------------------------------------------------------------------------

    def write_file(self, path: bytes, content: bytes, *, is_executable: bool) -> os.stat_result:
        """Write a file, replacing what is at the path; returns its new status."""
        # Staged and renamed, never written in place: a reader of the old file reads it to its end, and a killed run
        # leaves no half file.
        temporary = self._new_name()
        write_new(temporary, content, 0o755 if is_executable else 0o644, directory=self.staging)
        return self._rename_into_place(temporary, path)

    def write_link(self, path: bytes, target: bytes) -> os.stat_result:
        """Write a symbolic link, replacing what is at the path; returns its new status."""
        temporary = self._new_name()
        os.symlink(target, temporary, dir_fd=self.staging)
        return self._rename_into_place(temporary, path)

    def _new_name(self) -> bytes:
        """Return a name that no other worktree stages a file under."""
        self._number += 1
        return b"%b%016x" % (_TEMPORARY, self._number)

    def _rename_into_place(self, temporary: bytes, path: bytes) -> os.stat_result:
        directory, name = self._directories.parent(path)
        os.rename(temporary, name, src_dir_fd=self.staging, dst_dir_fd=directory)
        # Not the status of the open file: the rename changes its ctime.
        return os.stat(name, dir_fd=directory, follow_symlinks=False)

    def make_directory(self, path: bytes) -> None:
        """Make a directory, unless it is there. Its parent has to be."""
        directory, name = self._directories.parent(path)
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=directory)

    def remove(self, path: bytes) -> None:
        """Remove a file or link, if there is one; a directory stays."""
        self._directories.remove(path, os.unlink)

    def remove_empty_tree(self, path: bytes) -> None:
        """Remove a directory and the directories in it; those with files in them stay."""
        found = [path]
        for each in found:  # grows as directories are found in it
            directory, base = self._directories.parent(each)
            with open_directory(base, directory=directory) as descriptor, os.scandir(descriptor) as entries:
                names = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
            found += [each + b"/" + name for name in names]
        for each in reversed(found):
            self.remove_directory(each)

    def remove_directory(self, path: bytes) -> None:
        """Remove a directory if it is empty. What is in it otherwise is somebody's, and stays."""
        try:
            self._directories.remove(path, os.rmdir)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                raise
