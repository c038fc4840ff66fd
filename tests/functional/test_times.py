"""Times go forward: whoever compares mtimes sees every change, whatever was recycled, flipped to or rolled back to."""

import json
import os
import random
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from handler.errors import OutOfTime
from handler.mount.fs import checkout
from handler.mount.fs.files import write_whole
from handler.mount.target.layout import is_spare
from handler.mount.target.run import Run
from handler.network.background import Background
from testing import selection
from testing.repositories import Entry, Executable, Link, Submodule, Upstream, archive
from testing.service import Service

MAIN = "octo/site/main"
_AGED_SECONDS = 1000

Seen = tuple[object, int]
"""What is at a path, and its mtime."""


class TimeReader:
    """Reads what is published after each step, and holds every path to the contract, against all that it saw before."""

    def __init__(self, service: Service, path: str = MAIN) -> None:
        self._root = service.mount / path
        self._latest: dict[bytes, dict[object, int]] = {}
        """By path: the latest mtime with which it had each content, None for nothing there."""
        self._absent_at = 0
        self._roots: list[int] = []

    def look(self, about: object = "") -> None:
        """Compare what is published now with what was published before."""
        current = os.fsencode(self._root / "current")
        root = os.path.realpath(current) if os.path.lexists(current) else os.fsencode(self._root)
        seen = dict(_entries(root))
        newest = max((mtime for _, mtime in seen.values()), default=0)
        for path in {*seen, *self._latest}:
            content, mtime = seen.get(path, (None, newest))
            latest = self._latest.setdefault(path, {None: self._absent_at})
            for other, at in latest.items():
                assert content in (None, other) or mtime > at, f"{about}: {path!r} went from {at} to {mtime}"
            latest[content] = max(mtime, latest.get(content, 0))
        self._absent_at = newest
        self._roots.append(os.stat(root).st_mtime_ns)

    def assert_roots_went_forward(self) -> None:
        """Hold the trees' root directories to it too, one look after each flip."""
        assert self._roots == sorted(set(self._roots))


def _entries(root: bytes, below: bytes = b"") -> "list[tuple[bytes, Seen]]":
    """Return what is at each path below `root`: a file's content and mode, a link's target, a directory's listing."""
    found: list[tuple[bytes, Seen]] = []
    for name in os.listdir(os.path.join(root, below)):
        if below == b"" and name == b".git":
            continue
        path = os.path.join(below, name)
        full = os.path.join(root, path)
        about = os.lstat(full)
        content: object
        if stat.S_ISDIR(about.st_mode):
            inner = _entries(root, path)
            found += inner
            depth = path.count(b"/") + 1
            content = tuple(sorted((each, type(what[0]).__name__) for each, what in inner if each.count(b"/") == depth))
        elif stat.S_ISLNK(about.st_mode):
            content = "-> " + os.fsdecode(os.readlink(full))
        else:
            content = Path(os.fsdecode(full)).read_bytes() + (b" x" if about.st_mode & stat.S_IXUSR else b"")
        found.append((path, (content, about.st_mtime_ns)))
    return found


def age(service: Service, path: str = MAIN) -> None:
    """Let the grace of every release be over, in the order in which they were retired; spares age with them."""
    target = service.mount / path
    for tree in (*(target / "releases").iterdir(), *(target / "staging").iterdir()):
        if tree.parent.name == "staging" and not is_spare(tree.name):
            continue
        at = tree.stat().st_mtime_ns - _AGED_SECONDS * 10**9
        os.utime(tree, ns=(at, at))


def age_retired(service: Service, path: str = MAIN) -> None:
    """The same, and leave the release that is published."""
    current = service.current(path).resolve()
    at = current.stat().st_mtime_ns
    age(service, path)
    os.utime(current, ns=(at, at))


