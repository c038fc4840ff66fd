"""One example: build a history, pull it with git and with the one that is judged, compare."""

import itertools
import shutil
from collections import Counter
from pathlib import Path
from typing import Protocol

from testing.origin import GitOrigin
from tests.working_copy.account import account_of
from tests.working_copy.autostash import with_autostash, with_stash_excused
from tests.working_copy.building import Place, Upstream, build_copy, make_dirt, racy_paths
from tests.working_copy.judge import is_named, problems_of
from tests.working_copy.model import DirtKind, History
from tests.working_copy.state import Before, read_files, read_state, status
from tests.working_copy.verdicts import (
    CONFLICT,
    LOCAL_CHANGES,
    RENAME,
    Expected,
    Pulled,
    ask_git,
    conflicts_without_renames,
)


class Contender(Protocol):
    """One that pulls. It says where its working copies lie, and can make one or not."""

    def place(self, name: str) -> Path:
        """Return where the working copy of main of a repository `<owner>/<name>` is."""
        ...

    def make(self, place: Place, depth: int | None) -> bool:
        """Make the working copy of what main names; return False where it makes none."""
        ...

    def pull(self, place: Place) -> Pulled:
        """Pull."""
        ...


class Disagreement(AssertionError):
    """Git came to something else; the message tells the history, as a script that makes it again."""


class Trials:
    """Many examples with one contender and one origin; `counts` says how many of each class there were."""

    def __init__(self, contender: Contender, origin: GitOrigin, directory: Path, *, autostash: bool = False) -> None:
        """`directory` is for git's copies; every example removes what it made. `autostash` is a setting of both."""
        self.autostash = autostash
        self.contender, self.origin, self.directory = contender, origin, directory
        self.counts: Counter[str] = Counter()
        self._numbers = itertools.count(1)

    def run(self, history: History) -> set[str]:
        """Try one history; return its classes. Raises Disagreement."""
        # Not even another's name: what a repository's parameter says is remembered for a while.
        name = f"octo/{self.directory.name}-{next(self._numbers)}"
        place = Place(name, self.origin.url(name), self.origin.root / f"{name}.git", self.contender.place(name))
        place.copy.parent.mkdir(parents=True, exist_ok=True)
        work = self.directory / name
        work.mkdir(parents=True)
        try:
            events = self._compare(history, place, work)
        finally:
            for path in (work, place.upstream, place.copy):
                shutil.rmtree(path, ignore_errors=True)
        self.counts.update(events)
        self.counts["examples"] += 1
        return events

    def _compare(self, history: History, place: Place, work: Path) -> set[str]:
        upstream = Upstream(self.origin, place.name, history)
        made_by = build_copy(history, place, upstream, self.contender.make)
        clean, clean_copy = read_files(place.copy), None
        if history.dirt:
            clean_copy = work / "clean"
            shutil.copytree(place.copy, clean_copy, symlinks=True)
            if self.autostash:
                shutil.copytree(place.copy, work / "carrying", symlinks=True)
            make_dirt(history.dirt, place.copy, *DirtKind)
        shutil.copytree(place.copy, work / "git", symlinks=True)
        before = Before(
            read_state(place.copy),
            clean,
            status(place.copy) if history.dirt else [],
            frozenset(racy_paths(place.copy) | {path for dirt in history.dirt for path in dirt.paths}),
        )
        expected = ask_git(history, before.state, clean, work / "git", clean_copy)
        if self.autostash:
            expected = with_autostash(history, before, work / "carrying", expected)
        same: dict[str, str] = {}
        events = {f"made {made_by}"} | history.events
        events |= self._pull(history, place, before, expected, same)
        if history.again is not None and "succeeded" in events:
            # Each goes on from what it made itself, its refs' logs too.
            upstream.point(history.again)
            state = read_state(place.copy)
            # What an index cannot prove it does not prove afterwards either, until git itself looks.
            before = Before(state, state.files, [], before.excused | racy_paths(place.copy))
            expected = ask_git(history, read_state(work / "git"), state.files, work / "git", None)
            events |= {f"again: {event}" for event in self._pull(history, place, before, expected, same)}
        return events - {"", "again: "}

    def _pull(
        self, history: History, place: Place, before: Before, expected: Expected, same: dict[str, str]
    ) -> set[str]:
        """Let the contender pull, and compare; return the classes."""
        pulled = self.contender.pull(place)
        expected = self._excused(expected, pulled, place, before)
        problems = list(problems_of(place, before, pulled, expected, same))
        if not pulled.ok and expected.in_the_way and not is_named(pulled.detail, expected.in_the_way):
            problems.append(f"none of {expected.in_the_way} is named in {pulled.detail!r}")
        if problems:
            lines = "\n".join(f"  {problem}" for problem in problems)
            raise Disagreement(f"{lines}\ngit: {expected.how}; the copy made {history.origin}\n{account_of(history)}")
        return {expected.how, "succeeded" if pulled.ok else f"refused: {pulled.reason}", expected.named}

    def _excused(self, expected: Expected, pulled: Pulled, place: Place, before: Before) -> Expected:
        """Return what is expected of one that follows no renames, where that is what it stumbled over."""
        if self.autostash:
            expected = with_stash_excused(place.copy, before, expected)
        stumbled = pulled.reason == CONFLICT and expected.reason in (None, LOCAL_CHANGES)
        if stumbled and conflicts_without_renames(place, expected.copy.with_name("without renames")):
            return Expected(CONFLICT, expected.copy, expected.how, named=RENAME)
        return expected
