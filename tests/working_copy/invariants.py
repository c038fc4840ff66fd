"""What must hold in a working copy: after any stop, and after the next run in peace. Each returns what is wrong."""

import fcntl
import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import fields
from pathlib import Path

from handler.mount.git.objects import BLOB, hash_object
from testing.repositories import Tree
from tests.crash.trials import Run
from tests.working_copy.ending import Ending, commits_of, ending_of, log_problems, read_ref
from tests.working_copy.person import PATH, Person
from tests.working_copy.scenes import CopyScene

_OURS = "git2efs"
_PACKS = re.compile(r"pack-[0-9a-f]{40}\.(pack|idx|rev|bitmap)")


def after_any_run(mount: Path, scene: CopyScene, run: Run, *, looks_deep: bool, is_lasting: bool = False) -> list[str]:
    """Return what is wrong after a run that was stopped anywhere. `looks_deep` asks git too, which takes a while.

    `is_lasting`: from where it was stopped on nothing could be done, not even to let go of a lock.
    """
    person = Person(mount / PATH)
    if not os.path.lexists(person.root):
        return [] if scene.start is None else ["the copy is gone"]
    if not os.path.lexists(person.root / ".git"):
        return ["something is in the copy's place that is none"]
    problems = [
        *_files(person, scene),
        *_branch(person, scene),
        *_lock(person, scene, None if is_lasting else run),
        *_mine(person, scene),
    ]
    if looks_deep:
        problems += _sound(person)
    return problems


def after_peace(
    mount: Path,
    scene: CopyScene,
    wanted: str,
    ignored: Collection[str] = (),
    *,
    is_torn: bool = False,
    is_straight: bool = True,
    reads_logs: bool = True,
    may_litter: bool = False,
) -> list[str]:
    """Return what is wrong after the run that nothing stopped.

    `ignored` names what of the ending is not compared; for `is_torn` and `is_straight` see `log_problems`.
    `may_litter`: what could not be removed may be there until another process comes.
    """
    person, ending = Person(mount / PATH), scene.endings[wanted]
    if not os.path.lexists(person.root / ".git"):
        return ["there is no copy"]
    found = ending_of(person)
    ignored = {*ignored, *(["messages", "origin"] if scene.start is None else []), *(["messages"] if is_torn else [])}
    problems = [
        f"{field.name}: {_difference(getattr(found, field.name), getattr(ending, field.name))}"
        for field in fields(Ending)
        if field.name not in ignored and not _is_same(field.name, found, ending)
    ]
    for log in () if not reads_logs else ("HEAD", "refs/heads/main", "refs/remotes/origin/main"):
        problems += log_problems(person.root, log, is_torn=is_torn, is_straight=is_straight)
    return [*problems, *_mine(person, scene), *_leftovers(mount, person, wanted, may_litter), *_sound(person)]


def _is_same(name: str, found: Ending, ending: Ending) -> bool:
    if name == "commits":
        # A copy may have more history than it was made with, never less.
        return found.commits[: len(ending.commits)] == ending.commits
    return bool(getattr(found, name) == getattr(ending, name))


def _difference(found: object, wanted: object) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        differing = [path for path in {**found, **wanted} if found.get(path) != wanted.get(path)]
        return "; ".join(f"{path!r} is {found.get(path)}, not {wanted.get(path)}" for path in sorted(differing)[:3])
    return f"{found!r} is not {wanted!r}"


def _files(person: Person, scene: CopyScene) -> Iterator[str]:
    """Every file is the old one or the new one; of a copy that is being made there is all or nothing."""
    found, start, end = person.tree(), scene.start, scene.endings[scene.push.commit].tree
    if start is None:
        if found != end:
            yield f"half a copy is in its place: {_difference(found, end)}"
        return
    for path in {**found, **start, **end}:
        stands = found.get(path)
        if stands not in (start.get(path), end.get(path)) and not _is_hollow(path, stands, start, end):
            yield f"{path!r} is neither the old one nor the new one: {stands}"


def _is_hollow(path: bytes, stands: tuple[int, bytes] | None, *trees: Tree) -> bool:
    """Whether it is an empty directory that will have, or had, files in it; or one of those, which has some now."""
    if stands is not None:
        return stands[0] == 0o40000 and any(each.startswith(path + b"/") for tree in trees for each in tree)
    return any(tree.get(path, (0,))[0] == 0o40000 for tree in trees)