def test_the_release_that_a_revert_recycles_has_new_times(service: Service, upstream: Upstream) -> None:
    """The push that mends a bad one: the recycled release has the right content already, with an old mtime."""
    service.put_repository(grace_seconds=0)
    reader = TimeReader(service)
    good: dict[str, Entry | None] = {"deep/f": b"good", "link": Link(b"deep"), "run": Executable(b"good"), "g": b"g"}
    upstream.commit(good)
    service.push(upstream)
    reader.look("good")
    bad: dict[str, Entry | None] = {"deep/f": b"bad!", "deep/new": b"new", "link": Link(b"g"), "run": b"good"}
    upstream.commit({**bad, "gone": b"x"})
    service.push(upstream)
    reader.look("bad")
    gone: dict[str, Entry | None] = {"deep/new": None, "gone": None}
    wanted = upstream.commit({**good, **gone})
    answer = service.push(upstream)
    reader.look("reverted")
    assert answer.content["files_written"] == 0, "else this test shows nothing"
    assert service.tree() == archive(upstream, wanted)
    reader.assert_roots_went_forward()


def test_what_came_back_long_ago_has_a_later_time_too(service: Service, upstream: Upstream) -> None:
    """A path that is the same in the last two releases may have been another one in between: f=1, f=2, f=1, and g."""
    service.put_repository(grace_seconds=300)
    reader = TimeReader(service)
    for number, content in enumerate((b"1", b"2", b"1")):
        upstream.commit({"f": content, "g": b"g"})
        assert service.push(upstream).content["files_written"] == 2, "written whole, within the grace"
        reader.look(number)
    age_retired(service)
    upstream.commit({"g": b"changed"})
    assert service.push(upstream).content["files_written"] == 1, "the first release is recycled"
    reader.look("recycled")


@pytest.mark.parametrize("is_mirror_lost", [False, True])
def test_rolled_back_and_on_again_times_go_forward(
    service: Service, upstream: Upstream, *, is_mirror_lost: bool
) -> None:
    """Also where the mirror is gone, so that nothing tells what differs: then all is given a new time."""
    service.put_repository()
    reader = TimeReader(service)
    commits = []
    for number in range(3):
        commits.append(upstream.commit({"a/b/f": b"%d" % number, "same": b"same", f"only/{number}": b"x"}))
        service.push(upstream)
        reader.look(number)
    if is_mirror_lost:
        shutil.rmtree(service.mount / "octo/site/mirror.git")
    same = os.stat(service.mount / MAIN / "releases" / commits[0] / "same").st_mtime_ns
    assert service.operate("rollback", MAIN, to=commits[0])["exit_code"] == 0
    reader.look("back")
    assert (os.stat(service.current() / "same").st_mtime_ns == same) is not is_mirror_lost
    assert service.tree() == archive(upstream, commits[0])
    assert service.operate("resume", MAIN)["exit_code"] == 0
    reader.look("on")
    assert service.tree() == archive(upstream, commits[2])
    reader.assert_roots_went_forward()
    assert service.operate("status")["exit_code"] == 0


def test_a_release_that_is_flipped_to_stays_sealed(service: Service, upstream: Upstream) -> None:
    """A force-push back within the grace only flips; and the release can be recycled later."""
    service.put_repository()
    reader = TimeReader(service)
    first = upstream.commit({"f": b"1"})
    service.push(upstream)
    reader.look()
    upstream.commit({"f": b"2"})
    service.push(upstream)
    reader.look()
    upstream.point("refs/heads/main", first)
    assert service.push(upstream).content["files_written"] == 0
    reader.look()
    age_retired(service)
    upstream.commit({"f": b"3"})
    assert service.push(upstream).outcome == "published"
    reader.look()
    assert len(service.releases()) == 2, "recycled"


@pytest.mark.parametrize("is_pruned_by", ["a push", "maintenance"])
def test_a_release_that_goes_leaves_its_times_to_those_that_stay(
    service: Service, upstream: Upstream, is_pruned_by: str
) -> None:
    """The one in between is changed by somebody, and removed before the older one, which is recycled afterwards."""
    service.put_repository(keep_releases=5)
    reader = TimeReader(service)
    commits = []
    for number, content in enumerate((b"1", b"2", b"1", b"1")):
        commits.append(upstream.commit({"f": content, "g": b"%d" % number}))
        service.push(upstream)
        reader.look(number)
    between = commits[1]
    (service.mount / MAIN / "releases" / between / "cache").mkdir()
    age_retired(service)
    if is_pruned_by == "maintenance":
        service.run_schedule("chores")
    else:
        upstream.point("refs/heads/main", commits[2])
        service.push(upstream)
        reader.look("flipped")
    assert between not in service.releases()
    age_retired(service)
    upstream.commit({"g": b"last"})
    assert service.push(upstream).content["files_written"] == 1, "the first release is recycled"
    reader.look("recycled")


