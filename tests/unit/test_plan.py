"""The difference between two trees, on trees made in memory: what is planned, in which order, and what is refused."""

from collections.abc import Mapping
from hashlib import sha1

import pytest
from dulwich.index import validate_path_element_hfs, validate_path_element_ntfs
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import TreeUnsafe
from handler.mount.fs.plan import FileWrite, LinkWrite, TreePlan
from handler.mount.git import tree
from handler.mount.git.plan import _is_writable, plan_change, stays_inside

FILE, EXECUTABLE, LINK, DIRECTORY, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o40000, 0o160000

Node = tuple[int, bytes] | Mapping[bytes, "Node"]


class Store:
    """Trees and links by id."""

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.reads: list[bytes] = []

    def put(self, content: bytes) -> bytes:
        """Keep a content; return its id."""
        name = sha1(content).hexdigest().encode()
        self.contents[name] = content
        return name

    def tree(self, nodes: Mapping[bytes, Node]) -> bytes:
        """Keep a tree and all below it; return its id."""
        entries = []
        for name, node in sorted(nodes.items()):
            if isinstance(node, Mapping):
                entries.append((DIRECTORY, name, self.tree(node)))
            elif node[0] == SUBMODULE:
                entries.append((SUBMODULE, name, b"5" * 40))
            else:
                entries.append((node[0], name, self.put(node[1])))
        return self.raw(entries)

    def raw(self, entries: list[tuple[int, bytes, bytes]]) -> bytes:
        """Keep a tree of these entries as they are."""
        return self.put(
            b"".join(b"%o %s\0" % (mode, name) + bytes.fromhex(id_.decode()) for mode, name, id_ in entries)
        )

    def read(self, name: bytes) -> bytes:
        """Return a content, and remember that it was asked for."""
        self.reads.append(name)
        return self.contents[name]


def change(old: Mapping[bytes, Node] | None, new: Mapping[bytes, Node]) -> TreePlan:
    """Plan from one tree to another."""
    store = Store()
    return plan_change(store.read, store.read, None if old is None else store.tree(old), store.tree(new))


def blob(content: bytes) -> bytes:
    """Return the id that the store gives a content."""
    return sha1(content).hexdigest().encode()


def test_equal_trees_need_nothing() -> None:
    """And nothing below the root is read."""
    tree: dict[bytes, Node] = {b"a": (FILE, b"1"), b"d": {b"b": (FILE, b"2")}}
    assert change(tree, tree) == TreePlan()


def test_what_both_trees_share_is_not_read() -> None:
    """The cost of a plan is that of the change: of a thousand directories only the way to the change is read."""
    store = Store()
    old: dict[bytes, Node] = {b"d%03d" % n: {b"f": (FILE, b"%d" % n)} for n in range(1000)}
    first, second = store.tree(old), store.tree(old | {b"d500": {b"f": (FILE, b"new")}})
    plan = plan_change(store.read, store.read, first, second)
    assert plan == TreePlan(files=(FileWrite(b"d500/f", blob(b"new"), False, True),))
    assert len(store.reads) == 4


@pytest.mark.parametrize(
    ("old", "new", "plan"),
    [
        pytest.param(
            {}, {b"a": (FILE, b"1")}, TreePlan(files=(FileWrite(b"a", blob(b"1"), False, False),)), id="added"
        ),
        pytest.param({b"a": (FILE, b"1")}, {}, TreePlan(removed_files=(b"a",)), id="removed"),
        pytest.param(
            {b"a": (FILE, b"1")},
            {b"a": (EXECUTABLE, b"1")},
            TreePlan(files=(FileWrite(b"a", blob(b"1"), True, True),)),
            id="a mode alone is written anew: readers cache modes by inode",
        ),
        pytest.param(
            {b"a": (FILE, b"1")},
            {b"a": (LINK, b"b")},
            TreePlan(links=(LinkWrite(b"a", b"b", True),)),
            id="file to link",
        ),
        pytest.param(
            {b"a": (LINK, b"b")},
            {b"a": {b"c": (FILE, b"1")}},
            TreePlan(
                removed_files=(b"a",), made_directories=(b"a",), files=(FileWrite(b"a/c", blob(b"1"), False, False),)
            ),
            id="link to directory: the link goes before anything is written below its name",
        ),
        pytest.param(
            {b"a": {b"c": (FILE, b"1"), b"d": {b"e": (FILE, b"2")}}},
            {b"a": (FILE, b"3")},
            TreePlan(
                removed_files=(b"a/c", b"a/d/e"),
                removed_directories=(b"a/d", b"a"),
                files=(FileWrite(b"a", blob(b"3"), False, False),),
            ),
            id="directory to file: deepest first",
        ),
        pytest.param(
            {b"m": (SUBMODULE, b"")},
            {b"m": {b"f": (FILE, b"1")}},
            TreePlan(files=(FileWrite(b"m/f", blob(b"1"), False, False),)),
            id="submodule to directory: it is there already",
        ),
        pytest.param(
            {b"m": {b"f": (FILE, b"1")}},
            {b"m": (SUBMODULE, b"")},
            TreePlan(removed_files=(b"m/f",), submodules=(b"m",)),
            id="directory to submodule: it stays, empty",
        ),
        pytest.param(
            {}, {b"m": (SUBMODULE, b"")}, TreePlan(made_directories=(b"m",), submodules=(b"m",)), id="a submodule"
        ),
        pytest.param({b"d": {}}, {}, TreePlan(removed_directories=(b"d",)), id="an empty tree goes"),
        pytest.param(
            {}, {b"d": {b"e": {}}}, TreePlan(made_directories=(b"d", b"d/e")), id="empty trees come, parents first"
        ),
    ],
)
def test_changes_of_kind(old: Mapping[bytes, Node], new: Mapping[bytes, Node], plan: TreePlan) -> None:
    """Each step, in the order in which it is to be done."""
    assert change(old, new) == plan


