"""The schedule's state on the mount: `.git2efs/<task>.json`, one small file a task, replaced once a run.

A file a repository would cost thousands of operations every few minutes.
"""

import json
import os
from dataclasses import asdict

from handler.exchange.schedule_state import RepositoryState, ScheduleState
from handler.mount.fs.files import read_whole, write_whole

_DIRECTORY = ".git2efs"
_MAX_BYTES = 64 * 1024 * 1024


def lock_path(mount: str, task: str) -> str:
    """Return the path of a task's lock: two runs of one task would do everything twice."""
    return os.path.join(mount, _DIRECTORY, f"{task}.lock")


def read_state(mount: str, task: str) -> ScheduleState:
    """Return the task's state; an empty one where there is no file, or an unreadable one. Raises OSError."""
    content = read_whole(_path(mount, task), max_bytes=_MAX_BYTES)
    if content is None:
        return ScheduleState()
    try:
        fields = json.loads(content)
        repositories = {str(name): _repository_state(**each) for name, each in fields["repositories"].items()}
        stopped_at = fields["stopped_at"]
        resume_at = {str(name): str(cursor) for name, cursor in fields["go_on_at"].items()}
        return ScheduleState(repositories, None if stopped_at is None else str(stopped_at), resume_at)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ScheduleState()


def write_state(mount: str, task: str, state: ScheduleState) -> None:
    """Replace the task's state; only the holder of its lock may. Raises OSError."""
    path = _path(mount, task)
    temporary = f"{path}.new"
    fields = {
        "repositories": {name: asdict(each) for name, each in state.repositories.items()},
        "stopped_at": state.stopped_at,
        "go_on_at": state.resume_at,
    }
    # Written beside and renamed: an operator's status reads the file without the lock.
    write_whole(temporary, json.dumps(fields).encode())
    os.rename(temporary, path)


def _path(mount: str, task: str) -> str:
    return os.path.join(mount, _DIRECTORY, f"{task}.json")


def _repository_state(confirmed_at: float, failures: int, not_before: float) -> RepositoryState:
    return RepositoryState(float(confirmed_at), int(failures), float(not_before))
