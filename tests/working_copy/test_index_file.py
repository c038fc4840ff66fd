"""The index file, with real git as the judge of what was written."""

import contextlib
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha1
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.errors import CopyUnusable, TreeUnsafe
from handler.mount.git.tree import EXECUTABLE, FILE, LINK, SUBMODULE
from handler.mount.working_copy.index.entry import EMPTY_BLOB, IndexEntry, Stat
from handler.mount.working_copy.index.index_file import IndexFile, build
from testing.repositories import run_git

EXAMPLES = int(os.environ.get("GIT2EFS_TEST_EXAMPLES", "25"))
LONG_AGO = 1_600_000_000
"""The mtime of the files, in seconds; the index's own is a minute later where nothing else is said."""
NEVER = 2**31 - 1
Trees = dict[bytes, bytes]


class Copy:
    """A working copy made by real git, whose files are all of the same old second."""

    def __init__(self, path: Path, files: Mapping[bytes, bytes | None]) -> None:
        """Commit the files."""
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "--template=")
        self.index = path / ".git" / "index"
        self.write(files)
        self.commit()

    def git(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> bytes:
        """Run git in the copy."""
        return run_git(*arguments, directory=self.path, stdin=stdin, check=check)

    def place(self, path: bytes) -> bytes:
        """Return where a file is."""
        return os.path.join(os.fsencode(self.path), path)

    def write(self, files: Mapping[bytes, bytes | None]) -> None:
        """Write files (a link where the content starts with `->`, executable where with `#!`), or remove them."""
        for path in (path for path, content in files.items() if content is None):
            os.unlink(self.place(path))
            with contextlib.suppress(OSError):
                os.removedirs(os.path.dirname(self.place(path)))
        for path, content in files.items():
            if content is None:
                continue
            os.makedirs(os.path.dirname(self.place(path)), exist_ok=True)
            if os.path.lexists(self.place(path)):
                os.unlink(self.place(path))
            if content.startswith(b"->"):
                os.symlink(content[2:], self.place(path))
            else:
                Path(os.fsdecode(self.place(path))).write_bytes(content)
                os.chmod(self.place(path), 0o755 if content.startswith(b"#!") else 0o644)
            os.utime(self.place(path), (LONG_AGO, LONG_AGO), follow_symlinks=False)

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", "Change")
        self.age()

    def age(self, when: int = LONG_AGO + 60) -> None:
        """Let the index be of a time."""
        os.utime(self.index, (when, when))

    def read(self) -> IndexFile:
        """Return the index as git2efs reads it."""
        return IndexFile.read(self.index.read_bytes(), int(self.index.stat().st_mtime))

    def put(self, content: bytes, when: int = LONG_AGO + 120) -> None:
        """Let this be the index, written at a time."""
        self.index.write_bytes(content)
        self.age(when)

    def trees(self, commit: str = "HEAD") -> Trees:
        """Return the trees of a commit by directory."""
        lines = self.git("ls-tree", "-rdtz", commit).split(b"\0")[:-1]
        listed = (line.split(b"\t", 1) for line in lines)
        root = self.git("rev-parse", f"{commit}^{{tree}}").strip()
        return {b"": root} | {path: about.split()[2] for about, path in listed if about.split()[1] == b"tree"}

    def entry(self, path: bytes) -> IndexEntry:
        """Return what the index has to say of a file as it is on disk now."""
        found = os.lstat(self.place(path))
        is_link = os.path.islink(self.place(path))
        content = os.readlink(self.place(path)) if is_link else Path(os.fsdecode(self.place(path))).read_bytes()
        mode = LINK if is_link else EXECUTABLE if found.st_mode & 0o100 else FILE
        return IndexEntry(
            mode=mode, id=self.git("hash-object", "-w", "--stdin", stdin=content).strip(), stat=Stat.of(found)
        )

    def forward(self, files: Mapping[bytes, bytes | None], *, trees: bool = True) -> bytes:
        """Bring the copy to a commit with changed files, its index by git2efs; return the index's bytes."""
        before = self.read()
        self.write(files)
        changes = {path: None if content is None else self.entry(path) for path, content in files.items()}
        self.commit()
        content = before.patch(changes, self.trees() if trees else None)
        self.put(content)
        return content

    def assert_git_agrees(self) -> None:
        """Let git say that nothing is changed, staged or broken, and that it need not look into any file."""
        content = self.index.read_bytes()
        self.git("update-index", "--refresh")
        assert self.git("diff-files", "--raw") == self.git("ls-files", "--modified") == b""
        assert self.index.read_bytes() == content
        assert self.git("diff-index", "--cached", "HEAD") == b""
        assert self.git("status", "--porcelain", "--untracked-files=all") == b""
        assert self.git("write-tree") == self.git("rev-parse", "HEAD^{tree}")
        self.git("fsck", "--full", "--strict")


def nodes_of(content: bytes) -> dict[bytes, tuple[int, bytes]]:
    """Return the cache tree of an index's bytes by directory: number of entries, tree id."""
    data = content[content.rindex(b"TREE") + 8 : -20] if b"TREE" in content else b""
    found: dict[bytes, tuple[int, bytes]] = {}

    def node(at: int, parent: bytes | None) -> int:
        name, rest = data[at:].split(b"\0", 1)
        numbers = rest.split(b"\n", 1)[0]
        count, below = map(int, numbers.split())
        at += len(name) + len(numbers) + 2
        path = b"/".join(filter(None, (parent, name)))
        found[path] = (count, data[at : at + 20].hex().encode() if count >= 0 else b"")
        at += 20 if count >= 0 else 0
        for _ in range(below):
            at = node(at, path)
        return at

    if data:
        assert node(0, None) == len(data)
    return found


FILES: dict[bytes, bytes | None] = {
    b"a": b"one",
    b"a-b": b"#!two",
    b"a.b": b"->a",
    b"dir/x": b"",
    b"dir/sub/y": b"y",
    b"dir/sub/deep/z": b"z",
    b"dir-1/w": b"w",
    b"dir0": b"0",
    b"other/\xff\xfe": b"bytes",
    b"other/keep/k": b"k",
}
CHANGES: dict[str, dict[bytes, bytes | None]] = {
    "nothing": {},
    "a file replaced": {b"a": b"changed"},
    "at the first and the last place": {b"A": b"first", b"zz": b"last"},
    "kinds changed": {b"a": b"->a-b", b"a-b": b"plain now", b"a.b": b"#!runs"},
    "a file becomes a directory": {b"a": None, b"a/b": b"1", b"a/c/d": b"2"},
    "a directory becomes a file": {b"dir/x": None, b"dir/sub/y": None, b"dir/sub/deep/z": None, b"dir": b"file"},
    "a directory goes": {b"dir/sub/deep/z": None},
    "new directories": {b"new/one/f": b"f", b"new/g": b"g", b"dir/sub/h/i": b"i"},
    "everything goes": dict.fromkeys(FILES),
    "a very long name": {b"/".join([b"long" * 30] * 8): b"long"},
}


@pytest.mark.parametrize("files", CHANGES.values(), ids=CHANGES)
def test_git_takes_the_patched_index_for_its_own(tmp_path: Path, files: dict[bytes, bytes | None]) -> None:
    """Whatever a commit changes: nothing is left for git to compare, and the cache tree is wholly valid."""
    copy = Copy(tmp_path / "copy", FILES)
    content = copy.forward(files)
    copy.assert_git_agrees()
    assert copy.read().tree == copy.git("rev-parse", "HEAD^{tree}").strip()
    copy.index.unlink()
    copy.git("read-tree", "HEAD")
    assert nodes_of(content) == nodes_of(copy.index.read_bytes())


@pytest.mark.parametrize("files", CHANGES.values(), ids=CHANGES)
def test_without_the_new_trees_changed_directories_are_left_to_git(
    tmp_path: Path, files: dict[bytes, bytes | None]
) -> None:
    """What is untouched stays valid, and no node says what is not so."""
    copy = Copy(tmp_path / "copy", FILES)
    content = copy.forward(files, trees=False)
    copy.assert_git_agrees()
    touched = {b"/".join(path.split(b"/")[:depth]) for path in files for depth in range(path.count(b"/") + 1)}
    trees = copy.trees()
    for directory, (_, tree) in nodes_of(content).items():
        assert tree == (b"" if directory in touched else trees[directory])


def test_a_tree_that_the_index_does_not_equal_is_not_noted(tmp_path: Path) -> None:
    """The caller's word is checked: something else staged beside the change makes the directory invalid."""
    copy = Copy(tmp_path / "copy", FILES)
    copy.write({b"dir/x": b"staged"})
    copy.git("add", "dir/x")
    copy.age()
    assert copy.read().tree is None
    staged = copy.read()
    copy.git("reset", "--quiet", "--hard")
    copy.write({b"dir/sub/y": b"pulled"})
    pulled = copy.entry(b"dir/sub/y")
    copy.commit()
    trees = copy.trees()
    content = staged.patch({b"dir/sub/y": pulled}, trees)
    nodes = nodes_of(content)
    assert nodes[b"dir"] == nodes[b""] == (-1, b"")
    assert nodes[b"dir/sub"] == (2, trees[b"dir/sub"])
    copy.put(content)
    assert copy.git("diff-index", "--cached", "--name-only", "HEAD") == b"dir/x\n"
    copy.git("commit", "--quiet", "--message", "The staged file")
    assert copy.git("diff", "--name-only", "HEAD~", "HEAD") == b"dir/x\n"


def test_a_new_index_is_what_git_would_write(tmp_path: Path) -> None:
    """All of it: entries, order, cache tree, checksum."""
    copy = Copy(tmp_path / "copy", FILES)
    content = copy.index.read_bytes()
    entries = copy.read().entries(copy.read().paths_below(b""))
    assert build(reversed(entries.items()), copy.trees()) == content
    copy.put(build(entries.items()))
    copy.assert_git_agrees()


def test_an_index_without_entries_is_one(tmp_path: Path) -> None:
    """As of a commit without files; and the first ones are added to it."""
    copy = Copy(tmp_path / "copy", {})
    copy.put(build([]))
    copy.assert_git_agrees()
    content = copy.read().patch({b"a": IndexEntry(mode=FILE, id=EMPTY_BLOB)})
    assert IndexFile.read(content, NEVER).paths_below(b"") == [b"a"]


def test_entries_are_found_as_git_shows_them(tmp_path: Path) -> None:
    """Mode, id and every number of the stat data."""
    copy = Copy(tmp_path / "copy", FILES)
    index = copy.read()
    for path in FILES:
        entry = index.entries([path])[path]
        found = os.lstat(copy.place(path))
        assert entry == copy.entry(path)
        assert entry.seems_unchanged(Stat.of(found))
        assert entry.stat.mtime_s == LONG_AGO and entry.stat.size == found.st_size & 0xFFFFFFFF
    assert index.entries([b"", b"dir", b"dir/", b"zzz", b"a/b"]) == {}


def test_what_lies_below_a_directory_is_listed() -> None:
    """And not what only begins like it."""
    index = IndexFile.read(build((path, IndexEntry(mode=FILE, id=EMPTY_BLOB)) for path in FILES), NEVER)
    assert index.paths_below(b"dir") == [b"dir/sub/deep/z", b"dir/sub/y", b"dir/x"]
    assert index.paths_below(b"a") == index.paths_below(b"nothing") == []
    assert index.paths_below(b"") == sorted(FILES)


def test_stat_data_is_compared_as_git_compares_it() -> None:
    """Every number but the device; the ctime where it is trusted."""
    stat = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9)
    names = ["ctime_s", "ctime_ns", "mtime_s", "mtime_ns", "dev", "ino", "uid", "gid", "size"]
    assert [name for name in names if stat.matches(stat._replace(**{name: 99}))] == ["dev"]
    trusting = [name for name in names if stat.matches(stat._replace(**{name: 99}), trusts_ctime=False)]
    assert trusting == ["ctime_s", "ctime_ns", "dev"]


