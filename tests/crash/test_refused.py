"""An operation that the mount refuses ends the run with an outcome that says why, nothing half done, and heals."""

import errno

import pytest

from testing import selection
from tests.crash import points
from tests.crash.crew import Crew
from tests.crash.operations import Manner, Stop
from tests.crash.scenarios import PLOTS
from tests.crash.test_kill import SceneOf, assert_sound
from tests.crash.trials import Trial


@pytest.mark.parametrize("name", PLOTS)
def test_an_error_from_any_operation_is_a_clear_outcome_and_the_next_run_heals(
    crew: Crew, scene_of: SceneOf, name: str
) -> None:
    """ENOSPC, EDQUOT, EIO, ESTALE, once or from then on: 500 mount_full or 503 mount_unavailable, or it was not needed.

    Of all operations times errors a seeded sample, unless every point is asked for.
    """
    scene = scene_of(name)
    trials = points.errors(crew.count(scene), name, is_every=selection.IS_EVERY, count=selection.count(20, 2))
    assert_sound(crew.attempt(scene, trials), trials)


@pytest.mark.parametrize("name", PLOTS)
def test_an_error_from_looking_is_a_clear_outcome_and_the_next_run_heals(
    crew: Crew, scene_of: SceneOf, name: str
) -> None:
    """EIO and ESTALE from opening, listing, reading, locking: never taken for "not there"."""
    scene = scene_of(name)
    trials = points.read_errors(crew.count(scene), name, is_every=selection.IS_EVERY, count=selection.count(10, 1))
    assert_sound(crew.attempt(scene, trials), trials)


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (errno.ENOSPC, (500, "failed", "mount_full")),
        (errno.EDQUOT, (500, "failed", "mount_full")),
        (errno.EIO, (503, "failed", "mount_unavailable")),
        (errno.ESTALE, (503, "failed", "mount_unavailable")),
    ],
)
def test_a_full_or_failing_mount_is_named(
    crew: Crew, scene_of: SceneOf, error: int, answer: tuple[int, str, str]
) -> None:
    """A close that fails is how NFS tells that writes were lost: it counts as much as the write."""
    scene = scene_of("one file, recycled")
    modifying = crew.count(scene).modifying
    closes = [at for at, text in enumerate(modifying, 1) if text.startswith("close ")][1:3]
    trials = [Trial((Stop(Manner.ERROR, at, error),)) for at in closes]
    reports = crew.attempt(scene, trials)
    assert_sound(reports, trials)
    assert [report.runs[0].answer for report in reports] == [answer] * 2
