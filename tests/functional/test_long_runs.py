"""Runs that are long, or broken off: they go on where they were; and what a warm process may believe of the mount."""

import os
from pathlib import Path

import pytest

from handler.errors import OutOfTime
from handler.mount.fs import checkout, checkpoint, parallel
from handler.mount.fs.checkpoint import Checkpoint
from handler.mount.fs.files import write_whole
from handler.mount.fs.plan import FileWrite
from handler.mount.target.run import Run
from testing.repositories import Entry, Upstream, archive
from testing.service import Service

FILES = 400


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the names of files as they are written; check-outs of a hundred files count as long ones."""
    names: list[bytes] = []

    def noted(name: bytes, content: bytes, mode: int, *, directory: int) -> None:
        names.append(name)
        write_whole(name, content, mode, directory=directory)

    # The one on a slow mount, the other on a fast one.
    for write in ("write_whole", "_write_new"):
        monkeypatch.setattr(checkout, write, noted)
    monkeypatch.setattr(checkout, "WORTH_FILES", 100)
    monkeypatch.setattr(parallel, "_PROGRESS_STEPS", 10)
    return names


def end_after(monkeypatch: pytest.MonkeyPatch, reports: int) -> None:
    """Let a run's time be over at that report of its check-out."""
    left = iter(range(reports))

    def check_deadline(work: Run) -> None:
        # Each part of a pack looks at the clock too; the check-out comes after.
        if not (work.directory.staging and os.path.isdir(work.directory.staging)):
            return
        if next(left, None) is None:
            raise OutOfTime("for the test")

    monkeypatch.setattr(Run, "check_deadline", check_deadline)


def many(upstream: Upstream, content: bytes = b"") -> str:
    """Commit as many files as make a long check-out."""
    files: dict[str, Entry | None] = {f"d{number % 7}/f{number}": content + b"%d" % number for number in range(FILES)}
    return upstream.commit(files)


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_first_publish_that_runs_out_of_time_goes_on_where_it_was(
    service: Service, upstream: Upstream, written: list[bytes], monkeypatch: pytest.MonkeyPatch, *, is_slow: bool
) -> None:
    """The files that were written are not written again, and the tree is the commit's."""
    monkeypatch.setattr(parallel, "is_worth_threads", lambda work, steps: is_slow)
    service.put_repository()
    commit = many(upstream)
    request = service.push_request(upstream)
    with monkeypatch.context() as patched:
        end_after(patched, 3)
        answer = service.send(request)
    assert (answer.status, answer.reason) == (503, "out_of_time")
    first = len(written)
    written.clear()
    service.reset()
    assert service.send(request).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert 0 < len(written) < FILES
    assert first + len(written) <= FILES + 32 * 40, "what was under way may be written twice, and no more"
    assert os.listdir(service.mount / "octo/site/main/staging") == []


def test_a_newer_push_goes_on_from_what_an_older_one_began(
    service: Service, upstream: Upstream, written: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished as the old commit's tree, patched to the new one's, and only that is ever seen."""
    service.put_repository()
    many(upstream)
    with monkeypatch.context() as patched:
        end_after(patched, 3)
        assert service.push(upstream).reason == "out_of_time"
    written.clear()
    second = upstream.commit({"d1/f1": b"changed", "d2/f2": None})
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, second)
    assert len(written) < FILES
    assert os.listdir(service.mount / "octo/site/main/releases") == [second]


def test_a_journal_of_another_plan_counts_for_nothing(tmp_path: Path) -> None:
    """Another order, another file: then which files the count speaks of is not known."""
    writes = [FileWrite(b"%d" % number, b"a" * 40, False, False) for number in range(9)]
    log = Checkpoint(os.fspath(tmp_path / "journal"))
    assert log.begin(writes) == 0
    log.save(7)
    assert Checkpoint(os.fspath(tmp_path / "journal")).begin(writes) == 7
    assert Checkpoint(os.fspath(tmp_path / "journal")).begin(writes[::-1]) == 0
    assert Checkpoint(os.fspath(tmp_path / "journal")).begin(writes[:8]) == 0


def test_a_torn_journal_says_less_and_never_more(tmp_path: Path) -> None:
    """A kill may leave any beginning of it."""
    writes = [FileWrite(b"a", b"a" * 40, False, False)]
    path = tmp_path / "journal"
    log = Checkpoint(os.fspath(path))
    log.begin(writes)
    log.save(12_345)
    content = path.read_bytes()
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        assert Checkpoint(os.fspath(path)).begin(writes) <= 12_345
    path.write_bytes(b"\xff" * 50)
    assert Checkpoint(os.fspath(path)).begin(writes) == 0


def test_a_journal_is_written_every_few_seconds_and_removed_at_the_end(tmp_path: Path) -> None:
    """A short check-out never makes one."""
    now = [0.0]
    path = tmp_path / "journal"
    log = Checkpoint(os.fspath(path), lambda: now[0])
    log.begin([])
    log.note(1)
    assert not path.exists()
    now[0] = checkpoint.PERIOD_SECONDS
    log.note(2)
    assert path.read_text().endswith(" 2\n")
    log.end()
    assert not path.exists()


def test_a_warm_process_lists_no_directories(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else held the lock since: what lies there is what it left."""
    service.put_repository(grace_seconds=0)
    for number in range(3):
        upstream.commit({"a": b"%d" % number})
        service.push(upstream)
    listed: list[str] = []
    listdir = os.listdir

    def noted(path: str) -> list[str]:
        listed.append(path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", noted)
    commit = upstream.commit({"a": b"last"})
    assert service.push(upstream).outcome == "published"
    assert listed == []
    assert service.tree() == archive(upstream, commit)


def test_a_warm_process_looks_afresh_after_another_held_the_lock(service: Service, upstream: Upstream) -> None:
    """Packs, releases and leftovers of the other are seen, and its leftovers swept."""
    service.put_repository(grace_seconds=0)
    for number in range(3):
        upstream.commit({"a": b"%d" % number})
        service.push(upstream)
    with service.process() as other:
        other.wait_until_ready()
        for number in range(3):
            upstream.commit({"b": b"%d" % number})
            assert other.send(service.push_request(upstream)).outcome == "published"
    left = service.mount / "octo/site/main/staging/trash-0123456789abcdef"
    left.mkdir()
    commit = upstream.commit({"a": b"last"})
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert not left.exists()
