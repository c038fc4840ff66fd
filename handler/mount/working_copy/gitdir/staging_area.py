"""`.git/git2efs/`: where our files are staged in a repository that others write to, until a rename puts them in place.

Git does not look there, and only git2efs writes there. So whatever a killed run left can be swept. Among git's own
temporary files it could not be told from what git is receiving right now.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from handler.mount.fs.directories import make_directories
from handler.mount.fs.files import rename, write_whole

NAME = "git2efs"
_TEMPORARY = "tmp_"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StagingArea:
    """The directory at `path`, made when it is first needed. Only the holder of the repository's lock uses it."""

    path: str

    @staticmethod
    def of(git_directory: str) -> "StagingArea":
        """Return the staging area of a git directory."""
        return StagingArea(os.path.join(git_directory, NAME))

    def temporary_path(self, kind: str) -> str:
        """Return the path of a new temporary file. `prepare_state_directory` removes it if a killed run leaves it."""
        return os.path.join(self.path, f"{_TEMPORARY}{kind}_{secrets.token_hex(8)}")

    def make_in(self, make: Callable[[], T]) -> T:
        """Return what `make()` returns, which needs the directory."""
        try:
            return make()
        except FileNotFoundError:
            make_directories(self.path)
            return make()

    def replace(self, path: str, content: bytes, kind: str, mode: int = 0o644) -> None:
        """Replace the file at `path`: stage the new one and rename it."""
        self.rename(self.write(content, kind, mode), path)

    def write(self, content: bytes, kind: str, mode: int = 0o644) -> str:
        """Write a temporary file; returns its path."""
        temporary = self.temporary_path(kind)
        self.make_in(lambda: write_whole(temporary, content, mode))
        return temporary

    def rename(self, temporary: str, path: str) -> None:
        """Rename a temporary file to `path`; if that fails, remove it."""
        try:
            rename(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
