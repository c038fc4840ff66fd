"""What somebody may do in a copy that a killed run left half done, and what must come of it: nothing of it is lost."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from testing.repositories import Tree
from tests.crash.trials import Run, Trial
from tests.working_copy.invariants import after_peace, history_has
from tests.working_copy.person import Person
from tests.working_copy.scenes import CopyScene

MESSAGE = "by hand"
_MINE = "mine, and nobody else's\n"
_REASONS = {"local_changes", "replay_conflict"}


@dataclass(frozen=True, slots=True)
class Meddled(Trial):
    """A trial with a deed of DEEDS between the stops and the next run; then one more run, when way was given."""

    deed: str = ""

    def __str__(self) -> str:
        return f"{Trial.__str__(self)}, then somebody {self.deed}"


@dataclass(slots=True)
class Deed:
    """What was done: `files` have that content since (None: gone), `is_committed` says whether they are in a commit.

    `is_logged`: git wrote its own line in the logs, though a killed run had perhaps written its lines already.
    """

    files: dict[str, str | None] = field(default_factory=dict)
    is_committed: bool = False
    is_logged: bool = False


@dataclass(frozen=True, slots=True)
class _Half:
    """How far a killed run came: the files that are the old ones, and those that are the new ones already.

    Those with uncommitted content, `mine`, are left out.
    """

    person: Person
    start: Tree
    end: Tree
    found: Tree
    mine: Collection[bytes]

    def undone(self) -> list[str]:
        return self._that_stand(self.start)

    def done(self) -> list[str]:
        return self._that_stand(self.end)

    def _that_stand(self, tree: Tree) -> list[str]:
        differing = (path for path in sorted({**self.start, **self.end}) if self.start.get(path) != self.end.get(path))
        return [
            path.decode()
            for path in differing
            if path in tree and tree.get(path) == self.found.get(path) and tree[path][0] in (0o100644, 0o100755)
            if path.isascii() and path not in self.mine
        ]


def _edit_undone(half: _Half) -> Deed:
    return _written(half, half.undone()[:1])


def _edit_done(half: _Half) -> Deed:
    return _written(half, half.done()[-1:])


def _written(half: _Half, paths: list[str]) -> Deed:
    files: dict[str, str | None] = dict.fromkeys(paths, _MINE)
    half.person.write(files)
    return Deed(files)


def _delete_undone(half: _Half) -> Deed:
    # What the push takes away as well may be gone.
    return _deleted(half, [path for path in half.undone() if path.encode() in half.end][:1])


def _delete_done(half: _Half) -> Deed:
    # One that the push brings may come again: who deletes it does what was there before.
    return _deleted(half, [path for path in half.done() if path.encode() in half.start][:1])


def _deleted(half: _Half, paths: list[str]) -> Deed:
    files: dict[str, str | None] = dict.fromkeys(paths)
    half.person.write(files)
    return Deed(files)


def _put_new(half: _Half) -> Deed:
    for path in sorted(half.end.keys() - half.start.keys() - half.found.keys()):
        name = path.decode(errors="replace")
        if half.end[path][0] == 0o40000:
            continue
        try:
            half.person.write({name: _MINE})
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            continue  # something old stands in its way yet
        return Deed({name: _MINE})
    return Deed()


def _commit_own(half: _Half) -> Deed:
    """Commit a file of one's own, and nothing of what the run was at."""
    _unlock(half)
    half.person.write({"mine": _MINE})
    half.person.git("add", "mine")
    half.person.git("commit", "-q", "-m", MESSAGE, "--", "mine")
    return Deed({"mine": _MINE}, is_committed=True, is_logged=True)


def _commit_all(half: _Half) -> Deed:
    """Commit all that is there, half of what was pushed too."""
    _unlock(half)
    half.person.write({"mine": _MINE})
    half.person.git("add", "-A")
    half.person.git("commit", "-q", "-m", MESSAGE)
    return Deed({"mine": _MINE}, is_committed=True, is_logged=True)


def _reset(half: _Half) -> Deed:
    _unlock(half)
    half.person.git("reset", "-q", "--hard")
    return Deed(is_logged=True)


def _unlock(half: _Half) -> None:
    """Remove the locks, as git tells one to when nobody seems to be at work."""
    for lock in (half.person.root / ".git").rglob("*.lock"):
        lock.unlink()


