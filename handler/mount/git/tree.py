"""Tree objects: their entries, the modes that git gives them, and the bounds that every reader of a tree keeps. Pure.

A tree's content is hostile: everybody who may push may write it.
"""

import stat
from collections.abc import Iterable
from typing import NamedTuple

from dulwich.errors import ObjectFormatException
from dulwich.objects import parse_tree

from handler.errors import TreeUnsafe

FILE = 0o100644
EXECUTABLE = 0o100755
LINK = 0o120000
SUBMODULE = 0o160000
DIRECTORY = 0o040000
_MODES = frozenset({FILE, EXECUTABLE, LINK, SUBMODULE, DIRECTORY})

_NO_NAMES = frozenset({b"", b".", b".."})

MAX_ENTRIES = 500_000
"""A tree of a few objects can name itself into billions of paths; this is where a walk stops believing it."""
_ID_BYTES = 20
_MIN_RECORD_BYTES = 3 + _ID_BYTES
"""A digit of the mode, a space, no name, a NUL, the id."""
MAX_DEPTH = 200
MAX_NAME_BYTES = 255
"""EFS's own limit for a name."""


class TreeEntry(NamedTuple):
    """What a name or path stands for: `mode` is one of the five above, `id` the object's in 40 hex digits."""

    mode: int
    id: bytes

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, executable or not."""
        return stat.S_ISREG(self.mode)


Entries = dict[bytes, TreeEntry]


def tree_of(entry: TreeEntry | None) -> bytes | None:
    """Return the id of the tree that an entry names, None where it names none."""
    return entry.id if entry is not None and entry.mode == DIRECTORY else None


def file_of(entry: TreeEntry | None) -> TreeEntry | None:
    """Return the entry, None where it names a tree."""
    return None if tree_of(entry) else entry


def read_records(content: bytes, prefix: bytes = b"") -> list[tuple[bytes, int, bytes]]:
    """Return name, mode and id (hex) of each record as it stands. Raises TreeUnsafe where the tree is malformed.

    `prefix` is the tree's path with a final slash, for messages.
    """
    try:
        _refuse_too_many(content)
        return list(parse_tree(content, _ID_BYTES))
    except (ValueError, OverflowError, AssertionError, ObjectFormatException) as error:
        raise TreeUnsafe(f"the tree of {quote(prefix)} is malformed ({type(error).__name__})") from None


def _refuse_too_many(content: bytes) -> None:
    """Raise TreeUnsafe for a tree with more than MAX_ENTRIES entries, before any of them takes memory."""
    if len(content) <= MAX_ENTRIES * _MIN_RECORD_BYTES:
        return
    at = count = 0
    while at < len(content):
        count += 1
        if count > MAX_ENTRIES:
            raise TreeUnsafe(f"a tree has more than {MAX_ENTRIES} entries")
        at = content.index(b"\0", at) + 1 + _ID_BYTES


def parse_entries(content: bytes, prefix: bytes = b"") -> Entries:
    """Return the entries of a tree, in its order.

    Raises TreeUnsafe for a tree that is malformed or too deep, a name that stands twice or names no entry, and a mode
    that git does not know. `prefix` is the tree's path with a final slash.
    """
    return {name: TreeEntry(*pair) for name, pair in parse_pairs(content, prefix).items()}


def parse_pairs(content: bytes, prefix: bytes = b"") -> dict[bytes, tuple[int, bytes]]:
    """Return mode and id by name, and raise, as `parse_entries` does: of most entries nobody needs a `TreeEntry`."""
    check_depth(prefix)
    records = read_records(content, prefix)
    pairs = {name: (mode, object_id) for name, mode, object_id in records}
    # All of them at once: a push looks at each entry of a directory, and one by one that takes most of a plan's time.
    is_plain = _MODES.issuperset([mode for _, mode, _ in records])
    if is_plain and len(pairs) == len(records) and _NO_NAMES.isdisjoint(pairs) and b"/" not in b"\0".join(pairs):
        return pairs
    return _checked_pairs(records, prefix)


def _checked_pairs(records: Iterable[tuple[bytes, int, bytes]], prefix: bytes) -> dict[bytes, tuple[int, bytes]]:
    pairs: dict[bytes, tuple[int, bytes]] = {}
    for name, mode, object_id in records:
        if name in pairs:
            raise TreeUnsafe(f"{quote(prefix + name)} stands twice in its tree")
        if b"/" in name or name in _NO_NAMES:
            raise TreeUnsafe(f"{quote(prefix + name)} is not a name that may be written")
        known = mode if mode in _MODES else canonical(mode)
        if known is None:
            raise TreeUnsafe(f"{quote(prefix + name)} has the mode {mode:o}, which git does not know")
        pairs[name] = known, object_id
    return pairs


def check_depth(prefix: bytes) -> None:
    """Raise TreeUnsafe where a directory lies too deep; `prefix` is its path with a final slash."""
    if prefix.count(b"/") > MAX_DEPTH:
        raise TreeUnsafe(f"{quote(prefix)} lies more than {MAX_DEPTH} directories deep")


def canonical(mode: int) -> int | None:
    """Return the mode that git puts into its index: of a file's bits only the owner's execute bit counts.

    None for a mode that git does not know.
    """
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG:
        return EXECUTABLE if mode & 0o100 else FILE
    return kind if kind in (LINK, DIRECTORY, SUBMODULE) else None


def serialize_entries(entries: Entries) -> bytes:
    """Return the content of the tree with these entries."""
    # Git sorts a directory as if its name ended in a slash; a tree in another order has another id.
    names = sorted(entries, key=lambda name: name + b"/" if entries[name].mode == DIRECTORY else name)
    return b"".join(
        b"%o %b\0%b" % (entries[name].mode, name, bytes.fromhex(entries[name].id.decode())) for name in names
    )


def quote(path: bytes) -> str:
    """Quote a path for a message, bounded: it comes from a repository and may hold anything."""
    text = repr(path[:200])[1:]
    return text if len(path) <= 200 else text + "..."
