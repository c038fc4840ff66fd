"""The fence of a lost lock, as a law: what renames or removes on the mount is listed here, with what guards it.

A run that lost its lock may wake before any of these lines. A new one is given its guard, and its line here.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

MOUNT = Path(__file__).parents[2] / "handler" / "mount"
CHANGES = frozenset({"rename", "unlink", "unlink_if_there", "rmdir", "remove_tree", "remove_files", "replace_whole"})
OF_OS = frozenset({"rename", "replace", "renames", "remove", "unlink", "rmdir", "removedirs"})
LAW = "the law itself"
OWN = "its own name, which no other run knows"

GUARDED = {
    "releases/inventory.py": {
        "flip": "the link is revoked by the next holder, then the rename fails",
        "prepare_flip": "the lock is looked at before the name is given; links and records are its own",
        "take_over": "a checkpoint alone says nothing; the tree is taken away",
        "_give_up": "the lock is looked at, and the tree is its own",
    },
    "target/directory.py": {
        "TargetDirectory.write_record": "looked at after the record's file was made, which the next holder revokes",
        "revoke": LAW,
        "give_name": LAW,
        "take_away": LAW,
        "_put_back": LAW,
    },
    "releases/filters.py": {"establish": "it is taken away before"},
    "target/registry.py": {
        "TargetRegistry.remove": "looked at after the new list was made, which `add` of the next holder removes",
        "TargetRegistry.add": LAW,
    },
    "releases/build.py": {
        "ReleaseBuilder.check_out": OWN,
        "ReleaseBuilder._make_directories": "a file alone, where every run wants a directory",
    },
    "releases/prune.py": {"_remove": "trash, links and records of runs before: no run uses their names again"},
    "releases/repair.py": {
        "_Steps.replace": "looks at the lock after every pause; the content is the release's own",
        "_Steps.remove": "looks at the lock after every pause; what does not belong",
        "_Steps._set_aside": "what does not belong",
    },
    "releases/retire.py": {
        "_remove_trees": "all is taken away to the trash before",
        "_remove_rest": "`_forget` looks at the lock before; a record is written again",
    },
    "maintenance/state.py": {"_write": "looks at the lock before"},
    "operations/checks.py": {"mount_checks": OWN, "_links": OWN},
    "working_copy/clone.py": {
        "Clone.sweep": "a copy is in its place: no run clones there",
        "Clone.finish": "looks at the lock before",
        "Clone._write_refs": "`finish` looks at the lock before",
        "Clone._move_into_place": "`finish` looks at the lock before; a rename replaces no full directory",
    },
}
"""File -> function -> what guards it. Objects are named by content; a copy's git directory has git's own locks."""
ELSEWHERE: tuple[str, ...] = (
    "fs/",
    "git/",
    "working_copy/gitdir/",
    "working_copy/journal.py",
    "working_copy/paths.py",
    "working_copy/worktree.py",
)


def changes_in(tree: ast.AST, where: str = "") -> Iterator[str]:
    """Yield the name of the function around each call that renames or removes, or is handed on to do so."""
    for node in ast.iter_child_nodes(tree):
        inner = where
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            inner = f"{where}.{node.name}".lstrip(".")
        is_of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if isinstance(node, ast.Attribute) and is_of_os and node.attr in OF_OS:
            yield where
        if isinstance(node, ast.Name) and node.id in CHANGES:
            yield where
        yield from changes_in(node, inner)


def test_whatever_renames_or_removes_under_the_lock_is_fenced() -> None:
    """Each such line is listed with its guard; and what is listed is there."""
    found: dict[str, set[str]] = {}
    for path in sorted(MOUNT.rglob("*.py")):
        name = path.relative_to(MOUNT).as_posix()
        if not name.startswith(ELSEWHERE) and (functions := set(changes_in(ast.parse(path.read_text())))):
            found[name] = functions
    assert found == {name: set(functions) for name, functions in GUARDED.items()}


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    os.replace(a, b)",
        "def f():\n    rename(a, b)",
        "def f():\n    workers.run(partial(os.unlink, a))",
        "def f():\n    with x: remove_tree(a)",
    ],
)
def test_the_law_sees_every_way_to_write_it(text: str) -> None:
    """By a call, or handed on to something that calls it."""
    assert set(changes_in(ast.parse(text))) == {"f"}


def guarded_calls(path: str, function: str) -> list[str]:
    """Return the names of what a function calls, in the order of its lines."""
    tree = ast.parse((MOUNT / path).read_text())
    found = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == function)
    calls = sorted((node for node in ast.walk(found) if isinstance(node, ast.Call)), key=lambda node: node.lineno)
    return [ast.unparse(call.func).rpartition(".")[2] for call in calls]


@pytest.mark.parametrize(
    ("path", "function", "first", "then"),
    [
        ("releases/inventory.py", "prepare_flip", "check_lock", "rename"),
        ("target/directory.py", "give_name", "check_lock", "rename"),
        ("target/directory.py", "take_away", "rename", "check_lock"),
        ("releases/filters.py", "establish", "take_away", "unlink_if_there"),
        ("releases/inventory.py", "_give_up", "check_lock", "rename"),
        ("releases/retire.py", "_forget", "check_lock", "_remove_rest"),
        ("releases/retire.py", "_remove_trees", "take_away", "remove_tree"),
        ("releases/spares.py", "make", "revoke", "_count_needed"),
        ("releases/prune.py", "prune_at_rest", "revoke", "_set_aside"),
        ("releases/publish.py", "prepare", "_revoke", "build"),
        ("releases/publish.py", "retire", "_revoke", "retire"),
        ("releases/publish.py", "_make_way", "_revoke", "retire"),
        ("operations/rollback.py", "roll_back", "revoke", "write_record"),
        ("operations/rollback.py", "hold", "revoke", "write_record"),
        ("operations/rollback.py", "end_hold", "revoke", "write_record"),
        ("operations/take_over.py", "_take", "revoke", "write_record"),
        ("maintenance/context.py", "borrowed_mirror", "check", "discard_mirror"),
        ("releases/publish.py", "open_session", "check", "discard_mirror"),
    ],
)
def test_the_guard_stands_where_the_law_says(path: str, function: str, first: str, then: str) -> None:
    """The look, or the revocation, comes before what it guards; at what is taken away it comes after."""
    calls = guarded_calls(path, function)
    assert calls.index(first) < calls.index(then)
