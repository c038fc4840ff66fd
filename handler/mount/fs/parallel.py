"""Parallel execution, where the mount is slow: `Workers` for work on many items, an `Executor` for single steps.

Over NFS each call waits for a round trip, and threads hide that wait. On a local disk a call takes some tens of
microseconds, and threads that take turns only cost time.
"""

import resource
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, NamedTuple, Self, TypeVar

from handler.mount.fs.directories import DESCRIPTORS_PER_WORKER
from handler.mount.fs.plan import FileWrite, LinkWrite

Item = bytes | FileWrite | LinkWrite
"""A path, or what to write at one."""

Handle = TypeVar("Handle")
"""What one thread holds open for a task: `DirectoryHandles`, a `Worktree`."""
AnyItem = TypeVar("AnyItem", bound=Item)
Argument = TypeVar("Argument")
Result = TypeVar("Result")
Task = Callable[[Handle, Sequence[AnyItem]], int]
Open = Callable[[], AbstractContextManager[Handle]]

FEW = 64
"""Up to so many steps are not worth a probe: the caller's `is_slow` decides."""
_BATCH = 32
_PROBE = 4
"""Steps that a probe takes."""
_PROGRESS_STEPS = 1000
"""Steps between two reports of progress where one thread does them all."""
_SLOW_STEP_SECONDS = 0.001
_STEP_THREADS = 4


class OpenFiles:
    """The descriptors that this process may hold open for check-outs and comparisons, all repositories together.

    A thread of a pool waits for its share before it opens anything, and asks for no second one, so that none waits for
    ever. Safe for threads.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    def limit_to(self, limit: int) -> None:
        """Allow so many, and less where the operating system allows this process less."""
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if allowed != resource.RLIM_INFINITY:
            # The rest is for what is not counted: sockets, packs, and each run's first thread, which never waits.
            limit = min(limit, allowed * 5 // 8)
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    @contextmanager
    def share(self) -> Iterator[None]:
        """Hold one thread's share until the block ends; wait until there is one."""
        with self._changed:
            # However low the limit is, one thread works.
            self._changed.wait_for(lambda: not self._used or self._used + DESCRIPTORS_PER_WORKER <= self._limit)
            self._used += DESCRIPTORS_PER_WORKER
        try:
            yield
        finally:
            with self._changed:
                self._used -= DESCRIPTORS_PER_WORKER
                self._changed.notify()


OPEN_FILES = OpenFiles(limit=640)
"""One for the process, as the operating system's limit is: each repository has threads of its own."""


class Stage(NamedTuple, Generic[Handle, AnyItem]):
    """One task for many items, in levels: a level begins when every batch of the one before it has ended.

    The batches of a level run in any order, each in one thread. `task(handle, batch)` returns a number to be summed,
    bytes written say; it may be called twice for the same items, and must then have the same effect.
    `on_progress(count)` hears, in the caller's thread, how many items of the level are done.
    """

    task: Task[Handle, AnyItem]
    levels: Sequence[Sequence[Sequence[AnyItem]]]
    on_progress: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class Workers:
    """`count` threads for long work, if a probe finds the mount slow; `is_slow` decides for short work."""

    count: int = 1
    is_slow: bool = False

    def run(
        self,
        open_handle: Open[Handle],
        stages: Sequence[Stage[Handle, Any]],
        *,
        before_threads: Callable[[], None] = lambda: None,
    ) -> int:
        """Run the stages in order, and return the sum of what their tasks return.

        `open_handle()` opens what a task works with, once for the whole run or once for each batch in a thread.
        `before_threads()` is called before the first thread starts. Raises the first failure of a task; no batch is
        begun after it.
        """
        if self.count == 1 or not self._are_threads_worth_it(open_handle, stages):
            return _run_in_turn(open_handle, stages)
        # The probe ran in this thread alone: what threads share is set up only now.
        before_threads()
        return self._run_in_threads(open_handle, stages)

    def map(self, function: Callable[[Argument], Result], items: Iterable[Argument]) -> list[Result]:
        """Call `function` for each item in `count` threads, however fast the mount is; return the results in order.

        Raises the first failure; no call is begun after it.
        """
        with _threads(self.count) as pool:
            return list(pool.map(partial(_with_share, function), items))

    def stay_alone(self, sizes: Sequence[int]) -> bool:
        """Whether levels of these sizes are run in turn whatever a probe would find."""
        return self.count == 1 or max(sizes, default=0) <= 1 or (sum(sizes) <= FEW and not self.is_slow)

    def _are_threads_worth_it(self, open_handle: Open[Handle], stages: Sequence[Stage[Handle, Any]]) -> bool:
        """Tell whether each step waits for the mount; where there are many, by a probe of the first few."""
        levels = [(stage.task, level) for stage in stages for level in stage.levels if level]
        sizes = [sum(map(len, level)) for _, level in levels]
        if self.stay_alone(sizes):
            return False
        if sum(sizes) <= FEW:
            return True
        # The probe's steps are not taken off the stages: a task may be repeated, and a level stays whole.
        task, level = levels[0]
        probe = level[0][:_PROBE]
        return is_worth_threads(lambda: _run_batch(open_handle, task, probe), len(probe))

    def _run_in_threads(self, open_handle: Open[Handle], stages: Sequence[Stage[Handle, Any]]) -> int:
        total = 0
        with _threads(self.count) as pool:
            for stage in stages:
                for level in stage.levels:
                    # A level ends before the next one begins: a directory must exist before what lies in it.
                    done = 0
                    run = partial(_with_share, partial(_run_batch, open_handle, stage.task))
                    for batch, result in zip(level, pool.map(run, level), strict=True):
                        total += result
                        done += len(batch)
                        if stage.on_progress is not None:
                            stage.on_progress(done)
        return total


SEQUENTIAL = Workers()


def is_worth_threads(work: Callable[[], object], steps: int) -> bool:
    """Do the work, of so many calls to the mount, and tell whether each took long enough for threads to hide it."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started >= steps * _SLOW_STEP_SECONDS


def batches(items: Sequence[AnyItem]) -> list[Sequence[AnyItem]]:
    """Cut items into batches of one directory each; neighbouring batches are of different directories.

    An NFS client creates the files of one directory one after the other, so that two threads in it would wait for
    each other.
    """
    # Few items are spread over all threads, one each; of many, a batch saves opening its directory for each of them.
    size = _BATCH if len(items) > FEW else 1
    by_directory: defaultdict[bytes, list[AnyItem]] = defaultdict(list)
    for item in items:
        by_directory[path_of(item).rpartition(b"/")[0]].append(item)
    queues, at = list(by_directory.values()), 0
    level: list[Sequence[AnyItem]] = []
    while queues:
        level += [queue[at : at + size] for queue in queues]
        at += size
        queues = [queue for queue in queues if len(queue) > at]
    return level


def by_depth(paths: Iterable[bytes], *, deepest_first: bool = False) -> list[list[bytes]]:
    """Part directories by their depth: those of one depth do not contain each other."""
    depths: defaultdict[int, list[bytes]] = defaultdict(list)
    for path in paths:
        depths[path.count(b"/")].append(path)
    return [depths[depth] for depth in sorted(depths, reverse=deepest_first)]


def levels_by_depth(paths: Iterable[bytes], *, deepest_first: bool = False) -> list[list[Sequence[bytes]]]:
    """Return the levels of a stage that makes or removes directories."""
    return [batches(level) for level in by_depth(paths, deepest_first=deepest_first)]


def path_of(item: Item) -> bytes:
    """Return an item's path."""
    return item if isinstance(item, bytes) else item.path


def _run_in_turn(open_handle: Open[Handle], stages: Sequence[Stage[Handle, Any]]) -> int:
    total = 0
    with open_handle() as handle:
        for stage in stages:
            for level in stage.levels:
                done = reported = 0
                for batch in level:
                    total += stage.task(handle, batch)
                    done += len(batch)
                    if stage.on_progress is not None and (done - reported >= _PROGRESS_STEPS or batch is level[-1]):
                        stage.on_progress(done)
                        reported = done
    return total


def _run_batch(
    open_handle: Open[Handle],
    task: Task[Handle, AnyItem],
    batch: Sequence[AnyItem],
) -> int:
    with open_handle() as handle:
        return task(handle, batch)


def _with_share(call: Callable[[Argument], Result], argument: Argument) -> Result:
    with OPEN_FILES.share():
        return call(argument)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads, until the block ends and every call that was begun has ended."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="worker")
    try:
        yield pool
    finally:
        # After a failure nothing more may be begun, and nothing may go on: the caller throws the tree away, or
        # releases the lock that protects it.
        pool.shutdown(wait=True, cancel_futures=True)


class Executor:
    """Runs steps in threads beside the caller's own; a context manager that ends when every step has ended."""

    def __init__(self, threads: int = _STEP_THREADS) -> None:
        """Without threads, `submit` runs each step before it returns."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="step") if threads else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing may go on after the lock is released, whatever was raised.
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def submit(self, step: Callable[[], Result]) -> "Future[Result]":
        """Start the step, and return its future. Without threads, raise what the step raises."""
        if self._pool is not None:
            return self._pool.submit(step)
        done: Future[Result] = Future()
        done.set_result(step())
        return done

    def submit_all(self, steps: Iterable[Callable[[], object]]) -> "list[Future[object]]":
        """Start the steps; `wait_for` waits for their ends."""
        return [self.submit(step) for step in steps]


def wait_for(futures: "Iterable[Future[object]]") -> None:
    """Wait until all have ended, then raise the first failure, if there is one."""
    # First all, then the failure: the caller undoes what the others did.
    started = list(futures)
    wait(started)
    for each in started:
        each.result()


IN_TURN = Executor(threads=0)
"""Runs every step in the caller's thread."""


def executor_for(*, is_slow: bool) -> Executor:
    """Return an executor with threads for a slow mount. On a local disk a step takes less than a thread's start."""
    return Executor() if is_slow else IN_TURN
