"""Commit objects: their headers, read and written. Pure.

A commit's content is hostile: everybody who may push may write it. The parser requires what git requires (a tree, ids
that are ids), and takes everything else as git takes it.
"""

import re
from dataclasses import dataclass

from handler.errors import TreeUnsafe

_ID_BYTES = 40
_ID = re.compile(rb"[0-9a-fA-F]{40}")
_SECONDS = re.compile(rb"\s*(\d{1,15})(?!\d)")
_BLANK_LINES = re.compile(rb"(?:[ \t\r]*\n)*(?:[ \t\r]+\Z)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit. Ids are 40 lower-case hex digits; everything else is as it stands in the object.

    `author` and `committer` are what follows these words on their lines, b"" if there is no such line. `committed_at`
    is in seconds since the epoch, 0 if the commit has no readable time. `message` is all after the first empty line.
    """

    tree: bytes
    parents: tuple[bytes, ...]
    author: bytes
    committer: bytes
    committed_at: int
    encoding: bytes | None
    message: bytes

    @property
    def subject(self) -> bytes:
        """The message's first line, after blank ones, without its end."""
        return skip_blank_lines(self.message).partition(b"\n")[0]


def parse_commit(content: bytes) -> Commit:
    """Parse a commit's content. Raises TreeUnsafe if its tree or a parent is no id."""
    # As git does it: for git a commit is a C string, which ends at the first NUL.
    headers, _, message = content.partition(b"\0")[0].partition(b"\n\n")
    lines = headers.split(b"\n")
    at = 1
    while at < len(lines) and lines[at].startswith(b"parent "):
        at += 1
    committer = _first(lines[at:], b"committer ") or b""
    return Commit(
        tree=id_in(lines[0], b"tree "),
        parents=tuple(id_in(line, b"parent ") for line in lines[1:at]),
        author=_first(lines[at:], b"author ") or b"",
        committer=committer,
        committed_at=_seconds(committer),
        encoding=_first(lines[at:], b"encoding "),
        message=message,
    )


def serialize_commit(commit: Commit) -> bytes:
    """Return the content of a commit with these fields; None leaves `encoding` out."""
    lines = [b"tree " + commit.tree, *(b"parent " + parent for parent in commit.parents)]
    lines += [b"author " + commit.author, b"committer " + commit.committer]
    if commit.encoding is not None:
        lines.append(b"encoding " + commit.encoding)
    return b"\n".join([*lines, b"", commit.message])


def tree_in(content: bytes) -> bytes:
    """Return the id (hex) of the tree that a commit's content names. Raises TreeUnsafe."""
    return id_in(content.partition(b"\n")[0], b"tree ")


def object_in(tag: bytes) -> bytes:
    """Return the id (hex) of the object that an annotated tag's content names. Raises TreeUnsafe."""
    return id_in(tag.partition(b"\n")[0], b"object ")


def id_in(line: bytes, field: bytes) -> bytes:
    """Return the id (40 hex digits) that follows `field` in a header's line. Raises TreeUnsafe."""
    if not line.startswith(field) or not _ID.fullmatch(line, len(field)):
        raise TreeUnsafe("an object's header is malformed")
    return line[-_ID_BYTES:].lower()


def skip_blank_lines(message: bytes) -> bytes:
    """Return a message without the blank lines before its subject; what follows is kept to the byte."""
    blank = _BLANK_LINES.match(message)
    return message[blank.end() :] if blank else message


def _first(lines: list[bytes], field: bytes) -> bytes | None:
    return next((line[len(field) :] for line in lines if line.startswith(field)), None)


def _seconds(committer: bytes) -> int:
    found = _SECONDS.match(committer.partition(b">")[2])
    return int(found[1]) if found else 0
