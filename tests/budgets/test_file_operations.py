"""What a push costs: file operations on the mount, counted and held to a bound, whatever the tree weighs.

On a network file system each is a round trip. The counter sees what the code asks of the operating system by name;
closing what was only read, and the status of an open file, cost nothing there and are not counted.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.repositories import Entry, Upstream
from testing.service import Service

PUSHES = 14
"""Two merges of packs are among them."""
STEADY_AFTER = 4
"""So many pushes until there is a release to recycle, and it differs by two pushes of one file."""
MOST = 43
MOST_FIRST_PER_FILE = 3.2
INSIDE = 8
MOST_CHANGES_OUTSIDE = 12

Log = list[str]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, parameter_store: ParameterStore) -> dict[int, list[Log]]:
    """Return the operations of each of a row of one-file pushes, to a tree of 200 files and to one of 2,000."""
    return {files: _operations(tmp_path_factory.mktemp("costs"), parameter_store, files) for files in (200, 2000)}


@pytest.fixture(scope="module")
def part_logs(tmp_path_factory: pytest.TempPathFactory, parameter_store: ParameterStore) -> list[Log]:
    """Return the operations of pushes where one directory of 200 files is published: INSIDE it first, then outside."""
    rules = [{"ref": "refs/heads/main", "subdirectory": "area0"}]
    changed = [*range(8, 8 * INSIDE + 1, 8), 1, 2, 3, 4, 5]
    return _operations(tmp_path_factory.mktemp("part"), parameter_store, 200, changed, publish=rules)


def _operations(
    place: Path, store: ParameterStore, files: int, changed: Sequence[int] = range(1, PUSHES + 1), **parameter: object
) -> list[Log]:
    (place / "origin").mkdir()
    with GitOrigin(place / "origin") as origin:
        upstream = Upstream(origin.root)
        upstream.commit({_path(number, files): b"%d" % number for number in range(files)})
        service = Service(place / "mount", store, origin)
        service.mount.mkdir()
        service.put_secret(service.secret)
        service.put_repository(upstream.full_name, grace_seconds=0, **parameter)
        counts = place / "counts"
        process = service.process(entry="tests.budgets.counted", extra={"GIT2EFS_TEST_COUNTS": str(counts)})
        with process.wait_until_ready():
            for number in (0, *changed):
                if number:
                    change: dict[str, Entry | None] = {_path(number, files): b"changed in %d" % number}
                    upstream.commit(change)
                assert process.send(service.push_request(upstream)).status == 200
        return [json.loads(line) for line in counts.read_text().splitlines()]


def _path(number: int, files: int) -> str:
    """Spread the files over directories two deep; the first ones have the same path in trees of any size."""
    return f"area{number % 8}/part{number // 8 % (files // 200)}/file{number}"


def _show(log: Log) -> str:
    return f"{len(log)} operations:\n" + "\n".join(log)


def test_a_push_of_one_file_stays_within_its_bound(logs: dict[int, list[Log]]) -> None:
    """In steady state, four times of five: the fifth push merges packs too."""
    for pushes in logs.values():
        steady = sorted(pushes[STEADY_AFTER:], key=len)
        typical = steady[len(steady) // 2]
        assert len(typical) <= MOST, _show(typical)


def test_a_push_to_a_subdirectory_costs_what_it_costs_without(logs: dict[int, list[Log]], part_logs: list[Log]) -> None:
    """Inside of it; outside, it only brings the objects, and says that they were looked at."""
    inside, whole = (sorted(pushes[STEADY_AFTER : INSIDE + 1], key=len) for pushes in (part_logs, logs[200]))
    part, same = inside[len(inside) // 2], whole[len(whole) // 2]
    assert abs(len(part) - len(same)) <= 6, f"{_show(part)}\n\nagainst {_show(same)}"
    outside = sorted(part_logs[INSIDE + 1 :], key=len)[2]
    changes = [line for line in outside if line.split()[0] in ("create", "write", "close", "rename", "utime")]
    # The lock is closed, too, which changes nothing.
    assert len(changes) - 1 <= MOST_CHANGES_OUTSIDE, _show(outside)
    assert len(outside) <= len(same) / 2, _show(outside)


def test_what_a_push_costs_does_not_grow_with_the_tree(logs: dict[int, list[Log]]) -> None:
    """Push by push the same, in ten times as many files; those that merge packs too."""
    for small, large in zip(logs[200][STEADY_AFTER:], logs[2000][STEADY_AFTER:], strict=True):
        assert abs(len(small) - len(large)) <= 3, f"{_show(small)}\n\nagainst {_show(large)}"


def test_a_push_of_one_file_creates_and_renames_only_a_handful(logs: dict[int, list[Log]]) -> None:
    """The dearest kinds: two files (the recycled release is two pushes old), pack, index, record; four renames."""
    for pushes in logs.values():
        steady = sorted(pushes[STEADY_AFTER:], key=len)
        kinds = Counter(line.split()[0] for line in steady[len(steady) // 2])
        # The lock's file is opened with O_CREAT, and there already.
        assert kinds["create"] <= 6, kinds
        assert kinds["rename"] <= 5, kinds
        assert kinds["symlink"] == 1


def test_a_first_publish_costs_a_create_a_write_and_a_close_a_file(logs: dict[int, list[Log]]) -> None:
    """No look, no chmod, no rename for each; directories and the mirror come on top."""
    for files, pushes in logs.items():
        kinds = Counter(line.split()[0] for line in pushes[0])
        modifying = sum(kinds[kind] for kind in ("create", "write", "close", "chmod", "rename", "remove"))
        assert modifying <= 3 * files + 30, kinds
        # The directories above others are touched, for whoever has walked through staging.
        assert kinds["utime"] <= 1 + kinds["mkdir"], kinds
    growth = (len(logs[2000][0]) - len(logs[200][0])) / 1800
    assert growth <= MOST_FIRST_PER_FILE
