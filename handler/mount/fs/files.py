"""The one module that opens anything on the mount; it reports every failed write, and takes few round trips.

Others can put anything there. So these functions follow no link, wait for no pipe, open nothing but a regular file, and
read no more than the caller can hold. O_NOFOLLOW speaks of a path's last component alone, and a link in the place of
any directory leads away as well: so paths are opened by `openat2`, or name by name where the kernel lacks it. Only the
mount's own path may lead over links; see `resolved`.

Every function raises OSError: ELOOP for a link, EISDIR for a directory, ENXIO for anything else that is no regular
file.
"""

import errno
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import IO, BinaryIO, cast

MAX_BYTES = 64 * 1024 * 1024
"""No honest file that is read whole is larger."""
NOT_REGULAR = frozenset({errno.ELOOP, errno.ENXIO})
"""The errors for a link, a pipe, a socket or a device in a file's place: a rename replaces them."""
_CHUNK_BYTES = 8 * 1024 * 1024
_ALWAYS = os.O_NOFOLLOW | os.O_CLOEXEC
_NONBLOCK = os.O_NONBLOCK
_REPLACE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_OPENAT2 = 437
"""The call's number, on x86_64, arm64 and all other architectures that may come."""
_AT_FDCWD = -100
_RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x04, 0x08
_NO_SUCH_CALL = frozenset({errno.ENOSYS, errno.EPERM})
"""The kernel is older than 5.6, or a sandbox does not know the call."""
_MAX_TRIES = 10

Path = str | bytes
_Open = Callable[[Path, int, int, int | None], int]
"""Path, flags, mode, and the open directory that the path is relative to, if there is one."""


def resolved(mount: str) -> str:
    """Return the mount's path without the links that an operator's may lead over; below it none is followed."""
    return os.path.realpath(mount)


def open_path(path: Path, flags: int, mode: int = 0o777, *, directory: int | None = None) -> int:
    """Open what is at `path`, of any kind, and return its descriptor; the caller closes it.

    `path` is relative to the open `directory`, if there is one, and does not lead out of it.
    """
    flags |= _ALWAYS
    if directory is not None and (b"/" not in path if isinstance(path, bytes) else "/" not in path):
        # A single name: the directory is open, so nothing on the way can be a link.
        return os.open(path, flags, mode, dir_fd=directory)
    # As `os.open` does, for those who watch what a process opens.
    sys.audit("open", path, None, flags)
    return open_beneath(path, flags, mode, directory)


def open_beneath(path: Path, flags: int, mode: int, directory: int | None) -> int:
    """Open as `open_path` does, and tell no audit hook: to open a directory as a path only asks no server anything."""
    return _opener()(path, flags, mode, directory)


def open_regular(path: Path, flags: int, mode: int = 0o777, *, directory: int | None = None) -> int:
    """Open a regular file as `open_path` does. Raises EISDIR for a directory, ENXIO for anything else."""
    # O_NONBLOCK: a pipe in the file's place must not be waited for.
    descriptor = open_path(path, flags | _NONBLOCK, mode, directory=directory)
    # Not a round trip: the open has fetched the attributes.
    found = os.fstat(descriptor).st_mode
    if stat.S_ISREG(found):
        return descriptor
    os.close(descriptor)
    code = errno.EISDIR if stat.S_ISDIR(found) else errno.ENXIO
    raise OSError(code, os.strerror(code), path)


