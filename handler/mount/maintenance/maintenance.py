"""The daily chores of a repository: prune, sweep, compare releases with their commits, mend, keep the mirror in order.

What publishing leaves undone, because a push should not wait for it, or cannot see, because it never looks at trees.
Every chore may be broken off anywhere, by a kill too, and done again.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from handler.errors import MirrorDamaged, OutOfTime
from handler.model import Outcome, OutcomeKind, Repository
from handler.mount.fs.errno_map import failure_of
from handler.mount.git.fsck import mend
from handler.mount.git.store_pool import OpenStores
from handler.mount.maintenance.audit import Findings, Inspection, Premises
from handler.mount.releases.prune import discard, prune_at_rest
from handler.mount.target.directory import Found, TargetDirectory
from handler.mount.target.layout import RepositoryPaths
from handler.mount.target.registry import TargetList
from handler.mount.working_copy.maintain import tend_copy
from handler.outcome import outcome_of
from handler.settings import Settings


@dataclass(frozen=True, slots=True)
class Tended:
    """What came of the chores: an outcome a target that was finished, in the order of the list of targets.

    `go_on_at` is None when all is done; else the time was up, and it is what to hand to the next call.
    """

    outcomes: tuple[Outcome, ...]
    go_on_at: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where the chores stopped: a target's path, a release of it, and the number of the part to compare next."""

    path: str
    commit: str = ""
    part: int = 0

    def __str__(self) -> str:
        """Return it as `go_on_at`; no target's path has an empty part, so that the two slashes divide."""
        return f"{self.path}//{self.commit}//{self.part}"

    @classmethod
    def read(cls, text: str) -> "Place":
        """Read what `str` made; whatever else it is only means to begin with the target, or with the first one."""
        path, _, rest = text.partition("//")
        commit, _, part = rest.partition("//")
        return cls(path, commit, int(part) if part.isdecimal() and len(part) < 9 else 0)


@dataclass(frozen=True, slots=True)
class Caretaker:
    """Does the chores of repositories on one mount. Safe for threads."""

    settings: Settings
    mirrors: OpenStores
    clock: Callable[[], float] = time.time

    def tend(self, repository: Repository, *, deadline: float | None = None, go_on_at: str | None = None) -> Tended:
        """Do the chores of all targets that the repository was ever published to.

        Stops at `deadline` (seconds, of `clock`). The repository's lock is held for moments only, and for what is
        mended. Never raises an Exception: every failure is an outcome, and does not keep the other targets from theirs.

        Outcomes: `unchanged` with `verified`, or with `set_aside` where a kept release is not as its commit has it and
        will not be used again; `published` with `repaired` where `current` was not and is now; `failed`. After
        `mirror_damaged` the mirror is empty, or lacks what is published: to reconcile the target fetches it, and then
        the chores can be done.
        """
        paths = RepositoryPaths.of(self.settings.mount, repository.full_name)
        round_ = _Round(repository, Premises(paths, self.settings, self.mirrors, self.clock, deadline))
        return round_.run(Place.read(go_on_at) if go_on_at else None)


@dataclass(slots=True)
class _Round:
    """The chores of one repository. `place` is where they are."""

    repository: Repository
    premises: Premises
    place: Place | None = None

    def run(self, start: Place | None) -> Tended:
        self.place = start
        outcomes: list[Outcome] = []
        try:
            # Looked at before the lock is taken, which would make a directory for what was never published.
            if not os.path.exists(self.premises.paths.targets):
                return Tended(())
            self.premises.pulse()
            notes = self._mirror() if start is None or not start.path else ()
            targets = self._targets(start)
        except OutOfTime:
            return Tended((), str(start or Place("")))
        except Exception as error:
            return Tended((self._failed(None, error),))
        for path in targets:
            begin = start if start and start.path == path else Place(path)
            self.place = begin
            findings, outcome = Findings(), None
            try:
                outcome = self._target(begin, findings)
            except OutOfTime:
                # What was mended is told now; the rest by the call that comes to its end.
                mended = self._done(path, None, findings)
                return Tended((*outcomes, *([mended] if findings.is_mended else [])), str(self.place))
            except Exception as error:
                outcome = replace(self._failed(path, error), counts=findings.counts, notes=tuple(findings.notes))
            if outcome is not None:
                outcomes.append(replace(outcome, notes=(*notes, *outcome.notes)))
                notes = ()
        return Tended(tuple(outcomes))

    @property
    def _list(self) -> TargetList:
        return TargetList.of(self.premises.settings.mount, self.repository.full_name)

    def _targets(self, start: Place | None) -> list[str]:
        paths = self._list.target_paths()
        return paths[paths.index(start.path) :] if start and start.path in paths else paths

    def _mirror(self) -> tuple[str, ...]:
        """Consolidate and mend the mirror; one that cannot be is emptied, and the next push fetches afresh."""
        premises = self.premises
        targets = self._list
        if not os.path.exists(premises.paths.mirror):
            return ()  # all its targets are working copies
        with premises.held():
            try:
                with premises.lent() as mirror:
                    mirror.tend(targets.release_commits, keeps_history=self.repository.depth == 0)
                    return mend(premises.paths.mirror, mirror, targets.release_commits())
            except MirrorDamaged as error:
                return (f"the mirror is emptied: {error}",)

    def _target(self, begin: Place, findings: Findings) -> Outcome | None:
        """Do the chores of a target; None where it is not this repository's, or holds nothing."""
        premises, path = self.premises, begin.path
        directory = TargetDirectory.at(f"{premises.settings.mount}/{path}", premises.clock)
        premises.pulse()
        with premises.held():
            found = directory.find()
            if found.commit is None or found.record is None:
                return None
            if found.record.repository != self.repository.full_name:
                return None
            if directory.paths.is_copy:
                tend_copy(directory.paths.directory)
                return None  # nothing is compared: people may change a working copy, and git tells them what they did
            standing, trash = prune_at_rest(
                directory.paths,
                found.commit,
                directory.look(None),
                premises.clock(),
                self.repository.grace_seconds,
                self.repository.keep_releases,
            )
        discard(directory.paths, trash, premises.pulse)
        retired = sorted((each for each in standing if each.commit != found.commit), key=lambda each: -each.retired_at)
        commits = [found.commit, *(each.commit for each in retired)]
        if begin.commit in commits:
            commits = commits[commits.index(begin.commit) :]
        for commit in commits:
            first = begin.part if commit == begin.commit else 0
            inspection = Inspection(premises, directory, commit, findings, first)
            try:
                inspection.run()
            finally:
                self.place = Place(path, commit, inspection.reached)
        return self._done(path, found, findings)

    def _done(self, path: str, found: Found | None, findings: Findings) -> Outcome:
        kind, reason = OutcomeKind.UNCHANGED, "verified"
        if findings.is_any_set_aside:
            reason = "set_aside"
        if findings.is_mended:
            kind, reason = OutcomeKind.PUBLISHED, "repaired"
        about = Outcome(
            kind,
            reason,
            repository=self.repository.full_name,
            path=path,
            counts=findings.counts,
            notes=tuple(findings.notes),
        )
        if found is None or found.record is None:
            return about
        return replace(about, ref=found.record.ref, commit=found.commit, previous_commit=found.commit)

    def _failed(self, path: str | None, error: Exception) -> Outcome:
        return replace(outcome_of(failure_of(error)), repository=self.repository.full_name, path=path)
