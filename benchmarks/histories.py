"""The repositories that contenders publish: git makes them, the same in every run."""

import random
import string
from collections.abc import Sequence
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

    def branch_off(self, name: str) -> str:
        """Commit new content for one file to a new branch off the tip; return the commit."""
        content = self._chance.randbytes(200).hex().encode() + b"\n"
        return self.upstream.commit({self._chance.choice(self._paths): content}, name, parents=[self.tip])


class TextHistory(History):
    """A repository of text as people write it: files of a kind are alike, and git packs most of them as deltas.

    Each file has one to twelve kilobytes, three quarters of them the lines that its directory's files share.
    """

    def __init__(self, root: Path, files: int) -> None:
        """Make three commits, each of which changes lines of a fifth of the files, and pack them as a server does."""
        self.files = files
        self.upstream = Upstream(root, f"bench/text{files}")
        self._chance = random.Random(files)
        self._words = ["".join(self._chance.choices(string.ascii_lowercase, k=length)) for length in range(2, 12)] * 40
        contents: dict[str, list[bytes]] = {}
        for number in range(files):
            directory, kind = f"src/area{number // 25 % 17:02d}/part{number // 25:04d}", number % 25 // 5
            if number % 5 == 0:
                shared = [self._line() for _ in range(self._chance.randint(15, 180))]
            own = [line if self._chance.random() < 0.75 else self._line() for line in shared]
            contents[f"{directory}/{kind}{number % 5}_module.txt"] = own
        self._commit(contents, list(contents))
        for _ in range(2):
            self._commit(contents, self._chance.sample(list(contents), files // 5))
        self._paths = list(contents)
        self.upstream.git("repack", "-a", "-d", "-f", "-q")

    def _line(self) -> bytes:
        return " ".join(self._chance.choices(self._words, k=self._chance.randint(4, 14))).encode() + b"\n"

    def _commit(self, contents: dict[str, list[bytes]], paths: Sequence[str]) -> None:
        for path in paths:
            contents[path][self._chance.randrange(len(contents[path]))] = self._line()
        self.tip = self.upstream.commit({path: b"".join(contents[path]) for path in paths})


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
