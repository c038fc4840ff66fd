"""The repositories that contenders publish: git makes them, the same in every run."""

import random
import string
from pathlib import Path

from testing.repositories import Entry, Upstream, run_git


class History:
    """A repository of small files, 25 in a directory, that takes pushes of any size."""

    def __init__(self, root: Path, files: int) -> None:
        """Make the first commit. The files have 100 to 2,000 bytes."""
        self.files = files
        self.upstream = Upstream(root, f"bench/files{files}")
        self.tip = self.upstream.generate(files)[0]
        listing = self.upstream.git("ls-tree", "-r", "-z", "--name-only", self.tip)
        self._paths = [path.decode() for path in listing.split(b"\0")[:-1]]
        self._chance = random.Random(files)

    def push(self, changes: int) -> str:
        """Commit new content for `changes` files to the branch; return the commit."""
        chosen = self._chance.sample(self._paths, changes)
        entries: dict[str, Entry | None] = {
            path: self._chance.randbytes(self._chance.randint(50, 1000)).hex().encode() + b"\n" for path in chosen
        }
        self.tip = self.upstream.commit(entries)
        return self.tip


def commit_in(copy: Path) -> None:
    """Commit a new file in a working copy."""
    (copy / "local").write_text("of here\n")
    run_git("add", "--", "local", directory=copy)
    run_git("commit", "--quiet", "--message", "Of here", directory=copy)


def large_upstream(root: Path, mebibytes: int) -> Upstream:
    """Return a repository of `mib` mebibytes in files of 1 to 9 MiB that do not compress."""
    upstream = Upstream(root, "bench/large")
    chance = random.Random(0)
    left = mebibytes
    for letter in string.ascii_lowercase * 1000:
        if left <= 0:
            break
        size = min(left, chance.randint(1, 9))
        upstream.commit({f"{letter}/{left:06d}.bin": chance.randbytes(size * 1024 * 1024)})
        left -= size
    return upstream
