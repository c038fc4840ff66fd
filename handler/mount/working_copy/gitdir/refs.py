"""HEAD, refs and reflogs of a working copy's git directory, in git's files format.

A ref is a loose file, or a line of `packed-refs`; the file wins. A rename under the ref's own lock replaces it. Git
does the same, so it neither reads half a ref nor loses one of two changes.
"""

import errno
import os
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from handler.config.names import ref_problem
from handler.errors import CopyBusy, CopyUnusable
from handler.mount.fs.directories import make_directories
from handler.mount.fs.files import NOT_REGULAR, read_whole, rename
from handler.mount.working_copy.gitdir.locks import acquire_lock, release_lock
from handler.mount.working_copy.gitdir.names import decode_name
from handler.mount.working_copy.gitdir.ref_logs import (
    LogEntry,
    append_lines,
    entries_to_append,
    format_line,
    read_log,
    read_tail,
)
from handler.mount.working_copy.gitdir.staging_area import StagingArea

STASH = "refs/stash"
_SYMBOLIC = b"ref:"
_COMMIT = re.compile(rb"([0-9a-f]{40})\s*")
_PSEUDOREF = re.compile(r"[A-Z][A-Z_]{0,63}")
_LOGGED = ("refs/heads/", "refs/remotes/", "refs/notes/", "refs/stash")
_MAX_BYTES = 4096
"""The most bytes that are read of a ref's file; git's own are shorter."""


