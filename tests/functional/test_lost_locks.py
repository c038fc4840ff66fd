"""A run whose lock was lost, and what it leaves to others."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from handler.errors import LockLost, OutOfTime
from handler.mount.fs.directories import remove_tree
from handler.mount.fs.lock import HeldLock, locked, may_be_at_work
from handler.mount.releases import publish
from handler.mount.releases.inventory import LEASE_SECONDS, at_work, flip, free_trees
from handler.mount.target.directory import TargetDirectory, revoke, take_away
from handler.mount.target.layout import TargetPaths, is_passing, journal_name, patch_name, work_name
from handler.mount.target.registry import TargetRegistry
from testing.repositories import Upstream, archive, snapshot
from testing.service import Service

NUMBER = "0123456789abcdef"


# -- the lock's file ------------------------------------------------------------------------------------------


def remove(path: str) -> None:
    """Remove the file."""
    os.unlink(path)


def replace(path: str) -> None:
    """Put another file of the same generation in its place."""
    about = os.stat(path)
    os.rename(path, f"{path}.old")
    Path(path).touch()
    os.utime(path, (about.st_mtime, about.st_mtime))


def stamp(path: str) -> None:
    """Stamp it, as another holder does."""
    os.utime(path, (1_500_000_000, 1_500_000_000))


def put_a_link(path: str) -> None:
    """Put a link to the file that was locked in its place."""
    os.rename(path, f"{path}.old")
    os.symlink(f"{path}.old", path)


@pytest.mark.parametrize("lose", [remove, replace, stamp, put_a_link])
def test_a_holder_learns_that_it_lost_the_lock(tmp_path: Path, lose: Callable[[str], None]) -> None:
    """Whether the file is gone, another one, or was another's since."""
    path = os.fspath(tmp_path / ".lock")
    with locked(path, 1.0) as lock:
        lock.stamp_generation()
        lock.check()
        time.sleep(0.02)
        lock.check()
        lose(path)
        time.sleep(0.02)
        with pytest.raises(LockLost):
            lock.check()


def test_a_pause_makes_the_holder_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before 30 s of the time since the boot, in which a suspended host's time counts."""
    path, now = os.fspath(tmp_path / ".lock"), [1000.0]
    monkeypatch.setattr("handler.mount.fs.lock._boot_seconds", lambda: now[0])
    with locked(path, 1.0) as lock:
        lock.stamp_generation()
        os.unlink(path)
        now[0] += 29
        lock.check_after_pause()
        now[0] += 1
        with pytest.raises(LockLost):
            lock.check_after_pause()


def held(path: Path) -> HeldLock:
    """Return a lock whose file is not there any more."""
    return HeldLock(os.fspath(path / "gone"), -1, 0.0, is_slow=False)


@contextmanager
def stamped(path: Path) -> Iterator[HeldLock]:
    """Hold a lock, as every run does."""
    with locked(os.fspath(path / ".lock"), 1.0) as lock:
        lock.stamp_generation()
        yield lock


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Return what is left at the test's end."""
    with ExitStack() as stack:
        yield stack


def test_what_is_taken_away_without_the_lock_is_put_back(tmp_path: Path) -> None:
    """Another run may have flipped to it."""
    directory = TargetDirectory.of(os.fspath(tmp_path), "t").held_by(held(tmp_path))
    (tmp_path / "t/staging").mkdir(parents=True)
    release = tmp_path / "t/releases" / ("a" * 40)
    release.mkdir(parents=True)
    with pytest.raises(LockLost):
        take_away(directory, os.fspath(release), f"trash-{NUMBER}")
    assert release.is_dir()
    assert os.listdir(tmp_path / "t/staging") == []


def test_a_flip_that_another_run_made_ready_is_revoked(tmp_path: Path) -> None:
    """The link and the record go; where that run flipped first, this one begins anew. All else stays."""
    directory = TargetDirectory.of(os.fspath(tmp_path), "t")
    (tmp_path / "t/staging").mkdir(parents=True)
    os.symlink("releases/" + "a" * 40, directory.current)
    names = [f"link-{NUMBER}", f"record-{NUMBER}", f"trash-{NUMBER}", "link-theirs"]
    for published in ("a" * 40, "b" * 40):
        for name in names:
            Path(directory.staged(name)).write_bytes(b"")
        if published == "b" * 40:
            with pytest.raises(LockLost):
                revoke(directory, names, published)
        else:
            revoke(directory, names, published)
        assert sorted(os.listdir(directory.staging)) == ["link-theirs", f"trash-{NUMBER}"]


# -- half-made trees ------------------------------------------------------------------------------------------

STEP = ("0" * 40, "a" * 40)


