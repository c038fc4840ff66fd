"""Carry out a tree's plan in a staging directory that nobody else looks at: in turn, or many steps at a time.

A plan that was broken off is finished by the next run.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from handler.model import FileWrite, LinkWrite, TreePlan
from handler.mount.fs.byte_budget import ByteBudget, is_waiting_long
from handler.mount.fs.checkpoint import WORTH_FILES, Checkpoint
from handler.mount.fs.directories import DirectoryHandles
from handler.mount.fs.steps import (
    Item,
    ancestors_of_changes,
    make_directories,
    remove_directories,
    remove_files,
    touch,
    write,
)

Work = Callable[[DirectoryHandles, Sequence[Item]], int]
Level = list[Sequence[Item]]
"""Items in chunks that may be done in any order, each chunk by one worker."""
Report = Callable[[int], None]
Phase = tuple[Work, list[Level], Report | None]
"""What to do, level after level, and whom to tell how many items of a level are done."""

Opened = Callable[[], DirectoryHandles]
"""Opens the root, for one worker."""

_CHUNK = 32
"""Files that one worker writes in one directory at a time; creates in one directory wait for each other on NFS."""
_REPORT = 1000
"""Items between two reports, where one worker does them all."""
_FEW = 64
"""Of so few steps none is spent on finding out whether the mount is slow: the caller's word is taken."""
_PROBE = 4
"""Steps that it takes to find out."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a check-out wrote."""

    files: int
    bytes: int


def check_out(
    root: str,
    plan: TreePlan,
    *,
    read_blob: Callable[[bytes], bytes],
    workers: int,
    is_slow: bool,
    journal: str,
    progress: Callable[[int, int], None],
) -> Written:
    """Bring the directory `root` to the plan's tree, with `workers` where waiting for the mount is worth hiding.

    `is_slow` is what the caller knows of the mount; where there is much to do, it is found out by doing some of it.
    `read_blob(blob id)` gives a file's content and is called from several threads. `journal` is where a long check-out
    writes down how far it came: begun again with the same plan after it broke off, it goes on from there.
    `progress(done, total)` is told how many files and links are written, now and then; what it raises ends the
    check-out. Raises OSError and what `read_blob` raises; `root` is then unfinished, and to be finished or thrown away.
    """
    total = len(plan.files) + len(plan.links)
    writes = chunks([*plan.files, *plan.links])
    flow = ByteBudget(read_blob)
    with _reporting(journal, writes, total, progress) as (todo, report):
        phases: list[Phase] = [
            (remove_files, [chunks(plan.removed_files)], None),
            (remove_directories, by_depth(plan.removed_directories, deepest_first=True), None),
            (make_directories, by_depth(plan.made_directories), None),
            (partial(write, flow=flow), [todo], report),
            (touch, by_depth(ancestors_of_changes(plan), deepest_first=True), None),
        ]
        return Written(total, carry_out(root, phases, workers, is_slow=is_slow, share=flow.share))


def carry_out(
    root: str,
    phases: Sequence[Phase],
    workers: int,
    *,
    is_slow: bool,
    share: Callable[[], None] = lambda: None,
    asks_server: bool = False,
) -> int:
    """Do the phases' work below `root`, one phase and one level after the other; returns the sum of what it returns.

    With `workers` at a time where waiting for the mount is worth hiding; see `check_out`. To find that out, the first
    few items may be worked on twice. `share()` is called before several threads begin. `asks_server` is for
    `DirectoryHandles`. Raises what the work raises, the first failure; then no further work is begun.
    """
    opened = partial(DirectoryHandles, root, asks_server=asks_server)
    phases = [(work, [level for level in levels if level], report) for work, levels, report in phases]
    if workers == 1 or not _is_waiting_worth_hiding(opened, phases, is_slow=is_slow):
        return _one_by_one(opened, phases)
    share()
    return _side_by_side(opened, phases, workers)


