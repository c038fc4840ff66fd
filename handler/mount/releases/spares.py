"""Make spares: complete trees in staging that the next pushes are written into, so that each costs its change alone.

A release may be recycled only after its grace, and lags behind by some pushes. So the work that no reader waits for is
done after the answer: what is left over is brought to the tip, or removed, and trees are written whole while the target
has fewer spares than its pushes needed lately. Raises OSError for what the mount answers.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from handler.model import NULL_OID, Counts
from handler.mount.fs.directories import make_directories, make_directory
from handler.mount.fs.files import NOT_REGULAR, read_whole, write_whole
from handler.mount.git.mirror import Mirror
from handler.mount.git.plan import NOT_PLANNED
from handler.mount.releases.build import NOT_AS_LEFT, ReleaseBuilder
from handler.mount.releases.inventory import (
    Inventory,
    Step,
    free_trees,
    read_spares,
    seal,
    take_over,
)
from handler.mount.releases.strategy import (
    MAX_SPARES,
    Release,
    SpareDemand,
    choose_pruned,
    count_demand,
    max_spares,
)
from handler.mount.target.directory import TargetDirectory, give_name, revoke, stage, take_away
from handler.mount.target.layout import (
    SPARES_STATE,
    TargetPaths,
    commit_of,
    is_passing,
    is_spare,
    journal_name,
    patch_name,
    read_patch_name,
    spare_name,
    trash_name,
    work_name,
)
from handler.mount.target.run import Run

_MAX_STATE_BYTES = 1000


@dataclass(slots=True)
class SpareMaker:
    """Makes the spares of one target, for the holder of the repository's lock. `inventory` is what lies there.

    `counts` is what was written. `trash` are the names in staging to be removed, which needs no lock.
    """

    run: Run
    mirror: Mirror
    inventory: Inventory
    counts: Counts = field(default_factory=Counts)
    trash: list[str] = field(default_factory=list)
    _spares: dict[str, str] = field(default_factory=dict)
    _releases: list[Release] = field(default_factory=list)

    def make(self) -> None:
        """Make as many spares as the target needs, all like the release that readers have (`tip`).

        Raises OutOfTime, LockLost, and what `progress` raises. Then a half-made tree stays, and the next run finishes
        it: a push, or this again.
        """
        tip = self.run.published.release
        revoke(self._paths, self.inventory.staged, tip)
        self.trash = [name for name in self.inventory.staged if is_passing(name)]
        self._releases = list(self.inventory.releases)
        if tip is None or commit_of(tip) not in self.mirror:
            # The mirror was emptied, say. What is there stays: the next push fetches what it takes to go on.
            return
        needed = self._count_needed(tip)
        surplus, changed = self._surplus(tip)
        behind = self._keep_spares(tip, needed)
        self._let_go(tip, frozenset((*surplus, *changed)))
        for commit in changed:
            self._discard_release(commit)
        # The cheapest first: what lags behind by a push, then what lags by some, then what was never finished.
        for name, spare in behind:
            self._bring(name, [(spare.commit, tip)], tip, needed, spare)
        for commit in surplus:
            self._bring_release(commit, tip, needed)
        for (base, halfway), name in self._half_made().items():
            steps = [(base, halfway), (halfway, tip)] if halfway != tip else [(base, tip)]
            self._bring(name, steps, tip, needed, None)
        while len(self._spares) < needed:
            if not self._write_whole(tip, needed):
                return

    @property
    def known(self) -> frozenset[str] | None:
        """What a run knows afterwards (see `list_releases`); None where something is to be removed first."""
        if self.trash:
            return None
        releases = (each.commit for each in self._releases)
        return frozenset((*releases, *self._spares, SPARES_STATE, *self.inventory.filter_files))

    @property
    def _paths(self) -> TargetDirectory:
        return self.run.directory

    # -- how many ------------------------------------------------------------------------------------------------------

    def _count_needed(self, tip: str) -> int:
        """Return how many spares the target needs, and write down what it was counted from."""
        before = read_demand(self._paths)
        retired = [each for each in self.inventory.releases if each.commit != tip]
        demand = count_demand(before, retired, self.run.directory.clock(), self.run.repository.grace_seconds)
        # Counted again whenever the demand is: a tree grows slowly, and to count it all of its trees are read.
        if demand.files is None:
            demand = replace(demand, files=self._count_files(tip))
        if demand != before:
            staged = stage(self._paths, "record", partial(write_whole, content=_to_json(demand)))
            give_name(self._paths, staged, self._paths.staged(SPARES_STATE))
        bound = max_spares(demand.files or 0, self.run.settings.spare_files, self.run.repository.spares)
        return min(demand.pushes, bound)

    def _count_files(self, tip: str) -> int:
        plan = self._builder().plan(None, tip)
        return len(plan.files) + len(plan.links)

    # -- what is there -------------------------------------------------------------------------------------------------

    def _surplus(self, tip: str) -> tuple[list[str], list[str]]:
        """Return the commits of the releases that nobody keeps: the sound ones, and those that somebody changed."""
        repository = self.run.repository
        gone = choose_pruned(
            tip, self.inventory.releases, self.run.directory.clock(), repository.grace_seconds, repository.keep_releases
        )
        surplus, changed = list[str](), list[str]()
        for each in sorted(self.inventory.releases, key=lambda each: -each.retired_at):
            if each.commit in gone and each.is_intact:
                surplus.append(each.commit)
            elif each.commit in gone:
                changed.append(each.commit)
        return surplus, changed

    def _let_go(self, tip: str, leaving: frozenset[str]) -> None:
        """Prepare for the end of releases: what stays gets its times before nobody knows of them any more."""
        builder = self._builder()
        builder.let_go(leaving, self.inventory.releases, tip)
        for name in self._spares if leaving else ():
            builder.renew(self._paths.staged(name), tip, leaving)

    def _keep_spares(self, tip: str, needed: int) -> list[tuple[str, Release]]:
        """Keep the sound spares of the tip, as many as are needed; return those of other commits, by name."""
        behind = []
        for name, spare in sorted(read_spares(self._paths, self.inventory).items()):
            if spare.is_intact and spare.commit != tip:
                behind.append((name, spare))
            elif spare.is_intact and len(self._spares) < needed:
                self._spares[name] = tip
            else:
                self._discard(name)
        return behind

    def _half_made(self) -> dict[Step, str]:
        """Return the half-made trees that may be gone on with, by their steps; discard the others."""
        free = free_trees(self._paths, self.inventory.staged)
        for name in self.inventory.staged:
            # A run that may still write into it has lost its lock, and its tree with it.
            if read_patch_name(name) and not is_spare(name) and name not in free.values():
                self._discard(name)
        return free

    # -- what becomes of it --------------------------------------------------------------------------------------------

    def _bring_release(self, commit: str, tip: str, needed: int) -> None:
        if len(self._spares) >= needed:
            self._discard_release(commit)
            return
        # It gives its name up before its first file changes, as a recycled release does.
        name = work_name(commit, tip, self.run.lock.new_token())
        take_away(self._paths, self._paths.release(commit), name)
        self._releases = [each for each in self._releases if each.commit != commit]
        release = next(each for each in self.inventory.releases if each.commit == commit)
        self._bring(name, [(commit, tip)], tip, needed, release)

    def _bring(self, name: str, steps: list[Step], tip: str, needed: int, base: Release | None) -> None:
        """Make the tree that is staged as `name`, and free, a spare of the tip, or trash where it is not needed.

        `base` is what it was when its times were right; None: it is half made.
        """
        if len(self._spares) >= needed:
            self._discard(name)
            return
        builder = self._builder()
        try:
            plans = [builder.plan(None if start == NULL_OID else start, to) for start, to in steps]
            plans = builder.with_touches(plans, base, tip)
        except NOT_PLANNED:
            self._discard(name)
            return
        token = self.run.lock.new_token()
        try:
            take_over(self._paths, name, work_name(*steps[0], token))
            self._finish(builder, builder.check_out(steps, plans, token), tip)
        except OSError as error:
            if error.errno not in NOT_AS_LEFT:
                raise
            # Somebody changed it. Each step may be where it ended.
            for step in steps:
                self._discard(patch_name(*step))
                self._discard(work_name(*step, token))

    def _write_whole(self, tip: str, needed: int) -> bool:
        """Write one spare from nothing. Returns False where that failed."""
        name, before = work_name(NULL_OID, tip, self.run.lock.new_token()), len(self._spares)
        make_directories(self._paths.staging)
        make_directory(self._paths.staged(name), 0o755)
        # Every time in it is new: as if it had been the tip's until now.
        self._bring(name, [(NULL_OID, tip)], tip, needed, Release(tip, self.run.directory.clock()))
        return len(self._spares) > before

    def _finish(self, builder: ReleaseBuilder, name: str, tip: str) -> None:
        # Sealed before it gets its name, as a release is: what bears the name is complete and intact.
        seal(self._paths.staged(name), self.run.directory.clock())
        free = (spare_name(tip, number) for number in range(1, MAX_SPARES + 2))
        spare = next(each for each in free if each not in self._spares)
        give_name(self._paths, self._paths.staged(name), self._paths.staged(spare))
        self._spares[spare] = tip
        self.counts += builder.counts

    def _discard_release(self, commit: str) -> None:
        self._releases = [each for each in self._releases if each.commit != commit]
        self._set_aside(self._paths.release(commit))

    def _discard(self, name: str) -> None:
        self._set_aside(self._paths.staged(name))
        # The checkpoint of a tree that is gone would skip files of the next one.
        if read_patch_name(name) is not None:
            self._set_aside(self._paths.staged(journal_name(name)))

    def _set_aside(self, path: str) -> None:
        # Renamed before it is removed: half removed it must not bear the name of a complete tree for a moment.
        trash = trash_name()
        with suppress(FileNotFoundError):
            take_away(self._paths, path, trash)
            self.trash.append(trash)

    def _builder(self) -> ReleaseBuilder:
        return ReleaseBuilder(self.run, self.mirror, self.inventory, self.inventory.filtered(self.mirror))


def read_demand(paths: TargetPaths) -> SpareDemand:
    """Read what was counted last. Whatever else stands there, since readers may have written it, counts as nothing."""
    try:
        content = read_whole(paths.staged(SPARES_STATE), max_bytes=_MAX_STATE_BYTES)
    except OSError as error:
        if error.errno not in NOT_REGULAR:
            raise
        return SpareDemand()
    try:
        found = json.loads(content or b"{}")
        pushes, counted_at, files = found["pushes"], found["counted_at"], found["files"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return SpareDemand()
    is_sound = type(pushes) is int and type(counted_at) is float and type(files) is int
    if not is_sound or not 1 <= pushes <= 10**6 or not 0 <= files <= 10**9 or not 0 <= counted_at < 10**12:
        return SpareDemand()
    return SpareDemand(pushes, counted_at, files)


def _to_json(demand: SpareDemand) -> bytes:
    return json.dumps({"pushes": demand.pushes, "counted_at": demand.counted_at, "files": demand.files}).encode()