def ended() -> str:
    """Return the token of a holder whose process has ended."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, HeldLock("", -1, 0.0, is_slow=False).new_token().encode())
        os._exit(0)
    os.waitpid(child, 0)
    token = os.read(read_end, 100).decode()
    os.close(read_end)
    os.close(write_end)
    return token


def elsewhere() -> str:
    """Return the token of a holder on another host."""
    return "-".join([NUMBER] * 3)


@pytest.mark.parametrize(
    ("token_of", "age", "is_free"),
    [
        (lambda: "", 0.0, True),
        (ended, 0.0, True),
        (elsewhere, 0.0, False),
        (elsewhere, LEASE_SECONDS - 2, False),
        (elsewhere, LEASE_SECONDS + 2, True),
    ],
)
def test_a_half_made_tree_is_gone_on_with_when_no_run_can_be_at_work_in_it(
    tmp_path: Path, token_of: Callable[[], str], age: float, *, is_free: bool
) -> None:
    """It was given up, its process has ended, or nobody changed it for the lease."""
    now = time.time() + age
    directory = TargetDirectory.of(os.fspath(tmp_path), "t", lambda: now)
    token = token_of()
    name = work_name(*STEP, token) if token else patch_name(*STEP)
    Path(directory.staged(name)).mkdir(parents=True)
    assert free_trees(directory, [name, "note", "a" * 40]) == ({STEP: name} if is_free else {})


def test_a_holder_that_is_stopped_is_at_work() -> None:
    """Its process is there, and may wake."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write_end, HeldLock("", -1, 0.0, is_slow=False).new_token().encode())
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    token = os.read(read_end, 100).decode()
    assert may_be_at_work(token)
    os.kill(child, signal.SIGKILL)
    # Not yet waited for: its number is still taken.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not may_be_at_work(token)
    os.waitpid(child, 0)
    assert not may_be_at_work(token)
    os.close(read_end)
    os.close(write_end)


def test_a_checkpoint_that_is_written_keeps_the_tree_from_others(tmp_path: Path) -> None:
    """A long check-out changes its root at the beginning alone."""
    now = time.time() + LEASE_SECONDS + 2
    directory = TargetDirectory.of(os.fspath(tmp_path), "t", lambda: now)
    name = work_name(*STEP, elsewhere())
    Path(directory.staged(name)).mkdir(parents=True)
    assert free_trees(directory, [name]) == {STEP: name}
    now = time.time() + LEASE_SECONDS - 1
    Path(directory.staged(journal_name(name))).touch()
    assert free_trees(directory, [name, journal_name(name)]) == {}


def test_a_holder_in_this_process_is_at_work_until_it_lets_the_lock_go(tmp_path: Path) -> None:
    """Whatever it could not give up is free then."""
    with locked(os.fspath(tmp_path / ".lock"), 1.0) as lock:
        tokens = [lock.new_token() for _ in range(2)]
        assert len(set(tokens)) == 2
        assert all(map(may_be_at_work, tokens))
    assert not any(map(may_be_at_work, tokens))


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_run_that_fails_gives_its_tree_up_unless_it_lost_the_lock(
    tmp_path: Path, stack: ExitStack, *, is_lost: bool
) -> None:
    """With its checkpoint, and by the name that older versions gave. A checkpoint of an earlier tree goes."""
    directory = TargetDirectory.of(os.fspath(tmp_path), "t").guarded_by(held(tmp_path))
    if not is_lost:
        directory = directory.guarded_by(stack.enter_context(stamped(tmp_path)))
    mine = work_name(*STEP, elsewhere())
    Path(directory.staged(mine)).mkdir(parents=True)
    Path(directory.staged(journal_name(mine))).write_bytes(b"mine")
    Path(directory.staged(journal_name(patch_name(*STEP)))).write_bytes(b"of an earlier tree")
    with pytest.raises(OutOfTime), at_work(directory, mine, STEP):
        raise OutOfTime("now")
    names = set(os.listdir(directory.staging))
    if is_lost:
        assert {mine, journal_name(mine)} < names
        return
    assert names == {patch_name(*STEP), journal_name(patch_name(*STEP))}
    assert Path(directory.staged(journal_name(patch_name(*STEP)))).read_bytes() == b"mine"


def test_a_link_that_is_taken_away_without_the_lock_replaces_no_newer_one(tmp_path: Path) -> None:
    """Where another run published meanwhile, its `current` stays."""
    directory = TargetDirectory.of(os.fspath(tmp_path), "t")
    Path(directory.staging).mkdir(parents=True)
    os.symlink("releases/" + "a" * 40, directory.current)

    class Overtaken(HeldLock):
        def check(self) -> None:
            os.symlink("releases/" + "b" * 40, directory.current)
            raise LockLost("overtaken")

    with pytest.raises(LockLost):
        take_away(directory.guarded_by(Overtaken("", -1, 0.0, is_slow=False)), directory.current, f"trash-{NUMBER}")
    assert os.readlink(directory.current) == "releases/" + "b" * 40


