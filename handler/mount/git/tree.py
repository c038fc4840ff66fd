"""Tree objects: entries by name, with the modes that git gives them in an index. Pure."""

import stat
from typing import NamedTuple

from dulwich.errors import ObjectFormatException
from dulwich.objects import parse_tree

from handler.errors import TreeUnsafe
from handler.mount.git.modes import DIRECTORY, canonical


class TreeEntry(NamedTuple):
    """What a name stands for: `mode` is one of 0o100644, 0o100755, 0o120000, 0o160000, 0o40000; `id` is in hex."""

    mode: int
    id: bytes

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file, executable or not."""
        return stat.S_ISREG(self.mode)


Entries = dict[bytes, TreeEntry]


def tree_of(entry: TreeEntry | None) -> bytes | None:
    """Return the id of the tree that an entry is, None where it is none."""
    return entry.id if entry is not None and entry.mode == DIRECTORY else None


def parse_entries(content: bytes) -> Entries:
    """Return the entries of a tree. Raises TreeUnsafe for one that is malformed, or that git would not make."""
    entries: Entries = {}
    try:
        for name, mode, object_id in parse_tree(content, 20):
            if name in entries or b"/" in name or name in (b"", b".", b".."):
                raise TreeUnsafe(f"a tree has the name {name[:200]!r} twice, or it is none")
            entries[name] = TreeEntry(canonical(mode), object_id)
    except (ValueError, OverflowError, AssertionError, ObjectFormatException) as error:
        raise TreeUnsafe(f"a tree is malformed ({type(error).__name__})") from None
    return entries
