"""What each of many files costs: system calls to write it, and calls within Python to plan it."""

import gc
import io
import os
import stat
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from dulwich.object_format import SHA1
from dulwich.pack import PackData

from handler.model import Counts
from handler.mount.fs.checkout import check_out
from handler.mount.fs.parallel import Workers
from handler.mount.fs.plan import FileWrite, TreePlan
from handler.mount.git.diff import diff_trees
from handler.mount.git.ingest import index_entries
from handler.mount.git.objects import BLOB, COMMIT, TREE, Objects, hash_object
from handler.mount.git.plan import plan_change
from handler.mount.git.tree import FILE, TreeEntry, serialize_entries
from handler.mount.releases import build
from handler.mount.working_copy.plan import check_checkout
from handler.mount.working_copy.worktree import Worktree
from testing.process import PROJECT
from testing.repositories import Upstream
from testing.service import Service
from tests.budgets.test_chores import CONTENT, blob, path, plan
from tests.functional.bombs import delta, pack, record, whole

FILES = 100
MOST_CALLS_PER_CHANGE = 30
"""Of Python's functions, to find out that a file changed, to check its path, and to plan it."""


def count_calls(function: Callable[[], object]) -> Counter[str]:
    """Call the function; return how often it called what, by the name of the function that was called."""
    calls: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            calls[f"{argument.__module__}.{argument.__name__}"] += 1
        elif event == "call":
            calls[frame.f_code.co_qualname] += 1

    # What the collector of garbage calls back (hypothesis listens to it) is not the function's.
    gc.disable()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def publish(root: Path, tree: TreePlan, *, is_slow: bool = False) -> None:
    """Check such a plan out, in this thread."""
    root.mkdir(exist_ok=True)
    check_out(
        str(root),
        tree,
        Workers(is_slow=is_slow),
        read_blob=lambda blob: CONTENT,
        journal=f"{root}.journal",
        progress=lambda done, total: None,
    )


def replacing(number: int) -> TreePlan:
    """Return the plan that writes a file over the one that stands there."""
    return TreePlan(files=(FileWrite(path(number), blob(CONTENT), False, True),))


def system_calls(calls: Counter[str]) -> dict[str, int]:
    """Return how many system calls each file took, without those for directories."""
    return {name.removeprefix("posix."): round(count / FILES) for name, count in calls.items() if "posix." in name}


def test_a_new_file_takes_three_system_calls(tmp_path: Path) -> None:
    """On a local disk: no look at what was opened, since nothing else can have been."""
    done = system_calls(count_calls(lambda: publish(tmp_path / "tree", plan(FILES))))
    assert {name: count for name, count in done.items() if count} == {"open": 1, "write": 1, "close": 1}


def test_a_changed_file_takes_four(tmp_path: Path) -> None:
    """It gets a new inode, and on a fast disk that is dearer to give by a rename."""
    publish(tmp_path / "tree", plan(FILES))
    changes = TreePlan(files=tuple(each._replace(is_replacing=True) for each in plan(FILES).files))
    done = system_calls(count_calls(lambda: publish(tmp_path / "tree", changes)))
    assert {name: count for name, count in done.items() if count} == {"open": 1, "write": 1, "close": 1, "unlink": 1}


