"""Measured figures, and their summaries. Pure.

Compare times pair by pair: contenders take turns on the same push, so that a busy moment of the machine falls on both
of a pair. The median of ratios then says more than the ratio of medians.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

OURS = "git2efs"
COPY = "git2efs working copy"
"""The target's other mode: the contender that does exactly what `git pull --rebase` does."""
GIT_PULL = "git pull --rebase"
GITPYTHON = "GitPython"
PYGIT2 = "pygit2"
GIT_SYNC = "git-sync --one-time"
GIT_CLONE = "git clone --depth 1"
GIT_CLONE_PARALLEL = "git -c checkout.workers=32 clone --depth 1"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds from the start of a publish until its content is visible, and until the contender is done.

    What only ours tells: how many files it wrote, and the bytes of packs that it fetched.
    """

    visible: float
    done: float
    files_written: int = 0
    bytes_fetched: int = 0


@dataclass(slots=True)
class Cell:
    """The figures of one contender for one kind of push, or for a first publish.

    `calls` has, for each traced publish, the number of file calls on the mount by kind.
    """

    timings: list[Timing] = field(default_factory=list)
    calls: list[Counter[str]] = field(default_factory=list)
    peak_mib: float | None = None


Row = dict[str, Cell]
"""By contender."""


@dataclass(slots=True)
class LargeFetch:
    """A large first fetch that does not compress: sizes and peaks in MiB, seconds.

    `anonymous_mib` is the peak of memory that maps no file.
    """

    pack_mib: float
    seconds: float
    peak_mib: float
    anonymous_mib: float
    idle_mib: float
    git_seconds: float
    git_peak_mib: float


@dataclass(slots=True)
class Results:
    """The results of a run: pushes by (files in the tree, files changed), first publishes and previews by files.

    `apart` are pushes seconds apart, `replays` pushes onto a working copy that has one local commit, `texts` first
    publishes of trees like those that people have.
    """

    pushes: dict[tuple[int, int], Row] = field(default_factory=dict)
    apart: dict[tuple[int, int], Row] = field(default_factory=dict)
    replays: dict[tuple[int, int], Row] = field(default_factory=dict)
    firsts: dict[int, Row] = field(default_factory=dict)
    texts: dict[int, Row] = field(default_factory=dict)
    previews: dict[int, Row] = field(default_factory=dict)
    large: LargeFetch | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median of the pairs' ratios, with their quartiles."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if self.middle >= 0.1 else 3
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def visible(timing: Timing) -> float:
    """Return when readers see the content."""
    return timing.visible


def done(timing: Timing) -> float:
    """Return when the contender is ready for the next push."""
    return timing.done


def middle(cell: Cell, what: Callable[[Timing], float] = visible) -> float:
    """Return the median in seconds."""
    return median(map(what, cell.timings))


def ratio(ours: Sequence[Timing], theirs: Sequence[Timing], what: Callable[[Timing], float] = visible) -> Ratio:
    """Compare two contenders pair by pair; both took part in the same rounds."""
    pairs = [what(left) / what(right) for left, right in zip(ours, theirs, strict=True)]
    if len(pairs) == 1:
        return Ratio(pairs[0], pairs[0], pairs[0])
    low, _, high = quantiles(pairs, n=4, method="inclusive")
    return Ratio(median(pairs), low, high)


def typical(calls: Iterable[Counter[str]]) -> Counter[str]:
    """Return the traced publish with the median total: one in seven also merges packs, and is not typical."""
    ordered = sorted(calls, key=lambda each: each.total())
    return ordered[(len(ordered) - 1) // 2]