def _branch(person: Person, scene: CopyScene) -> Iterator[str]:
    """The branch names the old commit, or the new one when everything else is the new one's."""
    if (person.root / ".git/HEAD").read_bytes() != b"ref: refs/heads/main\n":
        yield "HEAD is elsewhere"
    commit, ending = read_ref(person.root), scene.endings[scene.push.commit]
    if commit is None:
        yield "the branch names nothing"
    elif commit != scene.old and not _is_old(scene, commit):
        if not _is_same("commits", ending_of(person), ending):
            yield f"the branch names {commit}, which is neither the old commit nor the new one"
        elif scene.start is not None and person.tree() != ending.tree:
            yield f"the branch names the new commit before its files are there: {person.tree()}"


def _is_old(scene: CopyScene, commit: str) -> bool:
    return commit == read_ref(scene.mount / PATH)


def _lock(person: Person, scene: CopyScene, run: Run | None) -> Iterator[str]:
    """Git is kept out while anything is half done, and by nothing but our own lock; afterwards it is not."""
    lock, journal = person.root / ".git/index.lock", person.root / ".git/git2efs/journal"
    is_there = os.path.lexists(lock)
    if is_there and not (lock.is_symlink() and os.readlink(lock) == _OURS):
        yield "an index.lock is there that is not ours"
    tree, end = person.tree(), scene.endings[scene.push.commit].tree
    is_new = scene.start is None or not _is_old(scene, read_ref(person.root) or "")
    is_half = tree != (end if is_new else scene.start)
    if is_half and not (is_there and journal.exists()):
        yield "it is half done, and neither lock nor journal say so"
    if run is None or run.answer is None:
        return
    is_refused = run.stopped_at is not None and "index.lock" in run.stopped_at
    if is_there and not journal.exists() and not is_refused:
        yield "git is kept out though nothing is half done"


def _mine(person: Person, scene: CopyScene) -> Iterator[str]:
    """What somebody had not committed is in its file, merged into the new one, or in a stash (or on its way there)."""
    for path, content in scene.mine.items():
        file = person.root / path.decode()
        stands = file.read_bytes() if file.is_file() else None
        if stands == content or (stands is not None and b"mine" in stands):
            continue
        stashed = person.git("show", f"refs/stash:{path.decode()}", check=False).encode() + b"\n"
        if stashed != content and not _is_journalled(person, content):
            yield f"what was not committed of {path!r} is lost"


def _is_journalled(person: Person, content: bytes) -> bool:
    """Whether the journal names a content, and a stash that is to be, and it is among the objects."""
    try:
        journal = json.loads((person.root / ".git/git2efs/journal").read_bytes())
    except FileNotFoundError:
        return False
    name = hash_object(BLOB, content).decode()
    kept = json.dumps(journal["kept"])
    return bool(journal["stash"]) and name in kept and person.git("cat-file", "-t", name, check=False) == "blob"


def _leftovers(mount: Path, person: Person, wanted: str, may_litter: bool) -> Iterator[str]:
    git = person.root / ".git"
    # On a slow mount directories stay, to write in beside each other.
    left = [str(each) for each in (git / "git2efs").rglob("*") if not each.is_dir() and each.name != "published.json"]
    if left and not may_litter:
        yield f"left in .git/git2efs: {left}"
    if locks := [str(each.relative_to(git)) for each in git.rglob("*.lock")]:
        yield f"locks are left: {locks}"
    names = os.listdir(git / "objects/pack")
    packs, indexes = ({name[: -len(end)] for name in names if name.endswith(end)} for end in (".pack", ".idx"))
    if packs != indexes or any(not _PACKS.fullmatch(name) for name in names):
        yield f"left among the packs: {names}"
    if others := set(os.listdir(mount / "octo/site")) - {".lock", ".targets", ".copies", "main"}:
        yield f"left beside the copy: {others}"
    if (copies := mount / "octo/site/.copies").exists() and os.listdir(copies):
        yield f"left of copies that were made: {os.listdir(copies)}"
    if (record := json.loads((git / "git2efs/published.json").read_bytes()))["commit"] != wanted:
        yield f"published.json names {record['commit']}, not {wanted}"
    with (mount / "octo/site/.lock").open("r+b") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield "the lock is held"


def _sound(person: Person) -> Iterator[str]:
    if said := person.complaints():
        yield f"git does not accept the repository: {said}"


def history_has(person: Person, message: str) -> bool:
    """Whether a commit of this message is in the branch's history."""
    return any(each.endswith("\n" + message) for each in commits_of(person))
