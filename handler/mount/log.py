"""Log lines of the mount side as a function: plain JSON, as CloudWatch reads it. The metrics are the network side's."""

import json
import threading
import time

_PROGRESS_SECONDS = 10.0


def log(service: str, **fields: object) -> None:
    """Write a line of the stack `service`."""
    # Not by Powertools, which would be most of what the function loads.
    print(json.dumps({"service": service, **fields}))  # noqa: T201


class ProgressLog:
    """Writes how far a long check-out is: about every ten seconds, and never for a short one. Safe for threads."""

    def __init__(self, service: str) -> None:
        """Write nothing yet."""
        self._service = service
        self._lock = threading.Lock()
        self._written_at: dict[str, float] = {}

    def __call__(self, about: str, done: int, total: int) -> None:
        """Write, or not, that `done` of `total` files are there."""
        now = time.monotonic()
        with self._lock:
            last = self._written_at.setdefault(about, now)
            if done == total:
                del self._written_at[about]
            elif now - last >= _PROGRESS_SECONDS:
                self._written_at[about] = now
                log(
                    self._service,
                    level="INFO",
                    message="checking out",
                    target=about,
                    files_done=done,
                    files_total=total,
                )
