"""Let minutes pass between two pushes: the work after an answer is done, and the grace of what was replaced ends."""

import os
import time
from collections.abc import Callable
from pathlib import Path

_GRACE_SECONDS = 301
"""By default, and the second that a release's clock is rounded by."""


class HeldBackground:
    """In the place of the handler's `Background`: it keeps jobs until minutes pass. So none is timed or counted."""

    def submit(self, key: str, job: Callable[[], None]) -> None:
        """Keep a job."""
        _JOBS[key] = job

    def close(self) -> None:
        """Do nothing."""


_JOBS: dict[str, Callable[[], None]] = {}


def hold_background() -> None:
    """Hold what the handler of this process does after its answers; once, before it is called first."""
    from handler.network import background

    setattr(background, "Background", HeldBackground)  # noqa: B010 - to a type checker an assignment is an error


def do_background() -> None:
    """Do what the handler does after its answer."""
    while _JOBS:
        _JOBS.pop(next(iter(_JOBS)))()


def let_minutes_pass(mount: Path) -> None:
    """Do what the handler does after its answer, and make what was replaced as old as if the grace were over."""
    do_background()
    at = int(time.time()) - _GRACE_SECONDS
    for current in mount.glob("*/*/*/current"):
        for release in (current.parent / "releases").iterdir():
            if release != current.resolve():
                os.utime(release, (at, at))
