"""Which directory becomes the next release, and which releases go. Pure: names and times in, a decision out."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

from handler.model import NULL_OID

MIN_RELEASES = 8
"""A target may always have this many releases, however large its tree."""


@dataclass(frozen=True, slots=True)
class Release:
    """A complete tree on the mount. `retired_at` is its directory's mtime, which the run that replaced it set.

    `commit` is the release's name: the commit's id, which the id of a filter may follow (see `releases.filters`).
    `is_intact`: as far as the seal tells, nobody else changed it (see `seal`).
    """

    commit: str
    retired_at: float
    is_intact: bool = True

    def is_past(self, now: float, grace_seconds: float) -> bool:
        """Whether its grace is over."""
        # The clock has whole seconds: wait one more.
        return grace_seconds == 0 or now - self.retired_at >= grace_seconds + 1


class StrategyKind(Enum):
    """How the wanted tree is built."""

    FLIP = auto()
    """It stands already: only the link changes."""
    RESUME = auto()
    """A killed run left a half-made tree: finish it, and go on from there."""
    SPARE = auto()
    """Patch a spare."""
    RECYCLE = auto()
    """Patch a release that is past its grace."""
    WHOLE = auto()
    """Write the tree from nothing."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """How to build. `base` is the commit to patch from, `halfway` the commit that a killed run was patching it to."""

    kind: StrategyKind
    base: str | None = None
    halfway: str | None = None


WHOLE = Strategy(StrategyKind.WHOLE)

_CLOCK_MARGIN_SECONDS = 2
"""How far the clocks of two hosts, in whole seconds, may differ when one tells which release was retired first."""


def choose_strategy(
    wanted: str,
    current: str | None,
    releases: Sequence[Release],
    patches: Sequence[tuple[str, str]],
    now: float,
    grace_seconds: float,
) -> Strategy:
    """Return how to build `wanted`. `patches` are the (base, wanted) that stand half done in staging.

    Where the two are equal, it is a spare. A release that somebody else changed is neither flipped to nor recycled.
    """
    if any(release.commit == wanted and release.is_intact for release in releases):
        return Strategy(StrategyKind.FLIP)
    spares = [base for base, halfway in patches if base == halfway]
    halves = [each for each in patches if each[0] != each[1]]
    if spares and all(halfway != wanted for _, halfway in halves):
        # A spare of the commit that readers have lacks this push's change alone.
        best = min(spares, key=lambda commit: (commit != wanted, commit != current, commit))
        return Strategy(StrategyKind.SPARE, best)
    if halves:
        # First what is on its way to the wanted commit already; then a recycled release before a tree that was begun
        # from nothing.
        base, halfway = min(halves, key=lambda patch: (patch[1] != wanted, patch[0] == NULL_OID, patch))
        return Strategy(StrategyKind.RESUME, base, halfway)
    ready = [
        each
        for each in releases
        if each.commit not in (current, wanted) and each.is_intact and each.is_past(now, grace_seconds)
    ]
    if ready:
        # The one that was retired first: the younger ones are what an operator would roll back to.
        return Strategy(StrategyKind.RECYCLE, min(ready, key=lambda each: (each.retired_at, each.commit)).commit)
    # Within the grace nothing may be recycled: a reader may still be in any of them.
    return WHOLE


def shown_since(base: Release | None, current: str | None, releases: Iterable[Release]) -> tuple[str, ...]:
    """Return the commits that readers may have had since a tree had right times; None: all of them.

    A release has them until it is retired, and a spare when it is made.
    """
    known = {each.commit: each.retired_at for each in releases}
    last = (base.retired_at if base is not None else -inf) - _CLOCK_MARGIN_SECONDS
    shown = [commit for commit, retired_at in known.items() if retired_at >= last or commit == current]
    # Its release may be gone: somebody removed it.
    shown += [current] if current is not None and current not in known else []
    return tuple(commit for commit in shown if base is None or commit != base.commit)


def missed_by(leaving: Collection[str], current: str | None, releases: Iterable[Release]) -> dict[str, list[str]]:
    """Return what nobody will know of when the releases `leaving` are gone.

    That are the commits among them that readers may have had since they had a release that stays, by the latter's.
    """
    known = {each.commit: each.retired_at for each in releases}
    staying = {commit: at for commit, at in known.items() if commit not in leaving and commit != current}
    missed: dict[str, list[str]] = {}
    for gone in leaving:
        last = known[gone] + _CLOCK_MARGIN_SECONDS
        for commit in (commit for commit, retired_at in staying.items() if retired_at <= last):
            missed.setdefault(commit, []).append(gone)
    return missed


def max_releases(files: int, burst_files: int) -> int:
    """Return how many releases of a tree of `files` files may stand at one time, in the worst burst of pushes."""
    return max(MIN_RELEASES, burst_files // max(files, 1))


def choose_pruned(
    current: str, releases: Iterable[Release], now: float, grace_seconds: float, keep_releases: int
) -> list[str]:
    """Return the commits of the releases that go: past their grace, and beyond `keep_releases`, counting `current`."""
    # A release that somebody else changed takes no place among those that are kept. It is neither recycled nor flipped
    # to; and since recycling moves the sound ones on, it would otherwise stay for ever.
    retired = [each for each in releases if each.commit != current]
    sound = sorted((each for each in retired if each.is_intact), key=lambda each: -each.retired_at)
    beyond = [each for each in retired if not each.is_intact] + sound[max(keep_releases - 1, 0) :]
    return [each.commit for each in beyond if each.is_past(now, grace_seconds)]


MAX_SPARES = 8
"""So many spares a target may have, however many its pushes needed."""
_DAY_SECONDS = 86_400
_LATELY_SECONDS = 7 * _DAY_SECONDS


@dataclass(frozen=True, slots=True)
class SpareDemand:
    """How many spares a target needs: the most pushes within one grace of late, and when they were counted.

    `files` is how many files the target's tree has; None: not known yet.
    """

    pushes: int = 1
    counted_at: float = 0.0
    files: int | None = None


def count_demand(before: SpareDemand, releases: Iterable[Release], now: float, grace_seconds: float) -> SpareDemand:
    """Count the pushes of the grace that ends now: each retired a release, which still stands."""
    # One at least: the next push comes some time, and within the grace of the last one it finds nothing else.
    pushes = max(1, sum(not each.is_past(now, grace_seconds) for each in releases))
    age = now - before.counted_at
    is_lately = 0 <= age < _LATELY_SECONDS
    # Written down once a day at most where nothing is new: it costs three round trips.
    if is_lately and (pushes < before.pushes or (pushes == before.pushes and age < _DAY_SECONDS)):
        return before
    return SpareDemand(pushes, now)


def max_spares(files: int, spare_files: int, most: int) -> int:
    """Return how many spares of a tree of `files` files may stand. `spare_files` bounds the files of all of them."""
    return min(most, MAX_SPARES, spare_files // max(files, 1))
