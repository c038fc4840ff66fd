"""Somebody who works in a working copy with git."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from testing.repositories import Tree, git_environment, run_git, snapshot
from testing.service import Service

PATH = "octo/site/main"


class Person:
    """Works in the copy at `root`."""

    def __init__(self, root: Path) -> None:
        """Touch nothing yet."""
        self.root = root

    @classmethod
    def at(cls, service: Service, path: str = PATH) -> "Person":
        """Return somebody in the working copy of a service's target."""
        return cls(service.mount / path)

    def git(self, *arguments: str, check: bool = True) -> str:
        """Run git there; returns what it says, without its last newline."""
        return run_git(*arguments, directory=self.root, check=check).decode("utf-8", "surrogateescape").rstrip("\n")

    def complaints(self) -> str:
        """Return what `git fsck` finds wrong with the repository."""
        command = ["git", "fsck", "--full", "--no-dangling", "--no-progress"]
        said = subprocess.run(command, cwd=self.root, env=git_environment(), capture_output=True, check=False)
        return (said.stdout + said.stderr).decode("utf-8", "replace")

    def write(self, files: Mapping[str, str | None]) -> None:
        """Write files, or (None) remove them."""
        for name, content in files.items():
            file = self.root / name
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)

    def commit(self, files: Mapping[str, str | None], message: str = "local") -> str:
        """Commit a change; returns the commit."""
        self.write(files)
        self.git("add", "-A", "--", *files)
        self.git("commit", "-q", "-m", message)
        return self.head()

    def head(self) -> str:
        """Return the commit that HEAD names."""
        return self.git("rev-parse", "HEAD")

    def status(self) -> str:
        """Return what `git status` says, without letting it write anything."""
        return self.git("--no-optional-locks", "status", "--porcelain")

    def state(self) -> dict[str, object]:
        """Return all that a refused pull must leave as it is: refs' logs, index, files."""
        files = {
            str(file.relative_to(self.root)): (file.lstat().st_mode, _content(file), file.lstat().st_mtime_ns)
            for file in sorted(self.root.rglob("*"))
            if ".git" not in file.relative_to(self.root).parts and not (file.is_dir() and not file.is_symlink())
        }
        return {
            "head": self.git("rev-parse", "--verify", "-q", "HEAD", check=False),
            "branch": self.git("symbolic-ref", "HEAD"),
            "index": (self.root / ".git/index").read_bytes(),
            "log": (self.root / ".git/logs/HEAD").read_bytes(),
            "files": files,
        }

    def tree(self) -> Tree:
        """Return what is on disk, in the shape of `archive`."""
        return {path: entry for path, entry in snapshot(self.root).items() if not path.startswith(b".git/")}

    def is_sound(self) -> None:
        """Hold the copy to what git says of a sound one."""
        assert "missing" not in self.git("fsck", "--full")
        assert not (self.root / ".git/index.lock").exists()
        assert not os.path.lexists(self.root / ".git/index.lock")
        assert not list((self.root / ".git").rglob("*.lock"))
        # Empty directories are left where the mount seemed slow, which a busy machine's may.
        left = {each.name for each in (self.root / ".git/git2efs").rglob("*") if not each.is_dir()}
        assert left <= {"published.json", "packs"}, left


def _content(file: Path) -> bytes:
    return os.fsencode(os.readlink(file)) if file.is_symlink() else file.read_bytes()
