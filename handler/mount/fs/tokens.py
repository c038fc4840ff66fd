"""Tokens: names for what one lock's holder makes, by which others tell whether that holder may still be at work.

To get a lock does not prove that its last holder is gone: it may be stopped, and wake. So a token names the host, the
process and its start. On the same host a process that has ended is known at once; of another host nobody can tell.
"""

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterable
from functools import lru_cache

from handler.mount.fs.files import read_whole

_PID_BITS = 22
"""Linux gives process ids no more."""
_BOOT_SECONDS = 2
"""By so much the time of one boot may seem to differ, when a host's clock is set."""
_at_work: set[str] = set()
"""The tokens of what this process is making."""


def new_token() -> str:
    """Return a new token of this process, three times 16 hexadecimal digits; it is at work until `end_tokens`."""
    token = f"{_process_name(os.getpid())}-{secrets.token_hex(8)}"
    _at_work.add(token)
    return token


def end_tokens(tokens: Iterable[str]) -> None:
    """Note that nothing is made under these tokens any more."""
    _at_work.difference_update(tokens)


def may_be_at_work(token: str) -> bool:
    """Whether the holder that has this token may still write, now or when it wakes.

    False where its process is gone, or is this one and holds that lock no more.
    """
    own = _process_name(os.getpid())
    if token.startswith(own):
        return token in _at_work
    host, process, _ = token.split("-")
    apart = abs(int(host[8:], 16) - int(own[8:16], 16))
    return host[:8] != own[:8] or apart > _BOOT_SECONDS or _is_running(int(process, 16))


def boot_seconds() -> float:
    """Return the seconds since this host's boot, those in which it was suspended among them."""
    # A monotonic clock stands still while the host is suspended, and would not see that pause.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@lru_cache(maxsize=1)
def _process_name(pid: int) -> str:
    """Return `<host>-<process>`, 16 hexadecimal digits each, which no other process shares."""
    try:
        boot = read_whole("/proc/sys/kernel/random/boot_id", max_bytes=100)
        host = f"{boot!r} {os.readlink(f'/proc/{pid}/ns/pid')}".encode()
        # And the time of the boot: virtual machines that go on from one snapshot have all else in common.
        booted = int(time.time() - boot_seconds()) & 0xFFFFFFFF
        process = _started(pid) << _PID_BITS | pid
    except (OSError, ValueError, IndexError):
        # No other process can look for this one, then; they wait until its time is over.
        return f"{secrets.token_hex(8)}-{secrets.token_hex(8)}"
    return f"{hashlib.sha1(host, usedforsecurity=False).hexdigest()[:8]}{booted:08x}-{process:016x}"


def _is_running(process: int) -> bool:
    pid = process & ((1 << _PID_BITS) - 1)
    try:
        # First: of another user's process /proc may show nothing.
        os.kill(pid, 0)
        return _started(pid) == process >> _PID_BITS
    except (ProcessLookupError, FileNotFoundError):
        return False
    except (OSError, ValueError, IndexError):
        return True


def _started(pid: int) -> int:
    """Return when a process started, in ticks since the boot. Raises ProcessLookupError where it has ended."""
    # After the command's name, which may have blanks and brackets: the state, and at last the 22nd field of proc(5).
    fields = (read_whole(f"/proc/{pid}/stat", max_bytes=4096) or b"").rpartition(b")")[2].split()
    if not fields or fields[0] in (b"Z", b"X"):
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
    return int(fields[19])
