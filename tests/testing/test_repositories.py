"""What real git says of the repositories that the tests make."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from testing import repositories
from testing.hostile import DISGUISED, LEGAL, LINKS_OUT, MALFORMED, ODD_FILES, UNSAFE, UNSERVABLE, Builder
from testing.repositories import (
    GENESIS,
    Entry,
    Executable,
    Link,
    Submodule,
    Upstream,
    archive,
    empty_directories,
    fsck,
    run_git,
    snapshot,
)

HOSTILE: dict[str, Builder] = {**UNSAFE, **DISGUISED, **MALFORMED, **LINKS_OUT, **LEGAL}


@pytest.fixture
def repository(tmp_path: Path) -> Upstream:
    """Return an empty repository that nobody serves."""
    return Upstream(tmp_path / "repositories", "octo/plain")


def test_a_commit_holds_what_was_asked_for(repository: Upstream) -> None:
    """Files, modes, links and submodules, as git lists them."""
    files: dict[str | bytes, Entry | None] = {"a/b": b"1", "run": Executable(b"2"), "link": Link(b"a/b")}
    files |= {b'\xff "\n': b"3", "sub": Submodule("1" * 40)}
    commit = repository.commit(files)
    assert archive(repository, commit) == {
        b"a/b": (0o100644, b"1"),
        b"run": (0o100755, b"2"),
        b"link": (0o120000, b"a/b"),
        b'\xff "\n': (0o100644, b"3"),
        b"sub": (0o40000, b""),
    }
    assert repository.tip() == commit
    assert repository.git("log", "--format=%an %ae", commit) == b"Ada Pusher ada@example.com\n"


def test_changes_build_on_the_branch(repository: Upstream) -> None:
    """Removal, a file in a directory's place, replacement; each commit a minute after the last."""
    first = repository.commit({"a/b": b"1", "c": b"2"})
    second = repository.commit({"a": None, "c": None, "c/d": b"3"})
    assert archive(repository, second) == {b"c/d": (0o100644, b"3")}
    third = repository.commit({"only": b""}, replace=True)
    assert archive(repository, third) == {b"only": (0o100644, b"")}
    assert repository.git("rev-list", "main").decode().split() == [third, second, first]
    times = [int(line) for line in repository.git("log", "--format=%ct").split()]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 3
    fsck(repository.path)


EQUAL: tuple[Mapping[bytes, Entry | None], ...] = (
    {b"a/b": b"1", b"run": Executable(b"2"), b"link": Link(b"a/b"), b"sub": Submodule("1" * 40), b"a/c/d": b"3"},
    {b"a-b": b"", b"a.b": b"", b"a0": b"", b"a/\xff": b"odd", **ODD_FILES},
    {b"a": None, b"a/b/c": b"a directory", b"run/now": b"a directory", b"link": b"a file"},
    {b"a/b": b"a file", b"sub": None, b"gone": None},
    {},
    {b"a/b": None, b"a": b"a file again", b"run/now/deep": Link(b"x")},
)
"""Changes upon each other: sorting, names of any bytes, every kind of entry in the place of every other."""


def test_a_commit_without_a_process_is_the_one_that_git_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same ids push by push, a merge and a new root among them; and git accepts the objects."""
    ours, gits = Upstream(tmp_path / "ours"), Upstream(tmp_path / "gits")
    written: list[str] = []
    for at, files in enumerate([*EQUAL, EQUAL[0], EQUAL[0]]):
        # On top of each other; the last two are a new root, and a merge.
        parents = {len(EQUAL): [], len(EQUAL) + 1: written[-2:]}.get(at)
        with monkeypatch.context() as patched:
            patched.setattr(Upstream, "git", None)
            commit = ours.commit(files, parents=parents, message=f"Change {at}", replace=at == 4, when=GENESIS + at)
        with monkeypatch.context() as patched:
            patched.setattr(repositories, "MAX_LOOSE_CHANGES", -1)
            theirs = gits.commit(files, parents=parents, message=f"Change {at}", replace=at == 4, when=GENESIS + at)
        written.append(commit)
        assert (commit, ours.tip(), gits.tip()) == (theirs, commit, commit), at
    fsck(ours.path)


def test_an_empty_repository_is_as_git_makes_it(repository: Upstream, tmp_path: Path) -> None:
    """Also the second one in a process, which is no process of git's."""
    made = Upstream(tmp_path / "again", default_branch="trunk").path
    run_git("init", "-q", "--bare", "--template=", "--initial-branch=trunk", tmp_path / "git", directory=tmp_path)
    assert snapshot(made) == snapshot(tmp_path / "git")