def test_pushes_within_a_tick_of_the_clock_get_different_times(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback at once after a push waits for the clock that mtimes come from."""
    service.put_repository()
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    upstream.commit({"f": b"1"})
    service.push(upstream)
    upstream.commit({"f": b"2"})
    service.push(upstream)
    record = service.mount / MAIN / "published.json"
    ahead = json.loads(record.read_text()) | {"published_at": time.time() + 100}  # another clock
    record.write_text(json.dumps(ahead))
    waited.clear()
    assert service.operate("rollback", MAIN)["exit_code"] == 0
    assert [seconds for seconds in waited if 0 < seconds <= 0.02] != []


def break_off(service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Push, and end the run in the middle of its check-out, so that the next one goes on from its checkpoint."""
    monkeypatch.setattr(checkout, "WORTH_FILES", 100)
    monkeypatch.setattr("handler.mount.fs.parallel._PROGRESS_STEPS", 10)
    left = iter(range(3))

    def check_deadline(run: Run) -> None:
        if os.path.isdir(run.directory.staging) and os.listdir(run.directory.staging) and next(left, None) is None:
            raise OutOfTime("for the test")

    with monkeypatch.context() as patched:
        patched.setattr(Run, "check_deadline", check_deadline)
        assert service.push(upstream).reason == "out_of_time"


def test_a_killed_run_that_is_gone_on_with_has_new_times(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote before an operator went back and on is older than what readers had since."""
    service.put_repository()
    reader = TimeReader(service)
    many: dict[str, Entry | None] = {f"d{number % 3}/{number:03}": b"3" for number in range(300)}
    for content in (b"1", b"2"):
        upstream.commit(dict.fromkeys(many, content))
        service.push(upstream)
        reader.look(content)
    wanted = upstream.commit(many)
    break_off(service, upstream, monkeypatch)
    assert service.operate("rollback", MAIN)["exit_code"] == 0
    reader.look("back")
    written: list[bytes] = []

    def noted(name: bytes, content: bytes, mode: int, *, directory: int) -> None:
        written.append(name)
        write_whole(name, content, mode, directory=directory)

    for write in ("write_whole", "_write_new"):
        monkeypatch.setattr(checkout, write, noted)
    assert service.operate("resume", MAIN)["exit_code"] == 0
    assert 0 < len(written) < 300
    reader.look("gone on")
    assert service.tree() == archive(upstream, wanted)


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_tree_that_somebody_changed_half_made_is_written_whole(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, *, is_removed: bool
) -> None:
    """What the checkpoint of the half-made tree says is done counts for nothing then."""
    service.put_repository()
    wanted = upstream.commit({f"d{number % 3}/{number:03}": b"x" for number in range(300)})
    break_off(service, upstream, monkeypatch)
    (staged,) = (each for each in (service.mount / MAIN / "staging").iterdir() if each.is_dir())
    shutil.rmtree(staged if is_removed else staged / "d2")
    if not is_removed:
        (staged / "d2").write_text("not a directory")
    assert service.push(upstream).outcome == "published"
    assert service.tree() == archive(upstream, wanted)


# -- random histories ------------------------------------------------------------------------------------------------

_PATHS = ["f", "g", "a/f", "a/b/f", "a/b/g", "c/f", "link", "a/b"]
_CONTENTS: list[Entry] = [b"one", b"two", Executable(b"one"), Link(b"f"), Link(b"a/f"), Submodule("1" * 40)]


class RandomHistory:
    """Does random things to a repository and its target; a reader looks after each."""

    def __init__(self, service: Service, upstream: Upstream, seed: int) -> None:
        self._service, self._upstream = service, upstream
        self._random = random.Random(seed)
        self._reader = TimeReader(service)
        self._commits: list[str] = []
        self._keep = self._random.choice([1, 2, 3, 6])

    def run(self, steps: int) -> None:
        """Take so many steps."""
        self._put(300)
        self.push()
        actions: list[Callable[[], None]] = [self.push] * 6 + [self.go_back] * 3 + [self.roll_back] * 2
        actions += [self.pass_time] * 4 + [self.disturb, self.forget, self.maintain, self.lose_the_mirror]
        for number in range(steps):
            action = self._random.choice(actions)
            action()
            self._reader.look(f"step {number}: {action.__name__}")
        assert self._service.tree() == archive(self._upstream, self._service.current_commit() or "")

    def _put(self, grace: int) -> None:
        self._service.put_repository(grace_seconds=grace, keep_releases=self._keep)

    def push(self) -> None:
        """Change a few paths; often to what they were before."""
        if self._random.random() < 0.3 and self._commits:
            tree = self._upstream.git("rev-parse", f"{self._random.choice(self._commits)}^{{tree}}").decode().strip()
            self._commits.append(self._upstream.commit_tree(tree))
        else:
            files: dict[str, Entry | None] = {"always": b"there"}
            for path in self._random.sample(_PATHS, 3):
                files = {each: entry for each, entry in files.items() if not _meet(each, path)}
                files[path] = self._random.choice([*_CONTENTS, None, None])
            gone = [each for path in files for each in _PATHS if each != path and _meet(each, path)]
            self._commits.append(self._upstream.commit(dict.fromkeys(gone) | files))
        self._publish()

    def go_back(self) -> None:
        """Force-push to an earlier commit."""
        self._upstream.point("refs/heads/main", self._random.choice(self._commits))
        self._publish()

    def _publish(self) -> None:
        answer = self._service.push(self._upstream)
        assert answer.outcome in ("published", "unchanged"), answer.content

    def roll_back(self) -> None:
        """Go back as an operator does, and mostly on again."""
        self._service.operate("rollback", MAIN)
        self._reader.look("rolled back")
        self._service.operate("resume", MAIN)

    def pass_time(self) -> None:
        """Let all graces end."""
        age_retired(self._service)

    def disturb(self) -> None:
        """Break the seal of a release."""
        release = self._random.choice(self._service.releases())
        if release != self._service.current_commit():
            (self._service.mount / MAIN / "releases" / release / "cache").mkdir(exist_ok=True)

    def forget(self) -> None:
        """Go on in a new process."""
        self._service.reset()

    def maintain(self) -> None:
        """Run daily maintenance."""
        self._service.run_schedule("chores")

    def lose_the_mirror(self) -> None:
        """Lose every object."""
        if self._random.random() < 0.3:
            shutil.rmtree(self._service.mount / "octo/site/mirror.git")
            self._service.reset()


def _meet(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("has_spares", [False, True])
def test_times_go_forward_in_any_history(
    service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, seed: int, *, has_spares: bool
) -> None:
    """Pushes, force-pushes back, rollbacks, recycling, spares, pruning, repairs, lost mirrors, changed releases."""
    if has_spares:
        # Before the answer, and not in a thread: else nobody could look in between.
        monkeypatch.setattr(Background, "submit", lambda _, key, job: job())
        service.configure(spare_files=10_000, background=True)
    RandomHistory(service, upstream, seed).run(selection.count(60, 30))


def test_times_go_forward_in_a_working_copy(service: Service, upstream: Upstream) -> None:
    """A pull writes what it changes."""
    service.put_repository(publish=[{"ref": "refs/heads/main", "mode": "working-copy"}])
    reader = TimeReader(service)
    chance = random.Random(1)
    for number in range(12):
        upstream.commit({"f": b"%d" % chance.randrange(2), "a/b/g": b"%d" % chance.randrange(2), "n": b"%d" % number})
        assert service.push(upstream).outcome == "published"
        reader.look(number)
