"""A history as a frozen value, and the git objects it consists of. Pure: ids are computed, nothing is written."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

FILE, EXECUTABLE, LINK, GITLINK, DIRECTORY = 0o100644, 0o100755, 0o120000, 0o160000, 0o40000

Objects = dict[str, tuple[str, bytes]]
"""Objects by id: (kind, content)."""


class Entry(NamedTuple):
    """What a path holds. `content` is a link's target, or the id that a gitlink names."""

    mode: int
    content: bytes


Files = Mapping[bytes, Entry]
"""A whole tree by full path; no path lies below another."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who made a commit and when, as its line says: `name` is `Name <mail>`, `zone` like `+0000`."""

    name: bytes
    seconds: int
    zone: bytes = b"+0000"

    @property
    def line(self) -> bytes:
        """The header's value."""
        return b"%b %d %b" % (self.name, self.seconds, self.zone)


@dataclass(frozen=True, slots=True)
class Node:
    """A commit; `parents` are numbers of nodes in its history. `label` says what it does, for a person."""

    files: Files
    parents: tuple[int, ...]
    author: Person
    committer: Person
    message: bytes
    encoding: bytes | None
    label: str
    extra: bytes = b""
    """More lines of its header."""


class Origin(StrEnum):
    """Who made the working copy."""

    HAND = "by hand"
    """Every file that `git clone` leaves, without its processes."""
    GIT = "git clone"
    US = "us"


class DirtKind(StrEnum):
    """What a person left uncommitted, as far as git cares."""

    TRACKED = "tracked"
    """A change of something that is in HEAD or in the index: git refuses to pull, whatever it is."""
    UNTRACKED = "untracked"
    IGNORED = "ignored"
    NOTHING = "nothing"
    """It looks like a change and is none: another mtime, an empty directory."""


@dataclass(frozen=True, slots=True)
class Dirt:
    """Something uncommitted: lines of sh that make it, run in the working copy; the paths it is about."""

    label: str
    kind: DirtKind
    paths: tuple[bytes, ...]
    shell: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """In what state a working copy is kept.

    `is_racy`: the index is as young as the files, so that its clocks prove nothing. `is_packed`: local commits and refs
    are as `git gc` leaves them. `has_logs`: what the refs named is known. `trusts_filemode`: `core.filemode`.
    """

    index_version: int = 2
    is_racy: bool = False
    is_packed: bool = False
    has_logs: bool = True
    trusts_filemode: bool = True


@dataclass(frozen=True, repr=False)
class History:
    """Everything that an example starts from.

    `seen` are the tips (numbers of nodes) that the copy's remote-tracking ref has named, the last is what it names
    now; `base` is the node that local work began at, `local` the copy's HEAD, `tip` what upstream names when it is
    pulled, and `again` what it names when that is pulled once more (None: it is not). `depth` None is the whole
    history. `events` name what is in it.
    """

    nodes: tuple[Node, ...]
    seen: tuple[int, ...]
    base: int
    local: int
    tip: int
    again: int | None
    origin: Origin
    depth: int | None
    dirt: tuple[Dirt, ...]
    condition: Condition
    events: frozenset[str]

    def __repr__(self) -> str:
        """Return the little that fits into a line; `account_of` tells the rest."""
        return f"<a history of {len(self.nodes)} commits: {', '.join(sorted(self.events))}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Let hypothesis write no more than that."""
        printer.text(repr(self))

    @cached_property
    def built(self) -> tuple[tuple[str, Objects], ...]:
        """The id of each node, and the objects that it adds to its parents'."""
        ids: list[str] = []
        built = []
        for node in self.nodes:
            objects: Objects = {}
            tree = write_tree(node.files, objects)
            parents = [ids[parent] for parent in node.parents]
            content = commit_content(tree, parents, node)
            ids.append(hash_object("commit", content))
            objects[ids[-1]] = ("commit", content)
            built.append((ids[-1], objects))
        return tuple(built)

    def id_of(self, number: int) -> str:
        """Return the id of a node."""
        return self.built[number][0]

    def reachable(self, *tips: int) -> list[int]:
        """Return the nodes that these lead to, themselves among them, in the order in which they were made."""
        found: set[int] = set()
        pending = list(tips)
        while pending:
            number = pending.pop()
            if number not in found:
                found.add(number)
                pending += self.nodes[number].parents
        return sorted(found)

    @property
    def local_work(self) -> list[int]:
        """The nodes that were made in the copy, in the order in which they were made."""
        return sorted(set(self.reachable(self.local)) - set(self.reachable(*self.seen)))

    def objects_of(self, numbers: Iterable[int]) -> Objects:
        """Return the objects of these nodes, those that are in their parents too among them."""
        objects: Objects = {}
        for number in numbers:
            objects |= self.built[number][1]
        return objects

    def within(self, tip: int, depth: int | None) -> tuple[list[int], list[int]]:
        """Return the nodes that a fetch of that depth brings, and those of them whose parents are cut off."""
        if depth is None:
            return self.reachable(tip), []
        level, found = {tip}, {tip}
        for _ in range(depth - 1):
            level = {parent for number in level for parent in self.nodes[number].parents} - found
            found |= level
        edge = [number for number in found if set(self.nodes[number].parents) - found]
        return sorted(found), sorted(edge)

    @property
    def has_tracked_dirt(self) -> bool:
        """Whether `git pull --rebase` refuses to begin."""
        return any(dirt.kind is DirtKind.TRACKED for dirt in self.dirt)


def commit_content(tree: str, parents: Iterable[str], node: Node) -> bytes:
    """Return the content of a commit object."""
    lines = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
    lines += [b"author " + node.author.line, b"committer " + node.committer.line]
    lines += [b"encoding " + node.encoding] if node.encoding else []
    lines += [node.extra] if node.extra else []
    return b"\n".join([*lines, b"", node.message])


@lru_cache(maxsize=65536)
def hash_object(kind: str, content: bytes) -> str:
    """Return an object's id."""
    return hashlib.sha1(b"%b %d\0" % (kind.encode(), len(content)) + content, usedforsecurity=False).hexdigest()


def write_tree(files: Files, objects: Objects) -> str:
    """Add the objects of a tree to `objects`; return its id."""
    here: list[tuple[bytes, int, bytes, str]] = []
    below: dict[bytes, dict[bytes, Entry]] = {}
    for path, entry in files.items():
        name, slash, rest = path.partition(b"/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        elif entry.mode == GITLINK:
            here.append((name, entry.mode, name, entry.content.decode()))
        else:
            blob = hash_object("blob", entry.content)
            objects[blob] = ("blob", entry.content)
            here.append((name, entry.mode, name, blob))
    # Git orders a directory as if its name ended with a slash.
    here += [(name + b"/", DIRECTORY, name, write_tree(inside, objects)) for name, inside in below.items()]
    content = b"".join(b"%o %b\0%b" % (mode, name, bytes.fromhex(found)) for _, mode, name, found in sorted(here))
    tree = hash_object("tree", content)
    objects[tree] = ("tree", content)
    return tree


def changed(old: Files, new: Files) -> set[bytes]:
    """Return the paths that differ."""
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}


def is_in_the_way(one: bytes, other: bytes) -> bool:
    """Whether two paths cannot both be written: the same, or one below the other."""
    return one == other or one.startswith(other + b"/") or other.startswith(one + b"/")


def collisions(ones: Iterable[bytes], others: Iterable[bytes]) -> Iterator[bytes]:
    """Yield those of `ones` that are in the way of one of `others`."""
    rest = list(others)
    return (one for one in ones if any(is_in_the_way(one, other) for other in rest))
