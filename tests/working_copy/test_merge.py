"""Three trees merged: the tree is git's where git merges, and where git stops, so does this."""

import pytest

from handler.errors import Git2EfsError, MirrorDamaged, TreeUnsafe
from handler.mount.git import tree
from handler.mount.git.objects import BLOB, TREE
from handler.mount.working_copy.merge import renames
from handler.mount.working_copy.merge.merge_trees import TreeMerge, merge_trees
from handler.mount.working_copy.overlay import MemoryOverlay
from testing.repositories import Executable, Link, Submodule, fsck, run_git
from tests.working_copy.examples import chance, examples
from tests.working_copy.oracle import Files, Memory, Oracle
from tests.working_copy.random_trees import three_trees

TEXT = b"".join(b"line %d\n" % number for number in range(12))
TOP = b"first\n" + TEXT
BOTTOM = TEXT + b"last\n"
BOTH = b"first\n" + TEXT + b"last\n"
OTHER = b"".join(b"other %d\n" % number for number in range(12))
THIRD = b"".join(b"third %d\n" % number for number in range(12))
KEPT = {b"kept": b"kept\n"}
ONE, TWO = Submodule("1" * 40), Submodule("2" * 40)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """Return the one repository in which git merges all of these."""
    return Oracle(tmp_path_factory.mktemp("merges") / "oracle")


def merged(base: Files, ours: Files, theirs: Files) -> bytes | None:
    """Return the merged tree's id, None where there are conflicts."""
    objects = Memory()
    found = merge_trees(MemoryOverlay(objects), *(objects.tree(files) for files in (base, ours, theirs)))
    return None if found.conflicts else found.tree


def test_random_trees_merge_as_git_merges_them(oracle: Oracle) -> None:
    """Clean where git is clean, with the same tree to the byte; a conflict where git has one."""
    dice = chance("trees")
    cases = [three_trees(dice) for _ in range(examples(60))]
    expected = list(oracle.merges(cases))
    assert [case for case, tree in zip(cases, expected, strict=True) if merged(*case) != tree] == []
    assert None in expected and any(expected), "the examples show nothing"


CLEAN: dict[str, tuple[Files, Files, Files, Files]] = {
    "both edit a file apart": ({b"a": TEXT}, {b"a": TOP}, {b"a": BOTTOM}, {b"a": BOTH}),
    "edit here, mode there": ({b"a": TEXT}, {b"a": TOP}, {b"a": Executable(TEXT)}, {b"a": Executable(TOP)}),
    "both remove": ({b"a": TEXT, **KEPT}, KEPT, {**KEPT, b"b": b"b\n"}, {**KEPT, b"b": b"b\n"}),
    "both add the same": (KEPT, {**KEPT, b"a": TEXT}, {**KEPT, b"a": TEXT, b"b": b""}, {**KEPT, b"a": TEXT, b"b": b""}),
    "one adds an empty file": (KEPT, {**KEPT, b"a": b""}, {**KEPT, b"a": TEXT}, {**KEPT, b"a": TEXT}),
    "a directory empties": ({b"d/a": TEXT, **KEPT}, KEPT, {b"d/a": TEXT, b"b": b"", **KEPT}, {b"b": b"", **KEPT}),
    "a file becomes a directory": ({b"a": b"", **KEPT}, {b"a/b": b"", **KEPT}, {b"a": b""}, {b"a/b": b""}),
    "a directory becomes a file": ({b"a/b": b"", **KEPT}, {b"a": b"", **KEPT}, {b"a/b": b""}, {b"a": b""}),
    "a link changes": ({b"a": Link(b"1"), **KEPT}, {b"a": Link(b"2"), **KEPT}, {b"a": Link(b"1")}, {b"a": Link(b"2")}),
    "a submodule changes": ({b"a": ONE, **KEPT}, {b"a": TWO, **KEPT}, {b"a": ONE}, {b"a": TWO}),
    "a file becomes a link": ({b"a": TEXT, **KEPT}, {b"a": TEXT}, {b"a": Link(b"1"), **KEPT}, {b"a": Link(b"1")}),
    "renamed here, edited there": ({b"a": TEXT}, {b"b": TEXT}, {b"a": BOTTOM}, {b"b": BOTTOM}),
    "renamed and edited, edited": ({b"a": TEXT}, {b"a": BOTTOM}, {b"b": TOP}, {b"b": BOTH}),
    "renamed, made executable": ({b"a": TEXT}, {b"b": TOP}, {b"a": Executable(TEXT)}, {b"b": Executable(TOP)}),
    "renamed into a directory that only ours has": ({b"a": TEXT}, {b"d/e/a": TEXT}, {b"a": TOP}, {b"d/e/a": TOP}),
    "renamed, and in its place a link": (
        {b"a": TEXT},
        {b"b": TEXT},
        {b"a": Link(b"1"), b"b": OTHER},
        {b"a": Link(b"1"), b"b": OTHER},
    ),
    "both rename to one place": ({b"a": TEXT}, {b"b": TOP}, {b"b": BOTTOM}, {b"b": BOTH}),
    "a whole directory moves": (
        {b"d/a": TEXT, b"d/b": OTHER},
        {b"e/a": TEXT, b"e/b": OTHER},
        {b"d/a": TOP, b"d/b": OTHER},
        {b"e/a": TOP, b"e/b": OTHER},
    ),
    "a directory moves partly, another file is added": (
        {b"d/a": TEXT, b"d/b": OTHER},
        {b"e/a": TEXT, b"d/b": OTHER},
        {b"d/a": TEXT, b"d/b": OTHER, b"d/c": THIRD},
        {b"e/a": TEXT, b"d/b": OTHER, b"d/c": THIRD},
    ),
    "an empty file that is renamed is another file": (
        {b"a": b"", **KEPT},
        {b"b": b"", **KEPT},
        {b"c": b"", **KEPT},
        {b"b": b"", b"c": b"", **KEPT},
    ),
}

