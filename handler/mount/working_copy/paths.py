"""Where things are in a working copy, and what of them is ours."""

import os
from contextlib import suppress
from dataclasses import dataclass

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
    def own(self) -> str:
        """What is ours in it: nobody else writes here."""
        return os.path.join(self.root, COPY)

    @property
    def own_refs(self) -> str:
        """Where refs are written, before they are renamed into their places, on a mount where that takes long."""
        return os.path.join(self.root, COPY, f"{STAGING}refs")

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
        return os.path.join(self.root, COPY, JOURNAL)


def prepare_own(paths: CopyPaths) -> None:
    """Make our own directory in a working copy, or sweep from it what killed runs left. Raises OSError.

    Nothing is there that is not ours, so all that has no lasting name goes; and directories that things are staged in
    are emptied.
    """
    os.makedirs(paths.own, exist_ok=True)
    for name in os.listdir(paths.own):
        path = os.path.join(paths.own, name)
        if name.startswith(STAGING):
            for each in os.listdir(path):
                os.unlink(os.path.join(path, each))
        elif name not in (JOURNAL, RECORD):
            with suppress(FileNotFoundError):
                os.unlink(path)
