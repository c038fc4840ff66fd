"""Start states of a working copy, each with the push that the trials stop, and what real git makes of it."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from testing.deliveries import NULL_OID, http_api_event
from testing.parameters import ParameterStore
from testing.repositories import Entry, Executable, Submodule, Tree, Upstream, archive, run_git
from testing.service import Service
from tests.crash.replay import LIVE, ReplayingOrigin
from tests.crash.scenarios import FROM_TURNED, SITE, SLOW, STEADY, TO_TURNED
from tests.crash.trials import Push, Scene
from tests.working_copy.ending import Ending, ending_of
from tests.working_copy.person import PATH, Person

_Files = Mapping[bytes, Entry | None]
_ELSEWHERE = "1" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyScene(Scene):
    """A scene of a working copy. `key` is in the address that the copy has for its remote.

    `start` is what lies in the copy, None where there is none yet; `endings` are what git makes of it by the pushed
    commit. `mine` is uncommitted content by path that must never be lost.
    """

    key: str
    start: Tree | None
    endings: Mapping[str, Ending]
    mine: Mapping[bytes, bytes] = field(default_factory=dict)


def _pull(person: Person, url: str, *options: str) -> None:
    """Pull as git does it."""
    person.git("-c", f"url.{url}.insteadOf={person.git('config', 'remote.origin.url')}", *options, "pull", "--rebase")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """How a scene comes to be: `before` are delivered one by one, or cloned by hand where `is_adopted`.

    Then `change` is what somebody does in the copy, and `push` what the trials stop; with `is_forced` it takes the
    place of what was pushed last. `mine` are paths whose uncommitted content is in the push's way.
    """

    before: Sequence[_Files]
    push: _Files
    newer: _Files
    change: Callable[[Person], None] = lambda person: None
    pull: Callable[[Person, str], None] = _pull
    parameter: Mapping[str, object] = field(default_factory=dict)
    patches: Mapping[str, object] = field(default_factory=dict)
    mine: Sequence[bytes] = ()
    is_adopted: bool = False
    is_forced: bool = False


def _pull_with_autostash(person: Person, url: str) -> None:
    """Pull as git does it, with uncommitted changes; where those do not fit they stay in the stash alone."""
    _pull(person, url, "-c", "rebase.autoStash=true")
    for path in person.git("diff", "--name-only", "--diff-filter=U").splitlines():
        person.git("checkout", "-q", "HEAD", "--", path)


def _merge_forward(person: Person, url: str) -> None:
    """Go forward as `git pull` does without a rebase: git's own refuses a rebase with anything uncommitted.

    It refuses what is there already too, which is taken away before.
    """
    person.git("checkout", "-q", "HEAD", "--", "text", "gone")
    shutil.rmtree(person.root / "new")
    person.git("fetch", "-q", url, "+refs/heads/main:refs/remotes/origin/main")
    person.git("merge", "-q", "--ff-only", "refs/remotes/origin/main")
    for log in (person.root / ".git/logs").rglob("*"):
        if log.is_file():
            log.write_text(log.read_text().replace("\tmerge refs/remotes/origin/main:", "\tpull --rebase:"))


def _lines(*changed: tuple[int, str]) -> str:
    lines = [f"line {number}" for number in range(16)]
    for number, text in changed:
        lines[number] = text
    return "\n".join(lines) + "\n"


_TEXT: _Files = {b"text": _lines().encode(), b"other": b"other\n", b"docs/guide": b"guide\n", b"gone": b"gone\n"}
_TEXT_CHANGED: _Files = {b"text": _lines((15, "theirs")).encode(), b"gone": None, b"new/file": b"new\n"}
_TEXT_NEWER: _Files = {b"text": _lines((15, "theirs"), (12, "newer")).encode(), b"other": Executable(b"newer\n")}
_MODULE: _Files = {b"module": Submodule(_ELSEWHERE), b"deep/module": Submodule(_ELSEWHERE)}
_MODULES_CHANGED: _Files = {b"module": b"a file now\n", b"deep/module": None, b"third": Submodule("2" * 40)}
_MODULES_BACK: _Files = {b"module": Submodule("2" * 40), b"deep/module": Submodule(_ELSEWHERE), b"third": None}


def _commit_locally(person: Person) -> None:
    person.commit({"text": _lines((0, "mine"))}, "first\n\nbody\n")
    person.commit({"local/file": "local\n", "docs/guide": "my guide\n"}, "second")


def _litter(person: Person) -> None:
    """Leave things of every kind, none of them in the push's way, and some that are what the push brings."""
    person.write({"other": "dirty\n", "docs/guide": "staged\n", "added": "staged\n", ".gitignore": "ignored\n"})
    person.git("add", "docs/guide", "added", ".gitignore")
    person.write({"added": "and changed\n", "untracked": "x\n", "new-one/untracked": "y\n", "ignored": "z\n"})
    (person.root / "docs/kept").unlink()
    person.write({"text": _lines((15, "theirs")), "gone": None, "new/file": "new\n"})
    person.git("add", "text")


