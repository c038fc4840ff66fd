"""The history behind the stored mounts: the same commits each time it is made, so the mounts' commit ids fit.

The remote serves it in memory, without git. Each commit turns files into directories and links and back, so that a
mount taken over in the middle of any push meets every kind of change.
"""

from collections.abc import Mapping

from local.origin import EXECUTABLE, LINK, FileContent, SampleOrigin

NAME = "octo/site"
MAIN = "refs/heads/main"
WIDE = "refs/heads/wide"
WIDE_FILES = 2050
"""More than a check-out has to have before it keeps a checkpoint."""
COMMITS = 10
GENESIS = 1_750_000_000
NEWEST = "864d1fe5ab42dfb765430eb64eff1f25de24c0de"
"""The id of the last commit. Another id means that the stored mounts belong to another history."""

_LARGE = bytes(range(256)) * 16
_EVEN: Mapping[bytes, FileContent] = {
    b"empty": FileContent(b""),
    b"run": FileContent(b"#!/bin/sh\n", EXECUTABLE),
    b"link": FileContent(b"README", LINK),
    b"turn/file": FileContent(b"a file\n"),
    b"turn/directory/a": FileContent(b"a\n"),
    b"turn/directory/b/c": FileContent(b"c\n"),
    b"turn/link": FileContent(b"file", LINK),
    b"odd \xc3\xbc\n": FileContent(b"odd\n"),
}
_ODD: Mapping[bytes, FileContent] = {
    b"empty": FileContent(b"README", LINK),
    b"run": FileContent(b"was executable\n"),
    b"link": FileContent(b"was a link\n"),
    b"turn/file/now": FileContent(b"a directory\n"),
    b"turn/file/a/link": FileContent(b"../now", LINK),
    b"turn/directory": FileContent(b"file", LINK),
    b"turn/link/was/here": FileContent(b"a link\n", EXECUTABLE),
}


def lines(*changed: tuple[int, str]) -> bytes:
    """Return the file `text`, of sixteen lines, with these lines changed."""
    every = [f"line {number}" for number in range(16)]
    for number, text in changed:
        every[number] = text
    return ("\n".join(every) + "\n").encode()


def files_of(number: int) -> dict[bytes, FileContent]:
    """Return the tree of commit `number`: path to content."""
    return {
        b"README": FileContent(b"always the same\n"),
        b"docs/guide/deep/er": FileContent(b"deep %d\n" % number),
        b"large": FileContent(_LARGE + b"%d" % number),
        b"text": FileContent(lines((15, f"theirs {number}"))),
        b"only-%d" % number: FileContent(b"in one commit alone\n"),
        **(_ODD if number % 2 else _EVEN),
    }


class History:
    """The commits on `origin`; `commits[0]` is never delivered, so that a shallow fetch leaves something out."""

    def __init__(self, origin: SampleOrigin) -> None:
        """Make every commit, and let main name none."""
        self.origin = origin
        self.commits = [
            origin.commit(MAIN, files_of(number), f"Change {number}", committed_at=GENESIS + 60 * number)
            for number in range(COMMITS)
        ]
        origin.set_ref(MAIN, None)

    def push(self, number: int, ref: str = MAIN) -> str:
        """Let a ref name commit `number`; return the commit."""
        self.origin.set_ref(ref, self.commits[number])
        return self.commits[number]

    def push_wide(self) -> str:
        """Let the branch `wide` name a commit of many small files; return the commit."""
        files = {b"wide/%02d/%04d" % (number % 50, number): FileContent(b"small\n") for number in range(WIDE_FILES)}
        return self.origin.commit(WIDE, files, "Many files", parents=(), committed_at=GENESIS)
