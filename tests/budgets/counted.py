"""The handler, with the file operations of each delivery written down: an entry for a `ServiceProcess`.

Every delivery adds a line to the file that GIT2EFS_TEST_COUNTS names: a JSON list of its operations on the mount.
"""

import json
import os
from functools import cache

from handler import webhook
from handler.mount.fs import lock, parallel
from tests.crash.operations import Operations, Stop


def handler(event: object, context: object) -> dict[str, object]:
    """Answer as the handler does."""
    operations = _installed()
    operations.modifying.clear()
    operations.reading.clear()
    response = webhook.handler(event, context)
    done = [*operations.modifying, *operations.reading]
    with open(os.environ["GIT2EFS_TEST_COUNTS"], "a", encoding="utf-8") as counts:
        counts.write(json.dumps(done) + "\n")
    return response


@cache
def _installed() -> Operations:
    # Every look at the lock counts, as on a mount that makes each step wait.
    lock._FRESH_SECONDS = 0.0
    # However busy this machine is: the mount is not taken for a slow one, where more threads open more directories.
    lock.SLOW_SECONDS = parallel._SLOW_STEP_SECONDS = 1e9
    operations = Operations(os.environ["GIT2EFS_MOUNT"], Stop(), say=lambda where: None)
    operations.install()
    return operations
