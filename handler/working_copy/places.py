"""Where things are in a working copy. Pure: names only."""

import os
from dataclasses import dataclass

from handler.efs.layout import COPY, GIT


@dataclass(frozen=True, slots=True)
class CopyPaths:
    """A working copy at `root`."""

    root: str

    @property
    def git(self) -> str:
        """The git directory."""
        return os.path.join(self.root, GIT)

    @property
    def own(self) -> str:
        """What is ours in it: nobody else writes here."""
        return os.path.join(self.root, COPY)

    @property
    def index(self) -> str:
        """Git's index."""
        return os.path.join(self.root, GIT, "index")

    @property
    def lock(self) -> str:
        """What keeps git's commands out while the copy changes."""
        return os.path.join(self.root, GIT, "index.lock")

    @property
    def journal(self) -> str:
        """What a run is about to do, so that a killed one is finished."""
        return os.path.join(self.root, COPY, "journal")
