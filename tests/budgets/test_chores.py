"""What comparing a tree costs: calls a file, memory whatever the tree weighs, and no more than its bytes."""

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from handler.mount.fs.parallel import Workers
from handler.mount.fs.plan import FileWrite, TreePlan
from handler.mount.releases.verify import Drift, Part, compare, parts_of
from testing.process import PROJECT

MOST_CALLS_PER_FILE = 3
MIB = 1024 * 1024

COUNT = """
import json, os, sys
from handler.mount.fs.parallel import Workers
from handler.mount.releases.verify import compare
from tests.budgets.test_chores import parts
from tests.crash.operations import Operations, Stop
root, files, workers, is_slow = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "slow"
todo = parts(files)
operations = Operations(root, Stop(), say=print)
operations.install()
for part in todo:
    assert not compare(root, part, Workers(workers, is_slow=is_slow), now=0.0)
print(json.dumps([len(operations.modifying), operations.reading]))
"""


CONTENT = b"content\n" * 20


def path(number: int) -> bytes:
    """Return the path of a file: 25 in a directory, two deep."""
    directory = number // 25
    return b"area%d/part%d/file%d" % (directory % 20, directory // 20, number)


def plan(files: int) -> TreePlan:
    """Return the plan of a tree of so many files from nothing."""
    paths = [path(number) for number in range(files)]
    inner = dict.fromkeys(each.rpartition(b"/")[0] for each in paths)
    outer = dict.fromkeys(each.partition(b"/")[0] for each in inner)
    writes = tuple(FileWrite(each, blob(CONTENT), False, False) for each in paths)
    return TreePlan(made_directories=(*outer, *inner), files=writes)


def parts(files: int) -> list[Part]:
    """Return the parts of such a tree."""
    return parts_of(plan(files))


def blob(text: bytes) -> bytes:
    """Return a blob's id."""
    return hashlib.sha1(b"blob %d\0%b" % (len(text), text)).hexdigest().encode()


def write_tree(root: Path, files: int) -> None:
    """Write such a tree: one file under many names, which is faster."""
    root.mkdir(mode=0o755)
    first = os.fsencode(root.parent / "first")
    Path(os.fsdecode(first)).write_bytes(CONTENT)
    os.chmod(first, 0o644)
    for directory in plan(files).made_directories:
        os.makedirs(os.path.join(os.fsencode(root), directory), mode=0o755, exist_ok=True)
    for number in range(files):
        os.link(first, os.path.join(os.fsencode(root), path(number)))


@pytest.mark.parametrize("manner", ["fast", "slow"])
def test_a_file_costs_an_open_and_a_read_and_nothing_is_modified(tmp_path: Path, manner: str) -> None:
    """And a close, which is not counted; what its directory costs is shared by all in it."""
    files, root = 1000, tmp_path / "tree"
    write_tree(root, files)
    arguments = [sys.executable, "-c", COUNT, os.fspath(root), str(files), "8", manner]
    told = subprocess.run(arguments, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    modified, reading = json.loads(told)
    assert modified == 0
    assert len(reading) <= MOST_CALLS_PER_FILE * files, len(reading) / files
    assert sum(call.startswith("os.read ") for call in reading) <= files + 8
    assert not [call for call in reading if call.startswith(("os.stat", "os.lstat"))]


def test_what_a_comparison_holds_in_memory_does_not_grow_with_the_tree(tmp_path: Path) -> None:
    """50,000 files in parts; what is held is one part, whatever is found."""
    files, root = 50_000, tmp_path / "tree"
    write_tree(root, files)
    for number in range(0, files, 10):
        os.unlink(os.path.join(os.fsencode(root), path(number)))
    todo = parts(files)
    assert len(todo) > 10
    missing, peaks = 0, []
    tracemalloc.start()
    for part in todo:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        drift = compare(os.fspath(root), part, Workers(1, is_slow=False), now=0.0)
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
        missing += len(drift.missing)
    tracemalloc.stop()
    assert missing == files / 10
    assert max(peaks) < 8 * MIB


def test_a_large_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    """Its size is not held in memory, and the end of the time is seen in the middle of it."""
    size, root = 200 * MIB, tmp_path / "tree"
    root.mkdir(mode=0o755)
    with (root / "large").open("wb") as file:
        file.truncate(size)
    digest = hashlib.sha1(b"blob %d\0" % size)
    for _ in range(200):
        digest.update(bytes(MIB))
    large = FileWrite(b"large", digest.hexdigest().encode(), False, False)
    (part,) = parts_of(TreePlan(files=(large,)))
    tracemalloc.start()
    assert compare(os.fspath(root), part, Workers(4, is_slow=True), now=0.0) == Drift()
    assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    tracemalloc.stop()
    pulses = 0

    def pulse() -> None:
        nonlocal pulses
        pulses += 1
        if pulses > 20:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        compare(os.fspath(root), part, Workers(4, is_slow=True), now=0.0, check=pulse)
    assert pulses < 40
