"""Parse and format commits, and write the commit that a replay creates. Pure: bytes in, values and bytes out.

A commit's content is hostile: anybody who may push may write it. What git requires is checked (a tree, ids that are
ids); everything else is read as git reads it.
"""

import re
from dataclasses import dataclass

from handler.errors import MirrorDamaged

_ID_BYTES = 40
_ID = re.compile(rb"[0-9a-fA-F]{40}")
_SECONDS = re.compile(rb"\s*(\d{1,15})(?!\d)")
_BLANK_LINES = re.compile(rb"(?:[ \t\r]*\n)*(?:[ \t\r]+\Z)?")
_SUBJECT_CHARACTERS = 80

_UTF8 = re.compile(rb"(?:utf-?8)?", re.IGNORECASE)
_RECODED = re.compile(
    r"(?:iso-?8859-(?:[1-9]|1[03456])|latin-?1|(?:cp|windows-)125[0-8]|(?:cp|ibm)(?:437|850|852|855|866)|koi8-[ru]"
    r"|euc-?(?:jp|kr)|sjis|shift[-_]jis|cp9(?:32|49|50)|gb2312|gbk|gb18030|big5|iso-2022-jp)",
    re.IGNORECASE,
)
"""Encodings of real commits. Python also knows some that no `iconv` has (`rot13`, `unicode_escape`)."""

_UTF8_RUN = re.compile(
    rb"""(?: [\x00-\x7f]
        | [\xc2-\xdf][\x80-\xbf]
        | \xe0[\xa0-\xbf][\x80-\xbf]
        | [\xe1-\xec\xee][\x80-\xbf]{2}
        | \xed[\x80-\x9f][\x80-\xbf]
        | \xef (?: (?!\xb7[\x90-\xaf]|\xbf[\xbe\xbf]) [\x80-\xbf]{2} )
        | \xf0 (?![\x9f\xaf\xbf]\xbf[\xbe\xbf]) [\x90-\xbf][\x80-\xbf]{2}
        | [\xf1-\xf3] (?![\x8f\x9f\xaf\xbf]\xbf[\xbe\xbf]) [\x80-\xbf]{3}
        | \xf4 (?!\x8f\xbf[\xbe\xbf]) [\x80-\x8f][\x80-\xbf]{2}
    )*+""",
    re.VERBOSE,
)
"""The longest run of characters that git accepts as UTF-8: no surrogates, and no Unicode non-characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit: ids are 40 lower-case hex digits, everything else is as in the object.

    `author` and `committer` are the rest of these header lines, b"" if there is none. `committed_at` is in seconds
    since the epoch, 0 if it cannot be read. `message` is all that follows the first empty line.
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
        """The first line of the message that is not blank, without its line end."""
        return skip_blank_lines(self.message).partition(b"\n")[0]


def parse_commit(content: bytes) -> Commit:
    """Parse a commit's content. Raises MirrorDamaged if its tree or a parent is not an id."""
    # Git keeps a commit as a C string: for git nothing after a NUL is part of it.
    headers, _, message = content.partition(b"\0")[0].partition(b"\n\n")
    lines = headers.split(b"\n")
    tree = _id_of(lines[0], b"tree ")
    at = 1
    while at < len(lines) and lines[at].startswith(b"parent "):
        at += 1
    committer = _first(lines[at:], b"committer ") or b""
    return Commit(
        tree=tree,
        parents=tuple(_id_of(line, b"parent ") for line in lines[1:at]),
        author=_first(lines[at:], b"author ") or b"",
        committer=committer,
        committed_at=_seconds(committer),
        encoding=_first(lines[at:], b"encoding "),
        message=message,
    )


def serialize(commit: Commit) -> bytes:
    """Return the content of a commit with these fields; an `encoding` of None is left out."""
    lines = [b"tree " + commit.tree, *(b"parent " + parent for parent in commit.parents)]
    lines += [b"author " + commit.author, b"committer " + commit.committer]
    if commit.encoding is not None:
        lines.append(b"encoding " + commit.encoding)
    return b"\n".join([*lines, b"", commit.message])


def replayed_commit(commit: Commit, tree: bytes, parent: bytes, committer: bytes) -> bytes:
    """Return the content of the commit that replaces `commit` on `parent`, with `tree`.

    `committer` is the whole line, `Name <mail> seconds zone`. The author line and the message are kept. Signatures and
    other headers are dropped, since they are about the old commit. Text in another encoding becomes UTF-8; bytes that
    are not UTF-8 count as Latin-1, so that the result always is UTF-8.
    """
    author, message = reencode(commit)
    return to_utf8(b"tree %b\nparent %b\nauthor %b\ncommitter %b\n\n%b" % (tree, parent, author, committer, message))


def reencode(commit: Commit) -> tuple[bytes, bytes]:
    """Return author line and message in UTF-8, if the commit names an encoding that fits its bytes.

    The message is without the blank lines before its subject.
    """
    author, message = commit.author, commit.message
    name = (commit.encoding or b"").decode("ascii", "replace")
    if not _UTF8.fullmatch(name.encode("ascii", "replace")) and _RECODED.fullmatch(name):
        try:
            # All or nothing: git gives the whole commit to `iconv`.
            recoded = b"\n".join([author, commit.committer, message]).decode(name).encode()
            author, _, message = recoded.split(b"\n", 2)
        except (UnicodeError, ValueError, LookupError):
            pass
    return author, skip_blank_lines(message)


def ident_line(committer: bytes, timestamp: int) -> bytes:
    """Return what follows `author` or `committer` in a commit: `Name <mail> seconds zone`. The zone is UTC."""
    return b"%b %d +0000" % (committer, timestamp)


def skip_blank_lines(message: bytes) -> bytes:
    """Return a message without the blank lines before its subject; the rest is kept to the byte."""
    blank = _BLANK_LINES.match(message)
    return message[blank.end() :] if blank else message


def to_utf8(content: bytes) -> bytes:
    """Replace every byte that is not part of UTF-8 by the Latin-1 character that it may mean."""
    if content.isascii():
        return content
    pieces = []
    at = 0
    while at < len(content):
        good = _UTF8_RUN.match(content, at)
        end = good.end() if good else at
        pieces.append(content[at:end])
        if end < len(content):
            pieces.append(chr(content[end]).encode())
        at = end + 1
    return b"".join(pieces)


def describe_commit(commit_id: bytes, commit: Commit) -> str:
    """Name a commit in a message: twelve digits and its subject, quoted and bounded, for the text is hostile."""
    subject = commit.subject[: 4 * _SUBJECT_CHARACTERS].decode(errors="replace")[:_SUBJECT_CHARACTERS]
    return f"{commit_id[:12].decode()} ({subject!a})"


def _id_of(line: bytes, field: bytes) -> bytes:
    if not line.startswith(field) or not _ID.fullmatch(line, len(field)):
        raise MirrorDamaged("a commit's header is malformed")
    return line[-_ID_BYTES:].lower()


def _first(lines: list[bytes], field: bytes) -> bytes | None:
    return next((line[len(field) :] for line in lines if line.startswith(field)), None)


def _seconds(committer: bytes) -> int:
    found = _SECONDS.match(committer.partition(b">")[2])
    return int(found[1]) if found else 0
