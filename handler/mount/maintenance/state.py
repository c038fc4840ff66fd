"""The schedule's state on the mount: `.git2efs/<task>.json`, one small file a task, replaced once a run.

A file a repository would cost thousands of operations every few minutes. While a run of the schedule goes on, the file
says whose the task is, and until when: the run calls this side many times, and no lock is held from one to the next.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from handler.config.fields import (
    mapping,
    moment,
    nullable,
    parse_leniently,
    printable,
    read_sound,
    seconds,
    text,
    whole_number,
)
from handler.config.names import is_full_name, ref_problem
from handler.errors import LockTimeout
from handler.exchange.schedule_state import (
    DAY_HOURS,
    LONGEST_PAUSE_SECONDS,
    BackOff,
    RepositoryState,
    ScheduleState,
)
from handler.model import MAX_AHEAD_SECONDS
from handler.mount.fs.files import NOT_REGULAR, read_whole, replace_whole
from handler.mount.fs.lock import locked

_DIRECTORY = ".git2efs"
_MAX_BYTES = 64 * 1024 * 1024
_LOCK_SECONDS = 5.0
"""How long to wait for the other's reading and writing of the file."""
_LONGEST_SECONDS = 360.0
"""A lease is of one minute, and the clock of the host that took it may be five ahead. One that ends later is none of
ours: readers may have written it, to keep the schedule away."""
_MAX_FAILURES = 1_000_000
_MAX_NAME = 300
_MAX_TIPS = 40
_MAX_PUSHES = 1e9
_QUEUED_SECONDS = 300.0
"""How long a ref rests at most that was left to a worker."""


@dataclass(frozen=True, slots=True)
class _Lease:
    """The task is `run`'s alone until `until` (seconds since the epoch)."""

    run: str
    until: float


def take_lease(mount: str, task: str, *, run: str, until: float, now: float) -> ScheduleState:
    """Lease the task to `run` until then (seconds since the epoch); return the task's state. Raises OSError.

    Raises LockTimeout while another run has the lease: two runs of one task would do everything twice.
    """
    with locked(_lock_path(mount, task), _LOCK_SECONDS) as lock:
        lock.stamp_generation()
        state, lease = _read(mount, task, now)
        if lease is not None and lease.run != run and now < lease.until:
            raise LockTimeout(f"another run has the task for {lease.until - now:.0f} more seconds at most")
        lock.check()
        _write(mount, task, state, _Lease(run, until))
    return state


def end_lease(mount: str, task: str, *, run: str, state: ScheduleState | None, now: float) -> None:
    """Write the task's state (None: leave it as it was), and release the lease. Raises OSError.

    Do nothing where another run has the lease meanwhile.
    """
    with locked(_lock_path(mount, task), _LOCK_SECONDS) as lock:
        lock.stamp_generation()
        found, lease = _read(mount, task, now)
        if lease is not None and lease.run == run:
            # A run that wakes must not write over what another one took over and learned since.
            lock.check()
            _write(mount, task, state or found, None)


def _lock_path(mount: str, task: str) -> str:
    return os.path.join(mount, _DIRECTORY, f"{task}.lock")


def read_state(mount: str, task: str, *, now: float) -> ScheduleState:
    """Return the task's state; an empty one where there is no file, or an unreadable one. Raises OSError.

    Readers may have written the file. Each entry is checked by itself, and a time that the schedule cannot have written
    by `now` counts as never.
    """
    return _read(mount, task, now)[0]


