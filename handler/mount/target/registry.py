"""Which targets a repository was ever published to. Maintenance visits them; the mirror keeps their objects."""

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from handler.config.names import path_problem
from handler.mount.fs.directories import names_in
from handler.mount.fs.files import append, read_whole, replace_whole, unlink_if_there
from handler.mount.target.layout import (
    RECORD,
    RELEASES,
    STAGING,
    RepositoryPaths,
    commit_of,
    is_release,
    read_spare_name,
)
from handler.mount.target.record import read_record


@dataclass(frozen=True, slots=True)
class TargetRegistry:
    """The file at `path`: the targets' paths, relative to `mount`, one a line. Only the lock's holder writes it.

    Raises OSError for what the mount answers.
    """

    path: str
    mount: str

    @classmethod
    def of(cls, mount: str, full_name: str) -> "TargetRegistry":
        """Return the registry of `<owner>/<name>`, a name that was checked when it was configured."""
        return cls(RepositoryPaths.of(mount, full_name).targets, mount)

    def add(self, target_path: str) -> None:
        """Append a target, before its first release is made."""
        if target_path in self.read():
            return
        # Appended and not rewritten: a killed run leaves at most half a line, which names no releases. The newline
        # comes first, to end that half line.
        # And what a stopped run was about to replace the list with: it lacks this line (see `remove`).
        unlink_if_there(f"{self.path}.new")
        append(self.path, f"\n{target_path}\n".encode())

    def remove(self, target_path: str, check: Callable[[], object]) -> None:
        """Remove a target, when all of it is gone. `check` raises LockLost where the lock was lost."""
        kept = [each for each in self.read() if each != target_path]
        # Replaced as a whole: killed in the middle, the old list still has the target, and the next run removes it.
        replace_whole(self.path, "".join(f"\n{each}\n" for each in kept).encode(), check)

    def read(self) -> list[str]:
        """Return the lines, with any half line that a killed run left."""
        lines = (read_whole(self.path) or b"").decode("utf-8", "replace").split("\n")
        return [line for line in lines if line]

    def target_paths(self) -> list[str]:
        """Return the lines that can be a target's path, each once, in their order."""
        # Checked as in a parameter: maintenance opens these paths, and others may have written the file.
        return [line for line in dict.fromkeys(self.read()) if path_problem(line) is None]

    def release_commits(self) -> list[str]:
        """Return the commits of every release and every spare of every target, and what was confirmed, each once."""
        commits: dict[str, None] = {}
        # A line that can be no target's path is passed over: it could name any directory, or none that there can be.
        for target_path in self.target_paths():
            # Listed, and not taken from records: a release that a killed run left needs its objects too.
            releases = list(filter(is_release, self._list(target_path, RELEASES)))
            releases += filter(None, map(read_spare_name, self._list(target_path, STAGING)))
            commits |= dict.fromkeys(map(commit_of, releases))
            # What pushes did not change was confirmed for a later commit: the next fetch builds on that one.
            record = read_record(os.path.join(self.mount, target_path, RECORD), now=time.time()) if releases else None
            if record is not None and record.confirmed_commit is not None:
                commits[record.confirmed_commit] = None
        return list(commits)

    def _list(self, target_path: str, name: str) -> list[str]:
        try:
            return names_in(os.path.join(self.mount, target_path, name))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return []
