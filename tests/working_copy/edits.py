"""Random changes of a tree, out of small alphabets: the same file is often changed on both sides. Pure."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from hypothesis import strategies as st

from tests.working_copy.model import EXECUTABLE, FILE, GITLINK, LINK, Entry, Files, is_in_the_way

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[T]], T]
Tree = dict[bytes, Entry]

_LETTERS = (b"x", b"y")
NEW_PATHS = (
    b"new",
    b"d/new",
    b"n/one",
    b"n/two/three",
    b"seen.log",
    b"d/seen.log",
    b"build/out",
    b"\xc3\xbc",
    b"sp ace/\xff",
    b"a.moved",
    b"d/moved",
    b"f/moved",
)
"""Where files come and are renamed to; `*.log` and `build/` are ignored where there is a `.gitignore`."""
_HOT = (b"a", b"d/b", b"blank")
_GITLINKS = (b"1" * 40, b"2" * 40)
_BINARY = (b"\0\1\2", b"\0\1\3", b"\0")
_TARGETS = (b"a", b"d", b"d/a", b"nowhere", b"../outside")
_ODD_CONTENTS = (b"", b"\n", b"one line, no end", b"1\r\n2\r\n3\r\n", b"1\n" * 3, b"\0binary\n")


def _text(name: bytes, lines: int) -> bytes:
    return b"".join(b"%b %d\n" % (name, number) for number in range(1, lines + 1))


TEMPLATE: Files = MappingProxyType(
    {
        b"a": Entry(FILE, _text(b"a", 9)),
        b"b": Entry(EXECUTABLE, _text(b"b", 4)),
        b"d/a": Entry(FILE, _text(b"d a", 7)),
        b"d/b": Entry(FILE, _text(b"d b", 12)),
        b"d/e/c": Entry(FILE, _text(b"c", 3)),
        b"f/one": Entry(FILE, _text(b"f one", 5)),
        b"f/two": Entry(FILE, _text(b"f two", 6)[:-1]),
        b"caf\xc3\xa9": Entry(FILE, _text(b"caf\xc3\xa9", 6)),
        b"link": Entry(LINK, b"d/a"),
        b"binary": Entry(FILE, b"\0\1\2\3"),
        b"empty": Entry(FILE, b""),
        b"blank": Entry(FILE, b"{\n\n}\n\n{\n\n}\n"),
    }
)
IGNORING = Entry(FILE, b"*.log\nbuild/\n")


def said(path: bytes) -> str:
    """Return a path as a person reads it."""
    return path.decode("utf-8", "backslashreplace")


def settled(files: Files, wanted: Files) -> Tree:
    """Return `files` with `wanted` in it, and without what is in the way of that."""
    kept = {path: entry for path, entry in files.items() if not any(is_in_the_way(path, other) for other in wanted)}
    return {**kept, **wanted}


def edited(draw: Draw[int], content: bytes, changes: int = 1) -> bytes:
    """Return a content with some lines replaced, added or removed; a binary one has its bytes for lines."""
    for _ in range(changes):
        lines = content.splitlines(keepends=True) if b"\0" not in content else [bytes([byte]) for byte in content]
        at = draw(st.integers(0, len(lines)))
        letter = _LETTERS[draw(st.integers(0, 1))] + (b"" if b"\0" in content else b"\n")
        how = draw(st.integers(0, 5))
        if how <= 2 and at < len(lines):
            lines[at] = letter
        elif how == 3:
            del lines[at : at + 1]
        elif how == 4 and lines and at == len(lines):
            lines[-1] = lines[-1].rstrip(b"\n")
        else:
            lines.insert(at, letter)
        content = b"".join(lines)
    return content


def _of_mode(files: Files, *modes: int) -> list[bytes]:
    return sorted(path for path, entry in files.items() if entry.mode in modes)


def _pick(draw: Draw[int], choices: Sequence[T]) -> T:
    return choices[draw(st.integers(0, len(choices) - 1))]


def _edit(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    choices = _of_mode(files, FILE, EXECUTABLE)
    # Two of three edits are of a few files, so that both sides often edit the same.
    hot = [path for path in _HOT if path in choices]
    path = _pick(draw, hot if hot and draw(st.integers(0, 2)) else choices)
    mode, content = files[path]
    return {**files, path: Entry(mode, edited(draw, content, draw(st.integers(1, 2))))}, f"edit {said(path)}"


def _add(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    path = _pick(draw, NEW_PATHS)
    content = _pick(draw, (_text(path, 3), _text(path, 8), *_ODD_CONTENTS))
    return settled(files, {path: Entry(_pick(draw, (FILE, FILE, EXECUTABLE)), content)}), f"add {said(path)}"


def _delete(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    path = _pick(draw, sorted(files))
    return {other: entry for other, entry in files.items() if other != path}, f"delete {said(path)}"


def _delete_directory(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    directories = sorted({path.partition(b"/")[0] for path in files if b"/" in path})
    if not directories:
        return _delete(draw, files)
    directory = _pick(draw, directories) + b"/"
    return {path: entry for path, entry in files.items() if not path.startswith(directory)}, f"delete {said(directory)}"


def _rename(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    old, new = _pick(draw, sorted(files)), _pick(draw, NEW_PATHS)
    return settled(_delete_at(files, old), {new: files[old]}), f"rename {said(old)} {said(new)}"


def _rename_and_edit(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    old, new = _pick(draw, _of_mode(files, FILE, EXECUTABLE)), _pick(draw, NEW_PATHS)
    entry = Entry(files[old].mode, edited(draw, files[old].content))
    return settled(_delete_at(files, old), {new: entry}), f"rename and edit {said(old)} {said(new)}"


def _rename_directory(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    directory = _pick(draw, [b"d/", b"f/"])
    inside = {path: entry for path, entry in files.items() if path.startswith(directory)}
    if not inside:
        return _rename(draw, files)
    rest = {path: entry for path, entry in files.items() if path not in inside}
    moved = {b"moved/" + path[2:]: entry for path, entry in inside.items()}
    return settled(rest, moved), f"rename {said(directory)} moved/"


def _change_mode(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    path = _pick(draw, _of_mode(files, FILE, EXECUTABLE))
    mode, content = files[path]
    return {**files, path: Entry(FILE + EXECUTABLE - mode, content)}, f"change the mode of {said(path)}"


def _link(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    path = _pick(draw, (b"link", b"link", b"d/link", *[name for name in sorted(files)[:4] if name != b".gitignore"]))
    return settled(files, {path: Entry(LINK, _pick(draw, _TARGETS))}), f"link {said(path)}"


def _turn_into_directory(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    path = _pick(draw, sorted(files))
    return settled(files, {path + b"/in": Entry(FILE, b"inside\n")}), f"turn {said(path)} into a directory"


def _turn_into_file(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    path = _pick(draw, (b"d", b"f", b"d/e", b"n"))
    return settled(files, {path: Entry(FILE, b"flat\n")}), f"turn {said(path)} into a file"


def _gitlink(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    path = _pick(draw, (b"module", b"d/module"))
    return settled(files, {path: Entry(GITLINK, _pick(draw, _GITLINKS))}), f"gitlink {said(path)}"


def _edit_binary(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    return settled(files, {b"binary": Entry(FILE, _pick(draw, _BINARY))}), "edit binary"


def _ignore(draw: Draw[int], files: Tree) -> tuple[Tree, str]:
    content = _pick(draw, (b"*.log\nbuild/\n", b"new\n", b"*\n", b"!*.log\n"))
    return settled(files, {b".gitignore": Entry(FILE, content)}), "edit .gitignore"


def _delete_at(files: Tree, path: bytes) -> Tree:
    return {other: entry for other, entry in files.items() if other != path}


_CHANGES: Sequence[Callable[[Draw[int], Tree], tuple[Tree, str]]] = (
    *[_edit] * 18,
    *[_add] * 8,
    *[_delete] * 4,
    _delete_directory,
    *[_rename] * 2,
    *[_rename_and_edit] * 2,
    _rename_directory,
    *[_change_mode] * 2,
    *[_link] * 2,
    *[_turn_into_directory] * 2,
    _turn_into_file,
    _gitlink,
    _edit_binary,
    _ignore,
)


def change(draw: Draw[int], files: Files, count: int = 1) -> tuple[Tree, str]:
    """Return a tree with some changes, and what they are. A tree without files gets its template back."""
    tree, labels = dict(files), []
    for _ in range(count):
        if not _of_mode(tree, FILE, EXECUTABLE):
            tree = settled(tree, TEMPLATE)
        tree, label = _pick(draw, _CHANGES)(draw, tree)
        labels.append(label)
    return tree, ", ".join(labels)


def same_change(old: Mapping[bytes, Entry], new: Mapping[bytes, Entry], onto: Files) -> Tree:
    """Return `onto` with the change from `old` to `new`, where what it changes stands there as it was."""
    fitting = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    fitting = {path for path in fitting if onto.get(path) == old.get(path)}
    kept = {path: entry for path, entry in onto.items() if path not in fitting}
    return settled(kept, {path: new[path] for path in fitting if path in new})
