"""Loose objects and alternates: what an objects directory has besides packs."""

import errno
import os
import re
import stat
import zlib

from handler.errors import MirrorDamaged
from handler.mount.fs.files import NOT_REGULAR, read_whole
from handler.mount.git.objects import BLOB, COMMIT, TAG, TREE, hash_object
from handler.mount.git.packs import RawObject, check_size

MAX_DEPTH = 5
"""How deep alternates of alternates are followed, as in git."""
_NO_PATH = frozenset(
    [errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM, errno.EINVAL]
)
_KINDS = {b"commit": COMMIT, b"tree": TREE, b"blob": BLOB, b"tag": TAG}
_HEADER = re.compile(rb"(commit|tree|blob|tag) (0|[1-9][0-9]{0,18})\0")
_MAX_HEADER_BYTES = 32
_MOST_INFLATED = 1032
"""How many bytes zlib makes of one at most."""
_ESCAPE = re.compile(rb'\\(?:([0-3][0-7]{2})|([abtnvfr"\\]))')
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}


def loose_path(objects_directory: str, object_id: bytes) -> str:
    """Return the path of an object (40 hex digits) if it is loose."""
    name = object_id.decode()
    return os.path.join(objects_directory, name[:2], name[2:])


def read_loose(objects_directory: str, object_id: bytes, max_object_bytes: int) -> RawObject | None:
    """Return type and content of a loose object, checked against its id (40 hex digits); None if it is missing.

    Raises MirrorDamaged for a file that is not the object, ObjectTooLarge for one over the bound.
    """
    try:
        # What does not compress grows by less than a thousandth.
        most = max_object_bytes + max_object_bytes // 1000 + _MAX_HEADER_BYTES * 8
        compressed = read_whole(loose_path(objects_directory, object_id), max_bytes=most)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.EISDIR, *NOT_REGULAR):
            raise
        compressed = b""
    if compressed is None:
        return None
    found = _inflated(compressed, max_object_bytes)
    if found is None or hash_object(*found) != object_id:
        raise MirrorDamaged(f"the loose object {object_id.decode()} cannot be read, or is not what its id says")
    return found


def _inflated(compressed: bytes, max_bytes: int) -> RawObject | None:
    """Return the object. It inflates no more than the header's size."""
    inflater = zlib.decompressobj()
    try:
        head = inflater.decompress(compressed, _MAX_HEADER_BYTES)
        header = _HEADER.match(head)
        if header is None:
            return None
        size = int(header[2])
        if size > len(compressed) * _MOST_INFLATED:
            return None  # a size that no content can have is damage, and says nothing of the object
        check_size(size, max_bytes)
        content = head[header.end() :]
        if size >= len(content):
            # One byte more than the size: it reveals a wrong size, and lets the end of the stream be seen.
            content += inflater.decompress(inflater.unconsumed_tail, size - len(content) + 1)
    except (zlib.error, OverflowError):
        return None
    is_whole = len(content) == size and inflater.eof and not inflater.unused_data
    return (_KINDS[header[1]], content) if is_whole else None


def read_alternates(objects_directory: str) -> list[str]:
    """Return the other objects directories of the repository, each once, however they are nested.

    As in git, one that is missing or no path is ignored.
    """
    found: dict[str, None] = {}
    pending = [(objects_directory, 0)]
    while pending:
        directory, depth = pending.pop(0)
        for each in _alternates_of(directory) if depth < MAX_DEPTH else ():
            if each not in found and each != os.path.normpath(objects_directory) and _is_directory(each):
                found[each] = None
                pending.append((each, depth + 1))
    return list(found)


def _alternates_of(objects_directory: str) -> list[str]:
    try:
        content = read_whole(os.path.join(objects_directory, "info", "alternates"))
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.EISDIR, *NOT_REGULAR):
            raise
        content = None
    lines = [line for line in (content or b"").split(b"\n") if line and not line.startswith(b"#")]
    paths = [_unquoted(line) for line in lines if b"\0" not in line]
    return [os.path.normpath(os.path.join(objects_directory, os.fsdecode(path))) for path in paths]


def _is_directory(directory: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(directory).st_mode)
    except OSError as error:
        if error.errno in _NO_PATH:
            return False
        raise


def _unquoted(line: bytes) -> bytes:
    """Return the path of a line, which git quotes if it has special characters."""
    if len(line) < 2 or not (line.startswith(b'"') and line.endswith(b'"')):
        return line
    return _ESCAPE.sub(lambda m: bytes([int(m[1], 8)]) if m[1] else _ESCAPED.get(m[2], m[2]), line[1:-1])
