"""The paths of a working copy."""

import os
from dataclasses import dataclass

from handler.mount.fs.directories import make_directories, names_in, remove_files
from handler.mount.target.layout import COPY, GIT, RECORD
from handler.mount.working_copy.parallel import STAGING

JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class CopyPaths:
    """A working copy at `root`."""

    root: str

    @property
    def git(self) -> str:
        """The git directory."""
        return os.path.join(self.root, GIT)

    @property
    def state_directory(self) -> str:
        """The directory for git2efs's own files, inside the git directory. Nobody else writes here."""
        return os.path.join(self.root, COPY)

    @property
    def ref_staging(self) -> str:
        """Where refs are staged on a slow mount, so that their creation does not wait for that of other files."""
        return os.path.join(self.root, COPY, f"{STAGING}refs")

    @property
    def index(self) -> str:
        """Git's index."""
        return os.path.join(self.root, GIT, "index")

    @property
    def lock(self) -> str:
        """Git's lock on the index, which keeps git's commands out while the copy changes."""
        return os.path.join(self.root, GIT, "index.lock")

    @property
    def journal(self) -> str:
        """The journal of the current pull, or of a killed one."""
        return os.path.join(self.root, COPY, JOURNAL)


def prepare_state_directory(paths: CopyPaths) -> None:
    """Make the state directory, or sweep from it what killed runs left.

    All names but the journal's and the record's are temporary. Staging directories are kept and emptied.
    """
    make_directories(paths.state_directory)
    names = names_in(paths.state_directory)
    for name in names:
        if name.startswith(STAGING):
            path = os.path.join(paths.state_directory, name)
            remove_files(path, names_in(path))
    kept = (JOURNAL, RECORD)
    remove_files(paths.state_directory, [each for each in names if each not in kept and not each.startswith(STAGING)])