def _dirty(person: Person) -> None:
    person.write({"text": _lines((0, "mine")), "docs/guide": "not in the way\n", "untracked": "x\n"})


def _clash(person: Person) -> None:
    person.write({"text": _lines((15, "mine")), "docs/guide": "not in the way\n"})
    person.git("add", "docs/guide")


def _commit_and_pack(person: Person) -> None:
    person.git("gc", "-q", "--prune=now")
    person.commit({"local/file": "local\n"}, "mine")
    person.git("pack-refs", "--all")


_STEADY: Mapping[str, object] = {**STEADY, "handler.mount.working_copy.clone:_WAIT_STEPS": 0}
"""Does not wait for the next second either, which takes as many operations as it takes."""
_AUTOSTASH: Mapping[str, object] = {"publish": [{"ref": "refs/heads/main", "mode": "working-copy", "autostash": True}]}

PLOTS: Mapping[str, Plot] = MappingProxyType(
    {
        "made": Plot(before=[], push={**SITE, **_MODULE}, newer={b"README": b"newer\n"}, parameter={"depth": 1}),
        "forward": Plot(
            before=[{**SITE, **_MODULE}],
            push={**TO_TURNED, **_MODULES_CHANGED, b"README": b"changed\n"},
            newer={**FROM_TURNED, **_MODULES_BACK},
        ),
        "forward and back": Plot(
            before=[{**SITE, **_MODULE}, {**TO_TURNED, **_MODULES_CHANGED}],
            push={**FROM_TURNED, **_MODULES_BACK},
            newer={**TO_TURNED, **_MODULES_CHANGED},
        ),
        "forward, side by side": Plot(
            before=[{**SITE, **_MODULE}],
            push={**TO_TURNED, **_MODULES_CHANGED, b"README": b"changed\n"},
            newer={**FROM_TURNED, **_MODULES_BACK},
            patches=SLOW,
        ),
        "stash that clashes, side by side": Plot(
            before=[_TEXT],
            push=_TEXT_CHANGED,
            newer=_TEXT_NEWER,
            change=_clash,
            pull=_pull_with_autostash,
            parameter=_AUTOSTASH,
            patches=SLOW,
            mine=[b"text"],
        ),
        "replayed": Plot(before=[_TEXT], push=_TEXT_CHANGED, newer=_TEXT_NEWER, change=_commit_locally),
        "littered": Plot(
            before=[{**_TEXT, b"docs/kept": b"kept\n"}],
            push=_TEXT_CHANGED,
            newer={b"last": b"newer\n"},
            change=_litter,
            pull=_merge_forward,
            mine=[b"text", b"new/file"],
        ),
        "stash that fits": Plot(
            before=[_TEXT],
            push=_TEXT_CHANGED,
            newer=_TEXT_NEWER,
            change=_dirty,
            pull=_pull_with_autostash,
            parameter=_AUTOSTASH,
            mine=[b"text"],
        ),
        "stash that clashes": Plot(
            before=[_TEXT],
            push=_TEXT_CHANGED,
            newer=_TEXT_NEWER,
            change=_clash,
            pull=_pull_with_autostash,
            parameter=_AUTOSTASH,
            mine=[b"text"],
        ),
        "adopted": Plot(
            before=[_TEXT, {b"other": b"again\n"}],
            push=_TEXT_CHANGED,
            newer=_TEXT_NEWER,
            change=_commit_and_pack,
            is_adopted=True,
        ),
        "tended": Plot(
            before=[_TEXT, {b"other": b"1\n"}],
            push={b"other": b"2\n"},
            newer={b"other": b"3\n"},
            patches={"handler.mount.git.repack:MAX_SMALL_PACKS": 2},
        ),
        "forced": Plot(
            before=[_TEXT, {b"bad": b"bad\n", b"other": b"bad\n"}],
            push=_TEXT_CHANGED,
            newer=_TEXT_NEWER,
            change=_commit_locally,
            is_forced=True,
        ),
    }
)


