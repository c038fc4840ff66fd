"""What a rule leaves out: patterns of paths against git's own, patterns of refs, and what is no pattern."""

import os
import random
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from handler.config.patterns import exclude_problem
from handler.config.repository import parse_repository
from handler.config.targets import targets_in, targets_of
from handler.errors import ConfigurationInvalid, TreeUnsafe
from handler.model import TreeFilter
from handler.mount.git import filtered
from handler.mount.git.filtered import FilteredTrees
from handler.mount.git.objects import TREE, Objects, hash_object
from handler.mount.git.plan import plan_change
from handler.mount.git.tree import DIRECTORY, FILE, SUBMODULE, TreeEntry, serialize_entries
from testing import selection
from testing.repositories import require_git

BLOB_ID = b"1" * 40
COMMIT = "2" * 40
NAMES = ("a", "b", "ab", "abc", "a.py", "b.txt", "foo", "x y", "[a]", "#h", "!n", "ä", "-", "A")
PARTS = (
    *("a", "b", "ab", "a*", "*b", "*", "?", "a?", "[ab]", "[!a]", "[a-c]*", "*.py", "**", "foo", "ä", "x y", "a**b"),
    *(r"\a", r"\*", "[[:alpha:]]*", r"\#h", r"\!n", "[]a]", "[^b]", "*a*b"),
)


class MemoryObjects(Objects):
    """One commit's trees, in memory."""

    def __init__(self, paths: Iterable[str], modes: dict[str, int] | None = None) -> None:
        """Make the trees of files at these paths."""
        super().__init__()
        self.trees: dict[bytes, bytes] = {}
        self._modes = modes or {}
        self.root = self._write([path.split("/") for path in paths], "")

    def _write(self, paths: list[list[str]], prefix: str) -> bytes:
        entries: dict[bytes, TreeEntry] = {}
        for name in {path[0] for path in paths}:
            below = [path[1:] for path in paths if path[0] == name and len(path) > 1]
            mode = self._modes.get(prefix + name, FILE)
            entry = TreeEntry(DIRECTORY, self._write(below, f"{prefix}{name}/")) if below else TreeEntry(mode, BLOB_ID)
            entries[name.encode()] = entry
        content = serialize_entries(entries)
        tree = hash_object(TREE, content)
        self.trees[tree] = content
        return tree

    def read(self, object_id: bytes, kind: int) -> bytes:
        """Return a tree."""
        return self.trees[object_id]

    def tree_of(self, commit: str) -> bytes:
        """Return the one commit's tree."""
        return self.root


def left(objects: MemoryObjects, tree_filter: TreeFilter) -> set[str]:
    """Return the files, and the empty directories, that a filter leaves."""
    trees = FilteredTrees(objects)
    plan = plan_change(trees.read, lambda blob: b"", None, trees.root(COMMIT, tree_filter))
    found = {write.path.decode() for write in plan.files}
    assert all(any(path.startswith(made.decode() + "/") for path in found) for made in plan.made_directories)
    return found


def random_pattern(chance: random.Random) -> str:
    """Draw a pattern that a parameter may have."""
    while True:
        pattern = "/".join(chance.choice(PARTS) for _ in range(chance.randint(1, 4)))
        pattern = "!" * (chance.random() < 0.25) + "/" * (chance.random() < 0.2) + pattern
        pattern += "/" * (chance.random() < 0.25)
        if exclude_problem(pattern) is None:
            return pattern


def random_paths(chance: random.Random) -> set[str]:
    """Draw the paths of files, none of which is a directory of another."""
    drawn = {"/".join(chance.choice(NAMES) for _ in range(chance.randint(1, 4))) for _ in range(40)}
    return {path for path in drawn if not any(other.startswith(f"{path}/") for other in drawn)}


def ignored(directory: Path, patterns: Iterable[str], paths: Iterable[str]) -> set[str]:
    """Return those paths that git ignores by these patterns."""
    (directory / "patterns").write_text("".join(f"{pattern}\n" for pattern in patterns))
    settings = ["-c", f"core.excludesFile={directory / 'patterns'}", "-c", "core.ignoreCase=false"]
    command = ["git", *settings, "check-ignore", "--no-index", "-z", "--stdin"]
    told = subprocess.run(command, cwd=directory, input="\0".join(paths).encode(), capture_output=True, check=False)
    assert told.returncode in (0, 1), told.stderr
    return {os.fsdecode(path) for path in told.stdout.split(b"\0") if path}


def test_what_is_left_is_what_git_does_not_ignore(tmp_path: Path) -> None:
    """Over random trees and patterns, negations, directories and brackets among them; no directory is left empty."""
    require_git()
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    chance = random.Random(f"patterns {os.environ.get('GIT2EFS_TEST_SEED', '')}")
    for _ in range(selection.count(400, 8)):
        paths, patterns = random_paths(chance), [random_pattern(chance) for _ in range(chance.randint(1, 5))]
        wanted = paths - ignored(tmp_path, patterns, sorted(paths))
        found = left(MemoryObjects(paths), TreeFilter(exclude=tuple(patterns)))
        assert found == wanted, (patterns, sorted(found ^ wanted))


