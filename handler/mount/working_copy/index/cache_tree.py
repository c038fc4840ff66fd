"""The index's cache tree: which directories of the index equal a known tree object. Pure.

Git commits the tree that the cache tree names without comparing the entries again, so a wrong node is a wrong commit.
Therefore no node is trusted here. For a directory above a change the tree's id is computed from the entries and the
nodes below. It stays valid only if that is the id that the caller expects, of a tree in the object store (`git fsck`
refuses a node whose object is missing). Every other node becomes invalid, and git repairs it at its next commit.

The extension holds the nodes, parents first: name, NUL, number of entries below (-1: invalid), blank, number of
directories below, newline, and for a valid node the tree's id in 20 bytes.
"""

import re
import struct
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from handler.mount.git.objects import TREE, hash_object
from handler.mount.git.tree import MAX_DEPTH

INVALID: Final = -1

_HEAD = re.compile(rb"([^\0]*)\0(-1|[0-9]{1,9}) ([0-9]{1,9})\n")
_NODE = re.compile(rb"[^\0]*\0(?:-1 ([0-9]{1,9})\n|[0-9]{1,9} ([0-9]{1,9})\n.{20})", re.DOTALL)
_MODE_AND_ID = struct.Struct(">24xI12x20s")
_ID_BYTES = 20


class _Malformed(Exception):
    """The extension is not one that git writes."""


@dataclass(slots=True)
class Node:
    """A directory: the number of entries below (`INVALID`: its tree is not known) and its tree's id in 20 bytes.

    If nothing changed below, `raw` is the node as it was read, without its name, and `directories` is empty whatever it
    has.
    """

    count: int = INVALID
    id: bytes = b""
    directories: dict[bytes, "Node"] = field(default_factory=dict)
    raw: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All entries of a new index, in its order.

    The entry of `paths[n]` is at `offsets[n]` of `content`, or at ~`offsets[n]` of `added`. `excluded` are the paths
    that no tree can have: intent-to-add, and unmerged.
    """

    paths: Sequence[bytes]
    offsets: Sequence[int]
    content: bytes | bytearray
    added: bytes | bytearray
    excluded: Collection[bytes]


def root_tree(extension: bytes, entries: int) -> bytes | None:
    """Return the id (40 hex digits) of the tree that the whole index equals; None if that is not known.

    `entries` is the number of entries of the index.
    """
    try:
        root = _read(extension, frozenset())
    except _Malformed:
        return None
    return root.id.hex().encode() if root.count == entries else None


def directories_above(paths: Collection[bytes]) -> set[bytes]:
    """Return every directory above one of the paths, with the root (empty)."""
    found: set[bytes] = {b""} if paths else set()
    for path in paths:
        directory = path.rpartition(b"/")[0]
        while directory not in found:
            found.add(directory)
            directory = directory.rpartition(b"/")[0]
    return found


def update_cache_tree(
    extension: bytes, changed: Collection[bytes], trees: Mapping[bytes, bytes], listing: Listing
) -> bytes:
    """Return the extension's content after a change; empty if the index gets none.

    `extension` is the content before, `changed` are the directories above every path that was added, removed or
    replaced, `listing` the entries after. `trees` are the ids (40 hex digits) of tree objects in the object store, by
    the directory (the root is empty) that is expected to equal them.
    """
    # We write no deeper tree; this bounds the recursion.
    if any(directory.count(b"/") >= MAX_DEPTH for directory in changed):
        return b""
    if not extension:
        changed = {b"", *changed}
    try:
        old = _read(extension, changed) if extension else None
    except _Malformed:
        old = None
    update = _Update(changed, trees, listing)
    root = update.node(b"", old, 0, len(listing.paths))
    return b"" if root == Node() else _serialize(b"", root)


@dataclass(frozen=True, slots=True)
class _Update:
    changed: Collection[bytes]
    trees: Mapping[bytes, bytes]
    listing: Listing

    def node(self, directory: bytes, old: Node | None, first: int, last: int) -> Node:
        """Return the node of a changed directory, whose entries are those from `first` to before `last`."""
        if directory not in self.changed:
            return old or Node()
        listing = self.listing
        paths, offsets, content, excluded = listing.paths, listing.offsets, listing.content, listing.excluded
        unpack_from = _MODE_AND_ID.unpack_from
        name_at = len(directory) + 1 if directory else 0
        expected = self.trees.get(directory)
        is_known = expected is not None
        node = Node()
        lines: list[bytes] = []
        number = first
        # Index and tree have the same order: in both a directory sorts as if its name ended in a slash.
        while number < last:
            path = paths[number]
            slash = path.find(b"/", name_at)
            if slash <= name_at:
                # (A slash just there would be an empty name: no tree has that.)
                if is_known := is_known and slash < 0 and path not in excluded:
                    at = offsets[number]
                    mode, raw_id = unpack_from(content, at) if at >= 0 else unpack_from(listing.added, ~at)
                    lines += (b"%o " % mode, path[name_at:], b"\0", raw_id)
                number += 1
                continue
            # "0" follows the slash in byte order: this is the first path beyond the directory.
            end = bisect_left(paths, path[:slash] + b"0", number, last)
            name = path[name_at:slash]
            below = self.node(path[:slash], old.directories.get(name) if old else None, number, end)
            is_below_known = below.count == end - number
            if is_below_known or (below.count == INVALID and below != Node()):
                node.directories[name] = below
            is_known = is_known and is_below_known
            lines.append(b"40000 %b\0%b" % (name, below.id))
            number = end
        if is_known:
            tree = hash_object(TREE, b"".join(lines))
            if tree == expected:
                node.count, node.id = last - first, bytes.fromhex(tree.decode())
        return node


def _read(data: bytes, changed: Collection[bytes]) -> Node:
    """Return the root's node, with those below that `changed` leads to. Raises _Malformed."""
    head = _match_head(data, 0)
    node, at = _read_node(data, head, b"", changed)
    if head[1] or at != len(data):
        raise _Malformed
    return node


