"""What the schedule remembers from run to run: when each repository was last confirmed, and where it stopped.

One small file on the mount, written once a run: a file a repository would be thousands of operations every few minutes.
"""

import json
import os
from dataclasses import asdict

from handler.exchange.schedule_state import RepositoryState, ScheduleState
from handler.mount.fs.files import write_whole

_DIRECTORY = ".git2efs"
_MOST_BYTES = 64 * 1024 * 1024


def lock_path(mount: str, task: str) -> str:
    """Return the lock of one of the schedule's tasks: two runs of it at once would do everything twice."""
    return os.path.join(mount, _DIRECTORY, f"{task}.lock")


def read_state(mount: str, task: str) -> ScheduleState:
    """Return the task's diary; an empty one where there is none, or none that can be read. Raises OSError."""
    try:
        descriptor = os.open(_path(mount, task), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return ScheduleState()
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_MOST_BYTES)
    try:
        fields = json.loads(content)
        repositories = {str(name): _entry(**each) for name, each in fields["repositories"].items()}
        stopped_at = fields["stopped_at"]
        go_on_at = {str(name): str(where) for name, where in fields["go_on_at"].items()}
        return ScheduleState(repositories, None if stopped_at is None else str(stopped_at), go_on_at)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ScheduleState()


def write_state(mount: str, task: str, diary: ScheduleState) -> None:
    """Replace the task's diary; the holder of its lock alone may. Raises OSError."""
    path = _path(mount, task)
    temporary = f"{path}.new"
    fields = {
        "repositories": {name: asdict(each) for name, each in diary.repositories.items()},
        "stopped_at": diary.stopped_at,
        "go_on_at": diary.resume_at,
    }
    write_whole(temporary, json.dumps(fields).encode())
    os.rename(temporary, path)


def _path(mount: str, task: str) -> str:
    return os.path.join(mount, _DIRECTORY, f"{task}.json")


def _entry(confirmed_at: float, failures: int, not_before: float) -> RepositoryState:
    return RepositoryState(float(confirmed_at), int(failures), float(not_before))