@pytest.mark.parametrize(
    ("exclude", "expected"),
    [
        (["*.md", "!README.md"], {"README.md", "docs/a", "docs/deep/b", "lib"}),
        (["/docs/"], {"README.md", "more.md", "lib"}),
        (["docs/*", "!docs/deep"], {"README.md", "more.md", "docs/deep/b", "lib"}),
        (["docs", "!docs/deep"], {"README.md", "more.md", "lib"}),
        (["*", "!/lib"], {"lib"}),
        (["*"], set()),
    ],
)
def test_examples(exclude: list[str], expected: set[str]) -> None:
    """As people write them. A submodule is a directory, which a pattern with a slash at its end matches."""
    objects = MemoryObjects({"README.md", "more.md", "docs/a", "docs/deep/b", "lib"})
    assert left(objects, TreeFilter(exclude=tuple(exclude))) == expected
    below = MemoryObjects({"x/README.md", "x/docs/a"}, {"x/docs/a": SUBMODULE})
    assert left(below, TreeFilter(subdirectory="x", exclude=("/docs/a/",))) == {"README.md"}


def test_a_tree_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is one that names itself into billions of empty paths."""
    monkeypatch.setattr(filtered, "MATCHING_SECONDS", 0.0)
    with pytest.raises(TreeUnsafe, match="exclude take more than"):
        left(MemoryObjects({"a"}), TreeFilter(exclude=("*b",)))
    monkeypatch.setattr(filtered, "MATCHING_SECONDS", 60.0)
    bomb = MemoryObjects({"a"})
    for _ in range(30):
        content = serialize_entries({name: TreeEntry(DIRECTORY, bomb.root) for name in (b"x", b"y")})
        bomb.root = hash_object(TREE, content)
        bomb.trees[bomb.root] = content
    monkeypatch.setattr(filtered, "MAX_ENTRIES", 1000)
    trees = FilteredTrees(bomb, _room=1000)
    with pytest.raises(TreeUnsafe, match="a filter leaves out"):
        plan_change(trees.read, lambda blob: b"", None, trees.root(COMMIT, TreeFilter(exclude=("a",))))


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "is not UTF-8 of 1 to 256 bytes"),
        ("x" * 257, "is not UTF-8 of 1 to 256 bytes"),
        ("a\nb", "in one line"),
        ("\ud800", "is not UTF-8"),
        (" a", "blank"),
        ("a ", "blank"),
        ("#a", "is a comment"),
        ("!", "matches nothing"),
        ("//", "matches nothing"),
        ("a***", "three *"),
        ("[ab", "without its ]"),
        ("[]", "without its ]"),
        ("[[:foo:]]", "without its ]"),
        ("[[:alpha:", "without its ]"),
        ("[\\", "without its ]"),
        ("a\\", "backslash"),
        ("**/a/**/b/**", "more than 2 **"),
        ("*a*b*c*", "more than 3 *"),
    ],
)
def test_what_is_no_pattern_is_named(pattern: str, problem: str) -> None:
    """With its rule, before anything is fetched."""
    with pytest.raises(ConfigurationInvalid) as raised:
        parse_repository("octo/site", {"publish": [{"exclude": ["fine", pattern]}]})
    assert f"publish[0].exclude {pattern[:40]!a} " in str(raised.value)
    assert problem in str(raised.value)


def test_what_is_taken_can_be_matched() -> None:
    """Nothing that a parameter may have makes the matcher raise."""
    from dulwich.ignore import Pattern

    chance = random.Random("any pattern")
    taken = 0
    for _ in range(500):
        pattern = "".join(chance.choice("ab/*?[]!^-\\:. #") for _ in range(chance.randint(1, 9)))
        if exclude_problem(pattern) is None:
            taken += 1
            Pattern(pattern.encode()).matches(b"a/b", is_dir=False)
    assert taken > 100


def test_a_pattern_of_refs_leaves_refs_out() -> None:
    """By short names or full ones, a whole namespace or one branch."""
    rule = {
        "ref": "refs/heads/*",
        "path": "b/*",
        "exclude_refs": ["dependabot/*", "refs/heads/gh-readonly-queue/*", "x"],
    }
    repository = parse_repository("octo/site", {"publish": [rule]})
    names = ["main", "dependabot/pip/a", "gh-readonly-queue/main/1", "x", "xy", "dependabot"]
    refs = [f"refs/heads/{name}" for name in names]
    assert [each.path for each in targets_in(repository, refs, None)] == ["b/dependabot", "b/main", "b/xy"]
    assert targets_of(repository, "refs/heads/dependabot/pip/a", None) == ()


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"ref": "refs/heads/main", "exclude_refs": ["x"]}, "means nothing without a pattern"),
        ({"ref": "refs/tags/v*", "latest": True, "exclude_refs": ["v1"]}, "means nothing without a pattern"),
        ({"ref": "refs/heads/*", "exclude_refs": ["a*b"]}, "not its last character"),
        ({"ref": "refs/heads/*", "exclude_refs": ["a..b"]}, "does not allow"),
        ({"ref": "refs/heads/*", "exclude_refs": ["refs/tags/v1"]}, "is none that the rule's ref matches"),
        ({"ref": "refs/heads/p/*", "exclude_refs": ["*"]}, "leaves nothing"),
        ({"ref": "refs/heads/*", "exclude_refs": "x"}, "is not a list"),
        ({"ref": "refs/heads/main", "mode": "working-copy", "exclude": ["x"]}, "is for releases"),
        ({"exclude": "*.md"}, "is not a list"),
    ],
)
def test_what_leaves_out_no_ref_is_named(rule: dict[str, object], problem: str) -> None:
    """One line for each."""
    with pytest.raises(ConfigurationInvalid, match=r"publish\[0\].exclude") as raised:
        parse_repository("octo/site", {"publish": [rule | ({"path": "p/*"} if "*" in str(rule.get("ref")) else {})]})
    assert problem in str(raised.value)