def _read_node(data: bytes, head: re.Match[bytes], directory: bytes, changed: Collection[bytes]) -> tuple[Node, int]:
    """Return a directory's node, and the offset after it. Raises _Malformed."""
    node = Node(count=int(head[2]))
    at = head.end()
    if node.count >= 0:
        node.id = data[at : at + _ID_BYTES]
        at += _ID_BYTES
    if directory not in changed:
        at = _skip_nodes(data, at, int(head[3]))
        node.raw = data[head.start(2) : at]
        return node, at
    for _ in range(int(head[3])):
        below = _match_head(data, at)
        path = b"%b/%b" % (directory, below[1]) if directory else below[1]
        node.directories[below[1]], at = _read_node(data, below, path, changed)
    return node, at


def _skip_nodes(data: bytes, at: int, directories: int) -> int:
    """Return the offset after that many nodes and all those below them. Raises _Malformed."""
    match = _NODE.match
    while directories:
        node = match(data, at)
        if not node:
            raise _Malformed
        at = node.end()
        directories += int(node[node.lastindex or 0]) - 1
    return at


def _match_head(data: bytes, at: int) -> re.Match[bytes]:
    head = _HEAD.match(data, at)
    if not head:
        raise _Malformed
    return head


def _serialize(name: bytes, node: Node) -> bytes:
    """Return a node and all below as the extension stores them."""
    if node.raw is not None:
        return b"%b\0%b" % (name, node.raw)
    # Git's own order, in which it searches: shorter names first.
    below = sorted(node.directories.items(), key=lambda item: (len(item[0]), item[0]))
    nodes = b"".join(_serialize(*item) for item in below)
    return b"%b\0%d %d\n%b%b" % (name, node.count, len(below), node.id, nodes)
