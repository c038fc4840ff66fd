"""Unpacks a stored mount, and runs the present code on it, with a remote that goes on with the same history."""

import json
import os
import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from local.origin import SampleOrigin
from testing.answers import Answer
from testing.deliveries import NULL_OID, push_payload, webhook_request
from testing.parameters import ParameterStore
from testing.repositories import Tree, snapshot
from testing.service import Service
from tests.takeover.history import MAIN, NAME, History, files_of

MOUNTS = Path(__file__).parent / "mounts"
TARGET = "octo/site/main"

_MADE_AT = 1_795_831_110
"""When the last mount was made, in seconds since the epoch; every time in the mounts is before it."""
_MADE_URL = b"http://127.0.0.1:41873/octo/site.git"
"""The address of the remote that the working copies were made from."""
_TIME = re.compile(rb"(?<![\w.])17[0-9]{8}(\.[0-9]+)?(?![\w.])")
_DATED = ("published.json", "reconcile.json", "chores.json")


class Stored:
    """The stored mount `name`, as if it had been left `age_seconds` ago, and the present code's service on it."""

    def __init__(self, name: str, directory: Path, store: ParameterStore, age_seconds: float) -> None:
        """Unpack the mount below `directory`, and start the remote and the service."""
        self.mount = directory / "mount"
        self.origin = SampleOrigin(NAME)
        self.origin.__enter__()
        self.history = History(self.origin)
        self.commits = self.history.commits
        unpack(name, self.mount, age_seconds)
        for config in self.mount.glob("octo/site/**/.git/config"):
            config.write_bytes(config.read_bytes().replace(_MADE_URL, self.origin.url.encode()))
        self.service = Service(self.mount, store).start()
        self._pushed_at = int(time.time()) - 100

    def stop(self) -> None:
        """End the service and the remote."""
        self.service.stop()
        self.origin.__exit__(None, None, None)

    def configure(self, **parameter: object) -> None:
        """Write the repository's parameter."""
        self.service.put_repository(NAME, url=self.origin.url, **parameter)

    def push(self, number: int, ref: str = MAIN) -> Answer:
        """Let the ref name commit `number`, and deliver that push."""
        return self.deliver(self.history.push(number, ref), ref)

    def deliver(self, commit: str, ref: str = MAIN) -> Answer:
        """Deliver a push of `commit` to `ref`."""
        self._pushed_at += 1
        payload = push_payload(NAME, ref, NULL_OID, commit, pushed_at=self._pushed_at, default_branch="main")
        return self.service.send(webhook_request("push", payload, self.service.secret))

    def state(self, task: str) -> dict[str, object]:
        """Return what the schedule's state file of a task says."""
        content = json.loads((self.mount / f".git2efs/{task}.json").read_text())
        assert isinstance(content, dict)
        return content


Take = Callable[..., Stored]
"""Unpacks the mount of this name, with the repository's parameter in keywords; `age_seconds` as in `Stored`."""


def unpack(name: str, mount: Path, age_seconds: float) -> None:
    """Unpack a stored mount with every time in it moved, so that it was left `age_seconds` before now.

    The lock's modification time is no time: each holder leaves a random number there.
    """
    mount.mkdir(parents=True)
    shift = int(time.time() - age_seconds) - _MADE_AT
    with tarfile.open(MOUNTS / f"{name}.tar.gz") as archive:
        archive.extractall(mount, filter="fully_trusted")
    # The deepest first: whatever is written below a directory changes the directory's own time.
    for path in sorted(mount.rglob("*"), key=lambda each: -len(each.parts)):
        if path.name == ".lock" and path.parent == mount / NAME:
            continue
        about = path.lstat()
        if path.name in _DATED and not path.is_symlink():
            path.write_bytes(_TIME.sub(lambda found: str(float(found[0]) + shift).encode(), path.read_bytes()))
        moved = about.st_mtime_ns + shift * 10**9
        os.utime(path, ns=(moved, moved), follow_symlinks=False)


def tree_of(number: int) -> Tree:
    """Return the tree of commit `number`, in the shape of `snapshot`."""
    return {path: (file.mode, file.content) for path, file in files_of(number).items()}


def tree_at(root: Path) -> Tree:
    """Return what lies in a working copy, in the shape of `snapshot`, without its `.git`."""
    return {path: entry for path, entry in snapshot(root).items() if not path.startswith(b".git/")}
