"""Trees that nobody should write to a disk, as raw objects; and odd ones that are legal and must arrive.

Git's own `upload-pack` serves almost all of them (it does not check what it sends); what it refuses is in
UNSERVABLE. Every builder returns a tree id for `Upstream.commit_tree`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from testing.repositories import Entry, Upstream

FILE, EXECUTABLE, LINK, DIRECTORY, SUBMODULE = b"100644", b"100755", b"120000", b"40000", b"160000"

Builder = Callable[[Upstream], str]

_EVIL = b"evil\n"
_SOME_COMMIT = "1" * 40


def _named(name: bytes, mode: bytes = FILE) -> Builder:
    """Return a builder of a tree with an honest file and one entry of this name."""

    def build(upstream: Upstream) -> str:
        objects = {
            FILE: lambda: upstream.blob(_EVIL),
            LINK: lambda: upstream.blob(b"readme"),
            SUBMODULE: lambda: _SOME_COMMIT,
            DIRECTORY: lambda: upstream.raw_tree([(FILE, b"config", upstream.blob(_EVIL))]),
        }
        honest = upstream.blob(b"honest\n")
        return _sorted_tree(upstream, [(FILE, b"readme", honest), (mode, name, objects[mode]())])

    return build


def _nested(name: bytes, mode: bytes = FILE) -> Builder:
    """Return a builder of the same two directories down."""

    def build(upstream: Upstream) -> str:
        inner = upstream.raw_tree([(DIRECTORY, b"inner", _named(name, mode)(upstream))])
        return upstream.raw_tree([(DIRECTORY, b"outer", inner)])

    return build


def _linking(target: bytes, name: bytes = b"link") -> Builder:
    """Return a builder of a tree with a file, a directory and one link."""

    def build(upstream: Upstream) -> str:
        directory = upstream.raw_tree([(FILE, b"page", upstream.blob(b"page\n"))])
        return _sorted_tree(
            upstream,
            [
                (LINK, name, upstream.blob(target)),
                (DIRECTORY, b"pages", directory),
                (FILE, b"readme", upstream.blob(b"honest\n")),
            ],
        )

    return build


def _two(first: bytes, second: bytes, *, target: bytes = b"/tmp") -> Builder:
    """Return a builder of a tree that holds the name `x` twice, with these modes."""

    def build(upstream: Upstream) -> str:
        inner = upstream.raw_tree([(FILE, b"evil", upstream.blob(_EVIL))])
        objects = {FILE: upstream.blob(_EVIL), LINK: upstream.blob(target), DIRECTORY: inner}
        return upstream.raw_tree([(first, b"x", objects[first]), (second, b"x", objects[second])])

    return build


def _link_and_path_below(upstream: Upstream) -> str:
    return upstream.raw_tree([(LINK, b"x", upstream.blob(b"..")), (FILE, b"x/evil", upstream.blob(_EVIL))])


def _of_mode(mode: bytes) -> Builder:
    return lambda upstream: upstream.raw_tree([(mode, b"file", upstream.blob(_EVIL))])


def _unsorted(upstream: Upstream) -> str:
    blob = upstream.blob(_EVIL)
    return upstream.raw_tree([(FILE, b"b", blob), (FILE, b"a", blob)])


def _unsorted_duplicate(upstream: Upstream) -> str:
    blob, other = upstream.blob(_EVIL), upstream.blob(b"other\n")
    return upstream.raw_tree([(FILE, b"a", blob), (FILE, b"b", blob), (FILE, b"a", other)])


def _directory_that_is_a_blob(upstream: Upstream) -> str:
    return upstream.raw_tree([(DIRECTORY, b"x", upstream.blob(_EVIL))])


def _file_that_is_a_directory(upstream: Upstream) -> str:
    return upstream.raw_tree([(FILE, b"x", upstream.raw_tree([(FILE, b"y", upstream.blob(_EVIL))]))])


def _truncated(upstream: Upstream) -> str:
    return upstream.raw_object("tree", b"100644 file\0short")


def _without_terminator(upstream: Upstream) -> str:
    return upstream.raw_object("tree", b"100644 file-with-no-nul-and-no-id")


UNSAFE: Mapping[str, Builder] = MappingProxyType(
    {
        "dot-git": _named(b".git"),
        "dot-git-directory": _named(b".git", DIRECTORY),
        "dot-git-link": _named(b".git", LINK),
        "dot-git-submodule": _named(b".git", SUBMODULE),
        "dot-git-nested": _nested(b".git", DIRECTORY),
        "dot-git-upper": _named(b".GIT", DIRECTORY),
        "dot-git-mixed": _named(b".Git"),
        "parent": _named(b".."),
        "parent-directory": _named(b"..", DIRECTORY),
        "parent-nested": _nested(b"..", DIRECTORY),
        "parent-submodule": _named(b"..", SUBMODULE),
        "dot": _named(b"."),
        "dot-directory": _named(b".", DIRECTORY),
        "slash": _named(b"a/b"),
        "slash-climbs": _named(b"../../escaped"),
        "absolute": _named(b"/escaped"),
        "slash-directory": _named(b"a/b", DIRECTORY),
        "slash-at-end": _named(b"a/"),
        "empty-name": _named(b""),
        "empty-name-directory": _named(b"", DIRECTORY),
        "twice-files": _two(FILE, FILE),
        "twice-directories": _two(DIRECTORY, DIRECTORY),
        "twice-unsorted": _unsorted_duplicate,
        "file-and-directory": _two(FILE, DIRECTORY),
        "link-then-directory": _two(LINK, DIRECTORY),
        "link-up-then-directory": _two(LINK, DIRECTORY, target=b"../.."),
        "directory-then-link": _two(DIRECTORY, LINK),
        "link-and-path-below": _link_and_path_below,
    }
)
"""Refused whole, nothing of them written."""

DISGUISED: Mapping[str, Builder] = MappingProxyType(
    {
        "hfs-zero-width": _named(".g\u200cit".encode(), DIRECTORY),
        "ntfs-short-name": _named(b"git~1", DIRECTORY),
        "ntfs-trailing-dot": _named(b".git.", DIRECTORY),
        "ntfs-trailing-space": _named(b".git ", DIRECTORY),
        "ntfs-stream": _named(b".git::$INDEX_ALLOCATION", DIRECTORY),
    }
)
"""`.git` to the file systems of Macs and Windows; harmless names on EFS itself, but consumers copy trees."""

MALFORMED: Mapping[str, Builder] = MappingProxyType(
    {
        "mode-zero": _of_mode(b"0"),
        "mode-odd-type": _of_mode(b"070000"),
        "mode-huge": _of_mode(b"7777777777777777777777"),
        "mode-no-number": _of_mode(b"banana"),
        "unsorted": _unsorted,
        "directory-is-blob": _directory_that_is_a_blob,
        "file-is-directory": _file_that_is_a_directory,
        "truncated": _truncated,
        "no-terminator": _without_terminator,
    }
)
"""No trees that git would write: what comes of them is an outcome, never half of one in `current`."""

LINKS_OUT: Mapping[str, Builder] = MappingProxyType(
    {
        "link-absolute": _linking(b"/etc/passwd"),
        "link-climbs": _linking(b"../../../mirror.git/config"),
        "link-climbs-through-directory": _linking(b"pages/../../x"),
        "link-to-parent": _linking(b".."),
        "link-down-and-up": _linking(b"pages/../readme"),
    }
)
"""Links that lead out of the tree, or would if another entry were a link (the last): refused, unless the parameter
of the repository allows them."""

LEGAL: Mapping[str, Builder] = MappingProxyType(
    {
        "link-inside": _linking(b"pages/page"),
        "link-dangling": _linking(b"nothing-here"),
        "link-into-dot-git": _linking(b".git/config"),
        "link-to-itself": _linking(b"link"),
        "link-to-directory": _linking(b"pages"),
        "mode-group-writable": _of_mode(b"100664"),
        "empty": lambda upstream: upstream.raw_tree([]),
    }
)
"""Arrive as they are (a file of mode 100664 as a plain one)."""

UNSERVABLE = frozenset(
    {
        "empty-name",
        "empty-name-directory",
        "mode-no-number",
        "directory-is-blob",
        "truncated",
        "no-terminator",
    }
)
"""Those that upload-pack itself trips over: the fetch fails, and no outcome but failed is possible."""

ODD_FILES: Mapping[bytes, Entry | None] = MappingProxyType(
    {
        b"new\nline": b"1",
        b" leading and trailing ": b"2",
        b'quo"te': b"3",
        b"back\\slash": b"4",
        b"-rf": b"5",
        b"tab\there": b"6",
        "gr\u00fc\u00dfe/\u65e5\u672c\u8a9e.txt".encode(): b"7",
        b"not-utf8-\xff\xfe/\x80": b"8",
        b"control-\x01\x7f": b"9",
        b"co:lon*?<>|": b"10",
        b"CON": b"11",
        b"dot./trailing.": b"12",
        b"...": b"13",
        b".gitignore": b"14",
        b".github/workflows/x.yml": b"15",
        b"gitdir/.git-not": b"16",
        b"n" * 255: b"17",
        b"/".join([b"deep"] * 100): b"18",
        b"Case": b"19",
        b"case": b"20",
        "e\u0301".encode(): b"21",
        "\u00e9".encode(): b"22",
    }
)
"""Legal names, all of which have to be published (for `Upstream.commit`)."""


def _sorted_tree(upstream: Upstream, entries: list[tuple[bytes, bytes, str]]) -> str:
    """Write the entries in git's order, so that nothing but the name is wrong."""

    def key(entry: tuple[bytes, bytes, str]) -> bytes:
        return entry[1] + (b"/" if entry[0] == DIRECTORY else b"")

    return upstream.raw_tree(sorted(entries, key=key))
