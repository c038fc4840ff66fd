"""Which targets a repository was ever published to: what its mirror has to keep objects for."""

import os
from dataclasses import dataclass

from handler.config.names import path_problem
from handler.mount.fs.files import append, write_whole
from handler.mount.target.layout import RELEASES, RepositoryPaths, is_commit


@dataclass(frozen=True, slots=True)
class TargetRegistry:
    """The file at `path`: the targets' paths, relative to `mount`, one a line. Only the lock's holder writes it."""

    path: str
    mount: str

    @classmethod
    def of(cls, mount: str, full_name: str) -> "TargetRegistry":
        """Return the list of a repository (`<owner>/<name>`, checked by whoever configured it)."""
        return cls(RepositoryPaths.of(mount, full_name).targets, mount)

    def add(self, target_path: str) -> None:
        """Append a target, before its first release is made. Raises OSError.

        Appended and not rewritten: a killed run leaves at most half a line, which names no releases.
        """
        if target_path in self.read():
            return
        # The newline first: it ends whatever a killed run left.
        append(self.path, f"\n{target_path}\n".encode())

    def remove(self, target_path: str) -> None:
        """Take a target off the list, when all of it is gone. Raises OSError."""
        kept = [each for each in self.read() if each != target_path]
        temporary = f"{self.path}.new"
        write_whole(temporary, "".join(f"\n{each}\n" for each in kept).encode())
        os.rename(temporary, self.path)

    def read(self) -> list[str]:
        """Return the lines, half a one that a killed run left among them. Raises OSError."""
        try:
            with open(self.path, "rb") as file:
                lines = file.read().decode("utf-8", "replace").split("\n")
        except FileNotFoundError:
            return []
        return [line for line in lines if line]

    def target_paths(self) -> list[str]:
        """Return what can be a target's path, each once, in the order of the list. Raises OSError."""
        return [line for line in dict.fromkeys(self.read()) if path_problem(line) is None]

    def release_commits(self) -> list[str]:
        """Return the commits of every release of every target, each once. Raises OSError."""
        commits: dict[str, None] = {}
        for target_path in self.read():
            try:
                names = os.listdir(os.path.join(self.mount, target_path, RELEASES))
            except (FileNotFoundError, NotADirectoryError):
                continue
            commits |= dict.fromkeys(name for name in names if is_commit(name))
        return list(commits)
