"""The mirror stays small and fast, and the releases keep their objects."""

import os
from pathlib import Path

import pytest

from handler.mount.git import repack
from testing.origin import GitOrigin
from testing.repositories import Upstream, archive, fsck
from testing.service import Service


def packs(service: Service) -> dict[str, int]:
    """Return the mirror's packs and their sizes."""
    directory = service.mount / "octo/site/mirror.git/objects/pack"
    return {path.stem: path.stat().st_size for path in directory.glob("*.pack")}


def push_all(service: Service, upstream: Upstream, commits: list[str]) -> None:
    """Push the commits one by one; each is published without a note of trouble."""
    for commit in commits:
        upstream.point("refs/heads/main", commit)
        assert service.push(upstream).outcome == "published"
        assert "notes" not in service.log_lines[-1]


def test_packs_stay_few_over_many_pushes(service: Service, upstream: Upstream) -> None:
    """And git finds nothing wrong with the mirror on the way."""
    service.put_repository(grace_seconds=0)
    commits = upstream.generate(40, commits=41)
    for number, commit in enumerate(commits):
        push_all(service, upstream, [commit])
        assert len(packs(service)) <= repack.MAX_SMALL_PACKS
        if number % 5 == 0:
            fsck(service.mount / "octo/site/mirror.git")
            service.reset()
    assert service.tree() == archive(upstream, commits[-1])


def test_the_mirror_is_rewritten_before_it_outgrows_what_it_needs(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every push brings 20 KB that the next one makes worthless; the mirror holds a few of them, not all."""
    monkeypatch.setattr(repack, "MIN_SPARE_BYTES", 200_000)
    monkeypatch.setattr(repack, "LARGE_BYTES", 50_000)
    service.put_repository(grace_seconds=0)
    largest = 0
    for _ in range(40):
        commit = upstream.commit({"blob": os.urandom(20_000), "kept": b"kept"})
        push_all(service, upstream, [commit])
        largest = max(largest, sum(packs(service).values()))
    assert largest < 200_000 + 2 * 3 * 20_000 + 50_000
    fsck(service.mount / "octo/site/mirror.git")
    assert (service.mount / "octo/site/mirror.git/shallow").read_text().split()
    assert service.tree() == archive(upstream, commit)


def test_a_rewrite_keeps_what_the_other_targets_need(
    service: Service, upstream: Upstream, origin: GitOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it a push to the branch that stood still is fetched as a change, and recycles its own release."""
    monkeypatch.setattr(repack, "MIN_SPARE_BYTES", 100_000)
    service.put_repository(grace_seconds=0, publish=[{"ref": "refs/heads/main"}, {"ref": "refs/heads/still"}])
    for number in range(3):
        upstream.commit({"big": b"%d" % number + os.urandom(30_000)}, branch="still")
        assert service.push(upstream, "still").outcome == "published"
    still = upstream.commit({"big": os.urandom(30_000), "small": b"1"}, branch="still")
    assert service.push(upstream, "still").outcome == "published"
    for _ in range(30):
        upstream.commit({"blob": os.urandom(20_000)})
        assert service.push(upstream).outcome == "published"
    assert sum(packs(service).values()) < 400_000
    last = upstream.commit({"small": b"2"}, branch="still", parents=[still])
    answer = service.push(upstream, "still")
    assert answer.outcome == "published"
    assert answer.content["bytes_fetched"] < 2_000
    assert service.tree("octo/site/still") == archive(upstream, last)


def test_with_the_whole_history_every_commit_stays(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """depth 0: merged, and never left out."""
    monkeypatch.setattr(repack, "MIN_SPARE_BYTES", 1_000)
    service.put_repository(grace_seconds=0, depth=0)
    commits = upstream.generate(20, commits=25)
    push_all(service, upstream, commits)
    mirror = Upstream.__new__(Upstream)
    mirror.path = Path(service.mount / "octo/site/mirror.git")
    assert all(archive(mirror.path, commit) == archive(upstream, commit) for commit in commits)
    assert len(packs(service)) <= repack.MAX_SMALL_PACKS


def test_trouble_with_the_upkeep_does_not_unpublish(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree is visible already: the outcome is published, and the log says what could not be done."""

    def full(*_: object) -> None:
        raise OSError(28, "no space")

    service.put_repository(grace_seconds=0)
    monkeypatch.setattr(repack, "write_pack", full)
    commits = upstream.generate(10, commits=10)
    notes = []
    for commit in commits:
        upstream.point("refs/heads/main", commit)
        assert service.push(upstream).outcome == "published"
        notes += service.log_lines[-1].get("notes", [])
    assert notes
    assert all("ENOSPC" in note for note in notes)
    assert service.tree() == archive(upstream, commits[-1])
    monkeypatch.undo()
    service.reset()
    upstream.commit({"after": b"1"})
    assert service.push(upstream).outcome == "published"
    assert len(packs(service)) <= repack.MAX_SMALL_PACKS
    fsck(service.mount / "octo/site/mirror.git")


def test_a_single_commit_is_asked_for_without_a_depth_and_all_else_with_one(
    service: Service, upstream: Upstream, origin: GitOrigin
) -> None:
    """A depth costs the remote a walk through the tree; without it a merge would bring the history of its branch."""
    service.put_repository(grace_seconds=0)
    for number in range(30):
        upstream.commit({"old": b"%d" % number})
    fork = upstream.tip()
    assert fork is not None
    upstream.commit({"a": b"1"})
    assert service.push(upstream).outcome == "published"
    origin.forget()
    upstream.commit({"a": b"2"})
    assert service.push(upstream).outcome == "published"
    assert b"deepen" not in origin.of_kind("fetch")[-1].body
    upstream.commit({"b": b"branch"}, branch="side", parents=[fork])
    merge = upstream.merge("side")
    assert service.push(upstream, forced=True).outcome == "published"
    assert b"deepen 1\n" in origin.of_kind("fetch")[-1].body
    assert service.tree() == archive(upstream, merge)
    fsck(service.mount / "octo/site/mirror.git")
