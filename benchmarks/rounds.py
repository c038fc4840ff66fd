"""The measurements: contenders take turns on the same push, in a different order each round."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp

from benchmarks import figures
from benchmarks.contenders import (
    Contender,
    GitPython,
    Ours,
    Pause,
    Pygit2,
    git_clone,
    git_pull,
    git_sync,
)
from benchmarks.figures import Cell, LargeFetch, Row
from benchmarks.histories import History, commit_in, large_upstream
from benchmarks.places import Place

_STEADY_AFTER = 4
"""Pushes until ours recycles: earlier there is none, or one that differs by what others pushed."""
_TRACES_OF_OURS = 7
"""One or two of these publishes merge packs."""

Say = Callable[[str], None]


def first_publishes(place: Place, history: History, rounds: int, *, is_weighed: bool, is_traced: bool) -> Row:
    """Measure first publishes of the history's tip, each into a directory that does not exist yet.

    Memory and file calls take one more publish each.
    """
    row: Row = {name: Cell() for name in (figures.OURS, figures.GIT_CLONE, figures.GIT_CLONE_PARALLEL)}
    for number in range(rounds):
        for name in _in_turn(row, number):
            with _first_publish(place, history, name) as contender:
                row[name].timings.append(contender.publish())
    for name, cell in row.items():
        if is_weighed:
            with _first_publish(place, history, name) as contender:
                cell.peak_mib = contender.weigh()
        if is_traced:
            with _first_publish(place, history, name) as contender:
                cell.calls.append(contender.trace(place.local / "trace"))
    return row


@contextmanager
def _first_publish(place: Place, history: History, name: str) -> Iterator[Contender]:
    # Removed only at the end: ext4 does not reuse an inode for five seconds, and searches long for another.
    directory = Path(mkdtemp(prefix="first-", dir=place.trees)) / "tree"
    url = place.origin.url(history.upstream.full_name)
    contender: Contender
    if name == figures.OURS:
        ours = Ours(place.service(directory), history.upstream)
        ours.warm_up()
        contender = ours
    else:
        contender = git_clone(url, directory, workers=32 if name == figures.GIT_CLONE_PARALLEL else 1)
    try:
        yield contender
    finally:
        contender.stop()


def previews(place: Place, history: History, rounds: int) -> Row:
    """Measure first publishes of new branches, one file off the tip, beside main, which is published already."""
    row: Row = {name: Cell() for name in (figures.OURS, figures.GIT_CLONE)}
    mount = place.trees / f"previews-{history.files}"
    ours = Ours(place.service(mount, background=True), history.upstream, publish=[{"ref": "refs/heads/*"}])
    ours.publish()
    for number in range(rounds):
        ours.branch = f"preview-{number}"
        history.branch_off(ours.branch)
        url, directory = place.origin.url(history.upstream.full_name), place.trees / f"{mount.name}-git-{number}"
        taking_part: dict[str, Contender] = {
            figures.OURS: ours,
            figures.GIT_CLONE: git_clone(url, directory, branch=ours.branch),
        }
        for name in _in_turn(row, number):
            row[name].timings.append(taking_part[name].publish())
        ours.settle("seconds")
    ours.stop()
    return row


class Field:
    """Contenders with the same tree checked out, which take the next push in turn. A context manager."""

    def __init__(
        self,
        place: Place,
        history: History,
        names: Sequence[str],
        *,
        is_committed_in: bool = False,
        pause: Pause = "minutes",
    ) -> None:
        """Check out the tree for each. `is_committed_in`: each also has a local commit that nobody pushes.

        `pause` is how long nobody pushes before each push.
        """
        self.history = history
        self._pause = pause
        self.trees: dict[str, Path] = {}
        self._trace = place.local / "trace"
        self._contenders: dict[str, Contender] = {}
        url = place.origin.url(history.upstream.full_name)
        for name in names:
            directory = (
                place.trees / f"{name.replace(' ', '-').lower()}-{history.files}{'-local' * is_committed_in}-{pause}"
            )
            self._contenders[name] = _settled(place, history, name, directory, url)
            name_on_mount = history.upstream.full_name
            inside = {
                figures.OURS: f"{name_on_mount}/main/current",
                figures.COPY: f"{name_on_mount}/main",
                figures.GIT_SYNC: "current",
            }
            tree = directory / inside.get(name, "")
            self.trees[name] = tree
            if is_committed_in:
                commit_in(tree)

    def __enter__(self) -> "Field":
        return self

    def __exit__(self, *_: object) -> None:
        for contender in self._contenders.values():
            contender.stop()

    def row(self) -> Row:
        """Return an empty row for these contenders."""
        return {name: Cell() for name in self._contenders}

    def settle(self, changes: int) -> None:
        """Push until the steady state."""
        for _ in range(_STEADY_AFTER):
            self.history.push(changes)
            for contender in self._contenders.values():
                contender.publish()
                contender.settle(self._pause)

    def play(self, changes: int, row: Row, number: int, pause_seconds: float) -> None:
        """Push once after so many idle seconds, and time every contender. What a client caches of a mount (attributes,
        names) expires between real pushes."""
        self.history.push(changes)
        time.sleep(pause_seconds)
        for name in _in_turn(self._contenders, number):
            row[name].timings.append(self._contenders[name].publish())
        for contender in self._contenders.values():
            contender.settle(self._pause)

    def weigh(self, changes: int, row: Row) -> None:
        """Push once, and measure the memory of every contender."""
        self.history.push(changes)
        for name, contender in self._contenders.items():
            row[name].peak_mib = contender.weigh()
            contender.settle(self._pause)

    def trace(self, changes: int, row: Row) -> None:
        """Push a few times, and count the file calls of every contender."""
        for number in range(_TRACES_OF_OURS):
            self.history.push(changes)
            for name, contender in self._contenders.items():
                if name in (figures.OURS, figures.COPY) or number == 0:
                    row[name].calls.append(contender.trace(self._trace))
                    contender.settle(self._pause)


def _settled(place: Place, history: History, name: str, directory: Path, url: str) -> Contender:
    if name == figures.OURS:
        ours = Ours(place.service(directory, background=True), history.upstream)
        ours.publish()
        ours.settle("seconds")
        return ours
    if name == figures.COPY:
        publish = [{"ref": "refs/heads/main", "mode": "working-copy"}]
        ours = Ours(place.service(directory), history.upstream, publish=publish, depth=0)
        ours.publish()
        return ours
    if name == figures.GIT_SYNC:
        assert place.git_sync
        return git_sync(place.git_sync, url, directory)
    # With the whole history, as people have it: a shallow pull costs the remote more, and takes longer.
    git_clone(url, directory, workers=32, depth=None).publish()
    if name == figures.GITPYTHON:
        return GitPython(directory)
    return Pygit2(directory) if name == figures.PYGIT2 else git_pull(directory)


def large_fetch(place: Place, mebibytes: int) -> LargeFetch:
    """Publish a large tree that does not compress, and measure the memory that it takes."""
    upstream = large_upstream(place.local / "origin", mebibytes)
    upstream.git("repack", "-a", "-d", "-q", "--window=0")
    pack = sum(path.stat().st_size for path in upstream.path.glob("objects/pack/*.pack"))
    ours = Ours(place.service(place.trees / "large", read_timeout_seconds=60), upstream)
    ours.warm_up()
    idle = ours.idle_mib()
    started = time.monotonic()
    peak, anonymous = ours.weigh_anonymous()
    seconds = time.monotonic() - started
    ours.stop()
    directory = place.trees / "large-git"
    started = time.monotonic()
    git_peak = git_clone(place.origin.url(upstream.full_name), directory).weigh()
    git_seconds = time.monotonic() - started
    return LargeFetch(pack / 2**20, seconds, peak, anonymous, idle, git_seconds, git_peak)


def play_pushes(
    fields: Mapping[int, Field],
    changes: int,
    rounds: int,
    say: Say,
    *,
    is_weighed: bool = True,
    is_traced: bool,
    pause_seconds: float = 0.0,
) -> dict[tuple[int, int], Row]:
    """Measure pushes of `changes` files on trees of all sizes, in turn, so that sizes compare too."""
    taking_part = {files: field for files, field in fields.items() if files >= changes}
    rows = {files: field.row() for files, field in taking_part.items()}
    for field in taking_part.values():
        field.settle(changes)
    for number in range(rounds):
        say(f"pushes of {changes:,}: round {number + 1} of {rounds}")
        for files, field in taking_part.items():
            field.play(changes, rows[files], number, pause_seconds)
    for files, field in taking_part.items():
        if is_weighed:
            field.weigh(changes, rows[files])
        if is_traced:
            say(f"pushes of {changes:,} to {files:,} files: counting calls")
            field.trace(changes, rows[files])
    return {(files, changes): row for files, row in rows.items()}


@contextmanager
def fields_of(
    place: Place,
    histories: Mapping[int, History],
    names: Sequence[str],
    say: Say,
    *,
    is_committed_in: bool = False,
    pause: Pause = "minutes",
) -> Iterator[dict[int, Field]]:
    """Check out every tree for every contender; see `Field`."""
    with ExitStack() as stack:
        fields = {}
        for files, history in histories.items():
            say(f"checking {files:,} files out for {', '.join(names)}")
            field = Field(place, history, names, is_committed_in=is_committed_in, pause=pause)
            fields[files] = stack.enter_context(field)
        yield fields


def _in_turn(names: Mapping[str, object], number: int) -> list[str]:
    """Return the names, starting with a different one each round."""
    ordered = list(names)
    start = number % len(ordered)
    return ordered[start:] + ordered[:start]
