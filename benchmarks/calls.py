"""Count file calls on a mount from strace's output, and model their cost on EFS. Pure.

The model multiplies calls by EFS's published latencies, as if calls never overlapped and the client cached nothing but
open files. It overstates the cost of contenders that look at a file twice, or have many calls in flight. The run on a
mount with real latencies (`--mount`) does not.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType

MILLISECONDS: Mapping[str, float] = MappingProxyType(
    {
        "look up": 0.6,
        "open": 1.0,
        "open directory": 0.6,
        "read": 0.6,
        "list": 0.6,
        "create": 3.0,
        "flush": 3.0,
        "rename": 3.0,
        "unlink": 3.0,
        "rmdir": 3.0,
        "mkdir": 3.0,
        "symlink": 3.0,
        "link": 3.0,
        "set attributes": 3.0,
        "lock": 3.0,
        "write": 0.0,
        "close": 0.0,
        "other": 0.0,
    }
)
"""By kind of call. A flush is an fsync, or the close of a written file; writes wait in memory for it. `other` are calls
that the client answers itself: the status of an open file, seeks, flags."""

_KINDS = {
    "look up": "stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat chdir statfs getxattr",
    "open": "open openat openat2 creat",
    "read": "read pread64 readv preadv mmap sendfile copy_file_range",
    "list": "getdents getdents64",
    "flush": "fsync fdatasync",
    "rename": "rename renameat renameat2",
    "unlink": "unlink unlinkat",
    "rmdir": "rmdir",
    "mkdir": "mkdir mkdirat",
    "symlink": "symlink symlinkat",
    "link": "link linkat",
    "set attributes": "chmod fchmod fchmodat chown fchown lchown fchownat utime utimes utimensat futimesat "
    "ftruncate truncate",
    "lock": "flock",
    "write": "write pwrite64 writev pwritev",
    "close": "close",
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_CALL = re.compile(r"^(?:\d+\s+)?(\w+)\((.*)$")
_FIRST_PATH = re.compile(r"^(?:\d+|AT_FDCWD)<([^>]*)>")
_RELATIVE = re.compile(r'^(?:AT_FDCWD(?:<[^>]*>)?, )?"(?!/)')
_OPEN_FILE = re.compile(r'^\d+<[^>]*>, ""')


def count_calls(lines: Iterable[str], mount: str, *, is_inside: bool) -> Counter[str]:
    """Count the calls on `mount` by kind, from the lines of `strace -f -y`.

    `is_inside`: the working directory of the traced process is on the mount, and so are relative paths.
    """
    counts: Counter[str] = Counter()
    written: set[str] = set()
    for line in lines:
        match = _CALL.match(line)
        if match and _is_on_mount(match[2], mount, is_inside=is_inside):
            counts[_kind(match[1], match[2], written)] += 1
    return counts


def model_seconds(calls: Mapping[str, int]) -> float:
    """Return the seconds that the calls take on EFS, one after the other."""
    return sum(MILLISECONDS[kind] * count for kind, count in calls.items()) / 1000


def _is_on_mount(arguments: str, mount: str, *, is_inside: bool) -> bool:
    if is_inside and _RELATIVE.match(arguments):
        return True
    return any(f"{opening}{mount}{end}" in arguments for opening in '<"' for end in '/>"(')


def _kind(name: str, arguments: str, written: set[str]) -> str:
    """Return a call's kind; `written` holds what is open and has bytes that the server has not."""
    kind = _KIND_OF.get(name, "other")
    opened = _FIRST_PATH.match(arguments)
    path = opened[1] if opened else ""
    match kind:
        case "open" if "O_CREAT" in arguments or name == "creat":
            return "create"
        case "open" if "O_DIRECTORY" in arguments or "O_PATH" in arguments:
            return "open directory"
        case "unlink" if "AT_REMOVEDIR" in arguments:
            return "rmdir"
        case "look up" if _OPEN_FILE.match(arguments):
            return "other"
        case "write":
            written.add(path)
        case "close" if path in written:
            written.discard(path)
            return "flush"
    if name == "fcntl" and "F_SETLK" in arguments:
        return "lock"
    return kind