def _read(mount: str, task: str, now: float) -> tuple[ScheduleState, _Lease | None]:
    try:
        content = read_whole(_path(mount, task), max_bytes=_MAX_BYTES)
    except OSError as error:
        if error.errno not in NOT_REGULAR:
            raise
        content = None  # a link or a pipe, which the next run replaces
    fields = parse_leniently(content or b"") or {}
    repositories = read_sound(fields, "repositories", mapping, {})
    resume_at = read_sound(fields, "go_on_at", mapping, {})
    state = ScheduleState(
        {name: _repository_state(each, now) for name, each in repositories.items() if is_full_name(name)},
        read_sound(fields, "stopped_at", nullable(printable(_MAX_NAME)), None),
        {name: cursor for name, cursor in resume_at.items() if is_full_name(name) and isinstance(cursor, str)},
        read_sound(fields, "hours", _hours, ()),
    )
    lease = read_sound(fields, "lease", mapping, {})
    run = read_sound(lease, "run", text, "")
    until = read_sound(lease, "until", moment(now + _LONGEST_SECONDS), 0.0)
    return state, _Lease(run, until) if run else None


def _write(mount: str, task: str, state: ScheduleState, lease: _Lease | None) -> None:
    fields = {
        "repositories": {name: _fields_of(each) for name, each in state.repositories.items()},
        "stopped_at": state.stopped_at,
        "go_on_at": state.resume_at,
        **({"hours": state.hours} if state.hours else {}),
        **({} if lease is None else {"lease": asdict(lease)}),
    }
    # Replaced as a whole: an operator's status reads the file without the lock.
    replace_whole(_path(mount, task), json.dumps(fields).encode())


def _path(mount: str, task: str) -> str:
    return os.path.join(mount, _DIRECTORY, f"{task}.json")


def _fields_of(state: RepositoryState) -> dict[str, object]:
    fields: dict[str, object] = {
        "confirmed_at": state.confirmed_at,
        "failures": state.failures,
        "not_before": state.not_before,
    }
    if state.tips:
        pace = {"asked_at": state.asked_at, "due_at": state.due_at, "pushes": state.pushes, "tips": state.tips}
        fields |= pace
    # Nearly always there is none, and the file has thousands of repositories.
    return fields | ({"refs": {ref: asdict(each) for ref, each in state.refs.items()}} if state.refs else {})


def _repository_state(value: object, now: float) -> RepositoryState:
    # What is damaged was never confirmed: to leave its entry out would tell that it was just now.
    fields = value if isinstance(value, dict) else {}
    back_off = _back_off(fields, now)
    return RepositoryState(
        back_off.failures,
        back_off.not_before,
        confirmed_at=read_sound(fields, "confirmed_at", moment(now + MAX_AHEAD_SECONDS), 0.0),
        refs={
            ref: _back_off(each, now, queued_seconds=_QUEUED_SECONDS)
            for ref, each in read_sound(fields, "refs", mapping, {}).items()
            if ref_problem(ref) is None and isinstance(each, dict)
        },
        asked_at=read_sound(fields, "asked_at", moment(now + MAX_AHEAD_SECONDS), 0.0),
        # What is wrong is asked in the next run, and so is what no run can have put off for so long.
        due_at=read_sound(fields, "due_at", moment(now + LONGEST_PAUSE_SECONDS), 0.0),
        pushes=read_sound(fields, "pushes", _count, 0.0),
        tips=read_sound(fields, "tips", printable(_MAX_TIPS), ""),
    )


def _count(value: object) -> float:
    found = seconds(value)
    if not 0 <= found <= _MAX_PUSHES:
        raise ValueError("is no number of pushes")
    return found


def _hours(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != DAY_HOURS:
        raise ValueError("is no number for each hour")
    return tuple(map(_count, value))


def _back_off(fields: Mapping[str, object], now: float, *, queued_seconds: float = 0.0) -> BackOff:
    failures = read_sound(fields, "failures", whole_number(0, _MAX_FAILURES), -1)
    # A pause without a failure would tell nobody why nothing is published: only a ref that was left to a worker has
    # one, which is short.
    pause = LONGEST_PAUSE_SECONDS if failures > 0 else queued_seconds if failures == 0 else 0.0
    latest = now + pause if pause else 0.0
    return BackOff(max(failures, 0), read_sound(fields, "not_before", moment(latest), 0.0))
