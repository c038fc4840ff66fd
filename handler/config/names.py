"""Which names are valid: repositories, refs and paths on the mount. Pure: no I/O, no clock.

Each `*_problem` returns None for a valid name, else the end of a sentence ("has an empty part"). The caller puts its
own beginning before it: a payload's field, a parameter's field.
"""

import re
from collections.abc import Iterable, Iterator

MIRROR = "mirror.git"
"""The mirror's name in a repository's directory. No part of a target's path may be called so.

Others of our names are allowed: branches are called `current` or `staging`, and no target lies inside another one.
"""

MAX_REF_BYTES = 512
MAX_PART_BYTES = 255
"""The longest name on EFS, as on every Linux file system."""
MAX_PATH_BYTES = 1024
MAX_DELIVERY_CHARACTERS = 200

OBJECT_ID = "[0-9a-f]{40}"
"""The pattern of a sha1 object id, to build others from; `is_object_id` tests a whole one."""
_OBJECT_ID = re.compile(OBJECT_ID)
_OBJECT_ID_BYTES = re.compile(OBJECT_ID.encode())
_TRANSFER = re.compile("[0-9a-f]{32}")
_FULL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_OWNER = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# Control characters, space and what git's revision syntax needs; see git-check-ref-format(1), rules 4, 5 and 10.
_NOT_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_NO_REPOSITORY = frozenset({".", "..", ".git"})
_NOT_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")


def is_object_id(value: str | bytes) -> bool:
    """Whether `value` is a sha1 object id: 40 lower-case hex digits, as text or as git's protocol has it."""
    if isinstance(value, str):
        return _OBJECT_ID.fullmatch(value) is not None
    return _OBJECT_ID_BYTES.fullmatch(value) is not None


def is_transfer(text: str) -> bool:
    """Whether `text` names the transfer of a large pack: 32 lower-case hex digits, drawn at random."""
    return _TRANSFER.fullmatch(text) is not None


def is_full_name(text: str) -> bool:
    """Whether `text` is `<owner>/<name>` in the characters that GitHub allows, with no `.` or `..` part."""
    return _FULL_NAME.fullmatch(text) is not None and not {".", ".."} & set(text.split("/"))


def is_owner(text: str) -> bool:
    """Whether `text` is an owner's name alone, in the same characters."""
    return _OWNER.fullmatch(text) is not None and text not in (".", "..")


def full_name_problem(text: str) -> str | None:
    """Return what is wrong with `text` as a repository's full name."""
    return None if is_full_name(text) else "is not <owner>/<name>"


def spelled_otherwise(full_name: str, names: Iterable[str]) -> str | None:
    """Return the name that differs from `full_name` by letter case alone; None where there is none."""
    wanted = full_name.lower()
    return next((name for name in names if name.lower() == wanted and name != full_name), None)


def ref_problem(ref: str) -> str | None:
    """Return what is wrong with `ref` as a ref's full name, by the rules of git-check-ref-format(1)."""
    size = _utf8_size(ref)
    parts = ref.split("/")
    if size is None or size > MAX_REF_BYTES:
        return f"is not UTF-8 of at most {MAX_REF_BYTES} bytes"
    if parts[0] != "refs" or len(parts) < 2:
        return "does not start with refs/"
    if not all(parts):
        return "has an empty part"
    if any(part.startswith(".") or part.endswith(".lock") for part in parts):
        return "has a part that starts with a dot or ends with .lock"
    if ".." in ref or "@{" in ref or ref.endswith(".") or _NOT_IN_REF.search(ref):
        return "holds characters that git does not allow in a ref"
    return None


def path_problem(path: str) -> str | None:
    """Return what is wrong with `path` as a target's path, relative to the mount.

    Only the name of a repository, in second place, may start with a dot.
    """
    size = _utf8_size(path)
    if size is None or size > MAX_PATH_BYTES:
        return f"is not UTF-8 of at most {MAX_PATH_BYTES} bytes"
    if _NOT_IN_PATH.search(path):
        return "holds a control character or a backslash"
    parts = path.split("/")
    for number, part in enumerate(parts):
        if not part:
            return "has an empty part, or a slash at an end"
        # In `<owner>/<name>/<branch>` the name may be `.github`. Nothing of ours lies there: our own dot names are at
        # the mount's root and in a repository's directory.
        is_name = number == 1 and len(parts) > 2 and part not in _NO_REPOSITORY
        if part.startswith(".") and not is_name:
            return "has a part that starts with a dot"
        if part == MIRROR:
            return f"has the part {MIRROR}, a name that git2efs uses itself"
        if len(part.encode()) > MAX_PART_BYTES:
            return f"has a part of more than {MAX_PART_BYTES} bytes"
    return None


def is_host_name(host: str) -> bool:
    """Whether `host` is a host's name, in lower case, or an address without brackets."""
    return _HOST.fullmatch(host) is not None or is_address(host)


def is_address(host: str) -> bool:
    """Whether `host` is an IP address without brackets."""
    # Imported when it is used: the mount side needs names, and no host.
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def subdirectory_problem(path: str) -> str | None:
    """Return what is wrong with `path` as a directory of a commit's tree."""
    size = _utf8_size(path)
    if size is None or size > MAX_PATH_BYTES or "\0" in path:
        return f"is not UTF-8 of at most {MAX_PATH_BYTES} bytes without NUL"
    if not path:
        return "is empty; without it, all of the tree is published"
    parts = path.split("/")
    if not all(parts):
        return "has an empty part, or a slash at an end"
    # What a tree may hold is judged when it is published. These alone mean something else than a name.
    return "has the part . or .." if {".", ".."} & set(parts) else None


def delivery_problem(delivery: str) -> str | None:
    """Return what is wrong with `delivery` as the id of a delivery, which goes into log lines."""
    return None if len(delivery) <= MAX_DELIVERY_CHARACTERS and delivery.isprintable() else "is not an id"


def is_pattern(name: str) -> bool:
    """Whether a rule's ref or path is a pattern: its last character is `*`."""
    return name.endswith("*")


def starred(pattern: str, name: str) -> str | None:
    """Return what `*` matches in `name`: the rest after the fixed part, slashes too. None where nothing matches.

    The rest has at least one character: `v*` does not match `v`.
    """
    fixed = pattern[:-1]
    return name.removeprefix(fixed) if name.startswith(fixed) and name != fixed else None


def default_path(full_name: str, ref: str) -> str:
    """Return where `ref` goes when its rule names no path: `<owner>/<name>/<branch>`.

    A tag goes to `<owner>/<name>/tags/<tag>`. A pattern keeps its `*`, which matches the same in the ref and the path.
    """
    return f"{full_name}/{branch_of(ref)}"


def branch_of(ref: str) -> str:
    """Return a branch's name without `refs/heads/`, and any other ref's without `refs/`."""
    return ref.removeprefix("refs/heads/") if ref.startswith("refs/heads/") else ref.removeprefix("refs/")


def ancestors_of(path: bytes) -> Iterator[bytes]:
    """Yield the directories above a path in a tree, the topmost first, without the root."""
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _utf8_size(text: str) -> int | None:
    try:
        return len(text.encode())
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell and UTF-8 cannot
        return None