@pytest.mark.parametrize("mode", [0o100664, 0o100600, 0o100640])
def test_old_modes_are_read_as_git_reads_them(mode: int) -> None:
    """Only the owner's execute bit counts."""
    assert change({}, {b"a": (mode, b"1")}).files[0].is_executable is False


def test_a_tree_too_deep_or_too_large_is_refused_before_anything_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three objects that name each other can stand for more paths than there is disk."""
    store = Store()
    level = store.raw([(FILE, b"%02d" % n, store.put(b"x")) for n in range(10)])
    for _ in range(8):
        level = store.raw([(DIRECTORY, b"%02d" % n, level) for n in range(10)])
    monkeypatch.setattr(tree, "MAX_ENTRIES", 5000)
    with pytest.raises(TreeUnsafe, match="more than 5000 entries"):
        plan_change(store.read, store.read, None, level)
    deep = store.raw([])
    for _ in range(tree.MAX_DEPTH + 2):
        deep = store.raw([(DIRECTORY, b"d", deep)])
    with pytest.raises(TreeUnsafe, match="deep"):
        plan_change(store.read, store.read, None, deep)


@pytest.mark.parametrize(
    ("target", "depth", "is_inside"),
    [
        (b"file", 0, True),
        (b"a/b/./c/", 0, True),
        (b"../x", 1, True),
        (b"../../x", 2, True),
        (b".", 0, True),
        (b"..", 1, True),
        (b"..", 0, False),
        (b"../../x", 1, False),
        (b"/etc/passwd", 5, False),
        (b"up/../x", 5, False),
        (b"./../x", 0, False),
        (b"a//..", 3, False),
        (b"...", 0, True),
    ],
)
def test_links_that_stay_inside(target: bytes, depth: int, is_inside: bool) -> None:
    """`..` only at the start, and no more of them than there are directories above."""
    assert stays_inside(target, depth) is is_inside


NAMES = st.sampled_from([b"a", b"b", b"c"])
NODES: st.SearchStrategy[Node] = st.recursive(
    st.one_of(
        st.tuples(st.sampled_from([FILE, EXECUTABLE]), st.sampled_from([b"1", b"2"])),
        st.just((LINK, b"target")),
        st.just((SUBMODULE, b"")),
    ),
    lambda inner: st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TREES = st.dictionaries(NAMES, NODES, max_size=3)


def flat(tree: Mapping[bytes, Node], prefix: bytes = b"") -> dict[bytes, object]:
    """Return every path of a tree: directories as None."""
    paths: dict[bytes, object] = {}
    for name, node in tree.items():
        path = prefix + name
        if isinstance(node, Mapping) or node[0] == SUBMODULE:
            paths[path] = None
            if isinstance(node, Mapping):
                paths |= flat(node, path + b"/")
        elif node[0] == LINK:
            paths[path] = node[1]
        else:
            paths[path] = (node[0] == EXECUTABLE, blob(node[1]))
    return paths


def follow(plan: TreePlan, paths: dict[bytes, object]) -> dict[bytes, object]:
    """Do a plan's steps on paths in memory, as strictly as a file system."""
    done = dict(paths)
    for path in plan.removed_files:
        assert done.pop(path) is not None
    for path in plan.removed_directories:
        assert not any(other.startswith(path + b"/") for other in done)
        assert done.pop(path) is None
    for path in plan.made_directories:
        assert path not in done
        done[path] = None
    writes: list[FileWrite | LinkWrite] = [*plan.files, *plan.links]
    for write in writes:
        assert (write.path in done) is write.is_replacing
        parent = write.path.rpartition(b"/")[0]
        assert not parent or done[parent] is None
        done[write.path] = (write.is_executable, write.blob) if isinstance(write, FileWrite) else write.target
    return done


@given(old=TREES, new=TREES)
def test_a_plan_leads_from_any_tree_to_any_other(old: Mapping[bytes, Node], new: Mapping[bytes, Node]) -> None:
    """Each step finds what it expects, and the end is the new tree, paths and kinds and contents."""
    assert follow(change(old, new), flat(old)) == flat(new)


@given(st.text(st.sampled_from("gitGIT.~1 :\\-_aZ\t"), min_size=1, max_size=12).map(str.encode))
def test_names_without_git_in_them_need_no_closer_look(name: bytes) -> None:
    """The short way for nearly every name says what the two validators would have said."""
    if name in (b".", b".."):
        return
    is_ntfs_name = not name.strip(b". ") or validate_path_element_ntfs(name)
    assert _is_writable(name) == (is_ntfs_name and validate_path_element_hfs(name))
