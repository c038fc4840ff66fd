"""Killed before any of its file operations, a pull loses nothing of anybody's, and the next run brings it to its end.

Every operation of every scene is a trial, of which a sample is made unless all are asked for. What holds after each
stop, and in the end, is in `invariants`; what the scenes are, in `scenes`; what people do meanwhile, in `meddling`.
What git makes of the same pull is what must come.
"""

import errno
from collections.abc import Callable

import pytest

from testing import selection
from tests.crash import points
from tests.crash.crew import Crew
from tests.crash.test_kill import assert_sound
from tests.working_copy.meddling import DEEDS, TO_FILES, Meddled
from tests.working_copy.scenes import PLOTS, CopyScene

SceneOf = Callable[[str], CopyScene]
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.ESTALE)
SAMPLED_KILLS = selection.count(16, 2)
"""Of the kills of a scene after something that others can see; the same again with every point asked for is all."""
SAMPLED = selection.count(3, 1)
"""Of each other kind of trial, a scene."""
MEDDLED = (
    "forward",
    "forward and back",
    "forward, side by side",
    "replayed",
    "stash that fits",
    "stash that clashes",
    "forced",
)
IN_ORDER = [name for name in PLOTS if "side by side" not in name]
"""Elsewhere the last write may come before the one that was it in another run."""
SOMETIMES_MEDDLED = ("forward and back", "replayed", "stash that clashes")


@pytest.mark.parametrize("name", PLOTS)
def test_a_pull_killed_before_any_operation_is_healed_by_the_same_delivery_again(
    crew: Crew, scene_of: SceneOf, name: str
) -> None:
    """The redelivery answers 200, and the copy is what git would have made of it."""
    scene = scene_of(name)
    run = crew.count(scene)
    kills = points.kills(run) if selection.IS_EVERY else points.kills_that_tell(run)
    trials = points.sample(kills, SAMPLED_KILLS, name, is_every=selection.IS_EVERY)
    assert_sound(crew.attempt(scene, trials), list(trials))


@pytest.mark.parametrize("name", PLOTS)
def test_a_pull_killed_before_any_operation_is_healed_by_the_next_push(
    crew: Crew, scene_of: SceneOf, name: str
) -> None:
    """What was begun for one commit is finished, and the next one is pulled upon it."""
    scene = scene_of(name)
    kills = points.kills(crew.count(scene), is_newer_next=True)
    trials = points.sample(kills, SAMPLED, name, is_every=selection.IS_EVERY)
    assert_sound(crew.attempt(scene, trials), list(trials))


@pytest.mark.parametrize("name", IN_ORDER)
def test_a_write_that_stops_half_way_is_never_taken_for_a_whole_one(crew: Crew, scene_of: SceneOf, name: str) -> None:
    """Killed within a write, or told by the system that only half was written."""
    scene = scene_of(name)
    halved = points.halved_writes(crew.count(scene))
    trials = points.sample(halved, SAMPLED, name, is_every=selection.IS_EVERY)
    assert_sound(crew.attempt(scene, trials), list(trials))


@pytest.mark.parametrize("name", PLOTS)
def test_a_recovery_may_be_killed_too(crew: Crew, scene_of: SceneOf, name: str) -> None:
    """Two kills in a row: the second run meets what the first one left, and leaves more."""
    scene = scene_of(name)
    trials = points.kills_in_recovery(crew.count(scene), name, is_every=selection.IS_EVERY, count=SAMPLED)
    assert_sound(crew.attempt(scene, trials), trials)


@pytest.mark.parametrize(
    ("name", "deed"),
    [
        (name, deed)
        for name in (MEDDLED if selection.IS_EVERY else SOMETIMES_MEDDLED)
        for deed in selection.spread(list(TO_FILES if "stash" in name else DEEDS), 4, shift=len(name))
    ],
)
def test_what_somebody_does_after_a_kill_is_not_lost(crew: Crew, scene_of: SceneOf, name: str, deed: str) -> None:
    """It is there after the next run, which goes on or names it; when it is out of the way the copy is the tip's."""
    scene = scene_of(name)
    kills = points.kills_that_tell(crew.count(scene))
    trials = [
        Meddled(kill.stops, deed=deed) for kill in points.sample(kills, 1, name + deed, is_every=selection.IS_EVERY)
    ]
    assert_sound(crew.attempt(scene, trials), list(trials))


@pytest.mark.parametrize("name", PLOTS)
def test_an_error_from_any_operation_is_a_clear_outcome_and_the_next_run_heals(
    crew: Crew, scene_of: SceneOf, name: str
) -> None:
    """EIO, ENOSPC, EACCES, ESTALE, once or from then on: the copy is as it was, or the next run brings it forward."""
    scene = scene_of(name)
    trials = points.errors(crew.count(scene), name, is_every=selection.IS_EVERY, kinds=ERRORS, count=max(SAMPLED, 2))
    assert_sound(crew.attempt(scene, trials), trials)


@pytest.mark.parametrize("name", PLOTS)
def test_an_error_from_looking_is_a_clear_outcome_and_the_next_run_heals(
    crew: Crew, scene_of: SceneOf, name: str
) -> None:
    """EIO and ESTALE from opening, listing, reading: never taken for "not there"."""
    scene = scene_of(name)
    trials = points.read_errors(crew.count(scene), name, is_every=selection.IS_EVERY, may_miss=True, count=SAMPLED)
    assert_sound(crew.attempt(scene, trials), trials)
