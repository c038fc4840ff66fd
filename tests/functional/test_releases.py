"""What becomes of releases: recycled when nobody changed them, bounded in a burst, found by their own names."""

import os
from pathlib import Path

import pytest

from testing.repositories import Entry, Executable, Link, Upstream, archive, snapshot
from testing.service import Service

TARGET = "octo/site/main"


def push(service: Service, upstream: Upstream, **content: bytes) -> str:
    """Commit some files, push them, and return the commit."""
    commit = upstream.commit(content)
    assert service.push(upstream).outcome == "published"
    return commit


def release(service: Service, commit: str) -> Path:
    """Return a release's directory."""
    return service.mount / TARGET / "releases" / commit


def test_a_recycled_release_keeps_the_files_that_did_not_change(service: Service, upstream: Upstream) -> None:
    """The same inodes for what is the same, new ones for what is not: only the change was written."""
    service.put_repository(grace_seconds=0)
    first = push(service, upstream, same=b"same", other=b"1")
    same, other = (os.stat(release(service, first) / name).st_ino for name in ("same", "other"))
    held = (release(service, first) / "other").open("rb")
    push(service, upstream, other=b"2")
    third = push(service, upstream, other=b"3")
    assert os.stat(release(service, third) / "same").st_ino == same
    assert os.fstat(held.fileno()).st_ino == other
    assert held.read() == b"1"
    held.close()
    assert service.answers[-1].content["files_written"] == 1


@pytest.mark.parametrize("name", ["__pycache__", "current-notes.txt"])
def test_a_release_in_whose_root_somebody_wrote_is_not_recycled(
    service: Service, upstream: Upstream, name: str
) -> None:
    """What a consumer left there must not come back in a later commit; the log says that it was seen."""
    service.put_repository(grace_seconds=0, keep_releases=2)
    first = push(service, upstream, a=b"1")
    (release(service, first) / name).mkdir()
    push(service, upstream, a=b"2")
    assert any(f"releases/{first} was changed" in note for note in service.log_lines[-1]["notes"])
    assert first not in service.releases(), "it takes no place among those that are kept"
    third = push(service, upstream, a=b"3")
    assert service.tree() == archive(upstream, third)
    assert not (release(service, third) / name).exists()
    fourth = push(service, upstream, a=b"4")
    assert service.tree() == archive(upstream, fourth)


def test_a_release_that_was_changed_while_it_was_current_is_not_recycled_either(
    service: Service, upstream: Upstream
) -> None:
    """Setting its clock does not wipe out the trace."""
    service.put_repository(grace_seconds=0)
    push(service, upstream, a=b"1")
    (service.current() / "left-by-a-reader").write_bytes(b"x")
    for number in range(2, 6):
        commit = push(service, upstream, a=b"%d" % number)
        assert service.tree() == archive(upstream, commit)


def test_going_back_to_a_release_that_was_changed_writes_it_anew(service: Service, upstream: Upstream) -> None:
    """A forced push back flips to a release that is there, but only if it is as it was left."""
    service.put_repository(grace_seconds=3600)
    first = push(service, upstream, a=b"1")
    push(service, upstream, a=b"2")
    (release(service, first) / "left-by-a-reader").write_bytes(b"x")
    upstream.point("refs/heads/main", first)
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, first)
    assert os.listdir(service.mount / TARGET / "staging") == []


def test_going_back_within_the_grace_only_flips(service: Service, upstream: Upstream) -> None:
    """Nothing is written, and of objects that are here only a guess is fetched, which the run does not need."""
    service.put_repository(grace_seconds=3600)
    first = push(service, upstream, a=b"1")
    push(service, upstream, a=b"2")
    before = os.stat(release(service, first)).st_ino
    packs = sorted(os.listdir(service.mount / "octo/site/mirror.git/objects/pack"))
    upstream.point("refs/heads/main", first)
    answer = service.push(upstream)
    assert answer.content["files_written"] == 0
    assert answer.content["bytes_fetched"] < 300
    assert sorted(os.listdir(service.mount / "octo/site/mirror.git/objects/pack")) == packs
    assert service.current_commit() == first
    assert os.stat(release(service, first)).st_ino == before


@pytest.mark.parametrize("change", ["directory to link", "directory gone", "file to directory", "file gone"])
def test_a_release_that_was_changed_deep_down_does_not_stop_the_next_push(
    service: Service, upstream: Upstream, tmp_path: Path, change: str
) -> None:
    """What the patch meets is not what was left: the tree is written whole, and never through a link."""
    service.put_repository(grace_seconds=0, keep_releases=2)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"canary")
    first = upstream.commit({"d/e/f": b"1", "d/x": b"x"})
    assert service.push(upstream).outcome == "published"
    inner = release(service, first) / "d"
    if change == "directory to link":
        os.unlink(inner / "e/f")
        os.rmdir(inner / "e")
        os.symlink(outside, inner / "e")
    elif change == "directory gone":
        os.unlink(inner / "e/f")
        os.rmdir(inner / "e")
    elif change == "file to directory":
        os.unlink(inner / "e/f")
        os.mkdir(inner / "e/f")
    else:
        os.unlink(inner / "e/f")
    for content in (b"2", b"3", b"4"):
        commit = upstream.commit({"d/e/f": content})
        assert service.push(upstream).outcome == "published"
        assert service.tree() == archive(upstream, commit)
    assert snapshot(outside) == {b"f": (0o100644, b"canary")}


def test_a_burst_is_bounded_and_breaks_no_grace(service: Service, upstream: Upstream) -> None:
    """Past the bound a push waits, with a clear answer; every release that was handed out is still whole."""
    service.configure(burst_files=1)
    service.put_repository(grace_seconds=3600)
    commits = []
    for number in range(8):
        commits.append(push(service, upstream, a=b"%d" % number, b=b"same"))
    upstream.commit({"a": b"one too many"})
    answer = service.push(upstream)
    assert (answer.status, answer.outcome, answer.reason) == (503, "failed", "releases_in_grace")
    assert service.current_commit() == commits[-1]
    assert all(snapshot(release(service, commit)) == archive(upstream, commit) for commit in commits)
    service.put_repository(grace_seconds=0)
    service.reset()
    assert service.push(upstream).outcome == "published"
    assert len(service.releases()) <= 4


def test_a_burst_of_a_small_tree_is_published_push_by_push(service: Service, upstream: Upstream) -> None:
    """The default bound counts files: hundreds of pushes to a small tree all come through."""
    service.put_repository()
    for number in range(60):
        files: dict[str, Entry | None] = {"a": b"%d" % number, "run": Executable(b"r"), "l": Link(b"a")}
        commit = upstream.commit(files)
        assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert len(service.releases()) == 60


def test_a_branch_below_another_ones_directory_is_refused(service: Service, upstream: Upstream) -> None:
    """The branch `x` is gone and its tree is still there: a branch `x/staging` would be swept with its staging."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}])
    upstream.commit({"a": b"1"}, branch="x")
    assert service.push(upstream, "x").outcome == "published"
    upstream.delete("refs/heads/x")
    upstream.commit({"a": b"2"}, branch="x/staging")
    answer = service.push(upstream, "x/staging")
    assert (answer.status, answer.reason) == (503, "target_retiring")
    upstream.commit({"a": b"3"}, branch="staging")
    assert service.push(upstream, "staging").outcome == "published"