def test_refs_move_as_pushes_move_them(repository: Upstream) -> None:
    """Force-push, merge, branches, tags of tags."""
    first = repository.commit({"a": b"1"})
    second = repository.commit({"a": b"2"})
    forced = repository.commit({"a": b"3"}, parents=[first])
    assert repository.tip() == forced
    merged = repository.merge(second)
    assert repository.git("log", "-1", "--format=%P", merged).decode().split() == [forced, second]
    repository.point("other", first)
    tag = repository.tag("v1", first)
    again = repository.tag("v2", tag)
    assert repository.peel(again) == first
    assert repository.refs() == {
        "refs/heads/main": merged,
        "refs/heads/other": first,
        "refs/tags/v1": tag,
        "refs/tags/v2": again,
    }
    repository.delete("other")
    assert repository.tip("other") is None


def test_generated_trees_are_the_same_each_time(tmp_path: Path) -> None:
    """A seed decides everything; each commit changes something."""
    one = Upstream(tmp_path / "1").generate(200, 5, seed=7, changes=3)
    two = Upstream(tmp_path / "2").generate(200, 5, seed=7, changes=3)
    assert one == two
    assert len(set(one)) == 5
    tree = archive(Upstream(tmp_path / "3"), Upstream(tmp_path / "3").generate(200)[0])
    assert len(tree) == 200
    assert {path.count(b"/") for path in tree} == {2}


def test_a_snapshot_equals_what_git_checks_out(repository: Upstream, tmp_path: Path) -> None:
    """Git's own check-out, odd names and all, read back from the disk is the commit's tree."""
    entries = {**ODD_FILES, b"run": Executable(b"2"), b"link": Link(b"../\xff"), b"sub": Submodule("1" * 40)}
    commit = repository.commit(entries)
    place = tmp_path / "place"
    place.mkdir()
    run_git("--work-tree", place, "checkout", "-f", commit, "--", ".", directory=repository.path)
    assert snapshot(place) == archive(repository, commit)
    assert empty_directories(place) == [b"sub"]
    (place / "run").chmod(0o644)
    assert snapshot(place) != archive(repository, commit)


def test_a_snapshot_sees_an_extra_empty_directory(tmp_path: Path) -> None:
    """What a tree that was half removed leaves behind does not go unseen."""
    os.makedirs(tmp_path / "a" / "b")
    assert snapshot(tmp_path) == {b"a/b": (0o40000, b"")}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_hostile_tree_is_in_the_repository_as_built(repository: Upstream, name: str) -> None:
    """Git stored the raw tree, unchecked; and sends it, unless the table says that it cannot."""
    commit = repository.commit_tree(HOSTILE[name](repository))
    tree = repository.git("rev-parse", f"{commit}^{{tree}}").decode().strip()
    assert repository.git("cat-file", "-t", tree) == b"tree\n"
    packed = repository.git("pack-objects", "--revs", "--stdout", "-q", stdin=f"{commit}\n".encode(), check=False)
    is_whole = repository.git("index-pack", "--stdin", stdin=packed, check=False).startswith(b"pack\t")
    assert is_whole == (name not in UNSERVABLE)


def test_the_tables_of_hostile_trees_do_not_overlap() -> None:
    """One name, one tree: test ids would hide each other."""
    tables = (UNSAFE, DISGUISED, MALFORMED, LINKS_OUT, LEGAL)
    assert sum(map(len, tables)) == len(HOSTILE)
    assert set(HOSTILE) >= UNSERVABLE
