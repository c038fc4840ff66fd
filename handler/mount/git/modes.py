"""The modes that git gives to what stands at a path: these five, whatever a tree's bytes say. Pure."""

import stat

from handler.errors import TreeUnsafe

FILE = 0o100644
EXECUTABLE = 0o100755
LINK = 0o120000
SUBMODULE = 0o160000
DIRECTORY = 0o040000

Leaf = tuple[int, bytes]
"""What stands at a path that is no directory: its mode, and its id (40 hex digits)."""


def canonical(mode: int) -> int:
    """Return the mode that git puts into its index: of a file's bits only the owner's execute bit counts.

    Raises TreeUnsafe for what git does not know.
    """
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG:
        return EXECUTABLE if mode & 0o100 else FILE
    if kind in (LINK, DIRECTORY, SUBMODULE):
        return kind
    raise TreeUnsafe(f"a tree has the mode {mode:o}, which git does not know")
