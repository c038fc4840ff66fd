"""Which trials a scene is put to: with `--all` every operation for kills, and a sample for the rest. Pure.

The samples are drawn with the scene's name as the seed: the same in every run, and others for every scene. Without
`--all` each of them is thinned, evenly from the first operation to the last, and never around the flip.
"""

import errno
import itertools
import random
import re
from collections.abc import Sequence
from typing import TypeVar

from testing import selection
from tests.crash.operations import Manner, Stop
from tests.crash.trials import Run, Trial

T = TypeVar("T")

FLIP = re.compile(r"(symlink|rename) \S+/staging/link-")
"""How an operation of a flip reads."""

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE)


def kills(run: Run, *, is_newer_next: bool = False) -> list[Trial]:
    """Return a kill before each file-modifying operation."""
    return [Trial((Stop(Manner.KILL, point),), is_newer_next) for point in _points(run.modifying)]


def thinned(trials: Sequence[Trial], run: Run, few: int, name: str) -> list[Trial]:
    """Return every trial with `--all`; else a few, and those that stop the flip, or the operation after it.

    Scenes differ in where the few lie between the first and the last.
    """
    if selection.is_all():
        return list(trials)
    shown = {at + after for at, text in enumerate(run.modifying, 1) if FLIP.match(text) for after in (0, 1)}
    chosen = set(selection.spread(trials, few, shift=sum(map(ord, name))))
    chosen |= {trial for trial in trials if trial.stops[0].point in shown and trial.stops[0].manner is Manner.KILL}
    return [trial for trial in trials if trial in chosen]


def halved_writes(run: Run) -> list[Trial]:
    """Return a kill within each write, and each write cut short without an error."""
    writes = [point for point in _points(run.modifying) if run.modifying[point - 1].startswith("write ")]
    return [Trial((Stop(manner, point),)) for manner in (Manner.TORN, Manner.SHORT) for point in writes]


def kills_that_tell(run: Run) -> list[Trial]:
    """Return a kill after each operation that others can see: not after those at a temporary file, which leave litter.

    One kill each is enough to find what is missing; `kills` has all of them.
    """
    told, is_temporary = [1], False
    for point, text in enumerate(run.modifying[:-1], 2):
        kind = text.partition(" ")[0]
        is_temporary = is_temporary if kind in ("write", "close") else kind == "create" and "tmp_" in text
        if not is_temporary and kind != "close":
            told.append(point)
    return [Trial((Stop(Manner.KILL, point),)) for point in told]


def kills_in_recovery(run: Run, seed: str, *, is_every: bool, count: int) -> list[Trial]:
    """Return two kills in a row: of the run, and of the one that finds what it left.

    The second run has about as much to do as the first one left undone, so the second point lies within that; where
    there was less, the run ends in peace, which the trial allows for.
    """
    length = len(run.modifying)
    pairs = [(first, then) for first in _points(run.modifying) for then in range(1, max(length - first, 4) + 1)]
    chosen = sample(pairs, count, seed, is_every=is_every)
    return [Trial((Stop(Manner.KILL, first), Stop(Manner.KILL, then, may_miss=True))) for first, then in chosen]


def errors(run: Run, seed: str, *, is_every: bool, kinds: Sequence[int] = ERRORS, count: int) -> list[Trial]:
    """Return each error at each file-modifying operation, once and from then on.

    What comes next is the same delivery in a new process, or the next push in the process that met the error: a Lambda
    goes on with what it has in memory.
    """
    stops = [
        Stop(Manner.ERROR, point, error, is_lasting=is_lasting)
        for point, error, is_lasting in itertools.product(_points(run.modifying), kinds, (False, True))
    ]
    return _both_ways(sample(stops, count, seed, is_every=is_every), is_every=is_every)


def _both_ways(stops: Sequence[Stop], *, is_every: bool) -> list[Trial]:
    """Return the trials that heal in a new process, and those that do in the same one; of a sample half each."""
    cold, warm = (stops, stops) if is_every else (stops[::2], stops[1::2])
    return [
        *(Trial((stop,)) for stop in cold),
        *(Trial((stop,), is_newer_next=True, is_warm_next=True) for stop in warm),
    ]


def read_errors(run: Run, seed: str, *, is_every: bool, may_miss: bool = False, count: int) -> list[Trial]:
    """Return EIO and ESTALE at the operations that only look: a server that went away, a handle that is no more.

    `may_miss`: how much is looked at depends on the clock.
    """
    stops = [
        Stop(Manner.ERROR, point, error, of_reads=True, may_miss=may_miss)
        for point, error in itertools.product(_points(run.reading), (errno.EIO, errno.ESTALE))
    ]
    return _both_ways(sample(stops, count, seed, is_every=is_every), is_every=is_every)


def _points(operations: Sequence[str]) -> range:
    return range(1, len(operations) + 1)


def sample(population: Sequence[T], count: int, seed: str, *, is_every: bool) -> Sequence[T]:
    """Return so many of them, or all."""
    if is_every or len(population) <= count:
        return population
    return random.Random(seed).sample(population, count)
