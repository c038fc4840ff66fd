"""What a push to a working copy costs: file operations on the mount, the same whatever the tree weighs.

Counted as in `test_file_operations`. The copy is one that lies there for a while: its files are older than its index,
so that none has to be read to see that nobody changed it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.process import PROJECT
from testing.repositories import Entry, Upstream, run_git
from testing.service import Service

SIZES = (100, 1_000, 3_000)
PUSHES = 8
"""Packs are merged at one of them."""
WARM_AFTER = 2
"""The push that makes the copy, and the first one to it."""
LARGE = 41
"""Files that the last push changes."""
MOST = 100
MOST_MERGING = 135
"""Where packs are merged too, which are removed one by one."""
MOST_PER_FILE = 6
MOST_PER_DIRECTORY = 2
"""Each directory is opened to look at what is in it, and again to write."""

Log = list[str]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, parameter_store: ParameterStore) -> dict[int, list[Log]]:
    """Return the operations of each push, by the size of the tree."""
    place = tmp_path_factory.mktemp("costs")
    (place / "origin").mkdir()
    with GitOrigin(place / "origin") as origin:
        service = Service(place / "mount", parameter_store, origin)
        service.mount.mkdir()
        service.put_secret(service.secret)
        upstreams = [Upstream(origin.root, f"octo/files{files}") for files in SIZES]
        for files, upstream in zip(SIZES, upstreams, strict=True):
            upstream.commit({_path(number): b"%d" % number for number in range(files)})
            service.put_repository(upstream.full_name, publish=[{"mode": "working-copy"}])
        counts = place / "counts"
        process = service.process(entry="tests.budgets.counted", extra={"GIT2EFS_TEST_COUNTS": str(counts)})
        with process.wait_until_ready():
            for upstream in upstreams:
                for number in _pushes(upstream):
                    assert process.send(service.push_request(upstream)).status == 200
                    _age(service.mount / upstream.full_name / "main", number)
        lines = [json.loads(line) for line in counts.read_text().splitlines()]
        return {files: lines[at * (PUSHES + 1) : (at + 1) * (PUSHES + 1)] for at, files in enumerate(SIZES)}


def _pushes(upstream: Upstream) -> Iterator[int]:
    """Yield for each push after it was made upstream: the first one, then such of one file, then one of many."""
    yield 0
    for number in range(1, PUSHES + 1):
        change: dict[str, Entry | None] = {_path(each): b"%d in %d" % (each, number) for each in _changed_by(number)}
        upstream.commit(change)
        yield number


def _changed_by(number: int) -> range:
    """Return the files that a push changes."""
    return range(LARGE) if number == PUSHES else range(number, number + 1)


def _path(number: int) -> str:
    """Spread the files over directories two deep, 50 in each; the first ones have the same path in every tree."""
    return f"area{number // 200}/part{number // 50}/file{number}"


def _age(copy: Path, number: int) -> None:
    """Let the files that a push wrote be of the past, and git's index know it."""
    then = time.time() - 3600 + number
    changed = _changed_by(number) if number else range(sum(1 for _ in copy.glob("area*/part*/*")))
    for each in changed:
        os.utime(copy / _path(each), (then, then))
    run_git("update-index", "-q", "--refresh", directory=copy)


def _show(log: Log) -> str:
    return f"{len(log)} operations:\n" + "\n".join(log)


@pytest.mark.parametrize("files", SIZES)
def test_a_push_of_one_file_stays_within_its_bound(logs: dict[int, list[Log]], files: int) -> None:
    """All but the one that merges packs, which has a bound of its own."""
    steady = sorted(logs[files][WARM_AFTER:-1], key=len)
    assert len(steady[-2]) <= MOST, _show(steady[-2])
    assert len(steady[-1]) <= MOST_MERGING, _show(steady[-1])


def test_what_a_push_costs_does_not_grow_with_the_tree(logs: dict[int, list[Log]]) -> None:
    """Push by push exactly the same, in thirty times as many files."""
    smallest, *larger = SIZES
    for files in larger:
        for small, large in zip(logs[smallest][WARM_AFTER:], logs[files][WARM_AFTER:], strict=True):
            assert len(small) == len(large), f"{_show(small)}\n\nagainst {_show(large)}"


@pytest.mark.parametrize("files", SIZES)
def test_each_further_file_costs_six_operations(logs: dict[int, list[Log]], files: int) -> None:
    """Look, make, write, close, rename, look: what a file costs where it is put in its place whole."""
    one, many = logs[files][-2:]
    assert len(many) - len(one) <= MOST_PER_FILE * (LARGE - 1) + MOST_PER_DIRECTORY * 2, _show(many)


def test_a_push_of_one_file_makes_only_what_it_has_to(logs: dict[int, list[Log]]) -> None:
    """Pack and its index, journal, file, index, three refs, record; the lock and three logs are there already."""
    log = logs[1_000][-2]
    kinds = [line.split()[0] for line in log]
    assert kinds.count("rename") <= 9, _show(log)
    assert kinds.count("create") <= 13, _show(log)
    assert kinds.count("symlink") <= 3, _show(log)
    assert kinds.count("remove") <= 4, _show(log)


WORKING_COPIES = (
    "working_copy",
    "git.repository",
    "git.index",
    "git.merging",
    "git.replaying",
    "efs.worktree",
    "efs.crew",
)


def test_who_publishes_releases_loads_nothing_of_working_copies() -> None:
    """Not to read an entry point's modules in, and not to publish either."""
    code = "import sys, handler.webhook, handler.network.deliver, handler.worker, handler.mount.releases.publish; "
    code += "print(*(name for name in sys.modules if name.startswith('handler.')))"
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert "handler.mount.releases.publish" in loaded
    assert [name for name in loaded if name.removeprefix("handler.").startswith(WORKING_COPIES)] == []
