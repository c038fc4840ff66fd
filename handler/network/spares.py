"""Have a target's spares made after a publish, so that nobody waits for it: by the function, or in a thread."""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from handler.deadline import NO_DEADLINE
from handler.errors import Git2EfsError
from handler.exchange.publisher import Publisher
from handler.model import Repository, Target
from handler.settings import Settings


class Spares:
    """Has spares made. Safe for threads.

    A publisher function is invoked without waiting for it. In this process a thread makes them, if the settings allow
    one; Lambda stops threads between invocations, so functions have none, and no spares without a publisher function.
    """

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._publisher = publisher
        self._is_possible = settings.spare_files > 0 and (publisher.is_remote or settings.background)
        self._background = Background() if self._is_possible and not publisher.is_remote else None

    def are_made(self, repository: Repository, target: Target) -> bool:
        """Whether `make` does anything for the target."""
        return self._is_possible and repository.spares > 0 and not target.is_copy

    def make(self, repository: Repository, target: Target) -> None:
        """Have them made. Raises nothing: without them the next push costs more, and ends as well."""
        if not self.are_made(repository, target):
            return
        job = partial(self._make, repository, target)
        if self._background is None:
            job()
        else:
            self._background.submit(target.path, job)

    def _make(self, repository: Repository, target: Target) -> None:
        with suppress(Git2EfsError):
            self._publisher.make_spares(repository, target, deadline=NO_DEADLINE)

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is left to do in this process; return whether that is so."""
        return self._background is None or self._background.wait(seconds)

    def close(self) -> None:
        """Begin nothing more. What the thread is at ends with the process, which does no harm."""
        if self._background is not None:
            self._background.close()


class Background:
    """One thread that does one job after the other. Safe for threads. The thread is started with the first job."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[str, Callable[[], None]] = {}
        self._is_busy = False
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def submit(self, key: str, job: Callable[[], None]) -> None:
        """Do `job` some time, in the place of one of the same `key` that has not begun. It raises nothing."""
        with self._changed:
            if self._is_closed:
                return
            self._jobs[key] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spares", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until there is no job; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and not self._is_busy, seconds)

    def close(self) -> None:
        """Drop the jobs that have not begun, and take no more."""
        with self._changed:
            self._is_closed = True
            self._jobs.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._jobs or self._is_closed)
                if self._is_closed:
                    return
                job = self._jobs.pop(next(iter(self._jobs)))
                self._is_busy = True
            job()
