"""Counts the file operations of this process below the mount, and stops the process, or the operation, at one of them.

Needs no tracer and no privilege. Python tells most operations itself (`sys.addaudithook`), before it does them; an
exception raised there is raised by the operation. What it does not tell (writing, closing, looking at a file) goes
through wrappers. A hook cannot be taken away again: install it in a process that ends soon.
"""

import builtins
import errno
import fcntl
import io
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from handler.mount.fs import files

_MODIFYING = frozenset({
    "os.chmod",
    "os.chown",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.setxattr",
    "os.symlink",
    "os.truncate",
    "os.utime",
})  # fmt: skip
_LOOKING = frozenset({"os.listdir", "os.scandir"})
_PATH_AT = {"os.symlink": 1}
_DIRECTORY_AT = {"os.mkdir": 2, "os.symlink": 2, "os.rename": 2}
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_RANDOM = re.compile(r"(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")


class Manner(StrEnum):
    """How a run is stopped."""

    NOT = "not"
    KILL = "kill"
    """SIGKILL before the operation."""
    PAUSE = "pause"
    """SIGSTOP before the operation, which is done when somebody sends SIGCONT."""
    TORN = "torn"
    """Half of the write's bytes, then SIGKILL."""
    SHORT = "short"
    """Half of the write's bytes, and the number of them as its result, as POSIX allows."""
    ERROR = "error"
    """The operation is not done and fails. A close is done, and fails: so NFS tells what became of the writes."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a run at its operation `point`, counted from 1.

    TORN and SHORT take the first write from there on. An error is `error` (an errno); if `is_lasting`, all later
    operations fail with it too: a full disk. `of_reads` counts the operations that only look, instead. `may_miss`: the
    run may have fewer operations than that, and then ends in peace.
    """

    manner: Manner = Manner.NOT
    point: int = 0
    error: int = 0
    is_lasting: bool = False
    of_reads: bool = False
    may_miss: bool = False

    def __str__(self) -> str:
        what = errno.errorcode[self.error] + "+" * self.is_lasting if self.error else str(self.manner)
        return f"{what} at {'reading ' * self.of_reads}operation {self.point}"


