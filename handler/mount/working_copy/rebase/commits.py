"""Read the commits of a working copy, and write the commits that a replay creates. Pure: no input or output."""

import re
from typing import Protocol

from handler.errors import MirrorDamaged, TreeUnsafe
from handler.mount.git.commit import Commit, parse_commit, skip_blank_lines
from handler.mount.git.objects import COMMIT

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


class Reader(Protocol):
    """Reads objects. Raises MirrorDamaged if one is missing."""

    def read(self, object_id: bytes, kind: int) -> bytes:
        """Return the content of an object of this kind."""
        ...


def read_commit(objects: Reader, commit: bytes) -> Commit:
    """Read a commit. Raises MirrorDamaged if it is missing or malformed."""
    content = objects.read(commit, COMMIT)
    try:
        return parse_commit(content)
    except TreeUnsafe:
        # Git created or accepted this commit, so only damage explains such a header.
        raise MirrorDamaged("a commit's header is malformed") from None


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
