"""The handler in a process with as many descriptors as Lambda allows, on a mount that makes each call wait.

An entry for a `ServiceProcess`: it is given a list of deliveries, and answers all of them at once.
"""

import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from handler import webhook
from handler.mount.fs import lock, parallel

DESCRIPTORS = 1024


@cache
def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    # Threads, as on a network file system.
    lock.SLOW_SECONDS = parallel._SLOW_STEP_SECONDS = 0.0
    os.mkdir, os.utime = _slow(os.mkdir), _slow(os.utime)


def _slow(function: Callable[..., None]) -> Callable[..., None]:
    def slowly(*arguments: Any, **options: Any) -> None:
        # So long, with all that it holds open, that the other threads come to theirs.
        time.sleep(0.002)
        function(*arguments, **options)

    return slowly


def handler(events: list[Any], context: object) -> list[dict[str, object]]:
    """Return the answers, in the deliveries' order."""
    _limit()
    with ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(lambda event: webhook.handler(event, context), events))