@contextmanager
def _reporting(
    path: str, writes: Level, total: int, progress: Callable[[int, int], None]
) -> Iterator[tuple[Level, Report]]:
    """Give what is still to be written, and whom to tell how many items of that are done; keep the journal of it."""
    if total < WORTH_FILES:
        yield writes, lambda done: progress(done, total)
        return
    journal = Checkpoint(path)
    done_before, skipped = journal.begin(write for chunk in writes for write in _writes(chunk)), 0
    first = 0
    while first < len(writes) and skipped + len(writes[first]) <= done_before:
        skipped += len(writes[first])
        first += 1
    done = skipped

    def report(count: int) -> None:
        nonlocal done
        done = skipped + count
        journal.note(done)
        progress(done, total)

    try:
        yield writes[first:], report
    except BaseException:
        with suppress(OSError):
            journal.save(done)
        raise
    journal.end()


def _one_by_one(opened: Opened, phases: Sequence[Phase]) -> int:
    """Take every step in turn, and add up what the work returns."""
    result = 0
    with opened() as directories:
        for work, levels, report in phases:
            for level in levels:
                done = reported = 0
                for chunk in level:
                    result += work(directories, chunk)
                    done += len(chunk)
                    if report is not None and (done - reported >= _REPORT or chunk is level[-1]):
                        report(done)
                        reported = done
    return result


def _side_by_side(opened: Opened, phases: Sequence[Phase], workers: int) -> int:
    """Take the steps of a level with so many workers. The first failure ends it, and is raised."""
    result = 0
    with ThreadPoolExecutor(workers, thread_name_prefix="checkout") as pool:
        for work, levels, report in phases:
            for level in levels:
                futures = [pool.submit(_with_directories, opened, work, chunk) for chunk in level]
                done = 0
                try:
                    for chunk, future in zip(level, futures, strict=True):
                        result += future.result()
                        done += len(chunk)
                        if report is not None:
                            report(done)
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
    return result


def _is_waiting_worth_hiding(opened: Opened, phases: Sequence[Phase], *, is_slow: bool) -> bool:
    """Tell whether the mount makes each step wait; where there are many, by doing the first few of them.

    They are done again with the rest: each step may be.
    """
    sizes = [sum(map(len, level)) for _, levels, _ in phases for level in levels]
    if max(sizes, default=0) <= 1:
        return False
    if sum(sizes) <= _FEW:
        return is_slow
    work, first = next((work, levels[0][0]) for work, levels, _ in phases if levels)
    steps = first[:_PROBE]
    return is_waiting_long(lambda: _with_directories(opened, work, steps), len(steps))


def by_depth(paths: Iterable[bytes], *, deepest_first: bool = False) -> list[Level]:
    """Part directories by their depth: those of one level may be done side by side."""
    depths: defaultdict[int, list[bytes]] = defaultdict(list)
    for path in paths:
        depths[path.count(b"/")].append(path)
    return [chunks(depths[depth]) for depth in sorted(depths, reverse=deepest_first)]


def _with_directories(opened: Opened, work: Work, chunk: Sequence[Item]) -> int:
    with opened() as directories:
        return work(directories, chunk)


def chunks(items: Sequence[Item]) -> Level:
    """Cut the items into chunks of one directory each, and take the directories in turn.

    Neighbouring chunks are of different directories, because an NFS client does the creates of one directory one
    after the other.
    """
    size = _CHUNK if len(items) > _FEW else 1
    by_directory: defaultdict[bytes, list[Item]] = defaultdict(list)
    for item in items:
        path = item if isinstance(item, bytes) else item.path
        by_directory[path.rpartition(b"/")[0]].append(item)
    queues, at = list(by_directory.values()), 0
    level: Level = []
    while queues:
        level += [queue[at : at + size] for queue in queues]
        at += size
        queues = [queue for queue in queues if len(queue) > at]
    return level


def _writes(chunk: Sequence[Item]) -> Iterator[FileWrite | LinkWrite]:
    for item in chunk:
        assert not isinstance(item, bytes)
        yield item
