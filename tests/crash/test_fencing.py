"""A run that is stopped anywhere, loses its lock and wakes, undoes nothing of what another run published meanwhile.

The lock's file is removed while the run is stopped; so another run takes the lock, as it does on NFS when the server
has not heard of the first run's host for the time of its lease.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testing import selection
from testing.parameters import ParameterStore
from tests.crash.crew import Crew
from tests.crash.operations import Manner, Stop
from tests.crash.points import FLIP
from tests.crash.replay import ReplayingOrigin
from tests.crash.scenarios import OVERTAKEN, PLOTS
from tests.crash.trials import Run, Scene, Trial


@pytest.fixture(scope="module")
def fencing(workplace: Path, parameter_store: ParameterStore, replaying_origin: ReplayingOrigin) -> Iterator[Crew]:
    """Return workers that stop runs and wake them."""
    with Crew(workplace / "fencing", parameter_store, replaying_origin, "tests.crash.fencing") as started:
        yield started


def pauses(run: Run, name: str) -> list[Trial]:
    """Return a pause before each operation that modifies, and some before those that read.

    Without `--all` a few, and those before a rename or a flip; in a long run each.
    """
    trials = []
    for log, of_reads in ((run.modifying, False), (run.reading, True)):
        every = [
            Trial((Stop(Manner.PAUSE, at, of_reads=of_reads, may_miss=of_reads),)) for at in range(1, len(log) + 1)
        ]
        shown = [at for at, text in enumerate(log) if FLIP.match(text) or text.startswith("rename ")]
        few = selection.spread(every, 3, shift=sum(map(ord, name)))
        if selection.IS_EVERY:
            trials += every
        elif selection.is_all():
            trials += [*dict.fromkeys([*every[:: 4 if of_reads else 2], *(every[at] for at in shown)])]
        else:
            trials += dict.fromkeys([*few, *(every[at] for at in shown)])
    return trials


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", [*OVERTAKEN, *PLOTS])
def test_a_run_that_lost_its_lock_while_it_was_stopped_undoes_nothing(
    fencing: Crew, scene_of: Callable[[str], Scene], name: str
) -> None:
    """Stopped before an operation, overtaken by a newer push, woken: no mix, and never backwards."""
    scene = scene_of(name)
    trials = pauses(fencing.count(scene), name)
    reports = fencing.attempt(scene, trials)
    assert len(reports) == len(trials)
    failed = [str(report) for report in reports if report.problems]
    assert not failed, f"{len(failed)} of {len(trials)} trials:\n" + "\n".join(failed[:5])
    answers = [report.runs[0].answer for report in reports if report.runs]
    assert (503, "failed", "lock_lost") in answers


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", ["one file, recycled", "a burst, written whole", "leftovers", "the same again"])
def test_a_run_that_wakes_beside_what_a_killed_one_left_mixes_nothing(
    fencing: Crew, scene_of: Callable[[str], Scene], name: str
) -> None:
    """The run that took the lock was killed anywhere: the third one publishes, whatever the two left."""
    scene = scene_of(name)
    run = fencing.count(scene)
    operations = range(1, len(run.modifying) + 1)
    pairs = [
        Trial((Stop(Manner.PAUSE, paused), Stop(Manner.KILL, killed, may_miss=True)))
        for paused in operations[5::3]
        for killed in operations[5::3]
    ]
    trials = selection.spread(pairs, 4, shift=sum(map(ord, name)))
    failed = [str(report) for report in fencing.attempt(scene, trials) if report.problems]
    assert not failed, f"{len(failed)} of {len(trials)} trials:\n" + "\n".join(failed[:5])
