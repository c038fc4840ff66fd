"""HEAD, refs and their logs of a working copy's git directory, as git keeps them in files.

A ref is a file of its own, or a line of `packed-refs`; the file wins. It is replaced by a rename under its own lock, so
that git, which does the same, neither reads half a ref nor loses one of two changes.
"""

import errno
import os
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from handler.config.names import ref_problem
from handler.errors import CopyBusy, CopyUnusable
from handler.mount.fs.files import read_whole
from handler.mount.working_copy.gitdir.locks import acquire_lock, release_lock
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
_MOST_BYTES = 4096
"""Of a ref's file; git's own are shorter."""


class Refs:
    """The refs of the git directory at `path`. Only the holder of the repository's lock writes by it; git may always.

    `makes_logs` is `core.logAllRefUpdates`: without it only logs that are there are written on. `staging` is where new
    content is written.
    """

    def __init__(self, path: str, *, makes_logs: bool = True, staging: StagingArea | None = None) -> None:
        """Nothing is read yet."""
        self._path = path
        self._makes_logs = makes_logs
        self._staging = staging or StagingArea.of(path)
        self._known: set[str] = set()

    # -- reading -----------------------------------------------------------------------------------------

    def head(self) -> str | None:
        """Return the ref that HEAD leads to, None where it is detached. Raises CopyUnusable, OSError."""
        content = self._read_file("HEAD")
        if content is None:
            raise CopyUnusable("there is no HEAD")
        if not content.startswith(_SYMBOLIC):
            if not _COMMIT.fullmatch(content):
                raise CopyUnusable("HEAD names neither a ref nor a commit")
            return None
        name = content[len(_SYMBOLIC) :].strip().decode("utf-8", "surrogateescape")
        if problem := ref_problem(name):
            raise CopyUnusable(f"the ref that HEAD leads to {problem}")
        return name

    def read(self, name: str) -> bytes | None:
        """Return what a ref (full name, or one like ORIG_HEAD) names, 40 hex digits; None where it is not there.

        Raises CopyUnusable for what is no ref, a broken one, or one that leads to another; OSError.
        """
        content = self._read_file(name)
        if content is None:
            # After the file, and not before: git that packs refs writes the line first, and then removes the file.
            found = self._read_packed_refs().get(name.encode()) if name.startswith("refs/") else None
        elif match := _COMMIT.fullmatch(content):
            found = match[1]
        else:
            raise CopyUnusable(f"the ref {name} is broken, or leads to another one")
        if found is not None:
            self._known.add(name)
        return found

    def log(self, name: str) -> list[LogEntry]:
        """Return the last entries of a ref's log, the oldest first; those that cannot be read are left out.

        Raises CopyUnusable for what is no ref, OSError.
        """
        return read_log(self._log_path(name))

    # -- writing -----------------------------------------------------------------------------------------

    def write(self, name: str, commit: bytes, expected: Collection[bytes | None] | None = None) -> None:
        """Let a ref name a commit (40 hex digits). `expected`: only where it names one of these now, None for nothing.

        A lock of ours that is held already is let go of too. Raises CopyBusy where git is changing the ref, or has;
        CopyUnusable where another ref is in the way; OSError.
        """
        change = self.prepare(name, commit, expected)
        try:
            change.commit()
        finally:
            change.close()

    def prepare(self, name: str, commit: bytes, expected: Collection[bytes | None] | None = None) -> "RefTransaction":
        """Do all of a `write` but for its last step. Whoever gets it has to `end` it. Raises what `write` raises."""
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
        """Write a file such as ORIG_HEAD or FETCH_HEAD. Raises CopyUnusable, OSError."""
        if not _PSEUDOREF.fullmatch(name):
            raise CopyUnusable(f"{name!r} is not the name of such a file")
        self._replace(os.path.join(self._path, name), content)

    def append_log(
        self, name: str, entries: Sequence[LogEntry], committer: bytes, at: int, *, is_retry: bool = False
    ) -> None:
        """Append to a ref's log, all entries in one go; `committer` is `Name <mail>`, `at` seconds since the epoch.

        `is_retry`: those that a killed run wrote already are not written again. Where there is no log one is made for
        HEAD, branches and what is fetched, as git does it; for the stash in any case, which is nothing but its log.
        Raises CopyUnusable where another ref's log is in the way, OSError.
        """
        creates = name == STASH or (self._makes_logs and (name == "HEAD" or name.startswith(_LOGGED)))
        path = self._log_path(name)
        end = read_tail(path) if is_retry else b""
        if not (missing := entries_to_append(end, entries)):
            return
        content = b"".join(format_line(entry, committer, at) for entry in missing)
        torn = end.rpartition(b"\n")[2]
        if content.startswith(torn):
            content = content[len(torn) :]
        elif torn:
            content = b"\n" + content  # git passes over half a line, if nothing is joined to it
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
        """Return the path of a ref's lock, to hold it for longer than a `write`. Raises CopyUnusable."""
        return f"{self._path_of(name)}.lock"

    # -- files -------------------------------------------------------------------------------------------

    def _path_of(self, name: str) -> str:
        """Return a ref's file. The name is checked first, so that none leads out of the git directory."""
        if not _PSEUDOREF.fullmatch(name) and (problem := ref_problem(name)):
            raise CopyUnusable(f"the ref {name!r} {problem}")
        return os.path.join(self._path, name)

    def _log_path(self, name: str) -> str:
        self._path_of(name)
        return os.path.join(self._path, "logs", name)

    def _read_file(self, name: str) -> bytes | None:
        try:
            return read_whole(self._path_of(name), most_bytes=_MOST_BYTES)
        except (IsADirectoryError, NotADirectoryError):
            return None  # another ref's directory, or file: the ref may be packed
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise CopyUnusable(f"{name} is a symbolic link") from None
            raise

    def _read_packed_refs(self) -> dict[bytes, bytes]:
        """Return the refs of `packed-refs`, by name."""
        try:
            content = read_whole(os.path.join(self._path, "packed-refs"), follows=True) or b""
        except IsADirectoryError:
            content = b""
        packed: dict[bytes, bytes] = {}
        for line in content.split(b"\n"):
            commit, space, name = line.partition(b" ")
            if space and _COMMIT.fullmatch(commit):
                packed[name] = commit
        return packed

    def _refuse_conflicting_name(self, name: str) -> None:
        """Refuse to make a ref where a packed one has its name for a directory, or the other way round.

        As files they could not both be; git calls a repository broken where they are.
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
                os.makedirs(os.path.dirname(path), exist_ok=True)
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
    """A ref's file at `path`, which is locked, and its new content at `temporary`."""

    path: str
    temporary: str

    def commit(self) -> None:
        """Put the new content in its place. Raises CopyUnusable where another ref is in the way, OSError."""
        try:
            os.rename(self.temporary, self.path)
        except IsADirectoryError:
            _remove_empty_directories(self.path)
            os.rename(self.temporary, self.path)
        self.temporary = ""

    def close(self) -> None:
        """Let go of the ref, which is as it was unless this is finished. Raises OSError."""
        self.abort()
        release_lock(f"{self.path}.lock")

    def abort(self) -> None:
        """Throw the new content away if it is not in its place."""
        if self.temporary:
            with suppress(OSError):
                os.unlink(self.temporary)


def _remove_empty_directories(directory: str) -> None:
    """Remove what branches such as `a/b` left of `a`, as git does. Raises CopyUnusable where a ref is in it."""
    for each, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(each)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise CopyUnusable("a directory with refs or logs in it is in the way of a ref") from None
            raise