def set_scene(name: str, directory: Path, store: ParameterStore, origin: ReplayingOrigin) -> CopyScene:
    """Make the start state of a plot: real pushes through the handler, in this process, and git for the rest."""
    plot = PLOTS[name]
    work, mount, key = directory / "work", directory / "mount", f"{LIVE}-{directory.name}"
    work.mkdir(parents=True)
    (origin.root / key).symlink_to(work)
    upstream = Upstream(work)
    parameter = {"depth": 0, "publish": [{"ref": "refs/heads/main", "mode": "working-copy"}], **plot.parameter}
    service = Service(mount, store).start()
    person = Person(mount / PATH)
    try:
        service.put_repository("octo/site", **parameter, url=origin.url(key))
        # Never delivered: it is there so that a shallow fetch leaves some history out.
        commits = [upstream.commit({b"before": b"all\n"})]
        for files in plot.before:
            commits.append(upstream.commit(files))
            if not plot.is_adopted:
                answer = service.push(upstream)
                assert answer.outcome == "published", service.text
        if plot.is_adopted:
            person.root.parent.mkdir(parents=True)
            run_git("clone", "-q", str(upstream.path), str(person.root), directory=work)
            person.git("config", "remote.origin.url", origin.url(key))
        plot.change(person)
        pushes = []
        for at, files in enumerate((plot.push, plot.newer)):
            parents = commits[-2:-1] if plot.is_forced and at == 0 else None
            commits.append(upstream.commit(files, parents=parents))
            phase = directory / f"phase-{at}"
            shutil.copytree(work, phase)
            pushes.append(Push(phase, http_api_event(service.push_request(upstream)), commits[-1]))
        warm_up = http_api_event(service.push_request(upstream, "gone", after=NULL_OID))
    finally:
        service.stop()
    start = person.tree() if plot.before else None
    return CopyScene(
        name,
        mount,
        commits[-3] if plot.before else None,
        pushes[0],
        pushes[1],
        {},
        parameter,
        warm_up,
        {**_STEADY, **plot.patches},
        key=key,
        start=start,
        endings=_endings(plot, person, pushes, directory) if plot.before else _made(upstream, pushes),
        mine={path: (start or {})[path][1] for path in plot.mine},
    )


def _endings(plot: Plot, person: Person, pushes: Sequence[Push], directory: Path) -> dict[str, Ending]:
    """Let git pull each push, from the start alone."""
    endings = {}
    for at, push in enumerate(pushes):
        root = directory / f"git-{at}"
        shutil.copytree(person.root, root, symlinks=True)
        shutil.rmtree(root / ".git/git2efs", ignore_errors=True)
        pulling = Person(root)
        plot.pull(pulling, str(push.origin / "octo/site.git"))
        endings[push.commit] = ending_of(pulling)
    return endings


def _made(upstream: Upstream, pushes: Sequence[Push]) -> dict[str, Ending]:
    """Say what a copy is that was just made."""
    endings = {}
    for push in pushes:
        root = push.origin.with_name(push.origin.name + "-git")
        run_git("clone", "-q", "--depth", "1", f"file://{push.origin}/octo/site.git", str(root), directory=push.origin)
        found = ending_of(Person(root))
        assert found.tree == archive(upstream, push.commit)
        endings[push.commit] = found
    return endings