TO_FILES = ("edits what is not done", "edits what is done", "deletes what is not done", "deletes what is done")
"""What is done to files; the other deeds would take uncommitted content with them."""
DEEDS: Mapping[str, Callable[[_Half], Deed]] = MappingProxyType(
    {
        "edits what is not done": _edit_undone,
        "edits what is done": _edit_done,
        "deletes what is not done": _delete_undone,
        "deletes what is done": _delete_done,
        "puts a file where one is to come": _put_new,
        "commits a file": _commit_own,
        "commits everything": _commit_all,
        "resets": _reset,
    }
)


def do(name: str, person: Person, scene: CopyScene) -> Deed:
    """Do it."""
    assert scene.start is not None
    return DEEDS[name](_Half(person, scene.start, scene.endings[scene.push.commit].tree, person.tree(), scene.mine))


def after_next(deed: Deed, person: Person, run: Run, log: str) -> list[str]:
    """Return what is wrong after the next run: what was done is still so, and if it is in the way it is named."""
    problems = [run.trouble] if run.trouble else []
    problems += [f"{name} is not what it was made to be: {why}" for name, why in _changed(deed, person)]
    if run.answer is None:
        return [*problems, "no answer"]
    status, outcome, reason = run.answer
    if (status, outcome) in ((200, "published"), (200, "unchanged")):
        return problems
    if (outcome, reason) != ("failed", "local_changes") and not (reason == "replay_conflict" and deed.is_committed):
        problems.append(f"answered {run.answer}")
    elif not deed.is_committed and not all(f"'{name}'" in log for name in deed.files):
        problems.append(f"what is in the way is not named: {sorted(deed.files)}")
    return problems


def _changed(deed: Deed, person: Person) -> list[tuple[str, str]]:
    if deed.is_committed and not history_has(person, MESSAGE):
        return [("the commit", "it is not in the branch's history")]
    changed = []
    for name, content in deed.files.items():
        file = person.root / name
        stands = file.read_text() if file.is_file() else None
        if stands != content and not _is_stashed(person, name, content):
            changed.append((name, repr(stands)))
    return changed


def _is_stashed(person: Person, name: str, content: str | None) -> bool:
    """Whether it is kept as a stash, as it did not fit with what was pulled."""
    if not person.git("stash", "list"):
        return False
    return person.git("show", f"refs/stash:{name}", check=False) == (content or "").rstrip("\n")


def give_way(deed: Deed, person: Person, reason: str = "") -> None:
    """Take back what is in the way, as git tells one to."""
    if deed.is_committed:
        # What of the push stands there uncommitted is nobody's; and a commit of half of it does not go upon the rest.
        is_conflict = reason == "replay_conflict"
        person.git("reset", "-q", "--hard", *(["refs/remotes/origin/main"] if is_conflict else []))
        person.git("clean", "-q", "-fd")
        if is_conflict:
            person.commit({"mine": _MINE}, MESSAGE)
        return
    for name in deed.files:
        if person.git("ls-tree", "HEAD", "--", name):
            person.git("checkout", "-q", "HEAD", "--", name)
        else:
            (person.root / name).unlink(missing_ok=True)
    # What could not be put back as something stood in its place.
    gone = [line[3:] for line in person.status().splitlines() if line.startswith(" D ") and line[3:] not in deed.files]
    if gone:
        person.git("checkout", "-q", "HEAD", "--", *gone)


def in_the_end(deed: Deed, person: Person, run: Run, scene: CopyScene, mount: Path) -> list[str]:
    """Return what is wrong when nothing is in the way any more: the copy is the tip's, and the commit is on it."""
    problems = []
    if run.trouble or run.answer is None or run.answer[0] != 200:
        problems.append(f"after giving way: {run.trouble or run.answer}")
    ignored = {"messages", "origin", "stashes", *(["tree", "status"] if scene.mine else [])}
    if deed.is_committed:
        ignored |= {"tree", "commits"}
        problems += [f"in the end {name}: {why}" for name, why in _changed(deed, person)]
        stands, ending = person.tree(), scene.endings[scene.push.commit].tree
        # Of directories without files no commit knows, so that one may be left.
        tree = {
            path: each for path, each in stands.items() if path != b"mine" and (each[0] != 0o40000 or path in ending)
        }
        if tree != ending:
            problems.append(f"in the end, the tree is {tree}")
    else:
        give_way(deed, person)
    found = after_peace(mount, scene, scene.push.commit, ignored, reads_logs=not deed.is_logged)
    return problems + [f"in the end: {problem}" for problem in found]
