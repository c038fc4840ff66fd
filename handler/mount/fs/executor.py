"""Steps that wait for the network, taken beside each other: where the mount is slow, and only there."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")

_THREADS = 4


class Executor:
    """Starts steps beside the caller's own; a context manager that ends when every step has."""

    def __init__(self, *, is_worth_it: bool) -> None:
        """On a local disk a step takes less than a thread's start: then `start` takes it at once, in its turn."""
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="beside") if is_worth_it else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing may go on after the lock is given back, whatever was raised.
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def submit(self, step: Callable[[], T]) -> Callable[[], T]:
        """Start the step; what is returned waits for its end, and returns or raises what it did."""
        if self._pool is not None:
            return self._pool.submit(step).result
        value = step()
        return lambda: value

    def submit_all(self, steps: Iterable[Callable[[], object]]) -> Callable[[], None]:
        """Start the steps; what is returned waits for the end of all of them, and raises the first failure."""
        ends = [self.submit(step) for step in steps]

        def wait() -> None:
            failures = []
            for end in ends:
                try:
                    end()
                except BaseException as failure:
                    failures.append(failure)
            if failures:
                raise failures[0]

        return wait


IN_TURN = Executor(is_worth_it=False)
"""Takes every step in its turn."""
