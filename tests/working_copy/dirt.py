"""Random uncommitted things, as lines of sh that make them: the same for the test and for its account. Pure."""

import shlex
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

from tests.working_copy.edits import IGNORING, NEW_PATHS, Draw, edited
from tests.working_copy.model import EXECUTABLE, FILE, GITLINK, LINK, Dirt, DirtKind, Entry, Files, is_in_the_way

_OCTAL = "\\%03o"


def quoted(path: bytes) -> bytes:
    """Return a path as one word of sh, that nothing takes for an option."""
    if path.isascii():
        text = path.decode()
        return shlex.quote(f"./{text}" if text.startswith("-") else text).encode()
    # So that the script itself is plain text.
    return b'"$(%b)"' % printed(path)


def printed(content: bytes) -> bytes:
    """Return the words of sh that print a content: lines as they are, all else in octal."""
    plain = "".join(chr(c) if 32 <= c < 127 and chr(c) not in "\\%'" else _OCTAL % c for c in content)
    return b"printf '" + plain.replace("\\012", "\\n").encode() + b"'"


def _writing(path: bytes, content: bytes) -> bytes:
    return b"%b > %b" % (printed(content), quoted(path))


def _parents(path: bytes) -> list[bytes]:
    directory = path.rpartition(b"/")[0]
    return [b"mkdir -p %b" % quoted(directory)] if directory else []


class Choice:
    """What a person could touch: the tree of HEAD, what upstream changes, and what is taken already."""

    def __init__(self, draw: Draw[int], files: Files, upstream: Files, incoming: Sequence[bytes]) -> None:
        """`incoming` are the paths that the pull changes, as far as one can say before it."""
        self.trusts_filemode = True
        self.draw, self.files, self.upstream = draw, files, upstream
        self.incoming = incoming
        self.is_ignoring = files.get(b".gitignore") == IGNORING
        self._taken: list[bytes] = []

    def pick(self, choices: Sequence[bytes]) -> bytes | None:
        """Return one of these that is free; every other time one that is in the way of the pull, if there is one."""
        free = [path for path in choices if not any(is_in_the_way(path, taken) for taken in self._taken)]
        near = [path for path in free if any(is_in_the_way(path, other) for other in self.incoming)]
        if near and self.draw(st.integers(0, 1)):
            free = near
        if not free:
            return None
        path = free[self.draw(st.integers(0, len(free) - 1))]
        self._taken.append(path)
        return path

    def tracked(self, *modes: int) -> bytes | None:
        """Return a path of HEAD of one of these modes, in the index and on disk as HEAD has it."""
        return self.pick(sorted(path for path, entry in self.files.items() if entry.mode in modes))

    def fresh(self) -> bytes | None:
        """Return a path that nothing of HEAD is in the way of, such as upstream adds."""
        coming = sorted(path for path in self.incoming if path in self.upstream)
        paths = dict.fromkeys((*coming, *NEW_PATHS))
        return self.pick([path for path in paths if not self._is_occupied(path) and not self._is_ignored(path)])

    def ignored(self) -> bytes | None:
        """Return such a path that the `.gitignore` of HEAD has git ignore."""
        paths = (b"seen.log", b"d/seen.log", b"build/out", b"n/other.log")
        return self.pick([path for path in paths if not self._is_occupied(path) and self._is_ignored(path)])

    def _is_occupied(self, path: bytes) -> bool:
        return any(is_in_the_way(path, other) for other in self.files)

    def _is_ignored(self, path: bytes) -> bool:
        # By any .gitignore but the usual one: who knows.
        usual = path.endswith(b".log") or path.startswith(b"build/")
        return usual if self.is_ignoring else b".gitignore" in self.files

    def content(self, path: bytes) -> bytes:
        """Return another content for a path: upstream's, an edit, or of the same length, so that only clocks tell."""
        entry, theirs = self.files.get(path, self.upstream.get(path, Entry(FILE, b"mine\n"))), self.upstream.get(path)
        is_other = theirs is not None and theirs.mode in (FILE, EXECUTABLE) and theirs.content != entry.content
        if theirs is not None and is_other and self.draw(st.integers(0, 2)) == 0:
            return theirs.content
        if entry.content and self.draw(st.integers(0, 2)) == 0:
            return bytes([entry.content[0] ^ 1]) + entry.content[1:]
        changed = edited(self.draw, entry.content, 1)
        return changed if changed != entry.content else entry.content + b"mine\n"


Made = tuple[DirtKind, tuple[bytes, ...], list[bytes]] | None
_T = DirtKind.TRACKED


def _edited(choice: Choice) -> Made:
    path = choice.tracked(FILE, EXECUTABLE)
    return (path and (_T, (path,), [_writing(path, choice.content(path))])) or None


def _mode_changed(choice: Choice) -> Made:
    path = choice.tracked(FILE, EXECUTABLE)
    if path is None:
        return None
    kind = _T if choice.trusts_filemode else DirtKind.NOTHING
    sign = b"+" if choice.files[path].mode == FILE else b"-"
    return kind, (path,), [b"chmod %bx %b" % (sign, quoted(path))]


def _deleted(choice: Choice) -> Made:
    path = choice.tracked(FILE, EXECUTABLE, LINK)
    return (path and (_T, (path,), [b"rm %b" % quoted(path)])) or None


def _staged(choice: Choice) -> Made:
    path = choice.tracked(FILE, EXECUTABLE)
    if path is None:
        return None
    shell = [_writing(path, choice.content(path)), b"git add -f -- %b" % quoted(path)]
    how = choice.draw(st.integers(0, 3))
    if how == 1:
        shell.append(_writing(path, choice.content(path) + b"unstaged\n"))
    elif how == 2:
        shell.append(_writing(path, choice.files[path].content))
    return _T, (path,), shell