class Refs:
    """The refs of the git directory at `path`. Git writes them too, at any time.

    Of git2efs only the holder of the repository's lock writes here. `makes_logs` is `core.logAllRefUpdates`: without it
    only existing reflogs get entries. `staging` is where new files are written.
    """

    def __init__(self, path: str, *, makes_logs: bool = True, staging: StagingArea | None = None) -> None:
        self._path = path
        self._makes_logs = makes_logs
        self._staging = staging or StagingArea.of(path)
        self._known: set[str] = set()

    # -- reading -----------------------------------------------------------------------------------------

    def head(self) -> str | None:
        """Return the ref that HEAD names; None if it is detached. Raises CopyUnusable."""
        content = self._read_file("HEAD")
        if content is None:
            raise CopyUnusable("there is no HEAD")
        if not content.startswith(_SYMBOLIC):
            if not _COMMIT.fullmatch(content):
                raise CopyUnusable("HEAD names neither a ref nor a commit")
            return None
        name = decode_name(content[len(_SYMBOLIC) :].strip())
        if problem := ref_problem(name):
            raise CopyUnusable(f"the ref that HEAD leads to {problem}")
        return name

    def read(self, name: str) -> bytes | None:
        """Return the commit (40 hex digits) of a ref (full name, or a pseudoref like ORIG_HEAD); None if there is none.

        Raises CopyUnusable for an invalid name, a broken ref or a symbolic one.
        """
        content = self._read_file(name)
        if content is None:
            # After the file, not before: git that packs refs writes the line first, and removes the file then.
            found = self._read_packed_refs().get(name.encode()) if name.startswith("refs/") else None
        elif match := _COMMIT.fullmatch(content):
            found = match[1]
        else:
            raise CopyUnusable(f"the ref {name} is broken, or leads to another one")
        if found is not None:
            self._known.add(name)
        return found

    def log(self, name: str) -> list[LogEntry]:
        """Return the last entries of a ref's reflog, the oldest first, without those that cannot be parsed.

        Raises CopyUnusable for an invalid name.
        """
        return read_log(self._log_path(name))

    # -- writing -----------------------------------------------------------------------------------------

    def write(self, name: str, commit: bytes, expected: Collection[bytes | None] | None = None) -> None:
        """Update a ref to a commit (40 hex digits).

        `expected`: only if it names one of these now, None meaning no ref. A stale lock of ours is taken over. Raises
        CopyBusy if git is changing the ref, or has changed it; CopyUnusable if another ref is in the way.
        """
        change = self.prepare(name, commit, expected)
        try:
            change.commit()
        finally:
            change.close()

    def prepare(self, name: str, commit: bytes, expected: Collection[bytes | None] | None = None) -> "RefTransaction":
        """Do all of `write` but the last step. The caller has to `close` the result. Raises what `write` raises."""
        path = self._path_of(name)
        self._take_lock(name, path)
        try:
            if expected is not None and self.read(name) not in expected:
                raise CopyBusy(f"{name} was changed while it was pulled into")
            if name not in self._known:
                self._refuse_conflicting_name(name)
            temporary = self._staging.write(commit + b"\n", "ref")
        except BaseException:
            release_lock(f"{path}.lock")
            raise
        self._known.add(name)
        return RefTransaction(path, temporary)

    def write_pseudoref(self, name: str, content: bytes) -> None:
        """Write a file such as ORIG_HEAD. Raises CopyUnusable."""
        if not _PSEUDOREF.fullmatch(name):
            raise CopyUnusable(f"{name!r} is not the name of such a file")
        self._replace(os.path.join(self._path, name), content)

    def append_log(
        self, name: str, entries: Sequence[LogEntry], committer: bytes, timestamp: int, *, is_retry: bool = False
    ) -> None:
        """Append entries to a ref's reflog in one write.

        `committer` is `Name <mail>`, `timestamp` in seconds since the epoch. `is_retry`: a killed run may have appended
        some of them; these are not repeated. If there is no reflog, one is created for HEAD, branches and
        remote-tracking refs, as in git, and for the stash, which consists of its reflog. Raises CopyUnusable if another
        ref's reflog is in the way.
        """
        creates = name == STASH or (self._makes_logs and (name == "HEAD" or name.startswith(_LOGGED)))
        path = self._log_path(name)
        end = read_tail(path) if is_retry else b""
        if not (missing := entries_to_append(end, entries)):
            return
        content = b"".join(format_line(entry, committer, timestamp) for entry in missing)
        torn = end.rpartition(b"\n")[2]
        if content.startswith(torn):
            content = content[len(torn) :]
        elif torn:
            content = b"\n" + content  # git skips half a line, if nothing is joined to it
        try:
            try:
                append_lines(path, content, creates=creates)
            except IsADirectoryError:
                _remove_empty_directories(path)
                append_lines(path, content, creates=creates)
        except (NotADirectoryError, FileExistsError):
            raise CopyUnusable(f"the log of another ref is in the way of that of {name}") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise CopyUnusable(f"the log of {name} is a symbolic link") from None
            raise

    def lock_path(self, name: str) -> str:
        """Return the path of a ref's lock. Raises CopyUnusable."""
        return f"{self._path_of(name)}.lock"

    # -- files -------------------------------------------------------------------------------------------

    def _path_of(self, name: str) -> str:
        """Return the path of a ref's file. The name is checked, so that no path leads out of the git directory."""
        if not _PSEUDOREF.fullmatch(name) and (problem := ref_problem(name)):
            raise CopyUnusable(f"the ref {name!r} {problem}")
        return os.path.join(self._path, name)

    def _log_path(self, name: str) -> str:
        self._path_of(name)
        return os.path.join(self._path, "logs", name)

    def _read_file(self, name: str) -> bytes | None:
        try:
            return read_whole(self._path_of(name), max_bytes=_MAX_BYTES)
        except (IsADirectoryError, NotADirectoryError):
            return None  # a directory or file of another ref: this one may be packed
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise CopyUnusable(f"{name} is a symbolic link") from None
            raise

    def _read_packed_refs(self) -> dict[bytes, bytes]:
        """Return the refs of `packed-refs`, by name."""
        try:
            content = read_whole(os.path.join(self._path, "packed-refs")) or b""
        except IsADirectoryError:
            content = b""
        except OSError as error:
            if error.errno not in NOT_REGULAR:
                raise
            raise CopyUnusable(".git/packed-refs is no regular file") from None
        packed: dict[bytes, bytes] = {}
        for line in content.split(b"\n"):
            commit, space, name = line.partition(b" ")
            if space and _COMMIT.fullmatch(commit):
                packed[name] = commit
        return packed

    def _refuse_conflicting_name(self, name: str) -> None:
        """Raise CopyUnusable if a packed ref has this name as its directory, or the other way round.

        They could not both be loose, and git calls such a repository broken.
        """
        wanted = name.encode()
        for each in self._read_packed_refs():
            if each.startswith(wanted + b"/") or wanted.startswith(each + b"/"):
                raise CopyUnusable(f"the ref {each[:200].decode('utf-8', 'replace')} is in the way of {name}")

    def _take_lock(self, name: str, path: str) -> None:
        try:
            try:
                acquire_lock(f"{path}.lock")
            except FileNotFoundError:
                make_directories(os.path.dirname(path))
                acquire_lock(f"{path}.lock")
        except (NotADirectoryError, FileExistsError):
            raise CopyUnusable(f"another ref is in the way of {name}") from None

    def _replace(self, path: str, content: bytes) -> None:
        change = RefTransaction(path, self._staging.write(content, "ref"))
        try:
            change.commit()
        finally:
            change.abort()


@dataclass(slots=True)
class RefTransaction:
    """A prepared update: the ref's file at `path` is locked, its new content is at `temporary`."""

    path: str
    temporary: str

    def commit(self) -> None:
        """Replace the ref's file. Raises CopyUnusable if another ref is in the way."""
        try:
            rename(self.temporary, self.path)
        except IsADirectoryError:
            _remove_empty_directories(self.path)
            rename(self.temporary, self.path)
        self.temporary = ""

    def close(self) -> None:
        """Unlock the ref, which is unchanged unless this was committed."""
        self.abort()
        release_lock(f"{self.path}.lock")

    def abort(self) -> None:
        """Remove the new content, unless this was committed."""
        if self.temporary:
            with suppress(OSError):
                os.unlink(self.temporary)


def _remove_empty_directories(directory: str) -> None:
    """Remove the empty directory `a` of a former branch `a/b`, as git does. Raises CopyUnusable if it has a ref."""
    for each, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(each)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise CopyUnusable("a directory with refs or logs in it is in the way of a ref") from None
            raise
