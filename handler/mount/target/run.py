"""The context of one run: one target to bring up to date, under its repository's lock."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from handler.config.targets import refuse_too_many
from handler.errors import TargetRetiring
from handler.exchange.events import Emit
from handler.exchange.publisher import PublishRequest
from handler.model import MAX_AHEAD_SECONDS, WHOLE_TREE, ExternalLinks, Repository, Target, TreeFilter, filter_of
from handler.mount.fs.lock import HeldLock, Known
from handler.mount.fs.parallel import Executor, Workers
from handler.mount.target.directory import Published, TargetDirectory, let_clock_tick
from handler.mount.target.layout import RepositoryPaths, commit_of, release_of
from handler.mount.target.registry import TargetRegistry
from handler.settings import Settings

_MAX_OTHERS = 32
"""Each of a repository's other targets costs a round trip, where one of them is published for the first time."""


@dataclass(slots=True, kw_only=True)
class Run:
    """What is asked, what is published, and what it takes to do it."""

    settings: Settings
    request: PublishRequest
    paths: RepositoryPaths
    lock: HeldLock
    directory: TargetDirectory
    published: Published
    """What was published when the run took the lock."""
    known: Known | None
    """What this process knows of the repository; None: nothing for certain. At the run's end, what it knows then."""
    executor: Executor
    workers: Workers
    """Threads for long work; `is_slow` tells that every step waits for the mount."""
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    progress: Callable[[str, int, int], None]
    """Called during a long check-out with what it is, and how many of how many files are written."""
    emit: Emit | None
    """Hand out an event; None: there is no bus."""
    wanted: str | None = None
    """What is to be published: the object that the ref names, later its commit. None: that is not decided yet."""
    reserved_record: str = ""
    """The path of the record that is made ready for what was flipped to; see `TargetDirectory.reserve_record`."""
    step_began: float | None = None
    """When the step under way began (time.perf_counter); None: not even the first one has."""
    fetch_ms: float | None = None
    """What the first step took; None: it is not done."""

    @property
    def repository(self) -> Repository:
        """The repository that is published."""
        return self.request.repository

    @property
    def target(self) -> Target:
        """The target to bring up to date."""
        return self.request.target

    @property
    def filter(self) -> TreeFilter:
        """What of a commit the target's rule publishes."""
        is_whole = self.target.subdirectory is None and not self.target.exclude
        if is_whole and self.repository.external_links is not ExternalLinks.SKIP:
            return WHOLE_TREE
        return filter_of(self.repository, self.target)

    @property
    def not_before(self) -> float:
        """What the remote said of the ref before this time is out of date: another run knows more (seconds)."""
        record, now = self.published.record, self.clock()
        if record is None:
            return 0.0
        # Not when that run asked: a remote may answer a slow question later than one that was asked after it, and what
        # was asked meanwhile may be older. A time in the future, which readers can have written, says nothing.
        return max((at for at in (record.asked_at, record.answered_at) if at <= now), default=0.0)

    @property
    def is_held(self) -> bool:
        """Whether an operator holds the target. Raises OSError."""
        # Where somebody removed `current`, `published` has no record. A hold has to outlive that too, so read it then.
        record = self.published.record if self.published.commit is not None else self.directory.read_record()
        return record is not None and record.held is not None

    @property
    def has_pending_event(self) -> bool:
        """Whether the bus did not take the event of what is published yet."""
        record = self.published.record
        return self.emit is not None and record is not None and not record.announced

    @property
    def registry(self) -> TargetRegistry:
        """Which targets the repository has on the mount."""
        return TargetRegistry.of(self.settings.mount, self.repository.full_name)

    def others_commits(self) -> Iterator[str]:
        """Yield what the repository's other targets have published."""
        for path in self.registry.target_paths()[:_MAX_OTHERS]:
            if path != self.target.path and (commit := self._commit_of(path)) is not None:
                yield commit

    def _commit_of(self, path: str) -> str | None:
        # Not the record, which readers may have written: a release's name is claimed only if the mirror has the commit.
        with suppress(OSError):  # there is none, or it is no link: a fetch claims one commit less
            directory = TargetDirectory.of(self.settings.mount, path, self.clock)
            release = release_of(os.readlink(directory.current))
            return None if release is None else commit_of(release)
        return None

    @property
    def confirmed_pushed_at(self) -> int | None:
        """The latest `pushed_at` of all deliveries that the remote confirmed for this ref, in GitHub's clock."""
        record = self.published.record
        # The record of another ref at this path says nothing about when this ref was pushed. Nor does a time in the
        # future, which readers can have written, or an older version for a forged payload.
        if record is None or record.ref != self.target.ref or record.pushed_at is None:
            return None
        return record.pushed_at if record.pushed_at <= self.clock() + MAX_AHEAD_SECONDS else None

    @property
    def makes_spares(self) -> bool:
        """Whether spares are made after this run, and what it leaves over becomes one."""
        # Asked for by the network side: where nothing is made afterwards, a run has to tidy up itself.
        is_allowed = self.settings.spare_files > 0 and self.repository.spares > 0
        return self.request.makes_spares and is_allowed and not self.target.is_copy

    @property
    def max_tree_bytes(self) -> int:
        """How many bytes the files of a tree may have together."""
        # The repository's own comes first, also where it is higher: an operator has written both.
        return self.repository.max_tree_bytes or self.settings.max_tree_bytes

    def want(self, object_id: str) -> None:
        """Note what is to be published: a failure from here on is of it."""
        self.wanted = object_id

    def check_deadline(self) -> None:
        """Raise OutOfTime where the run has to stop now, and LockLost where a pause cost it the lock."""
        self.lock.check_after_pause()
        self.request.deadline.check(f"{self.target.path} is not ready, and will be gone on with")

    def report_progress(self, commit: str, done: int, total: int) -> None:
        """Report how far a check-out of `commit` has come. Raises OutOfTime, which ends it, unless it is done.

        Raises LockLost too.
        """
        self.lock.check_after_pause()
        self.progress(f"{self.target.path} at {commit}", done, total)
        # A check-out that is done is published, however late: to end here would throw its work away.
        if done < total:
            self.check_deadline()

    def let_clock_tick(self) -> None:
        """Wait, if it has to be, until what is written from now on gets later mtimes than what is published has."""
        record = self.published.record
        if record is not None:
            let_clock_tick(record.published_at, self.clock, self.sleep)

    def know(self, commits: frozenset[str] | None) -> None:
        """Note the target's releases, all of them; None: not sure. What is known of other targets stays."""
        # The cache has one entry for all targets of a repository, since they share its lock.
        others = {path: known for path, known in (self.known or {}).items() if path != self.target.path}
        self.known = others if commits is None else {**others, self.target.path: commits}

    def outgoing(self) -> "Run | None":
        """Return a run of the target on the way to this one whose ref is certainly gone, and that ends with it.

        Raises OSError.
        """
        mount, target = self.settings.mount, self.target
        for path in self.registry.target_paths() if target.is_retirable else ():
            if not target.path.startswith(f"{path}/"):
                continue
            directory = TargetDirectory.at(mount, path, self.clock).held_by(self.lock)
            record = directory.read_record()
            if record is None or record.repository != self.repository.full_name or directory.is_copy:
                continue
            # Git has no branch `team` beside `team/x`. Where both paths end as the refs do, one pattern made both. What
            # an operator holds stays.
            if target.ref == record.ref + target.path.removeprefix(path) and record.held is None:
                request = replace(self.request, target=replace(target, ref=record.ref, path=path))
                return replace(self, request=request, directory=directory, published=directory.read_published())
        return None

    def refuse_new(self) -> None:
        """Raise TargetOccupied, TargetRetiring or TooManyTargets where the target is new, and may not be there."""
        # Under the lock, so that of two new targets the second one sees the first.
        if (outgoing := self.outgoing()) is not None:
            raise TargetRetiring(
                f"{outgoing.target.path} is on the way to {self.target.path}, and is retired first: there is no"
                f" {outgoing.target.ref} any more"
            )
        self.directory.refuse_nested()
        registered = self.registry.read()
        # A target on the list is not new: its `current` may be gone, and what lies there did not stop it so far.
        if self.target.path not in registered and not self.target.is_copy:
            self.directory.refuse_foreign()
        refuse_too_many(self.repository, registered, self.target, self.settings.max_targets)
