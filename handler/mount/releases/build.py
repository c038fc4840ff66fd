"""Make the next tree of a target, the cheapest way there is: recycle a release, or write the tree whole."""

import errno
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from handler.errors import MirrorDamaged, ReleasesInGrace, TreeUnsafe
from handler.model import NULL_OID, TreePlan
from handler.mount.fs.checkout import Written
from handler.mount.fs.executor import Executor
from handler.mount.releases.inventory import Inventory
from handler.mount.releases.seal import seal
from handler.mount.releases.strategy import Strategy, StrategyKind, choose_strategy, max_releases
from handler.mount.target.directory import stage
from handler.mount.target.layout import TargetPaths, journal_name, link_to, patch_name, read_patch_name

PlanTree = Callable[[str | None, str], TreePlan]
"""(base commit or None, wanted commit) -> the plan between their trees; raises MirrorDamaged where one is missing."""

_NOT_AS_LEFT = (errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ELOOP, errno.EISDIR, errno.ENOTEMPTY)
"""What a patch meets where somebody changed a release: it is thrown away then, and the tree written whole."""


class WriteTree(Protocol):
    """Bring a directory to a plan's tree, as `check_out` does."""

    def __call__(self, root: str, plan: TreePlan, *, journal: str) -> Written:
        """Return what was written; `journal` is the path to note at how far it came. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The wanted tree, complete under its name, and what it took.

    `link` is the path of the temporary link that leads to it, ready for the flip; `leftovers` the names in staging that
    nobody needs any more.
    """

    strategy: Strategy
    written: Written
    removed: int = 0
    submodules: tuple[bytes, ...] = ()
    link: str = ""
    leftovers: tuple[str, ...] = ()


@dataclass(slots=True)
class ReleaseBuilder:
    """Makes one tree. `looked` is what lies there, `previous` the commit that `current` leads to.

    `burst_files` bounds what releases in their grace may hold together.
    """

    paths: TargetPaths
    inventory: Inventory
    previous: str | None
    grace_seconds: float
    burst_files: int
    plan: PlanTree
    write: WriteTree
    clock: Callable[[], float]
    executor: Executor
    _leftovers: list[str] = field(default_factory=list)

    def build(self, wanted: str) -> BuildResult:
        """Make `releases/<wanted>`, complete. Raises ReleasesInGrace, OSError and what `plan` and `write` raise."""
        self._leftovers = list(self.inventory.staged)
        patches = [patch for patch in map(read_patch_name, self.inventory.staged) if patch]
        if any(each.commit == wanted and not each.is_intact for each in self.inventory.releases):
            self._leftovers.append(trash_name())
            os.rename(self.paths.release(wanted), self.paths.staged(self._leftovers[-1]))
        turn = choose_strategy(
            wanted, self.previous, self.inventory.releases, patches, self.clock(), self.grace_seconds
        )
        made = self._take(turn, wanted)
        return replace(made, leftovers=tuple(name for name in self._leftovers if self.paths.staged(name) != made.link))

    def _take(self, turn: Strategy, wanted: str) -> BuildResult:
        if turn.kind is StrategyKind.FLIP:
            return self._finish(BuildResult(turn, Written(0, 0)), None, wanted)
        if turn.kind is not StrategyKind.WHOLE:
            try:
                return self._patch(turn, wanted)
            except (MirrorDamaged, TreeUnsafe):
                # The base's objects are gone, after a fresh fetch say, and it cannot be compared any more; or what a
                # broken-off run was patching to can never be finished. Where that is the wanted tree, it is said below.
                pass
            except OSError as error:
                if error.errno not in _NOT_AS_LEFT:
                    raise
        return self._write_whole(wanted)

    def _patch(self, turn: Strategy, wanted: str) -> BuildResult:
        """Recycle a release, or go on with what stands half done in staging."""
        assert turn.base is not None
        steps = [(turn.base, wanted)]
        if turn.halfway is not None:
            steps = [(turn.base, turn.halfway)] + ([(turn.halfway, wanted)] if turn.halfway != wanted else [])
        plans = [self.plan(None if base == NULL_OID else base, to) for base, to in steps]
        if turn.halfway is None:
            os.rename(self.paths.release(turn.base), self._staged(steps[0]))
        return self._carry_out(turn, steps, plans, wanted)

    def _carry_out(
        self, turn: Strategy, steps: Sequence[tuple[str, str]], plans: Sequence[TreePlan], wanted: str
    ) -> BuildResult:
        """Bring what is staged for the first step to the last one's tree.

        Its name in staging says where it came from and where it goes, whenever this is killed.
        """
        previous = steps[0]
        written, removed = Written(0, 0), 0
        for step, change in zip(steps, plans, strict=True):
            if step != previous:
                os.rename(self._staged(previous), self._staged(step))
            done = self.write(self._staged(step), change, journal=self.paths.staged(journal_name(*step)))
            written = Written(written.files + done.files, written.bytes + done.bytes)
            removed += len(change.removed_files)
            previous = step
        return self._finish(BuildResult(turn, written, removed, plans[-1].submodules), self._staged(previous), wanted)

    def _write_whole(self, wanted: str) -> BuildResult:
        """Patch an empty directory: from the tree that has nothing."""
        change = self.plan(None, wanted)
        releases = len(self.inventory.releases)
        if releases >= max_releases(len(change.files) + len(change.links), self.burst_files):
            # Neither may the disk grow without bound, nor a release go before its grace: the push has to wait.
            raise ReleasesInGrace(f"{releases} releases are still in their grace")
        step = (NULL_OID, wanted)
        for directory in (self.paths.releases, self.paths.staging):
            os.makedirs(directory, exist_ok=True)
        if patch_name(*step) in self.inventory.staged:
            # What stands there was found not to be as it was left.
            self._leftovers.append(trash_name())
            with suppress(FileNotFoundError):
                os.rename(self._staged(step), self.paths.staged(self._leftovers[-1]))
        os.mkdir(self._staged(step), 0o755)
        return self._carry_out(Strategy(StrategyKind.WHOLE), [step], [change], wanted)

    def _finish(self, made: BuildResult, staged: str | None, wanted: str) -> BuildResult:
        """Give the tree its name, and make the flip ready: three things that do not wait for each other.

        The replaced release's clock is set before the flip: set after it, a kill between the two would leave the
        release looking as if its grace had long passed.
        """
        retiring = self.executor.submit(partial(self._retire, wanted))
        linking = self.executor.submit(partial(self._link, wanted))
        try:
            if staged is not None:
                seal(staged, self.clock())
                os.rename(staged, self.paths.release(wanted))
        finally:
            retiring.result()
            link = linking.result()
        return replace(made, link=link)

    def _retire(self, wanted: str) -> None:
        if self.previous is None or self.previous == wanted:
            return
        is_intact = all(each.is_intact for each in self.inventory.releases if each.commit == self.previous)
        with suppress(FileNotFoundError):
            seal(self.paths.release(self.previous), self.clock(), is_intact=is_intact)

    def _link(self, wanted: str) -> str:
        path = stage(self.paths, "link", partial(os.symlink, link_to(wanted)))
        # Until the flip: a try that fails from here on is followed by another, with a link of its own.
        self._leftovers.append(os.path.basename(path))
        return path

    def _staged(self, step: tuple[str, str]) -> str:
        return self.paths.staged(patch_name(*step))


def trash_name() -> str:
    """Return a new name in staging for what is to be removed."""
    return f"trash-{secrets.token_hex(8)}"