CONFLICTS: dict[str, tuple[Files, Files, Files]] = {
    "both edit a line": ({b"a": b"1\n"}, {b"a": b"2\n"}, {b"a": b"3\n"}),
    "edited here, removed there": ({b"a": TEXT, **KEPT}, {b"a": TOP, **KEPT}, KEPT),
    "removed here, edited there": ({b"a": TEXT, **KEPT}, KEPT, {b"a": TOP, **KEPT}),
    "removed here, mode there": ({b"a": TEXT, **KEPT}, KEPT, {b"a": Executable(TEXT), **KEPT}),
    "both add": (KEPT, {**KEPT, b"a": b"1\n"}, {**KEPT, b"a": b"2\n"}),
    "both add, another mode": (KEPT, {**KEPT, b"a": TEXT}, {**KEPT, b"a": Executable(TEXT)}),
    "both change a link": ({b"a": Link(b"1")}, {b"a": Link(b"2")}, {b"a": Link(b"3")}),
    "both change a submodule": ({b"a": Submodule("3" * 40)}, {b"a": ONE}, {b"a": TWO}),
    "a file and a link": ({b"a": TEXT}, {b"a": TOP}, {b"a": Link(b"1")}),
    "a file and a directory": (KEPT, {**KEPT, b"a": TEXT}, {**KEPT, b"a/b": TEXT}),
    "an edited file and a directory": ({b"a": TEXT}, {b"a": TOP}, {b"a/b": OTHER}),
    "binary": ({b"a": b"\0" + TEXT}, {b"a": b"\0" + TOP}, {b"a": b"\0" + BOTTOM}),
    "both add, one of them empty and one binary": (KEPT, {**KEPT, b"a": b""}, {**KEPT, b"a": b"\0binary"}),
    "both add, one of them binary and one empty": (KEPT, {**KEPT, b"a": b"\0binary"}, {**KEPT, b"a": b""}),
    "renamed here, removed there": ({b"a": TEXT, **KEPT}, {b"b": TEXT, **KEPT}, KEPT),
    "renamed to two places": ({b"a": TEXT}, {b"b": TEXT}, {b"c": TEXT}),
    "two renamed to one place": (
        {b"a": TEXT, b"b": OTHER},
        {b"c": TEXT, b"b": OTHER},
        {b"a": TEXT, b"c": OTHER},
    ),
    "renamed onto another's new file": ({b"a": TEXT}, {b"b": TEXT}, {b"a": TOP, b"b": OTHER}),
    "renamed here, a link there": ({b"a": TEXT}, {b"b": TEXT}, {b"a": Link(b"1")}),
    "renamed here, a link there at both places": ({b"a": TEXT}, {b"b": TOP}, {b"a": Link(b"1"), b"b": OTHER}),
    "renamed below a new file": ({b"a": TEXT}, {b"b/a": TEXT}, {b"a": TOP, b"b": OTHER}),
    "added to a directory that moved": (
        {b"d/a": TEXT, b"d/b": OTHER},
        {b"e/a": TEXT, b"e/b": OTHER},
        {b"d/a": TEXT, b"d/b": OTHER, b"d/c": THIRD},
    ),
    "added to a directory that moved in theirs": (
        {b"d/s/a": TEXT, b"d/s/b": OTHER},
        {b"d/s/a": TEXT, b"d/s/b": OTHER, b"d/c": THIRD},
        {b"e/s/a": TEXT, b"e/s/b": OTHER},
    ),
    "added to a directory that went to two places": (
        {b"d/a": TEXT, b"d/b": OTHER},
        {b"e/a": TEXT, b"f/b": OTHER},
        {b"d/a": TEXT, b"d/b": OTHER, b"d/c": THIRD},
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_what_merges(oracle: Oracle, name: str) -> None:
    """The cases by name, either way around; git makes the same tree."""
    base, ours, theirs, expected = CLEAN[name]
    cases = [(base, ours, theirs), (base, theirs, ours)]
    tree = Memory().tree(expected)
    assert [merged(*case) for case in cases] == [tree, tree]
    assert list(oracle.merges(cases)) == [tree, tree]


@pytest.mark.parametrize("name", CONFLICTS)
def test_what_conflicts(oracle: Oracle, name: str) -> None:
    """The cases by name, either way around; git stops too."""
    base, ours, theirs = CONFLICTS[name]
    cases = [(base, ours, theirs), (base, theirs, ours)]
    assert [merged(*case) for case in cases] == [None, None]
    assert list(oracle.merges(cases)) == [None, None]


STRICTER: dict[str, tuple[Files, Files, Files]] = {
    # Git takes the added file, and what ours changed at the old place is lost.
    "renamed onto an equal file while the source was edited": (
        {b"a": TEXT},
        {b"a": TOP, b"b": BOTTOM},
        {b"b": BOTTOM},
    ),
    # Git writes conflict markers into the file and calls it merged.
    "renamed onto an empty file while the source was edited": (
        {b"a": TEXT},
        {b"a": b"mine\n" + TEXT[7:], b"b": b""},
        {b"b": b"other\n" + TEXT[7:]},
    ),
    # Each side moved a directory into the one that the other moved away: git leaves it at that.
    "two directories that move into each other": (
        {b"g/three": TEXT, b"x/one": OTHER},
        {b"g/three": TEXT, b"g/one": OTHER},
        {b"x/three": TEXT, b"x/one": OTHER},
    ),
}


@pytest.mark.parametrize("name", STRICTER)
def test_what_conflicts_here_alone(oracle: Oracle, name: str) -> None:
    """All that is known of where git merges and this does not; nothing is known the other way around."""
    assert merged(*STRICTER[name]) is None
    assert list(oracle.merges([STRICTER[name]])) != [None]


def test_conflicts_are_named() -> None:
    """The paths stand in the outcome, for a person."""
    objects = Memory()
    trees = [objects.tree({b"d/a": content, b"b": content, **KEPT}) for content in (b"1\n", b"2\n", b"3\n")]
    assert merge_trees(MemoryOverlay(objects), *trees).conflicts == (b"b", b"d/a")


def test_new_objects_are_in_the_overlay_and_sound(oracle: Oracle) -> None:
    """What git needs besides what it has: the merged contents and the trees above them, and nothing else."""
    objects = Memory()
    base, ours, theirs = (
        objects.tree({b"d/a": content, b"e/b": OTHER, b"c": more})
        for content, more in ((TEXT, b""), (TOP, b"1\n"), (BOTTOM, b""))
    )
    overlay = MemoryOverlay(objects)
    found = merge_trees(overlay, base, ours, theirs)
    assert found == TreeMerge(Memory().tree({b"d/a": BOTH, b"e/b": OTHER, b"c": b"1\n"}))
    assert sorted(kind for kind, _ in overlay.added.values()) == [TREE, TREE, BLOB]
    for kind, content in [*objects.contents.values(), *overlay.added.values()]:
        run_git(
            "hash-object",
            "-t",
            {TREE: "tree", BLOB: "blob"}[kind],
            "-w",
            "--stdin",
            directory=oracle.path,
            stdin=content,
        )
    run_git(
        "update-ref",
        "refs/heads/main",
        run_git("commit-tree", "-m", "x", found.tree.decode(), directory=oracle.path).decode().strip(),
        directory=oracle.path,
    )
    fsck(oracle.path)


def test_only_what_differs_in_all_three_is_read() -> None:
    """A change of one file among thousands costs the trees above it, however many others there are."""
    objects = Memory()
    many: dict[bytes, bytes] = {
        b"d%d/e%d/f%d" % (a, b, c): b"" for a in range(10) for b in range(10) for c in range(10)
    }
    base = objects.tree(many)
    ours = objects.tree({**many, b"d1/e1/f1": TEXT, b"d2/e1/new": TEXT, b"d2/e2/other": OTHER})
    theirs = objects.tree({**many, b"d1/e2/f2": OTHER})
    assert not merge_trees(MemoryOverlay(objects), base, ours, theirs).conflicts
    assert len(objects.reads) == 6  # the roots, and d1 of each; no blob, and nothing of d2


def test_modes_of_old_are_kept_where_nothing_changes(oracle: Oracle) -> None:
    """100664 stays in a directory that is taken as it is; one that is written anew has git's own modes, as in git."""
    objects = Memory()
    blob = bytes.fromhex(objects.put(BLOB, TEXT).decode())
    old = bytes.fromhex(objects.put(TREE, b"100664 a\0" + blob).decode())

    def root(*entries: bytes) -> bytes:
        return objects.put(TREE, b"100664 a\0" + blob + b"".join(entries) + b"40000 z\0" + old)

    trees = root(), root(b"100644 b\0" + blob), root(b"100644 c\0" + blob)
    found = merge_trees(overlay := MemoryOverlay(objects), *trees)
    assert overlay.read(found.tree, TREE).startswith(b"100644 a\0")
    assert overlay.read(found.tree, TREE).endswith(b"40000 z\0" + old)
    assert oracle.merge_ids(*trees, objects) == found.tree


@pytest.mark.parametrize("bound", ["MAX_PAIRS", "MAX_WORK"])
def test_more_renames_than_can_be_compared_conflict(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git would look further, or give up and take them for removed and added; equal contents are found always."""
    inexact = {b"a": TEXT}, {b"b": TOP}, {b"a": BOTTOM}
    exact = {b"a": TEXT}, {b"b": TEXT}, {b"a": BOTTOM}
    assert merged(*inexact) is not None
    monkeypatch.setattr(renames, bound, 0)
    assert merged(*inexact) is None
    assert merged(*exact) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"100644 a\0" + b"1" * 19,
        b"100644 a",
        b"nonsense",
        b"99 a\0" + b"1" * 20,
        b"100644 a\0" + b"1" * 20 + b"100644 a\0" + b"2" * 20,
        b"100644 a/b\0" + b"1" * 20,
        b"100644 ..\0" + b"1" * 20,
        b"20000 a\0" + b"1" * 20,
        b"40000 a\0" + b"1" * 20,
        b"100644 a\0" + b"1" * 20,
    ],
)
@pytest.mark.parametrize("side", [0, 1, 2])
def test_a_hostile_tree_is_a_clear_failure(content: bytes, side: int) -> None:
    """Malformed, with names that are none, or naming objects that are missing: never another exception."""
    objects = Memory()
    trees = [objects.tree({b"a": text, **KEPT}) for text in (TEXT, TOP, BOTTOM)]
    trees[side] = objects.put(TREE, content)
    try:
        found = merge_trees(MemoryOverlay(objects), *trees)
    except Git2EfsError as error:
        assert isinstance(error, TreeUnsafe | MirrorDamaged)
    else:
        assert found.conflicts


def test_a_tree_that_is_a_trap_is_unsafe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too deep for the stack, or naming itself into billions of paths."""
    objects = Memory()
    deep: list[bytes] = []
    for content in (TEXT, TOP, BOTTOM):
        line = b"100644 a\0" + bytes.fromhex(objects.put(BLOB, content).decode())
        for _ in range(1000):
            line = b"40000 d\0" + bytes.fromhex(objects.put(TREE, line).decode())
        deep.append(objects.put(TREE, line))
    with pytest.raises(TreeUnsafe):
        merge_trees(MemoryOverlay(objects), *deep)
    monkeypatch.setattr(tree, "MAX_ENTRIES", 10_000)
    wide = objects.put(TREE, b"100644 a\0" + bytes.fromhex(objects.put(BLOB, OTHER).decode()))
    for _ in range(40):
        entry = b"\0" + bytes.fromhex(wide.decode())
        wide = objects.put(TREE, b"40000 a" + entry + b"40000 b" + entry)
    more = b"40000 w\0" + bytes.fromhex(wide.decode())
    base = objects.tree({b"a": TEXT})
    ours = objects.put(TREE, b"100644 b\0" + bytes.fromhex(objects.put(BLOB, TEXT).decode()) + more)
    with pytest.raises(TreeUnsafe):
        merge_trees(MemoryOverlay(objects), base, ours, objects.tree({b"a": TOP}))
