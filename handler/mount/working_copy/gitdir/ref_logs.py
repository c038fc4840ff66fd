"""Reflogs (`.git/logs/...`): the commits that a ref named, a line a change, the newest last."""

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from handler.mount.fs.directories import make_directories
from handler.mount.fs.files import append, open_to_read, read_all

_MAX_BYTES = 64 * 1024
"""How much of a reflog's end is read: some hundred changes."""
_ENTRY = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) [^\t]*> [0-9]+ [+-][0-9]{4}(?:\t(.*))?")
NULL_OID = b"0" * 40
"""The old id of a ref that did not exist."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A change of a ref: the commits before and after (40 hex digits, `NULL_OID` for none), and a message."""

    old: bytes
    new: bytes
    message: bytes


def read_log(path: str) -> list[LogEntry]:
    """Return the last entries of the reflog at `path`, the oldest first; none if there is no reflog."""
    return parse_entries(read_tail(path))


def read_tail(path: str) -> bytes:
    """Return the last lines of the reflog at `path`; empty if there is no reflog."""
    try:
        with open_to_read(path) as descriptor:
            start = max(0, os.fstat(descriptor).st_size - _MAX_BYTES)
            if start:
                os.lseek(descriptor, start, os.SEEK_SET)
            content = read_all(descriptor, 2 * _MAX_BYTES)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
            return b""
        raise
    return content.partition(b"\n")[2] if start else content


def parse_entries(content: bytes) -> list[LogEntry]:
    """Return the entries of the complete lines, without those that cannot be parsed: a person may have written them."""
    found = (_ENTRY.fullmatch(line) for line in content.split(b"\n")[:-1])
    return [LogEntry(match[1], match[2], match[3] or b"") for match in found if match]


def entries_to_append(content: bytes, entries: Sequence[LogEntry]) -> Sequence[LogEntry]:
    """Return the entries with which a reflog, whose end is `content`, does not end yet.

    A killed run may have appended all of them, or some.
    """
    logged = parse_entries(content)
    for count in range(len(entries), 0, -1):
        if logged[-count:] == list(entries[:count]):
            return entries[count:]
    return entries


def format_line(entry: LogEntry, committer: bytes, timestamp: int) -> bytes:
    """Return the entry's line, with its message folded into one line as git does."""
    message = b" ".join(entry.message.split())
    return b"%s %s %s %d +0000%s\n" % (entry.old, entry.new, committer, timestamp, b"\t" + message if message else b"")


def append_lines(path: str, content: bytes, *, creates: bool) -> None:
    """Append to the reflog at `path`. If it is missing, it is created only if `creates` is set.

    Raises NotADirectoryError, FileExistsError or IsADirectoryError if another ref's reflog is in the way.
    """
    if not creates and not os.path.lexists(path):
        return
    try:
        append(path, content)
    except FileNotFoundError:
        make_directories(os.path.dirname(path))
        append(path, content)