@pytest.mark.parametrize("is_slow", [False, True])
def test_no_file_is_created_exclusively_on_a_slow_mount(
    is_slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it is a round trip more."""
    flags: list[int] = []
    real = os.open

    def opened(path: Any, how: int, *arguments: Any, **named: Any) -> int:
        flags.append(how)
        return real(path, how, *arguments, **named)

    monkeypatch.setattr(os, "open", opened)
    publish(tmp_path / "tree", plan(3), is_slow=is_slow)
    created = [each for each in flags if each & os.O_CREAT]
    assert [bool(each & os.O_EXCL) for each in created] == [not is_slow] * 3


def test_what_a_killed_run_left_is_written_over(tmp_path: Path) -> None:
    """Half a file, in the place of a new one."""
    publish(tmp_path / "tree", plan(2))
    half = tmp_path / "tree" / os.fsdecode(path(0))
    half.write_bytes(CONTENT[:5])
    publish(tmp_path / "tree", plan(2))
    assert half.read_bytes() == CONTENT


def test_a_pipe_in_the_place_of_a_new_file_is_not_written_to(tmp_path: Path) -> None:
    """Somebody reads it: it would take the content, and stay a pipe."""
    publish(tmp_path / "tree", plan(1))
    place = tmp_path / "tree" / os.fsdecode(path(0))
    place.unlink()
    os.mkfifo(place)
    reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(OSError, match="No such device"):
            publish(tmp_path / "tree", plan(1))
        assert not os.read(reader, 1)
    finally:
        os.close(reader)
    publish(tmp_path / "tree", replacing(0))
    assert stat.S_ISREG(os.lstat(place).st_mode)


def test_planning_costs_what_changes_and_little_for_what_does_not() -> None:
    """Of a directory's thousand files ten changed: the others are compared all at once."""
    before = {b"file%04d" % number: TreeEntry(FILE, blob(b"%d" % number)) for number in range(1000)}
    after = before | {name: TreeEntry(FILE, blob(b"changed")) for name in list(before)[::100]}
    trees = {b"1" * 40: serialize_entries(before), b"2" * 40: serialize_entries(after)}
    calls = count_calls(lambda: plan_change(trees.__getitem__, trees.__getitem__, b"1" * 40, b"2" * 40))
    assert calls["_PlanDraft.add"] == 10
    assert calls.total() <= 10 * MOST_CALLS_PER_CHANGE, calls.most_common(10)


def test_the_collector_of_garbage_does_not_look_at_what_the_imports_left() -> None:
    """A push of many files would wait for that, now and then: it makes many objects, and none of them is garbage."""
    code = (
        "import gc; from handler.mount.publisher import LocalPublisher; from handler.settings import Settings; "
        "LocalPublisher(Settings(parameter_prefix='/p', mount='/m'), progress=print); print(len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000


def test_no_collector_runs_during_a_push(service: Service, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be woken by each thousand of objects, and find no garbage."""
    seen: list[bool] = []

    def noting(*arguments: Any, **named: Any) -> Counts:
        seen.append(gc.isenabled())
        return check_out(*arguments, **named)

    monkeypatch.setattr(build, "check_out", noting)
    service.put_repository()
    upstream.commit({"file": b"one"})
    assert service.push(upstream).status == 200
    assert seen == [False]
    assert gc.isenabled()


def test_what_a_fetch_brings_is_inflated_once() -> None:
    """Also its deltas, and what they build on: to be indexed, and to be published."""
    base = b"what the files share\n" * 40
    contents = [base, *(base[:800] + b"%03d" % number for number in range(FILES))]
    records = [whole(base)]
    for each in contents[1:]:
        changes = delta(len(base), len(each), each[-3:])
        records.append(record(7, len(changes), bytes.fromhex(blob(base).decode()) + zlib.compress(changes)))
    objects, received = Objects(), PackData("received", SHA1, file=io.BytesIO(pack(records)))

    def fetch_and_read() -> None:
        index_entries(received, objects.read_raw, objects.fresh, 10_000)
        assert all(objects.read(blob(each), BLOB) == each for each in contents)

    assert count_calls(fetch_and_read)["inflate_parts"] == len(contents)


def test_a_working_copys_file_takes_five_system_calls(tmp_path: Path) -> None:
    """It is staged, renamed to its place, and looked at for the index: a rename changes the ctime."""
    (tmp_path / "staging").mkdir()
    with Worktree.opened(str(tmp_path), str(tmp_path / "staging")) as worktree:
        calls = count_calls(
            lambda: [worktree.write_file(b"%d" % number, CONTENT, is_executable=False) for number in range(FILES)]
        )
    done = {name: count for name, count in system_calls(calls).items() if count}
    assert done == {"open": 1, "write": 1, "close": 1, "rename": 1, "stat": 1}


def test_a_pull_reads_no_tree_a_second_time() -> None:
    """What differs is known when it is checked."""
    objects = Objects()
    commits = []
    for changed in (0, 1):
        names = {b"file%d" % number: TreeEntry(FILE, blob(b"%d" % (number + changed))) for number in range(3)}
        tree, commit = serialize_entries(names), b"tree %b\n\n"
        objects.fresh[hash_object(TREE, tree)] = TREE, tree
        commit %= hash_object(TREE, tree)
        objects.fresh[hash_object(COMMIT, commit)] = COMMIT, commit
        commits.append(hash_object(COMMIT, commit).decode())
    for number in range(4):
        objects.fresh[blob(b"%d" % number)] = BLOB, b"%d" % number
    difference = diff_trees(partial(objects.read, kind=TREE), *map(objects.tree_of, commits))
    check = partial(check_checkout, objects, difference, *commits, max_bytes=10_000, allow_external_links=False)
    assert len(difference.entries) == 3
    assert not count_calls(check)["Objects.read"]