@contextmanager
def open_to_read(path: Path, *, directory: int | None = None) -> Iterator[int]:
    """Give an open descriptor until the block ends; `path` is relative to the open `directory`, if there is one."""
    descriptor = open_regular(path, os.O_RDONLY, directory=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_whole(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes | None:
    """Return a file's content, and not more than `max_bytes` of it; None where there is no such file."""
    try:
        with open_to_read(path) as descriptor:
            return read_all(descriptor, max_bytes)
    except FileNotFoundError:
        return None


def read_tail(path: Path, count: int) -> bytes:
    """Return the last `count` bytes of a file."""
    with open_to_read(path) as descriptor:
        return os.pread(descriptor, count, max(0, os.fstat(descriptor).st_size - count))


def read_all(descriptor: int, max_bytes: int = sys.maxsize) -> bytes:
    """Return the content of an open file from here to its end, and not more than `max_bytes`."""
    # Not the built-in `open`: it asks for the attributes again, and over the network each time is a round trip.
    chunks: list[bytes] = []
    left, is_end = max_bytes, False
    while left > 0 and not is_end:
        wanted = min(left, _CHUNK_BYTES)
        chunk = os.read(descriptor, wanted)
        chunks.append(chunk)
        left -= len(chunk)
        # A regular file gives fewer bytes than were asked for only at its end: no second read has to find that.
        is_end = len(chunk) < wanted
    return b"".join(chunks)


def reader(descriptor: int) -> IO[bytes]:
    """Return an unbuffered file object with a descriptor of its own for an open file."""
    return open(os.dup(descriptor), "rb", buffering=0)


def is_there(path: str) -> bool:
    """Whether anything is at a path, be it a link that leads nowhere."""
    # Not `os.path.lexists`: it returns False where the mount fails.
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def write_whole(path: Path, content: bytes, mode: int = 0o644, *, directory: int | None = None) -> None:
    """Write a file over what is there; `path` is relative to the open `directory`, if there is one."""
    # The open sets the mode: a chmod would be one more round trip, and so would be an exclusive creation that fails.
    descriptor = open_regular(path, _REPLACE, mode, directory=directory)
    try:
        write_all(descriptor, content)
    finally:
        # On NFS the close sends what was written and reports what failed, so that no fsync is needed.
        os.close(descriptor)


def replace_whole(path: str, content: bytes, check: Callable[[], object] = lambda: None) -> None:
    """Replace a file: write `<path>.new`, call `check`, and rename it. Only one process may at a time."""
    # Written beside and renamed: killed in the middle, this leaves the old file, and a reader without the lock never
    # finds half a file.
    temporary = f"{path}.new"
    try:
        write_whole(temporary, content)
    except OSError as error:
        if error.errno not in NOT_REGULAR:
            raise
        # Somebody else put a link or a pipe there. Left, it would stop every later run.
        os.unlink(temporary)
        write_whole(temporary, content)
    check()
    rename(temporary, path)


def rename(source: str, target: str) -> None:
    """Rename a file or directory, through no link on the way to either path."""
    (above, old), (beyond, new) = os.path.split(source), os.path.split(target)
    start = open_beneath(above, DIRECTORY, 0, None)
    end = -1
    try:
        end = start if beyond == above else open_beneath(beyond, DIRECTORY, 0, None)
        os.rename(old, new, src_dir_fd=start, dst_dir_fd=end)
    finally:
        for each in {start, end} - {-1}:
            os.close(each)


def write_new(
    path: Path, content: bytes, mode: int = 0o644, *, directory: int | None = None, exact_mode: bool = False
) -> None:
    """Write a file where nothing is, else raise FileExistsError. `exact_mode` gives it `mode` whatever the umask is."""
    descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, directory=directory)
    try:
        if exact_mode:
            os.fchmod(descriptor, mode)
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


def append(path: Path, content: bytes) -> None:
    """Append to a file; make it if it is missing."""
    descriptor = open_regular(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        write_all(descriptor, content)
    finally:
        os.close(descriptor)


def create(path: str, mode: int = 0o644) -> BinaryIO:
    """Open a file for reading and writing; make it if it is missing, else empty it."""
    return cast(BinaryIO, open(open_regular(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode), "w+b"))


def open_to_change(path: str) -> BinaryIO:
    """Open a file that is there for reading and writing, and leave its content."""
    return cast(BinaryIO, open(open_regular(path, os.O_RDWR), "r+b"))


def open_to_lock(path: str) -> int:
    """Open a file to lock; make it if it is missing. The caller closes the descriptor, and so drops the lock."""
    # Never O_EXCL or O_TRUNC: the file stays, and its mtime is the lock's generation.
    return open_regular(path, os.O_RDWR | os.O_CREAT, 0o644)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content` to an open file."""
    # `os.write` may write less than it was given, on a mount that is nearly full, say; only the next call then fails.
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def unlink_if_there(path: str) -> None:
    """Remove a file or link, if it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


@cache
def _opener() -> _Open:
    """Return `openat2` where the kernel has it and lets us use it; else what opens name by name."""
    openat2 = _load_openat2()
    try:
        os.close(openat2("/", DIRECTORY, 0, None))
    except OSError as error:
        if error.errno not in _NO_SUCH_CALL:
            raise
        return walk
    return openat2


def _load_openat2() -> _Open:
    # Imported here: it takes milliseconds, which the network side need not pay.
    import ctypes

    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    syscall.restype = ctypes.c_long
    get_errno: Callable[[], int] = ctypes.get_errno
    hows: dict[tuple[int, int, bool], bytes] = {}

    def openat2(path: Path, flags: int, mode: int, directory: int | None) -> int:
        name = os.fsencode(path)
        if b"\0" in name:
            raise ValueError("embedded null byte")  # C would open what stands before it
        key = flags, mode, directory is None
        how = hows.get(key)
        if how is None:
            resolve = _RESOLVE_NO_SYMLINKS | (0 if directory is None else _RESOLVE_BENEATH)
            # The call refuses a mode where nothing is created.
            how = hows[key] = struct.pack("=QQQ", flags, mode if flags & os.O_CREAT else 0, resolve)
        start = _AT_FDCWD if directory is None else directory
        for _ in range(_MAX_TRIES):
            descriptor = int(syscall(_OPENAT2, start, name, how, len(how)))
            if descriptor >= 0:
                return descriptor
            code = get_errno()
            # EAGAIN: something was renamed meanwhile, and the kernel could not tell whether `..` leads out.
            if code not in (errno.EINTR, errno.EAGAIN):
                break
        raise OSError(code, os.strerror(code), path)

    return openat2


def walk(path: Path, flags: int, mode: int, directory: int | None) -> int:
    """Open as `open_beneath` does, one name at a time."""
    *above, last = [each for each in os.fsencode(path).split(b"/") if each not in (b"", b".")] or [b"."]
    if b".." in (*above, last):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    is_absolute = directory is None and os.fsencode(path).startswith(b"/")
    descriptor = os.open("/" if is_absolute else ".", DIRECTORY, dir_fd=directory)
    try:
        for name in above:
            outer = descriptor
            descriptor = _step(name, DIRECTORY, 0, outer)
            os.close(outer)
        return _step(last, flags, mode, descriptor)
    finally:
        os.close(descriptor)


def _step(name: bytes, flags: int, mode: int, directory: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=directory)
    except NotADirectoryError:
        # What O_DIRECTORY says of a link too; only of the last component openat2 says the same.
        if flags == DIRECTORY and stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise
