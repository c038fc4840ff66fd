"""Work that nobody waits for, in a thread of this process. Not in Lambda, which stops threads between invocations."""

import threading
from collections.abc import Callable


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
                self._thread = threading.Thread(target=self._run, name="background", daemon=True)
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
