"""A working copy on a mount where every step takes long: many steps go side by side, and nothing else differs."""

from pathlib import Path

import pytest

from handler.mount.fs import lock
from handler.mount.working_copy.worktree import Worktree
from testing.repositories import Entry, Executable, Link, Upstream, archive
from testing.service import Service
from tests.working_copy.person import Person

FILES: dict[str, Entry] = {f"area{number % 3}/part{number % 7}/file{number}": b"%d\n" % number for number in range(60)}
CHANGED: dict[str, Entry | None] = {
    **dict.fromkeys(list(FILES)[:30], b"changed\n"),
    **dict.fromkeys(list(FILES)[30:40]),
    "area0/part0/file42": Executable(b"#!/bin/sh\n"),
    "area0/new/one": b"new\n",
    "area1/new/deep/link": Link(b"../../part1"),
}


@pytest.fixture
def copy(service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Return somebody in a working copy whose mount is taken for a slow one."""
    monkeypatch.setattr(lock, "SLOW_SECONDS", 0.0)
    service.put_repository(publish=[{"ref": "refs/heads/main", "mode": "working-copy"}], depth=0)
    upstream.commit({**FILES, "flat/was/a": b"directory\n"})
    assert service.push(upstream).outcome == "published"
    return Person.at(service)


def staged_in(copy: Person) -> list[Path]:
    """Return the directories in which files and refs are staged."""
    return sorted(path for path in (copy.root / ".git/git2efs").iterdir() if path.is_dir())


def test_many_files_are_written_many_at_a_time(service: Service, upstream: Upstream, copy: Person) -> None:
    """What a directory stood for is a file, links and modes are right; git has nothing to say of it."""
    tip = upstream.commit({**CHANGED, "flat/was/a": None, "flat": b"a file\n"})
    assert service.push(upstream).outcome == "published"
    assert (copy.tree(), copy.head(), copy.status()) == (archive(upstream, tip), tip, "")
    assert copy.git("rev-parse", "refs/remotes/origin/main", "ORIG_HEAD").split()[0] == tip
    copy.is_sound()
    assert [path.name for path in staged_in(copy)] == [
        "staging-0",
        "staging-1",
        "staging-2",
        "staging-3",
        "staging-refs",
    ]


def test_one_file_that_is_in_the_way_keeps_all_of_them_from_being_written(
    service: Service, upstream: Upstream, copy: Person
) -> None:
    """Found by one of many who look; what is there stays as it is, to the last clock."""
    upstream.commit(CHANGED)
    path = list(FILES)[17]
    copy.write({path: "mine\n"})
    before = copy.state()
    answer = service.push(upstream)
    assert answer.reason == "local_changes"
    assert path in service.text
    assert copy.state() == before


def test_what_a_killed_run_left_among_what_is_staged_is_swept(
    service: Service, upstream: Upstream, copy: Person
) -> None:
    """By the next process, which keeps the directories."""
    for directory in ("staging-0", "staging-refs"):
        (copy.root / ".git/git2efs" / directory).mkdir(exist_ok=True)
        (copy.root / ".git/git2efs" / directory / "tmp_file_0123456789abcdef").write_bytes(b"half")
    service.reset()
    tip = upstream.commit({"flat/was/a": b"changed\n"})
    assert service.push(upstream).outcome == "published"
    assert copy.head() == tip
    copy.is_sound()
    assert {path.name for path in staged_in(copy)} >= {"staging-0", "staging-refs"}


def test_a_failure_of_one_worker_undoes_what_the_others_did(
    service: Service, upstream: Upstream, copy: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next delivery brings all of it."""
    before = copy.tree()
    tip = upstream.commit(CHANGED | {"area2/zzz": b"last\n"})
    put = Worktree.write_file

    def fail(worktree: Worktree, path: bytes, content: bytes, *, is_executable: bool) -> object:
        if path == b"area2/zzz":
            raise OSError(5, "Input/output error")
        return put(worktree, path, content, is_executable=is_executable)

    monkeypatch.setattr(Worktree, "write_file", fail)
    assert service.push(upstream).status == 503
    assert (copy.tree(), copy.status()) == (before, "")
    monkeypatch.setattr(Worktree, "write_file", put)
    assert service.push(upstream).outcome == "published"
    assert (copy.tree(), copy.head(), copy.status()) == (archive(upstream, tip), tip, "")
    copy.is_sound()
