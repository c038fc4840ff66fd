"""Random trees and what two sides make of them: edits, additions, removals, renames, moved directories, other kinds."""

import random
from collections.abc import Mapping

from testing.repositories import Executable, Link, Submodule
from tests.working_copy.oracle import Entry, Files, Three

_DIRECTORIES = [b"", b"d/", b"d/e/", b"d/f/", b"g/", b"g/h/", b"x/"]
_NAMES = [b"one", b"two", b"three", b"d", b"e", b"g"]
_TO = [b"x/", b"y/", b"d/e/", b"g/z/", b""]


def three_trees(dice: random.Random) -> Three:
    """Return a base and two trees that grew out of it."""
    base: dict[bytes, Entry] = {}
    for _ in range(dice.randint(2, 9)):
        _put(base, _path(dice), _content(dice) if dice.random() < 0.8 else _entry(dice))
    changed = [_changed(dice, base, dice.choice([1, 1, 2, 3, 5])) for _ in range(2)]
    return base, changed[0], changed[1]


def _path(dice: random.Random) -> bytes:
    return dice.choice(_DIRECTORIES) + dice.choice(_NAMES)


def _content(dice: random.Random) -> bytes:
    word = dice.choice([b"a", b"b", b"c"])
    numbers = [dice.randrange(12) if dice.random() < 0.4 else line for line in range(dice.choice([0, 1, 3, 8, 8, 15]))]
    return b"".join(b"%b line %d\n" % (word, number) for number in numbers)


def _entry(dice: random.Random) -> Entry:
    kind = dice.random()
    if kind < 0.8:
        return _content(dice)
    if kind < 0.88:
        return Executable(_content(dice))
    return Link(dice.choice([b"one", b"g/three"])) if kind < 0.95 else Submodule(dice.choice(["1" * 40, "2" * 40]))


def _edited(dice: random.Random, entry: Entry) -> Entry:
    if isinstance(entry, Executable):
        return Executable(_edited_content(dice, entry.content))
    return _edited_content(dice, entry) if isinstance(entry, bytes) else _entry(dice)


def _edited_content(dice: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")[:-1]
    for _ in range(dice.choice([1, 1, 2, 3])):
        at = dice.randint(0, len(lines))
        if dice.random() < 0.5:
            lines.insert(at, b"new %d" % dice.randrange(9))
        else:
            lines[at : at + 1] = [b"other %d" % dice.randrange(5)]
    return b"".join(line + b"\n" for line in lines)


def _put(tree: dict[bytes, Entry], path: bytes, entry: Entry) -> None:
    """Set a path; what stands in its way goes."""
    for other in [other for other in tree if other.startswith(path + b"/") or path.startswith(other + b"/")]:
        del tree[other]
    tree[path] = entry


def _changed(dice: random.Random, base: Mapping[bytes, Entry], changes: int) -> Files:
    tree = dict(base)
    for _ in range(changes):
        kind = dice.random()
        path = dice.choice(sorted(tree)) if tree else b""
        if not tree or kind < 0.15:
            _put(tree, _path(dice), _entry(dice))
        elif kind < 0.45:
            tree[path] = _edited(dice, tree[path])
        elif kind < 0.57:
            del tree[path]
        elif kind < 0.77:
            _rename(dice, tree, path)
        elif kind < 0.87:
            _move(dice, tree)
        elif kind < 0.92:
            _switch_mode(tree, path)
        else:
            _put(tree, path, _entry(dice))
    return tree


def _rename(dice: random.Random, tree: dict[bytes, Entry], path: bytes) -> None:
    entry = tree.pop(path)
    beside = path[: path.rfind(b"/") + 1] + b"r%d" % dice.randrange(3)
    is_edited = dice.random() < 0.6 and isinstance(entry, bytes | Executable)
    _put(tree, _path(dice) if dice.random() < 0.7 else beside, _edited(dice, entry) if is_edited else entry)


def _move(dice: random.Random, tree: dict[bytes, Entry]) -> None:
    directories = sorted({path[: path.rfind(b"/") + 1] for path in tree if b"/" in path})
    if directories:
        old, new = dice.choice(directories), dice.choice(_TO)
        for path, entry in [(path, tree.pop(path)) for path in sorted(tree) if path.startswith(old)]:
            _put(tree, new + path[len(old) :], entry)


def _switch_mode(tree: dict[bytes, Entry], path: bytes) -> None:
    entry = tree[path]
    if isinstance(entry, Executable):
        tree[path] = entry.content
    elif isinstance(entry, bytes):
        tree[path] = Executable(entry)
