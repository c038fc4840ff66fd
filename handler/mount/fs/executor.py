"""Overlap steps that wait for a slow mount."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Self, TypeVar

T = TypeVar("T")

_THREADS = 4


class Executor:
    """Runs steps in threads beside the caller's own; a context manager that ends when every step has ended."""

    def __init__(self, threads: int = _THREADS) -> None:
        """Without threads, `submit` runs each step before it returns."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="step") if threads else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing may go on after the lock is released, whatever was raised.
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def submit(self, step: Callable[[], T]) -> "Future[T]":
        """Start the step, and return its future. Without threads, raise what the step raises."""
        if self._pool is not None:
            return self._pool.submit(step)
        done: Future[T] = Future()
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
