"""The handler, killed right after a publish's flip or right before its record: an entry for a `ServiceProcess`.

GIT2EFS_TEST_KILLED says which of the two: `after the flip`, or `before the record`.
"""

import os
import signal
from functools import cache

from handler import webhook
from handler.mount.releases import publish
from handler.mount.releases.inventory import flip
from handler.mount.target.directory import TargetDirectory
from handler.mount.target.layout import TargetPaths
from handler.mount.target.record import PublishedRecord


def handler(event: object, context: object) -> dict[str, object]:
    """Answer as the handler does, until it is killed."""
    _install()
    return webhook.handler(event, context)


@cache
def _install() -> None:
    def flip_and_die(paths: TargetPaths, link: str) -> None:
        flip(paths, link)
        _die()

    def die_instead(self: TargetDirectory, record: PublishedRecord, reserved: str = "") -> None:
        _die()

    if os.environ["GIT2EFS_TEST_KILLED"] == "after the flip":
        setattr(publish, "flip", flip_and_die)  # noqa: B010 - to a type checker an assignment is an error
    else:
        TargetDirectory.write_record = die_instead  # type: ignore[method-assign]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
