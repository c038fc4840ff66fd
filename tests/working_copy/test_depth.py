"""A copy whose history is cut: a push costs what it changes, however much history a merge would bring."""

import os
from pathlib import Path

import pytest

from testing.repositories import Upstream, archive, fsck, run_git, snapshot
from testing.service import Service

COPY = [{"ref": "refs/heads/main", "path": "site", "mode": "working-copy"}]
LARGE = 1_500_000
"""Bytes of each commit of the old branch; three of them are more history than is fetched without being asked for."""


def old_branch(upstream: Upstream, commits: int = 4) -> None:
    """Commit, and branch `old` off with large files, which are gone again at its tip."""
    upstream.commit({"a": b"1\n", "kept": b"1\n"})
    upstream.git("branch", "old", "main")
    for _ in range(commits):
        upstream.commit({"large": os.urandom(LARGE)}, branch="old")
    upstream.commit({"large": None, "b": b"1\n"}, branch="old")
    for number in range(3):
        upstream.commit({"c": b"%d\n" % number})


def commit_here(root: Path, files: dict[str, bytes]) -> str:
    """Commit files in the copy; return the commit."""
    for name, content in files.items():
        (root / name).write_bytes(content)
    run_git("add", ".", directory=root)
    run_git("commit", "--quiet", "--message=local", directory=root)
    return head(root)


def head(root: Path, name: str = "HEAD") -> str:
    """Return a commit of the copy."""
    return run_git("rev-parse", name, directory=root).decode().strip()


def files_of(root: Path) -> dict[bytes, object]:
    """Return the files beside `.git`."""
    return {path: each for path, each in snapshot(root).items() if not path.startswith(b".git/")}


@pytest.mark.parametrize("is_warm", [True, False])
def test_a_merge_brings_no_history(service: Service, upstream: Upstream, is_warm: bool) -> None:
    """The merged branch goes back further than the copy: the tip, its parents and no more come."""
    service.put_repository(publish=COPY, depth=1)
    old_branch(upstream)
    service.push(upstream)
    if not is_warm:
        service.reset()
    merged, root = upstream.merge("old"), service.mount / "site"
    answer = service.push(upstream)
    assert answer.outcome == "published"
    # What was broken off, and hardly more.
    assert answer.content["bytes_fetched"] < 4_000_000 + 300_000
    assert files_of(root) == archive(upstream, merged)
    assert run_git("status", "--porcelain", directory=root) == b""
    assert b"fast-forward" in run_git("reflog", "refs/remotes/origin/main", directory=root)
    fsck(root)
    # The next push builds on it.
    second = upstream.commit({"a": b"2\n"})
    answer = service.push(upstream)
    assert (answer.outcome, head(root)) == ("published", second)
    assert answer.content["bytes_fetched"] < 4096
    fsck(root)
