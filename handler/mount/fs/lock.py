"""One writer for a repository, across threads, processes and hosts.

`flock` on a file, which NFSv4, and so EFS, carries to the server. The lock ends with its holder: the kernel drops it
with the process, and the server with the client's lease. A holder that is stopped for longer than that is not told, and
wakes. So to get the lock does not prove that the last holder is gone: see `HeldLock.check`, and `may_be_at_work`.
"""

import errno
import fcntl
import hashlib
import os
import random
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from handler.errors import LockLost, LockTimeout
from handler.mount.fs.directories import make_directories
from handler.mount.fs.files import NOT_REGULAR, open_regular, open_to_lock, open_to_read, read_whole

_MAX_ENTRIES = 1000
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5
SLOW_SECONDS = 0.0015
"""A mount that takes longer to open and lock a file is one over the network, where waiting is worth hiding."""
_GENERATIONS = 2**30
"""Generations are whole seconds from here to twice as much (2004 to 2038): every file system keeps such times."""
PAUSE_SECONDS = 30.0
"""A holder that did not look for so long may have been stopped, and may have lost the lock."""
_FRESH_SECONDS = 0.002
"""So long a look is good for: no run takes the lock and publishes in less."""
_NOT_THE_LOCK = (*NOT_REGULAR, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_PID_BITS = 22
"""Linux gives process ids no more."""
_BOOT_SECONDS = 2
"""By so much the time of one boot may seem to differ, when a host's clock is set."""
_at_work: set[str] = set()
"""The tokens of what this process is making."""


@dataclass(slots=True)
class HeldLock:
    """A lock that is held, and the seconds waited for it. Once it is stamped, it tells the mount's time.

    `is_slow`: the mount makes each call wait, or this run had to wait for the lock.
    """

    path: str
    descriptor: int
    waited_seconds: float
    is_slow: bool
    _generation: int = 0
    _inode: tuple[int, int] = (0, 0)
    _stamped_at: float = 0.0
    _stamped_boot: float = 0.0
    _seen_boot: float = 0.0
    """When the generation was read or stamped last, in seconds since this host's boot."""
    _fresh_until: float = 0.0
    kept: dict[str, int] = field(default_factory=dict)
    """Descriptors by path: of files that are made ready early, and closed at the latest with the lock."""
    _tokens: list[str] = field(default_factory=list)

    def stamp_generation(self) -> tuple[int, int]:
        """Stamp the lock with a new generation; return the one that was found and the new one.

        Every holder stamps the lock before it changes anything. So a holder that finds its own generation knows that
        nobody held the lock in between.
        """
        # The generation is the file's mtime, a random number: setting it takes one round trip, and reading it none, as
        # an NFS client fetches the attributes when it takes a lock.
        found = int(os.fstat(self.descriptor).st_mtime)
        generation = _GENERATIONS + secrets.randbelow(_GENERATIONS)
        os.utime(self.descriptor, (generation, generation))
        # The file system itself sets the ctime: so it tells the mount's time. The answer to the stamp has brought it.
        self._stamped_at, self._stamped_boot = self.note_generation().st_ctime, self._seen_boot
        return found, generation

    def note_generation(self) -> os.stat_result:
        """Remember the generation as it is: a holder that changes nothing that others cache need not stamp it."""
        about = os.fstat(self.descriptor)
        self._generation, self._inode = int(about.st_mtime), (about.st_dev, about.st_ino)
        self._seen_boot = _boot_seconds()
        return about

    def now(self) -> float:
        """Return the mount's time, in seconds since the epoch: hosts whose clocks differ agree on it.

        It goes on when the lock is no longer held.
        """
        return self._stamped_at + _boot_seconds() - self._stamped_boot

    def check(self) -> None:
        """Raise LockLost unless the lock's file is the one that was locked, and bears this holder's generation.

        A server drops the lock of a client that it does not hear of, and somebody may remove the file. The holder hears
        of neither, so it calls this before each step that another run's work could suffer from. Raises OSError.
        """
        # Before the look: what happens while the answer is under way counts as later.
        seen = _boot_seconds()
        if seen < self._fresh_until:
            return
        try:
            # By its path, and opened: the descriptor that holds the lock would show a removed file as it was, and an
            # NFS client asks the server when a file is opened.
            with open_to_read(self.path) as descriptor:
                about = os.fstat(descriptor)
        except OSError as error:
            if error.errno not in _NOT_THE_LOCK:
                raise
            raise LockLost("the lock's file was removed while the run was under way") from None
        if (about.st_dev, about.st_ino) != self._inode or int(about.st_mtime) != self._generation:
            raise LockLost("another run took the repository's lock while this one was stopped")
        self._seen_boot, self._fresh_until = seen, seen + _FRESH_SECONDS

    def check_after_pause(self) -> None:
        """Do the same, but only where nobody has looked for PAUSE_SECONDS: costs nothing in between."""
        if _boot_seconds() - self._seen_boot >= PAUSE_SECONDS:
            self.check()

    def new_token(self) -> str:
        """Return a new name for something that only this holder makes; see `may_be_at_work`."""
        self._tokens.append(f"{_process_name(os.getpid())}-{secrets.token_hex(8)}")
        _at_work.add(self._tokens[-1])
        return self._tokens[-1]

    def end(self) -> None:
        """Note that this holder makes nothing any more."""
        while self.kept:
            os.close(self.kept.popitem()[1])
        _at_work.difference_update(self._tokens)


def _boot_seconds() -> float:
    # This clock goes on while the host is suspended; a monotonic one stands still, and would not see that pause.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@contextmanager
def locked(path: str, wait_seconds: float) -> Iterator[HeldLock]:
    """Hold the lock at `path` within the `with` block. Raises LockTimeout after `wait_seconds`."""
    started = time.monotonic()
    try:
        descriptor = open_to_lock(path)
    except FileNotFoundError:
        make_directories(os.path.dirname(path))
        descriptor = open_to_lock(path)
    try:
        waited = _poll(descriptor, wait_seconds, waiting_path(path))
        lock = HeldLock(path, descriptor, waited, time.monotonic() - started >= SLOW_SECONDS)
        try:
            yield lock
        finally:
            lock.end()
    finally:
        # The close drops the lock. The file stays: a lock on a removed file would exclude nobody.
        os.close(descriptor)


def waiting_path(path: str) -> str:
    """Return the path of the file beside the lock whose mtime says when a run last had to wait for it."""
    return f"{path}.waiting"


class Waiting:
    """Tells the lock's holder whether others wait for it. Make it before the lock is taken."""

    def __init__(self, path: str) -> None:
        """`path` is the lock's."""
        self._path = waiting_path(path)
        self._before = _modified_ns(self._path)

    def is_anyone(self) -> bool:
        """Whether a run has begun to wait, or still waits, since this was made. Raises OSError."""
        return _modified_ns(self._path) != self._before


def _poll(descriptor: int, wait_seconds: float, waiting: str) -> float:
    # Not a blocking flock: it has no deadline, and the NFS client itself polls, up to 30 seconds apart.
    start = time.monotonic()
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return time.monotonic() - start
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        waited = time.monotonic() - start
        if waited >= wait_seconds:
            raise LockTimeout(f"another run held the repository's lock for {waited:.1f} seconds")
        # At every try: who holds the lock by then may have begun only after the last one.
        _touch(waiting)
        time.sleep(min(pause * random.uniform(0.5, 1), wait_seconds - waited))  # noqa: S311
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def _touch(path: str) -> None:
    """Set a file's mtime to now; make the file if it is missing."""
    try:
        os.utime(path, follow_symlinks=False)
    except FileNotFoundError:
        os.close(open_regular(path, os.O_WRONLY | os.O_CREAT, 0o644))


def _modified_ns(path: str) -> int | None:
    """Return a file's mtime in nanoseconds, as the server has it now; None where there is no such file."""
    try:
        # Opened, since that makes an NFS client ask the server.
        with open_to_read(path) as descriptor:
            return os.fstat(descriptor).st_mtime_ns
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in NOT_REGULAR:
            raise
        # A link or a pipe of somebody else's says nothing of who waits.
        return None


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


@lru_cache(maxsize=1)
def _process_name(pid: int) -> str:
    """Return `<host>-<process>`, 16 hexadecimal digits each, which no other process shares."""
    try:
        boot = read_whole("/proc/sys/kernel/random/boot_id", max_bytes=100)
        host = f"{boot!r} {os.readlink(f'/proc/{pid}/ns/pid')}".encode()
        # And the time of the boot: virtual machines that go on from one snapshot have all else in common.
        booted = int(time.time() - _boot_seconds()) & 0xFFFFFFFF
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


Known = dict[str, frozenset[str]]
"""A target's path -> the names of its releases and its spares, all of them; nothing else is in its staging."""


class GenerationCache:
    """What this process knows of a repository, until another holder stamps the lock with its own generation.

    With it a warm process lists no directory. Safe for threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[int, Known]] = OrderedDict()

    def pop(self, key: str, generation: int) -> Known | None:
        """Take what was put under `generation`; None where the lock bears another one."""
        # Taken out, not only read: a run that stops anywhere leaves nothing known.
        with self._lock:
            kept, known = self._entries.pop(key, (None, {}))
        return known if kept == generation else None

    def put(self, key: str, generation: int, known: Known) -> None:
        """Put what is known at the end of a run that succeeded."""
        with self._lock:
            self._entries[key] = (generation, known)
            if len(self._entries) > _MAX_ENTRIES:
                self._entries.popitem(last=False)
