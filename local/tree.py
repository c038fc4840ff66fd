"""Read a published tree, and compare it with a commit."""

import os
import stat
from collections.abc import Mapping

from local.origin import EXECUTABLE, FILE, LINK, SUBMODULE, FileContent


def published_files(root: str) -> dict[bytes, FileContent]:
    """Return the tree below `root` as git would see it: path -> content and mode.

    An empty directory counts as a submodule: git has no others, and a submodule is published as one. What is
    neither file, link nor directory keeps its own mode, which no commit has. Raises OSError.
    """
    files: dict[bytes, FileContent] = {}
    _read(os.path.join(os.fsencode(root), b""), b"", files)
    return files


def _read(root: bytes, prefix: bytes, files: dict[bytes, FileContent]) -> None:
    with os.scandir(root + prefix) as entries:
        for entry in entries:
            path = prefix + entry.name
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                files[path] = FileContent(os.readlink(root + path), LINK)
            elif stat.S_ISDIR(mode):
                before = len(files)
                _read(root, path + b"/", files)
                if len(files) == before:
                    files[path] = FileContent(b"", SUBMODULE)
            elif stat.S_ISREG(mode):
                with open(root + path, "rb") as file:
                    files[path] = FileContent(file.read(), EXECUTABLE if mode & stat.S_IXUSR else FILE)
            else:
                files[path] = FileContent(b"", mode)


def differences(committed: Mapping[bytes, FileContent], published: Mapping[bytes, FileContent]) -> list[str]:
    """Return a line for each path that differs in presence, mode or content; empty if the trees are equal."""
    lines = []
    for path in sorted(committed.keys() | published.keys()):
        name = os.fsdecode(path)
        wanted, found = committed.get(path), published.get(path)
        if wanted is None:
            lines.append(f"{name}: is published, was not committed")
        elif found is None:
            lines.append(f"{name}: was committed, is not published")
        elif wanted.mode != found.mode:
            lines.append(f"{name}: mode {found.mode:o} instead of {wanted.mode:o}")
        elif wanted.content != found.content and wanted.mode != SUBMODULE:
            lines.append(f"{name}: {len(found.content)} bytes that are not the {len(wanted.content)} committed")
    return lines


def listing(root: str) -> list[str]:
    """Return the tree below `root` as lines for people: mode, size, path, and where a link leads."""
    lines = []
    for path, file in sorted(published_files(root).items()):
        name = os.fsdecode(path)
        status = os.lstat(os.path.join(root, name))
        arrow = f" -> {os.fsdecode(file.content)}" if file.mode == LINK else ""
        size = "" if file.mode in (LINK, SUBMODULE) else str(status.st_size)
        lines.append(f"{stat.filemode(status.st_mode)} {size:>7}  {name}{arrow}")
    return lines