def _staged_new(choice: Choice) -> Made:
    path = choice.fresh()
    if path is None:
        return None
    shell = [*_parents(path), _writing(path, choice.content(path)), b"git add -f -- %b" % quoted(path)]
    return _T, (path,), shell + ([b"rm %b" % quoted(path)] if choice.draw(st.integers(0, 3)) == 0 else [])


def _staged_deletion(choice: Choice) -> Made:
    path = choice.tracked(FILE, EXECUTABLE, LINK)
    if path is None:
        return None
    option = b"--cached " if choice.draw(st.integers(0, 1)) else b""
    return _T, (path,), [b"git rm -q %b-- %b" % (option, quoted(path))]


def _became_a_directory(choice: Choice) -> Made:
    path = choice.tracked(FILE, EXECUTABLE, LINK)
    if path is None:
        return None
    name = quoted(path)
    return _T, (path,), [b"rm %b" % name, b"mkdir %b" % name, _writing(path + b"/mine", b"mine\n")]


def _became_a_link(choice: Choice) -> Made:
    """A directory of HEAD is a link to another one, which looks the same through it."""
    directories = sorted({path.rpartition(b"/")[0] for path in choice.files if b"/" in path})
    directory = choice.pick([path for path in directories if not _holds_gitlink(choice.files, path)])
    if directory is None:
        return None
    away = b"elsewhere." + directory.replace(b"/", b".")
    up = b"../" * directory.count(b"/")
    shell = [b"mv %b %b" % (quoted(directory), quoted(away)), b"ln -s %b %b" % (quoted(up + away), quoted(directory))]
    return _T, (directory, away), shell


def _holds_gitlink(files: Files, directory: bytes) -> bool:
    return any(entry.mode == GITLINK and path.startswith(directory + b"/") for path, entry in files.items())


def _relinked(choice: Choice) -> Made:
    path = choice.tracked(LINK)
    return (path and (_T, (path,), [b"ln -sfn mine %b" % quoted(path)])) or None


def _untracked(choice: Choice) -> Made:
    path = choice.fresh()
    if path is None:
        return None
    coming = choice.upstream.get(path)
    is_same = coming is not None and coming.mode == FILE and choice.draw(st.integers(0, 3)) == 0
    content = coming.content if coming is not None and is_same else choice.content(path)
    return DirtKind.UNTRACKED, (path,), [*_parents(path), _writing(path, content)]


def _untracked_link(choice: Choice) -> Made:
    path = choice.fresh()
    if path is None:
        return None
    # In place of the file, or of the directory that it comes into.
    directory = path.partition(b"/")[0]
    is_free = not any(is_in_the_way(directory, other) for other in choice.files)
    at = directory if b"/" in path and is_free else path
    return DirtKind.UNTRACKED, (at,), [*_parents(at), b"ln -s d %b" % quoted(at)]


def _untracked_directory(choice: Choice) -> Made:
    path = choice.fresh()
    if path is None:
        return None
    inside = path + b"/mine"
    return DirtKind.UNTRACKED, (inside,), [*_parents(inside), _writing(inside, b"mine\n")]


def _untracked_beside(choice: Choice) -> Made:
    """A file in a directory that the pull may want to remove."""
    directories = sorted({path.rpartition(b"/")[0] for path in choice.files if b"/" in path})
    path = choice.pick([directory + b"/mine" for directory in directories])
    return (path and (DirtKind.UNTRACKED, (path,), [_writing(path, b"mine\n")])) or None


def _ignored(choice: Choice) -> Made:
    path = choice.ignored()
    return (path and (DirtKind.IGNORED, (path,), [*_parents(path), _writing(path, b"ignored\n")])) or None


def _empty_directory(choice: Choice) -> Made:
    path = choice.fresh()
    return (path and (DirtKind.NOTHING, (path,), [b"mkdir -p %b" % quoted(path)])) or None


def _touched(choice: Choice) -> Made:
    path = choice.tracked(FILE, EXECUTABLE)
    return (path and (DirtKind.NOTHING, (path,), [b"touch -d 2001-02-03T04:05:06Z %b" % quoted(path)])) or None


Kind = tuple[str, Callable[[Choice], Made]]
_KINDS: Sequence[Kind] = (
    *[("tracked file edited", _edited)] * 3,
    ("mode changed", _mode_changed),
    ("tracked file deleted", _deleted),
    *[("change staged", _staged)] * 2,
    *[("new file staged", _staged_new)] * 2,
    ("deletion staged", _staged_deletion),
    ("file became a directory", _became_a_directory),
    *[("directory became a link", _became_a_link)] * 2,
    ("link changed", _relinked),
    *[("untracked file", _untracked)] * 5,
    *[("untracked link", _untracked_link)] * 2,
    *[("untracked directory", _untracked_directory)] * 2,
    *[("untracked file beside tracked", _untracked_beside)] * 2,
    *[("ignored file", _ignored)] * 4,
    *[("empty directory", _empty_directory)] * 2,
    *[("file touched", _touched)] * 2,
)


OF_FILES = tuple(kind for kind in _KINDS if kind[1] in (_edited, _mode_changed, _deleted, _staged, _staged_deletion))
"""The changes of files that HEAD has, by other files or none."""


def some_dirt(choice: Choice, count: int, kinds: Sequence[Kind] = _KINDS) -> list[Dirt]:
    """Return up to `count` uncommitted things, none in the way of another."""
    found = []
    for _ in range(count):
        label, make = kinds[choice.draw(st.integers(0, len(kinds) - 1))]
        if made := make(choice):
            kind, paths, shell = made
            found.append(Dirt(label, kind, paths, tuple(shell)))
    return found
