"""Plain repositories with working trees, made by real git."""

from collections.abc import Mapping
from pathlib import Path

from testing.repositories import run_git


def plain(path: Path) -> Path:
    """Make an empty plain repository on the branch main."""
    path.mkdir(parents=True)
    run_git("init", "--quiet", "--initial-branch=main", directory=path)
    return path


def commit(copy: Path, files: Mapping[str, str], message: str = "Change") -> str:
    """Write files and commit all of them; returns the commit."""
    for name, content in files.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(content)
    run_git("add", "--all", directory=copy)
    run_git("commit", "--quiet", "--allow-empty", "--message", message, directory=copy)
    return head(copy)


def head(copy: Path, name: str = "HEAD") -> str:
    """Return the commit that a name stands for."""
    return run_git("rev-parse", "--verify", name, directory=copy).decode().strip()


def objects_of(repository: Path) -> dict[bytes, tuple[bytes, bytes]]:
    """Return every object that git finds, in alternates too: its type's name and content by hex id."""
    output = run_git("cat-file", "--batch-all-objects", "--batch", directory=repository)
    found: dict[bytes, tuple[bytes, bytes]] = {}
    at = 0
    while at < len(output):
        end = output.index(b"\n", at)
        object_id, kind, size = output[at:end].split()
        found[object_id] = (kind, output[end + 1 : end + 1 + int(size)])
        at = end + int(size) + 2
    return found