class Operations:
    """The operations below the directory `root`, each as `<name> <path>`; `say` is told the one that is stopped at."""

    def __init__(self, root: str, stop: Stop, say: Callable[[str], None]) -> None:
        """Nothing is counted before `install`."""
        self.root = root
        self.stop = stop
        self.say = say
        self.modifying: list[str] = []
        self.reading: list[str] = []
        self._lock = threading.RLock()
        self._writable: set[int] = set()
        self._is_done = False
        self._open_beneath = files.open_beneath
        self._os_readlink = os.readlink
        self._os_open, self._os_write, self._os_close = os.open, os.write, os.close

    def install(self) -> None:
        """Count from now on. Relative paths count: they go with a directory below the mount."""
        builtins.open = io.open = self._open
        os.open, os.write, os.close = self._open_descriptor, self._write, self._close  # type: ignore[assignment]
        files.open_beneath = self._open_by_path
        for module, name in ((os, "stat"), (os, "lstat"), (os, "readlink"), (os, "read"), (fcntl, "flock")):
            setattr(module, name, self._looking(f"{module.__name__}.{name}", getattr(module, name)))
        sys.addaudithook(self._audit)

    def is_below(self, path: Any) -> bool:
        """Whether an operation on `path` (a name, or a descriptor) counts."""
        if isinstance(path, int):
            return path > 2
        name = os.fsdecode(path)
        return name.startswith(self.root + "/") or name == self.root or not name.startswith("/")

    def before(self, name: str, path: Any, *, is_write: bool = False, is_reading: bool = False) -> bool:
        """Count an operation that is about to be done; stop there if it is the one. Returns whether to halve it."""
        with self._lock:
            log = self.reading if is_reading else self.modifying
            log.append(f"{name} {self._show(path)}")
            stop = self.stop
            if stop.manner is Manner.NOT or stop.of_reads != is_reading or len(log) < stop.point:
                return False
            if stop.manner in (Manner.TORN, Manner.SHORT):
                is_here, self._is_done = is_write and not self._is_done, self._is_done or is_write
                return is_here
            if stop.manner is Manner.KILL:
                self.kill(log[-1])
            if stop.manner is Manner.PAUSE:
                if not self._is_done:
                    self._is_done = True
                    self.say(log[-1])
                    os.kill(os.getpid(), signal.SIGSTOP)
                return False
            if self._is_done and not stop.is_lasting:
                return False
            if not self._is_done:
                self.say(log[-1])
            self._is_done = True
            raise OSError(stop.error, os.strerror(stop.error))

    def write(self, path: Any, content: Any, write: Callable[[Any], int]) -> int:
        """Do a write, or half of it."""
        if not self.before("write", path, is_write=True):
            return write(content)
        view = memoryview(content).cast("B")
        count = write(view[: max(1, len(view) // 2)])
        if self.stop.manner is Manner.TORN:
            self.kill(self.modifying[-1])
        self.say(self.modifying[-1])
        return count

    def kill(self, where: str) -> None:
        """End this process as the kernel or Lambda does: without a word to anybody."""
        self.say(where)
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()  # pragma: no cover - the signal comes as the call returns

    def _show(self, path: Any) -> str:
        name = os.fsdecode(path) if isinstance(path, str | bytes) else f"<{path}>"
        return _RANDOM.sub("…", name.removeprefix(self.root + "/"))

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, int) and path is not None and self.is_below(path):
                is_reading = not flags & _WRITING_FLAGS
                self.before("open" if is_reading else "create", path, is_reading=is_reading)
        elif event in _MODIFYING or event in _LOOKING:
            path = arguments[_PATH_AT.get(event, 0)]
            if path is not None and self.is_below(path):
                if event in _DIRECTORY_AT:
                    path = self._whole(path, arguments[_DIRECTORY_AT[event]])
                self.before(event.removeprefix("os."), path, is_reading=event in _LOOKING)

    def _whole(self, name: Any, directory: int) -> Any:
        """Return the path of what goes by a name in an open directory (-1: it is a path already)."""
        if directory < 0:
            return name
        return os.path.join(self._os_readlink(f"/proc/self/fd/{directory}"), os.fsdecode(name))

    # -- what is not told ----------------------------------------------------------------------------------------

    def _open_descriptor(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        descriptor = self._os_open(path, flags, *arguments, **options)
        if flags & _WRITING_FLAGS and self.is_below(path):
            self._writable.add(descriptor)
        return descriptor

    def _open_by_path(self, path: Any, flags: int, mode: int, directory: int | None) -> int:
        descriptor = self._open_beneath(path, flags, mode, directory)
        if flags & _WRITING_FLAGS and self.is_below(path):
            self._writable.add(descriptor)
        return descriptor

    def _write(self, descriptor: int, content: Any) -> int:
        if descriptor not in self._writable:
            return self._os_write(descriptor, content)
        return self.write(descriptor, content, lambda part: self._os_write(descriptor, part))

    def _close(self, descriptor: int) -> None:
        try:
            if descriptor in self._writable:
                self._writable.discard(descriptor)
                self.before("close", descriptor)
        finally:
            self._os_close(descriptor)

    def _looking(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(path: Any, *arguments: Any, **options: Any) -> Any:
            if not isinstance(path, int | str | bytes | os.PathLike) or self.is_below(path):
                self.before(name, path if isinstance(path, int | str | bytes) else "", is_reading=True)
            return function(path, *arguments, **options)

        return counted

    def _open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Callable[[str, int], int] | None = None,
    ) -> Any:
        is_ours = file in self._writable if isinstance(file, int) else self.is_below(file)
        if not is_ours:
            return _open_uncounted(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if "b" not in mode:
            raise NotImplementedError("a text file on the mount: teach the counter to count its writes")
        if isinstance(file, int):
            self._writable.discard(file)
        raw = _CountedFile(self, file, mode.replace("b", ""), closefd, opener)
        if buffering == 0:
            return raw
        if "+" in mode:
            return io.BufferedRandom(raw)
        return io.BufferedReader(raw) if "r" in mode else io.BufferedWriter(raw)


_open_uncounted = io.open


class _CountedFile(io.FileIO):
    """A file on the mount opened by `open`: Python's own buffers above it, the counter below."""

    def __init__(
        self,
        operations: Operations,
        file: Any,
        mode: str,
        closefd: bool,
        opener: Callable[[str, int], int] | None,
    ) -> None:
        self._operations = operations
        super().__init__(file, mode, closefd, opener)

    def write(self, content: Any, /) -> int:
        return self._operations.write(self.name, content, super().write)

    def truncate(self, size: int | None = None, /) -> int:
        self._operations.before("truncate", self.name)
        return super().truncate(size)

    def readinto(self, buffer: Any, /) -> int:
        self._operations.before("read", self.name, is_reading=True)
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._operations.before("read", self.name, is_reading=True)
        return super().readall()

    def close(self) -> None:
        try:
            if not self.closed and self.writable():
                self._operations.before("close", self.name)
        finally:
            super().close()
