"""Spares: by default, each push costs what it changes, and no reader waits for what makes that so."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.mount.fs import parallel
from handler.mount.fs.checkout import check_out
from handler.mount.releases import build
from handler.mount.target.layout import spare_name
from handler.network.background import Background
from testing.repositories import Entry, Upstream, archive, snapshot
from testing.service import Service

FILES = 60
TARGET = "octo/site/main"


@pytest.fixture(autouse=True)
def made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make spares before the answer, and not in a thread: so a test knows when they are made."""

    def submit(_: Background, key: str, job: Callable[[], None]) -> None:
        job()

    monkeypatch.setattr(Background, "submit", submit)


@pytest.fixture
def ready(service: Service, upstream: Upstream) -> Service:
    """Return a service that makes spares, with a first push published: FILES files in some directories."""
    service.configure(spare_files=10_000, background=True)
    service.put_repository()
    many(upstream, 0)
    assert service.push(upstream).outcome == "published"
    return service


def many(upstream: Upstream, number: int) -> str:
    """Commit many files."""
    files: dict[str, Entry | None] = {f"d{each % 7}/f{each}": b"%d %d" % (each, number) for each in range(FILES)}
    return upstream.commit({**files, "a": b"0"})


def staged(service: Service) -> set[str]:
    """Return the names in staging, without what is known about spares."""
    return set(os.listdir(service.mount / TARGET / "staging")) - {"spares.json"}


def spares(service: Service) -> list[dict[bytes, object]]:
    """Return the trees in staging."""
    directory = service.mount / TARGET / "staging"
    return [dict(snapshot(directory / name)) for name in staged(service)]


def retire_all(service: Service, ago: int = 400) -> None:
    """Let the grace of what is retired be over."""
    directory = service.mount / TARGET / "releases"
    current = os.path.basename(os.readlink(service.mount / TARGET / "current"))
    for name in set(os.listdir(directory)) - {current}:
        at = int(time.time()) - ago
        os.utime(directory / name, (at, at))
    service.reset()


def test_with_the_defaults_each_push_in_a_row_writes_what_it_changes(ready: Service, upstream: Upstream) -> None:
    """Within the grace of five minutes too, in which no release may be recycled: the headline, by default."""
    for number in range(1, 6):
        commit = upstream.commit({"a": b"%d" % number, "d0/new": b"%d" % number})
        answer = ready.push(upstream)
        assert (answer.outcome, answer.content["files_written"]) == ("published", 2)
        assert ready.tree() == archive(upstream, commit)
        assert all(tree == archive(upstream, commit) for tree in spares(ready))
    assert len(os.listdir(ready.mount / TARGET / "releases")) == 6, "what was replaced stays for its grace"


def test_a_target_keeps_as_many_spares_as_its_pushes_needed_in_one_grace(ready: Service, upstream: Upstream) -> None:
    """One at first; more with each push of a burst; and they stay when the burst is over."""
    assert len(staged(ready)) == 1
    for number in range(1, 4):
        upstream.commit({"a": b"%d" % number})
        ready.push(upstream)
        assert len(staged(ready)) == number
    retire_all(ready)
    commit = upstream.commit({"a": b"late"})
    assert ready.push(upstream).content["files_written"] == 1
    assert [tree == archive(upstream, commit) for tree in spares(ready)] == [True] * 3


def test_no_tree_is_written_whole_where_pushes_come_seldom(
    ready: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release past its grace becomes the next spare: it is neither removed nor made anew."""
    for number in range(1, 5):
        retire_all(ready)
        upstream.commit({"a": b"%d" % number})
        ready.push(upstream)
    written: list[int] = []

    def counted(*arguments: object, **named: object) -> object:
        counts = check_out(*arguments, **named)  # type: ignore[arg-type]
        written.append(counts.files_written)
        return counts

    monkeypatch.setattr(build, "check_out", counted)
    for number in range(5, 9):
        retire_all(ready)
        written.clear()
        upstream.commit({"a": b"%d" % number})
        assert ready.push(upstream).outcome == "published"
        assert written
        assert sum(written) <= 3
        assert len(os.listdir(ready.mount / TARGET / "releases")) == 3
        assert len(staged(ready)) == 1


@pytest.mark.parametrize("case", ["repository", "stack", "tree", "copy"])
def test_who_wants_none_has_none(service: Service, upstream: Upstream, case: str) -> None:
    """`spares: 0`, a stack without, a tree too large for one, a working copy: as it was before there were spares."""
    service.configure(spare_files={"stack": 0, "tree": FILES}.get(case, 10_000), background=True)
    rule = {"ref": "refs/heads/main", "mode": "working-copy" if case == "copy" else "releases"}
    service.put_repository(publish=[rule], spares=0 if case == "repository" else 8)
    many(upstream, 0)
    assert service.push(upstream).outcome == "published"
    if case == "copy":
        assert not (service.mount / TARGET / "staging").exists()
        return
    assert not staged(service)
    upstream.commit({"a": b"1"})
    assert service.push(upstream).content["files_written"] == FILES + 1


def test_a_revert_and_a_force_push_find_their_way(ready: Service, upstream: Upstream) -> None:
    """The tree that stands is flipped to; spares follow what readers have, forwards and backwards."""
    first = str(upstream.tip("main"))
    upstream.commit({"a": b"1"})
    ready.push(upstream)
    upstream.point("main", first)
    assert ready.push(upstream).content["files_written"] == 0
    assert ready.tree() == archive(upstream, first)
    assert all(tree == archive(upstream, first) for tree in spares(ready))
    retire_all(ready)
    commit = many(upstream, 9)
    assert ready.push(upstream).content["files_written"] == FILES
    assert ready.tree() == archive(upstream, commit)


@pytest.mark.parametrize("case", ["root", "gone", "link", "file", "deep"])
def test_a_spare_that_somebody_changed_is_not_published(ready: Service, upstream: Upstream, case: str) -> None:
    """A changed root breaks its seal; what is no directory is none of ours; then the tree is written whole."""
    directory = ready.mount / TARGET / "staging"
    spare = directory / next(iter(staged(ready)))
    if case == "root":
        (spare / "foreign").write_bytes(b"x")
    elif case == "deep":
        # Deep down it does not show. What the change brings meets it, and what does not fit is written whole.
        (spare / "a").unlink()
        (spare / "a").mkdir()
        os.utime(spare, (10**9, 10**9))
    else:
        spare.rename(ready.mount / "aside")
        if case == "link":
            spare.symlink_to(ready.mount / "aside")
        elif case == "file":
            spare.write_bytes(b"x")
    ready.reset()
    commit = upstream.commit({"a": b"1"})
    assert ready.push(upstream).outcome == "published"
    assert ready.tree() == archive(upstream, commit)
    assert all(tree == archive(upstream, commit) for tree in spares(ready))
    assert len(staged(ready)) == 1


def test_of_two_spares_of_a_commit_the_sound_one_is_taken(ready: Service, upstream: Upstream) -> None:
    """The other one's root was changed: it goes, whichever name comes first."""
    for number in range(1, 3):
        upstream.commit({"a": b"%d" % number})
        ready.push(upstream)
    names = sorted(staged(ready))
    assert len(names) == 2
    (ready.mount / TARGET / "staging" / names[0] / "foreign").write_bytes(b"x")
    commit = upstream.commit({"a": b"3"})
    assert ready.push(upstream).content["files_written"] == 1
    assert ready.tree() == archive(upstream, commit)
    assert all(tree == archive(upstream, commit) for tree in spares(ready))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"pushes": -1}', b'{"pushes": 1e400, "counted_at": 0.0, "files": 1}', b"[" * 2000]
    + [json.dumps({"pushes": 5, "counted_at": at, "files": 1}).encode() for at in (1e12, -1.0, True, "x")],
)
def test_what_is_known_of_spares_may_be_anything(ready: Service, upstream: Upstream, content: bytes) -> None:
    """Who may write there can only make the target's spares more or fewer, within their bounds."""
    (ready.mount / TARGET / "staging/spares.json").write_bytes(content)
    commit = upstream.commit({"a": b"1"})
    assert ready.push(upstream).content["files_written"] == 1
    assert ready.tree() == archive(upstream, commit)
    assert 1 <= len(staged(ready)) <= 8
    assert json.loads((ready.mount / TARGET / "staging/spares.json").read_bytes())["pushes"] == 1


def test_a_push_does_not_wait_for_a_spare_that_is_being_made(
    ready: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The maker gives way at the next batch of files, and goes on when the push is done."""
    monkeypatch.setattr(parallel, "_PROGRESS_STEPS", 1)
    monkeypatch.setattr("handler.mount.maintenance.spares._LOOK_SECONDS", 0.0)
    retire_all(ready)
    begun, pushed = threading.Event(), threading.Event()
    answers: list[object] = []
    upstream.commit({"a": b"1"})
    monkeypatch.setattr(Background, "submit", lambda _, key, job: None)
    ready.push(upstream)
    many(upstream, 5)
    request = ready.push_request(upstream)

    def slow(*arguments: object, **named: object) -> object:
        if threading.current_thread() is not maker:
            return check_out(*arguments, **named)  # type: ignore[arg-type]
        begun.set()
        report = named["progress"]
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            report(1, 2)  # type: ignore[operator]
            time.sleep(0.01)
        raise AssertionError("nobody was seen waiting")

    monkeypatch.setattr(build, "check_out", slow)
    maker = threading.Thread(target=lambda: answers.append(make(ready)))
    maker.start()
    assert begun.wait(10)
    started = time.monotonic()
    answer = ready.send(request)
    pushed.set()
    assert answer.outcome == "published"
    assert time.monotonic() - started < 3
    monkeypatch.setattr(build, "check_out", check_out)
    maker.join(30)
    assert answers
    assert ready.tree() == archive(upstream, str(upstream.tip("main")))
    assert all(tree == archive(upstream, str(upstream.tip("main"))) for tree in spares(ready))


def make(service: Service) -> object:
    """Make the target's spares, as the thread does; return what was written."""
    from handler.deadline import NO_DEADLINE
    from handler.model import Repository, Target
    from handler.mount.publisher import LocalPublisher
    from handler.settings import read_settings

    publisher = LocalPublisher(read_settings(os.environ), progress=lambda what, done, total: None)
    repository = Repository(full_name="octo/site", url="")
    try:
        return publisher.make_spares(repository, Target(ref="refs/heads/main", path=TARGET), deadline=NO_DEADLINE)
    finally:
        publisher.close()


def test_spares_go_with_their_target(service: Service, upstream: Upstream) -> None:
    """A branch that a pattern published, and that is gone, leaves nothing."""
    service.configure(spare_files=10_000, background=True)
    service.put_repository(publish=[{"ref": "refs/heads/*"}], grace_seconds=0)
    upstream.commit({"a": b"1"}, branch="topic")
    assert service.push(upstream, "topic").outcome == "published"
    assert os.listdir(service.mount / "octo/site/topic/staging")
    upstream.delete("topic")
    assert service.push(upstream, "topic").outcome == "retired"
    assert not (service.mount / "octo/site/topic").exists()


def test_a_version_that_knows_no_spares_goes_on_from_the_first_one() -> None:
    """To it the name says: a tree on its way from a commit to the same commit."""
    commit = "a" * 40
    assert spare_name(commit, 1) == f"{commit}-{commit}"
    assert Path(spare_name(commit, 2)).suffix == ".2"