def test_an_entry_that_git_would_look_into_proves_nothing() -> None:
    """Racy, marked by the size 0, to be added, or half merged; an empty file's size is really 0."""
    stat = Stat(1, 2, 3, 4, 5, 6, 7, 8, 9)
    entry = IndexEntry(mode=FILE, id=b"1" * 40, stat=stat)
    assert entry.seems_unchanged(stat)
    unsure = [replace(entry, is_racy=True), replace(entry, is_intent_to_add=True), replace(entry, stage=2)]
    assert not any(other.seems_unchanged(stat) for other in unsure)
    empty = stat._replace(size=0)
    assert not replace(entry, stat=empty).seems_unchanged(empty)
    assert replace(entry, stat=empty, id=EMPTY_BLOB).seems_unchanged(empty)


# -- racy entries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"), [(b"same", b"size"), (b"", b"not empty"), (b"not empty", b"")], ids=["size", "grown", "cut"]
)
def test_a_change_in_the_second_of_the_index_still_shows_in_the_next_one(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    """Times and size look as before; that the index was no younger is all that told git to look."""
    copy = Copy(tmp_path / "copy", {b"racy": before, b"other": b"1"})
    copy.git("config", "core.trustCtime", "false")
    copy.age(LONG_AGO)
    index = copy.read()
    assert index.entries([b"racy"])[b"racy"].is_racy
    with open(copy.place(b"racy"), "r+b") as file:
        file.truncate()
        file.write(after)
    os.utime(copy.place(b"racy"), (LONG_AGO, LONG_AGO))
    copy.write({b"other": b"2"})
    changes = {b"other": copy.entry(b"other")}
    copy.put(index.patch(changes))
    assert b" M racy\n" in copy.git("status", "--porcelain")
    # The oracle's oracle: without the mark it is lost.
    heedless = IndexFile.read(build(index.entries([b"other", b"racy"]).items()), NEVER).patch(changes)
    copy.put(_with_size(heedless, len(before)) if len(before) == len(after) else heedless)
    assert (b" M racy\n" in copy.git("status", "--porcelain")) == (len(before) != len(after))


def _with_size(content: bytes, size: int) -> bytes:
    """Return an index of two entries with the size of the second one's file set."""
    at = 12 + 72 + 36
    body = content[:at] + struct.pack(">I", size) + content[at + 4 : -20]
    return body + sha1(body).digest()


def test_racy_entries_that_did_not_change_stay_clean(tmp_path: Path) -> None:
    """Git compares their content, once: an empty file, a link and an executable one too."""
    copy = Copy(tmp_path / "copy", FILES)
    copy.age(LONG_AGO)
    copy.put(copy.read().patch({}))
    marked = IndexFile.read(copy.index.read_bytes(), NEVER)
    assert {entry.stat.size for entry in marked.entries(marked.paths_below(b"")).values()} == {0}
    assert copy.git("status", "--porcelain") == b""
    copy.age()
    copy.assert_git_agrees()
    assert copy.read().entries([b"a"])[b"a"].stat.size == len(b"one")


def test_younger_files_than_the_index_are_racy_and_older_ones_are_not(tmp_path: Path) -> None:
    """By whole seconds: a git without nanoseconds compares no more."""
    copy = Copy(tmp_path / "copy", {b"old": b"1", b"same": b"1", b"young": b"1"})
    for number, path in enumerate((b"old", b"same", b"young")):
        os.utime(copy.place(path), (LONG_AGO + number - 0.5, LONG_AGO + number + 0.25))
    copy.git("add", ".")
    copy.age(LONG_AGO + 1)
    racy = {path for path, entry in copy.read().entries([b"old", b"same", b"young"]).items() if entry.is_racy}
    assert racy == {b"same", b"young"}


# -- what else an index can be ---------------------------------------------------------------------------


def test_version_4_is_read_and_written_back_as_version_2(tmp_path: Path) -> None:
    """Its shortened paths are spelled out, by much or little; git reads either."""
    copy = Copy(tmp_path / "copy", FILES | CHANGES["a very long name"])
    plain = copy.read()
    copy.git("update-index", "--index-version", "4")
    copy.age()
    assert copy.index.read_bytes()[7] == 4
    assert copy.read().entries(plain.paths_below(b"")) == plain.entries(plain.paths_below(b""))
    assert copy.read().patch({}) == plain.patch({})
    copy.forward(CHANGES["new directories"])
    assert copy.index.read_bytes()[7] == 2
    copy.assert_git_agrees()


@pytest.mark.parametrize("version", ["2", "4"])
def test_flags_are_kept(tmp_path: Path, version: str) -> None:
    """Of entries beside the change, and of a replaced one where the caller keeps them."""
    copy = Copy(tmp_path / "copy", FILES)
    copy.git("update-index", "--index-version", version)
    copy.git("update-index", "--skip-worktree", "a-b", "dir0")
    copy.git("update-index", "--assume-unchanged", "a.b", "dir/x")
    copy.write({b"intended": b"later"})
    copy.git("add", "--intent-to-add", "intended")
    copy.age()
    index = copy.read()
    assert index.tree is None
    listed = copy.git("ls-files", "-v", "--stage")
    found = index.entries([b"a-b", b"a.b", b"intended", b"a"])
    assert [path for path, entry in found.items() if entry.is_skip_worktree] == [b"a-b"]
    assert [path for path, entry in found.items() if entry.is_assume_valid] == [b"a.b"]
    assert [path for path, entry in found.items() if entry.is_intent_to_add] == [b"intended"]
    content = index.patch({b"a": found[b"a"]}, copy.trees())
    assert index.patch(found, copy.trees()) == content
    copy.put(content)
    assert copy.git("ls-files", "-v", "--stage") == listed
    assert content[7] == 3
    assert nodes_of(content)[b""] == (-1, b"")
    assert copy.git("write-tree") == copy.git("rev-parse", "HEAD^{tree}")
    plain = copy.read().patch(dict.fromkeys([b"a-b", b"dir0", b"intended"]))
    copy.put(IndexFile.read(plain, NEVER).patch({b"new": IndexEntry(mode=FILE, id=EMPTY_BLOB, is_skip_worktree=True)}))
    assert b"S new" in copy.git("ls-files", "-t")


def test_a_path_without_content_is_in_no_tree(tmp_path: Path) -> None:
    """Though the commit has an empty file there: git does not count it before it is really added."""
    copy = Copy(tmp_path / "copy", {b"a": b"1", b"empty": b"", b"z": b"2"})
    copy.git("rm", "--quiet", "--cached", "empty")
    copy.git("add", "--intent-to-add", "empty")
    copy.age()
    index, trees, known = copy.read(), copy.trees(), copy.trees()[b""]
    found = index.entries([b"a", b"empty"])
    for changes in ({b"a": found[b"a"]}, found):
        assert nodes_of(index.patch(changes, trees)).get(b"", (-1, b"")) == (-1, b"")
    added = index.patch({b"empty": replace(found[b"empty"], is_intent_to_add=False)}, trees)
    assert nodes_of(added)[b""] == (3, known)
    half = IndexFile.read(added, NEVER).patch({b"a": replace(found[b"a"], stage=2)}, trees)
    again = IndexFile.read(added, NEVER).patch({b"empty": found[b"empty"]}, trees)
    assert nodes_of(half) == nodes_of(again) == {}


@pytest.mark.parametrize("path", [b"/x", b"/", b"a//b", b"a/"])
def test_names_without_a_letter_are_in_no_tree(path: bytes) -> None:
    """Git writes no such index; who does makes no run endless."""
    index = IndexFile.read(_sealed(_entries(path)), NEVER)
    content = index.patch(
        {path: IndexEntry(mode=FILE, id=EMPTY_BLOB), b"b": IndexEntry(mode=FILE, id=EMPTY_BLOB)}, {b"": b"1" * 40}
    )
    assert IndexFile.read(content, NEVER).paths_below(b"") == [path, b"b"]
    assert all(count < 0 for count, _ in nodes_of(content).values())


def test_a_long_path_is_kept_beside_a_change(tmp_path: Path) -> None:
    """Its length does not fit the twelve bits that there are for it."""
    paths = [b"/".join([b"d" * 99] * 40) + b"f" * length for length in (95, 96, 97, 300)]
    assert [min(len(path), 0xFFF) for path in paths] == [4094, 4095, 4095, 4095]
    entries = [(path, IndexEntry(mode=FILE, id=b"%040d" % number)) for number, path in enumerate(paths)]
    copy = Copy(tmp_path / "copy", {})
    copy.put(IndexFile.read(build(entries), NEVER).patch({b"a": IndexEntry(mode=FILE, id=EMPTY_BLOB)}))
    listed = copy.git("ls-files", "-z", "--stage").split(b"\0")[1:-1]
    assert listed == sorted(b"100644 %b 0\t%b" % (entry.id, path) for path, entry in entries)


def test_a_merge_half_done_is_told_and_can_be_resolved(tmp_path: Path) -> None:
    """All stages of a path are replaced by one entry."""
    copy = Copy(tmp_path / "copy", FILES)
    blob = copy.entry(b"a").id
    lines = [b"0 %b\ta\n" % blob, *(b"100644 %b %d\ta\n" % (blob, stage) for stage in (1, 2, 3))]
    copy.git("update-index", "--index-info", stdin=b"".join(lines))
    copy.age()
    index = copy.read()
    assert index.unmerged == (b"a",)
    assert index.tree is None
    assert index.entries([b"a"])[b"a"].stage == 1
    untouched = index.patch({b"dir0": index.entries([b"dir0"])[b"dir0"]}, copy.trees())
    assert IndexFile.read(untouched, NEVER).unmerged == (b"a",)
    assert nodes_of(untouched)[b""] == (-1, b"")
    copy.put(index.patch({b"a": copy.entry(b"a")}, copy.trees()))
    copy.assert_git_agrees()
    assert copy.read().tree == copy.trees()[b""]


def test_a_checksum_of_zeros_is_none(tmp_path: Path) -> None:
    """What newer gits write with index.skipHash."""
    copy = Copy(tmp_path / "copy", FILES)
    content = copy.index.read_bytes()
    assert IndexFile.read(content[:-20] + bytes(20), LONG_AGO + 60).patch({}) == content


def test_other_extensions_are_dropped(tmp_path: Path) -> None:
    """They speak of what the directories or the entries were before."""
    copy = Copy(tmp_path / "copy", FILES)
    copy.git("update-index", "--force-untracked-cache")
    copy.age()
    assert b"UNTR" in copy.index.read_bytes()
    content = copy.forward(CHANGES["new directories"])
    assert b"UNTR" not in content
    copy.git("config", "core.untrackedCache", "false")
    copy.assert_git_agrees()


def _split(copy: Copy) -> None:
    copy.git("update-index", "--split-index")


def _sparse(copy: Copy) -> None:
    copy.git("sparse-checkout", "set", "--cone", "--sparse-index", "other")


@pytest.mark.parametrize(("make", "word"), [(_split, "is split"), (_sparse, "is sparse")])
def test_an_index_that_is_not_whole_is_refused(tmp_path: Path, make: object, word: str) -> None:
    """Its message says what to switch off."""
    copy = Copy(tmp_path / "copy", FILES)
    assert callable(make)
    make(copy)
    with pytest.raises(CopyUnusable, match=word):
        copy.read()


def _sealed(body: bytes) -> bytes:
    return body + sha1(body).digest()


def _entries(*paths: bytes, stages: tuple[int, ...] = ()) -> bytes:
    """Return an index of entries in this order, as `build` would never write them."""
    found = b"DIRC" + struct.pack(">II", 2, len(paths))
    for number, path in enumerate(paths):
        stage = stages[number] if stages else 0
        fixed = bytes(24) + struct.pack(">I", FILE) + bytes(32) + struct.pack(">H", stage << 12 | min(len(path), 0xFFF))
        found += fixed + path + bytes(8 - (62 + len(path)) % 8)
    return found


GOOD = _entries(b"a", b"b/c")
WRONG = {
    "empty": (b"", "too short"),
    "something else": (b"PACK" + GOOD[4:] + bytes(20), "none that git2efs can read"),
    "version 5": (_sealed(b"DIRC\0\0\0\5" + GOOD[8:]), "none that git2efs can read"),
    "a wrong checksum": (GOOD + b"\1" * 20, "checksum"),
    "sha256": (GOOD + b"\1" * 32, "checksum"),
    "more entries than there are": (_sealed(b"DIRC\0\0\0\2\xff\xff\xff\xff" + GOOD[12:]), "damaged"),
    "cut amid an entry": (_sealed(GOOD[:-30]), "run over its end"),
    "out of order": (_sealed(_entries(b"b", b"a")), "out of order"),
    "twice": (_sealed(_entries(b"a", b"a")), "out of order"),
    "stages out of order": (_sealed(_entries(b"a", b"a", stages=(2, 1))), "out of order"),
    "merged and unmerged": (_sealed(_entries(b"a", b"a", stages=(0, 1))), "out of order"),
    "no name": (_sealed(_entries(b"")), "out of order"),
    "a wrong length": (_sealed(GOOD[: 12 + 61] + b"\2" + GOOD[12 + 62 :]), "not what git writes"),
    "an unknown flag": (_sealed(GOOD[: 12 + 60] + b"\x40\1\x80\0a" + GOOD[12 + 65 :]), "not what git writes"),
    "a needed extension": (_sealed(GOOD + b"newx\0\0\0\0"), "does not know"),
    "half an extension": (_sealed(GOOD + b"TREE\0"), "amid an extension"),
    "an extension over the end": (_sealed(GOOD + b"TREE\0\0\0\1"), "runs over its end"),
    "version 4 cut": (_sealed(b"DIRC\0\0\0\4\0\0\0\1" + bytes(62)), "run over its end"),
    "version 4 before the beginning": (_sealed(b"DIRC\0\0\0\4\0\0\0\1" + bytes(62) + b"\1a\0"), "beginning"),
}


@pytest.mark.parametrize(("content", "word"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_an_index_is_said(content: bytes, word: str) -> None:
    """In the failure that needs a person."""
    with pytest.raises(CopyUnusable, match=word):
        IndexFile.read(content, NEVER)


TREES = {
    "nothing": b"",
    "no node": b"\0",
    "a name at the root": b"x\0" + b"2 0\n" + bytes(20),
    "a cut id": b"\0" + b"2 0\n" + bytes(19),
    "missing directories": b"\0" + b"2 7\n" + bytes(20),
    "billions of directories": b"\0" + b"2 999999999\n" + bytes(20) + b"b\0001 999999999\n" + bytes(20),
    "more than the root": b"\0" + b"2 0\n" + bytes(20) + b"b",
    "wrong numbers": b"\0" + b"7 1\n" + bytes(20) + b"b\0007 0\n" + bytes(20),
    "a negative number": b"\0" + b"-2 0\n",
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_cache_tree_that_git_did_not_write_is_not_believed(tree: bytes) -> None:
    """It is not known, then, what the index equals; and nothing of it gets into the next one."""
    index = IndexFile.read(_sealed(GOOD + b"TREE" + struct.pack(">I", len(tree)) + tree), NEVER)
    assert index.tree is None
    assert bytes(20) not in index.patch({b"a": IndexEntry(mode=FILE, id=b"1" * 40)})[len(GOOD) :]


def test_what_no_index_can_hold_is_refused() -> None:
    """A name with an end in it, a mode of no file; and a file in which a directory lies, from either side."""
    index = IndexFile.read(_sealed(GOOD), NEVER)
    for path, entry in [
        (b"", IndexEntry(mode=FILE, id=EMPTY_BLOB)),
        (b"x\0y", IndexEntry(mode=FILE, id=EMPTY_BLOB)),
        (b"x", IndexEntry(mode=0o40000, id=EMPTY_BLOB)),
    ]:
        with pytest.raises(TreeUnsafe):
            index.patch({path: entry})
    for path in (b"a/b", b"b", b"b/c/d/e"):
        with pytest.raises(CopyUnusable, match="at once"):
            index.patch({path: IndexEntry(mode=FILE, id=EMPTY_BLOB)})
    assert IndexFile.read(index.patch({b"b/c": None, b"b": IndexEntry(mode=FILE, id=EMPTY_BLOB)}), NEVER).paths_below(
        b""
    ) == [
        b"a",
        b"b",
    ]


def test_an_entry_of_an_unknown_kind_is_refused_when_it_is_asked_for() -> None:
    """A directory's entry, without the extension that would announce it."""
    strange = _sealed(GOOD.replace(struct.pack(">I", FILE), struct.pack(">I", 0o40000)))
    with pytest.raises(CopyUnusable, match="40000"):
        IndexFile.read(strange, NEVER).entries([b"a"])


def test_the_deepest_paths_leave_their_trees_to_git(tmp_path: Path) -> None:
    """No recursion ends the run."""
    path = b"/".join([b"d"] * 1500)
    copy = Copy(tmp_path / "copy", {b"a": b"1"})
    content = copy.read().patch({path: IndexEntry(mode=FILE, id=copy.entry(b"a").id)}, copy.trees())
    assert nodes_of(content) == {}
    copy.put(IndexFile.read(content, NEVER).patch({path: None}, copy.trees()))
    assert copy.git("write-tree") == copy.git("rev-parse", "HEAD^{tree}")


# -- against git's own update-index ----------------------------------------------------------------------

NAMES = st.sampled_from([b"a", b"a-b", b"a.b", b"a0", b"b", b"\xff", "ü".encode(), b"\x01", b"a" * 7, b"A" * 8, b"n\n"])
LONG = st.integers(4090, 4100).map(lambda length: b"/".join([b"L" * 199] * 20) + b"/" + b"x" * (length - 4000))
PATHS = st.one_of(st.lists(NAMES, min_size=1, max_size=4).map(b"/".join), LONG)
ENTRIES = st.builds(
    lambda mode, number: IndexEntry(mode=mode, id=b"%040x" % number),
    st.sampled_from([FILE, EXECUTABLE, LINK, SUBMODULE]),
    st.integers(1, 2**160 - 1),
)
CONTENTS = st.dictionaries(PATHS, ENTRIES, max_size=12)


def _without_clashes(
    wanted: Mapping[bytes, IndexEntry | None], before: Mapping[bytes, IndexEntry]
) -> dict[bytes, IndexEntry | None]:
    """Return those of the changes that, one by one in order, make no path a file and a directory at once."""
    now: dict[bytes, IndexEntry | None] = dict(before)
    kept: dict[bytes, IndexEntry | None] = {}
    # Removed first: they may make room.
    for path, entry in sorted(wanted.items(), key=lambda item: item[1] is not None):
        clashes = any(other.startswith(path + b"/") or path.startswith(other + b"/") for other in now)
        if entry is None:
            now.pop(path, None)
            kept[path] = None
        elif not clashes:
            kept[path] = now[path] = entry
    return kept


def _by_git(copy: Copy, changes: Mapping[bytes, IndexEntry | None]) -> bytes:
    """Let git change its index, and make every tree valid; return the index's bytes."""
    lines = (
        b"0 %040d\t%b\0" % (0, path) if entry is None else b"%o %b\t%b\0" % (entry.mode, entry.id, path)
        for path, entry in changes.items()
    )
    copy.git("update-index", "-z", "--index-info", stdin=b"".join(lines))
    copy.git("write-tree", "--missing-ok")
    return copy.index.read_bytes()


def _stored(content: bytes) -> bytes:
    """Return all of an index that is not its cache tree."""
    return content[: content.rindex(b"TREE")] if nodes_of(content) else content[:-20]


@pytest.fixture(scope="module")
def bare_copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Return a copy of which only the index is used."""
    return Copy(tmp_path_factory.mktemp("random") / "copy", {})


@settings(max_examples=EXAMPLES)
@given(before=CONTENTS, wanted=st.dictionaries(PATHS, st.none() | ENTRIES, max_size=6))
def test_any_change_gives_the_bytes_that_git_writes(
    bare_copy: Copy,
    before: dict[bytes, IndexEntry],
    wanted: dict[bytes, IndexEntry | None],
) -> None:
    """Built anew, and patched; and with trees that are missing or wrong no node is there that git has not."""
    first = {path: entry for path, entry in _without_clashes(before, {}).items() if entry}
    # Some of the removals are of what is there.
    wanted |= dict.fromkeys(list(first)[::3])
    changes = _without_clashes(wanted, first)
    bare_copy.index.unlink(missing_ok=True)
    old = _by_git(bare_copy, first)
    new = _by_git(bare_copy, changes)
    nodes = nodes_of(new)
    trees = {directory: tree for directory, (_, tree) in nodes.items()}
    index = IndexFile.read(old, NEVER)
    assert build(first.items(), {directory: tree for directory, (_, tree) in nodes_of(old).items()}) == old
    assert index.patch(changes, trees) == new
    some = {directory: tree if number % 2 else b"1" * 40 for number, (directory, tree) in enumerate(trees.items())}
    for known in ({}, some, {directory: tree for directory, (_, tree) in nodes_of(old).items()}):
        patched = index.patch(changes, known)
        valid = {directory: node for directory, node in nodes_of(patched).items() if node[0] >= 0}
        assert valid.items() <= nodes.items()
        assert IndexFile.read(patched, NEVER).entries(index.paths_below(b"")) == IndexFile.read(new, NEVER).entries(
            index.paths_below(b"")
        )


@settings(max_examples=EXAMPLES * 8)
@given(content=st.data())
def test_no_content_raises_anything_else(content: st.DataObject) -> None:
    """Bytes changed anywhere, and a good checksum over them."""
    body = bytearray(_entries(b"a", b"b/c", b"b/d/e", b"f") + b"TREE\0\0\0\x22\0004 1\n" + bytes(20) + b"b\0-1 0\n")
    body[7] = content.draw(st.sampled_from([2, 3, 4]))
    for _ in range(content.draw(st.integers(0, 4))):
        body[content.draw(st.integers(8, len(body) - 1))] = content.draw(st.integers(0, 255))
    cut = content.draw(st.just(len(body)) | st.integers(12, len(body)))
    try:
        index = IndexFile.read(_sealed(bytes(body[:cut])), 5)
        index.entries(index.paths_below(b""))
        index.patch({b"b/d/e": None, b"g": IndexEntry(mode=FILE, id=EMPTY_BLOB)}, {b"": b"1" * 40, b"b": b"2" * 40})
    except CopyUnusable:
        pass


def test_reading_and_patching_cost_microseconds_an_entry() -> None:
    """Not a measurement, which machines are too different for: ten times what it costs is a defect."""
    paths = [b"area%03d/part%03d/file%06d.txt" % (n % 40, n // 40 % 40, n) for n in range(5_000)]
    content = build((path, IndexEntry(mode=FILE, id=EMPTY_BLOB)) for path in paths)
    began = time.process_time()
    index = IndexFile.read(content, NEVER)
    index.patch(index.entries(paths[::500]))
    assert (time.process_time() - began) / len(paths) < 10e-6
