"""The schedule's state on the mount: `.git2efs/<task>.json`, one small file a task, replaced once a run.

A file a repository would cost thousands of operations every few minutes. While a run of the schedule goes on, the file
says whose the task is, and until when: the run calls this side many times, and no lock is held from one to the next.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from handler.config.fields import seconds, text, whole_number
from handler.errors import LockTimeout
from handler.exchange.schedule_state import BackOff, RepositoryState, ScheduleState
from handler.mount.fs.files import read_whole, write_whole
from handler.mount.fs.lock import locked

_DIRECTORY = ".git2efs"
_MAX_BYTES = 64 * 1024 * 1024
_LOCK_SECONDS = 5.0
"""How long to wait for the other's reading and writing of the file."""
_LONGEST_SECONDS = 1000.0
"""A function runs for 900 seconds at most."""
_count = whole_number(0, 2**31)


@dataclass(frozen=True, slots=True)
class _Lease:
    """The task is `run`'s alone until `until` (seconds since the epoch)."""

    run: str
    until: float


def take_lease(mount: str, task: str, *, run: str, until: float, now: float) -> ScheduleState:
    """Lease the task to `run` until then (seconds since the epoch); return the task's state. Raises OSError.

    Raises LockTimeout while another run has the lease: two runs of one task would do everything twice.
    """
    with locked(_lock_path(mount, task), _LOCK_SECONDS):
        state, lease = _read(mount, task)
        # Beyond a function's longest time it is none of ours: readers may have written it, to keep the schedule away.
        if lease is not None and lease.run != run and now < lease.until <= now + _LONGEST_SECONDS:
            raise LockTimeout(f"another run has the task for {lease.until - now:.0f} more seconds at most")
        _write(mount, task, state, _Lease(run, until))
    return state


def end_lease(mount: str, task: str, *, run: str, state: ScheduleState | None) -> None:
    """Write the task's state (None: leave it as it was), and release the lease. Raises OSError.

    Do nothing where another run has the lease meanwhile.
    """
    with locked(_lock_path(mount, task), _LOCK_SECONDS):
        found, lease = _read(mount, task)
        if lease is not None and lease.run == run:
            _write(mount, task, state or found, None)


def _lock_path(mount: str, task: str) -> str:
    return os.path.join(mount, _DIRECTORY, f"{task}.lock")


def read_state(mount: str, task: str) -> ScheduleState:
    """Return the task's state; an empty one where there is no file, or an unreadable one. Raises OSError."""
    return _read(mount, task)[0]


def _read(mount: str, task: str) -> tuple[ScheduleState, _Lease | None]:
    content = read_whole(_path(mount, task), max_bytes=_MAX_BYTES)
    if content is None:
        return ScheduleState(), None
    try:
        fields = json.loads(content)
        repositories = {str(name): _repository_state(**each) for name, each in fields["repositories"].items()}
        stopped_at = fields["stopped_at"]
        resume_at = {str(name): str(cursor) for name, cursor in fields["go_on_at"].items()}
        lease = fields.get("lease")
        return (
            ScheduleState(repositories, None if stopped_at is None else str(stopped_at), resume_at),
            None if lease is None else _Lease(text(lease["run"]), seconds(lease["until"])),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ScheduleState(), None


def _write(mount: str, task: str, state: ScheduleState, lease: _Lease | None) -> None:
    path = _path(mount, task)
    temporary = f"{path}.new"
    fields = {
        "repositories": {name: _fields_of(each) for name, each in state.repositories.items()},
        "stopped_at": state.stopped_at,
        "go_on_at": state.resume_at,
        **({} if lease is None else {"lease": asdict(lease)}),
    }
    # Written beside and renamed: an operator's status reads the file without the lock.
    write_whole(temporary, json.dumps(fields).encode())
    os.rename(temporary, path)


def _path(mount: str, task: str) -> str:
    return os.path.join(mount, _DIRECTORY, f"{task}.json")


def _fields_of(state: RepositoryState) -> dict[str, object]:
    fields: dict[str, object] = {
        "confirmed_at": state.confirmed_at,
        "failures": state.failures,
        "not_before": state.not_before,
    }
    # Nearly always there is none, and the file has thousands of repositories.
    return fields | ({"refs": {ref: asdict(each) for ref, each in state.refs.items()}} if state.refs else {})


def _repository_state(
    confirmed_at: object,
    failures: object,
    not_before: object,
    refs: Mapping[str, Mapping[str, object]] | None = None,
) -> RepositoryState:
    return RepositoryState(
        confirmed_at=seconds(confirmed_at),
        failures=_count(failures),
        not_before=seconds(not_before),
        refs={
            ref: BackOff(_count(each["failures"]), seconds(each["not_before"])) for ref, each in (refs or {}).items()
        },
    )
