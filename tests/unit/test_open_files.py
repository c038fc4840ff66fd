"""Descriptors: one budget for the process, whatever the number of check-outs and the depth of their trees."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.errors import MountUnavailable, TooManyOpenFiles
from handler.mount.fs.directories import DESCRIPTORS_PER_WORKER, DirectoryHandles, remove_tree
from handler.mount.fs.errno_map import from_errno
from handler.mount.fs.parallel import OpenFiles
from testing import selection

_TEN_DEEP_CHECK_OUTS = """
import resource, sys, threading
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
from handler.mount.fs import parallel
from handler.mount.fs.checkout import check_out
from handler.mount.fs.plan import FileWrite, TreePlan

parallel._SLOW_STEP_SECONDS = 0.0  # threads, as on a network file system
levels, branches, failures = int(sys.argv[2]), 6, []
paths = [b"%d" % branch + b"/d" * level for branch in range(branches) for level in range(levels)]
files = tuple(FileWrite(path + b"/f", b"1" * 40, False, False) for path in paths if path.count(b"/") > levels - 4)
plan = TreePlan(made_directories=tuple(sorted(paths)), files=files)

def publish(number):
    root = f"{sys.argv[1]}/{number}"
    try:
        workers = parallel.Workers(32, is_slow=True)
        check_out(root, plan, workers, read_blob=lambda blob: b"x", journal=root + ".j", progress=lambda *_: None)
    except BaseException as error:
        failures.append(repr(error))

threads = [threading.Thread(target=publish, args=(number,)) for number in range(10)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(*set(failures) or ["fine"])
"""


def test_ten_repositories_at_once_with_deep_trees_within_1024_descriptors(tmp_path: Path) -> None:
    """As many as Lambda allows. Before, each thread held a descriptor for each level."""
    for number in range(10):
        (tmp_path / str(number)).mkdir()
    levels = selection.count(62, 24, long_run=200)
    command = [sys.executable, "-c", _TEN_DEEP_CHECK_OUTS, str(tmp_path), str(levels)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "fine"
    deepest = tmp_path.joinpath("9", "5", *["d"] * (levels - 1), "f")
    assert deepest.read_bytes() == b"x"


@settings(deadline=None, max_examples=30)
@given(paths=st.lists(st.lists(st.sampled_from([b"a", b"b"]), max_size=30), max_size=12))
def test_handles_find_every_directory_in_any_order_with_eight_descriptors(
    tmp_path_factory: pytest.TempPathFactory, paths: list[list[bytes]]
) -> None:
    """Also where the directories on the way were closed meanwhile."""
    root = tmp_path_factory.mktemp("tree")
    for parts in paths:
        os.makedirs(b"/".join([os.fsencode(root), *parts]), exist_ok=True)
    before = len(os.listdir("/proc/self/fd"))
    with DirectoryHandles(str(root)) as handles:
        for parts in paths:
            found = os.fstat(handles.descriptor(b"/".join(parts)))
            assert os.path.samestat(found, os.stat(b"/".join([os.fsencode(root), *parts])))
            assert len(os.listdir("/proc/self/fd")) - before <= 8
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_no_descriptor_left_is_not_the_mounts_fault(code: int) -> None:
    """An operator would look for the fault at EFS."""
    failure = from_errno(OSError(code, os.strerror(code)))
    assert isinstance(failure, TooManyOpenFiles)
    assert (failure.status, failure.reason, failure.is_transient) == (503, "too_many_open_files", True)
    assert isinstance(from_errno(OSError(errno.EIO, "")), MountUnavailable)


def test_threads_wait_for_their_share() -> None:
    """No more than the limit are at work, each gets its turn, and below one share one thread works all the same."""
    for limit, most in ((3 * DESCRIPTORS_PER_WORKER, 3), (1, 1)):
        budget, lock, at_work, peaks = OpenFiles(limit), threading.Lock(), 0, [0]

        def work(budget: OpenFiles = budget, lock: threading.Lock = lock, peaks: list[int] = peaks) -> None:
            nonlocal at_work
            with budget.share():
                with lock:
                    at_work += 1
                    peaks.append(at_work)
                with lock:
                    at_work -= 1

        threads = [threading.Thread(target=work) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(peaks) == 21
        assert max(peaks) <= most


def _nest(directory: Path, levels: int, name: str, *, files: bool = True) -> None:
    """Nest directories by descriptors: the path may become longer than a path may be."""
    descriptor = os.open(directory, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
        if files:
            os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
            os.symlink("/etc", "link", dir_fd=descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(("levels", "name"), [(1, "d"), (4, "d"), (9, "d"), (1200, "d"), (1200, "long" * 50)])
def test_a_deep_tree_is_removed_with_few_descriptors(tmp_path: Path, levels: int, name: str) -> None:
    """1,200 nested directories: deeper than Python recurses, and longer than a path may be."""
    (tmp_path / "tree").mkdir()
    for each in (name, "beside" + name[:3]):
        _nest(tmp_path / "tree", levels, each)
    before, peak = len(os.listdir("/proc/self/fd")), 0
    unlink = os.unlink

    def watched(*arguments: object, **options: object) -> None:
        nonlocal peak
        peak = max(peak, len(os.listdir("/proc/self/fd")))
        unlink(*arguments, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "unlink", watched)
        remove_tree(str(tmp_path / "tree"))
    assert list(tmp_path.iterdir()) == []
    assert peak - before <= 5
    assert Path("/etc/passwd").exists()