# -- a whole run ----------------------------------------------------------------------------------------------


def test_a_push_goes_on_beside_a_tree_that_may_be_anothers(service: Service, upstream: Upstream) -> None:
    """It waits for no lease: it writes another tree, and removes the old one after the flip."""
    service.put_repository()
    commit = upstream.commit({"a": b"1"})
    half = service.mount / "octo/site/main/staging" / work_name("0" * 40, commit, elsewhere())
    half.mkdir(parents=True)
    (half / "a").write_bytes(b"theirs")
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, commit)
    assert os.listdir(half.parent) == []


def test_a_retirement_that_lost_its_lock_takes_nothing(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The branch may be there again, and published by the run that has the lock now."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}], grace_seconds=0)
    upstream.commit({"a": b"1"}, "x")
    assert service.push(upstream, "x").outcome == "published"
    before, target = snapshot(service.mount / "octo/site/x"), service.mount / "octo/site/x"
    upstream.delete("x")

    def lose() -> str:
        (service.mount / "octo/site/.lock").unlink(missing_ok=True)
        time.sleep(0.02)
        return f"trash-{NUMBER}"

    with monkeypatch.context() as patched:
        patched.setattr("handler.mount.releases.retire.trash_name", lose)
        answer = service.push(upstream, "x", after="0" * 40)
    assert (answer.status, answer.reason) == (503, "lock_lost")
    after = snapshot(target)
    assert {path: each for path, each in after.items() if path != b"published.json"} == {
        path: each for path, each in before.items() if path != b"published.json"
    }
    service.reset()
    assert service.push(upstream, "x", after="0" * 40).outcome == "retired"
    assert not target.exists()


@pytest.mark.parametrize("action", ["hold", "rollback"])
def test_an_operators_hold_outlives_a_run_that_wakes_before_its_record(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """The run flipped, and was stopped; its record would say nothing of the hold that was set meanwhile."""
    service.put_repository()
    commits = [upstream.commit({"a": b"1"})]
    assert service.push(upstream).outcome == "published"
    told = list[dict[str, object]]()

    def flip_and_stop(paths: TargetPaths, link: str) -> None:
        flip(paths, link)
        (service.mount / "octo/site/.lock").unlink()
        told.append(service.operate(action, "octo/site/main", why="stop"))

    commits.append(upstream.commit({"a": b"2"}))
    with monkeypatch.context() as patched:
        patched.setattr(publish, "flip", flip_and_stop)
        answer = service.push(upstream)
    assert (answer.status, answer.reason) == (503, "lock_lost")
    assert told[0]["exit_code"] == 0
    record = json.loads((service.mount / "octo/site/main/published.json").read_bytes())
    assert record["held"]["why"] == "stop"
    assert service.current_commit() == commits[1 if action == "hold" else 0]
    assert service.push(upstream).reason == "held"
    assert os.listdir(service.mount / "octo/site/main/staging") == []


def test_a_retirement_that_wakes_removes_nothing_of_a_tree_that_another_run_took_over(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it removes has a name that nobody else takes, before the first file goes."""
    service.put_repository(publish=[{"ref": "refs/heads/*"}], grace_seconds=0)
    commit = upstream.commit({"a": b"1", "b": b"2"}, "x")
    assert service.push(upstream, "x").outcome == "published"
    staging = service.mount / "octo/site/x/staging"
    half = staging / patch_name(commit, "b" * 40)
    half.mkdir()
    names = list[str]()

    def remove_and_tell(name: str, *, dir_fd: int) -> None:
        names.append(name)
        remove_tree(name, dir_fd=dir_fd)

    upstream.delete("x")
    monkeypatch.setattr("handler.mount.releases.retire.remove_tree", remove_and_tell)
    assert service.push(upstream, "x", after="0" * 40).outcome == "retired"
    assert len(names) >= 2
    assert all(map(is_passing, names))


def test_a_line_that_was_added_meanwhile_stays_on_the_list(tmp_path: Path) -> None:
    """Whoever takes the lock, and adds a target, removes the list that a stopped run made ready."""
    (tmp_path / "octo/site").mkdir(parents=True)
    registry = TargetRegistry.of(os.fspath(tmp_path), "octo/site")
    registry.add("octo/site/old")
    # Stopped between its look and the rename.
    with pytest.raises(FileNotFoundError):
        registry.remove("octo/site/old", lambda: registry.add("octo/site/new"))
    assert registry.target_paths() == ["octo/site/old", "octo/site/new"]
