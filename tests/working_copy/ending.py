"""What a pull comes to, in the words in which ours and git's can be compared: all but who committed when."""

import re
from dataclasses import dataclass
from pathlib import Path

from testing.repositories import Tree
from tests.working_copy.person import Person

_LINE = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) [^\t\n]*> [0-9]+ [+-][0-9]{4}(?:\t(.*))?")
_BRANCH = "refs/heads/main"


@dataclass(frozen=True, slots=True)
class Ending:
    """What lies in a copy (`tree`), what git says of it, and what HEAD is.

    `commits` are tree, author and message from HEAD on down; `messages` those of the logs of HEAD and of the branch.
    """

    tree: Tree
    commits: tuple[str, ...]
    status: str
    messages: tuple[tuple[bytes, ...], tuple[bytes, ...]]
    stashes: int
    tracked: str
    origin: str


def ending_of(person: Person) -> Ending:
    """Look at a copy."""
    names = ("refs/remotes/origin/main", "ORIG_HEAD")
    tracked, origin = (read_ref(person.root, name) or "" for name in names)
    return Ending(
        person.tree(),
        commits_of(person),
        person.status(),
        (messages(person.root, "HEAD"), messages(person.root, _BRANCH)),
        len(log_lines(person.root, "refs/stash")),
        tracked,
        origin,
    )


def commits_of(person: Person, tip: str = "HEAD") -> tuple[str, ...]:
    """Return tree, author and message of a commit and of all before it."""
    said = person.git("log", "--topo-order", "--date=raw", "--format=%T %an <%ae> %ad%n%B%x00", tip, check=False)
    return tuple(each.strip() for each in said.split("\0")[:-1])


def read_ref(root: Path, name: str = _BRANCH) -> str | None:
    """Return what a ref names, None where it is not there."""
    try:
        return (root / ".git" / name).read_text().strip()
    except FileNotFoundError:
        pass
    try:
        packed = (root / ".git/packed-refs").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next((line[:40] for line in packed if line[41:] == name), None)


def log_lines(root: Path, name: str) -> list[bytes]:
    """Return the lines of a ref's log."""
    try:
        return (root / ".git/logs" / name).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []


def messages(root: Path, name: str) -> tuple[bytes, ...]:
    """Return what a ref's log says, without ids and dates."""
    return tuple(line.partition(b"\t")[2].strip() for line in log_lines(root, name))


def log_problems(root: Path, name: str, *, is_torn: bool = False, is_straight: bool = True) -> list[str]:
    """Return what is wrong with a ref's log: each line comes once, and the last one is where the ref is.

    `is_straight`: and each goes on from the one before it, as none tells of what was not done in the end. `is_torn`:
    half a line may be in it, which git passes over.
    """
    problems, last = [], None
    for line in log_lines(root, name):
        match = _LINE.fullmatch(line.rstrip(b"\n"))
        if match is None or not line.endswith(b"\n"):
            if is_torn and line.endswith(b"\n"):
                continue
            problems.append(f"the log of {name} has a line that is none: {line!r}")
            continue
        if last is not None and match[1] != last and (is_straight or match[2] == last):
            problems.append(f"the log of {name} does not go on from {last.decode()}: {line!r}")
        last = match[2]
    named = read_ref(root, _BRANCH if name == "HEAD" else name)
    if last is not None and (named or "").encode() != last:
        problems.append(f"the log of {name} ends at {last.decode()}, and it is at {named}")
    return problems
