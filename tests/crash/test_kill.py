"""Killed before any of its file operations, a run leaves the old tree or the new one, and the next run heals the rest.

With `--all` every operation of every scene is a trial; else a few of each scene, and those of its flip. What holds
after each stop, and in the end, is in `invariants`; what the scenes are, in `scenarios`.
"""

import re
from collections.abc import Callable

import pytest

from handler.model import NULL_OID
from testing import selection
from tests.crash import points
from tests.crash.crew import Crew
from tests.crash.scenarios import PLOTS
from tests.crash.trials import Report, Scene, Trial

SceneOf = Callable[[str], Scene]


def assert_sound(reports: list[Report], trials: list[Trial]) -> None:
    """Hold every trial to have no problems; tell of the first few that have."""
    assert len(reports) == len(trials)
    failed = [str(report) for report in reports if report.problems]
    assert not failed, f"{len(failed)} of {len(trials)} trials:\n" + "\n".join(failed[:5])


@pytest.mark.parametrize("name", PLOTS)
def test_a_run_killed_before_any_operation_is_healed_by_the_same_delivery_again(
    crew: Crew, scene_of: SceneOf, name: str
) -> None:
    """The redelivery answers 200, publishes the tree, and leaves nothing over."""
    scene = scene_of(name)
    run = crew.count(scene)
    trials = points.thinned(points.kills(run), run, 2, name)
    assert trials
    assert_sound(crew.attempt(scene, trials), trials)


@pytest.mark.parametrize(
    "name",
    PLOTS
    if selection.IS_EVERY
    else [name for name in PLOTS if "recycled" in name or "spare" in name] + ["first publish"],
)
def test_a_run_killed_before_any_operation_is_healed_by_the_next_push(crew: Crew, scene_of: SceneOf, name: str) -> None:
    """What was half made for one commit does not show in the next one's tree."""
    scene = scene_of(name)
    run = crew.count(scene)
    trials = points.thinned(points.kills(run, is_newer_next=True), run, 2, name)
    assert_sound(crew.attempt(scene, trials), trials)


@pytest.mark.parametrize("name", PLOTS)
def test_a_write_that_stops_half_way_is_never_taken_for_a_whole_one(crew: Crew, scene_of: SceneOf, name: str) -> None:
    """Killed within a write, or told by the system that only half was written."""
    scene = scene_of(name)
    run = crew.count(scene)
    trials = points.thinned(points.halved_writes(run), run, 2, name)
    assert trials
    assert_sound(crew.attempt(scene, trials), trials)


@pytest.mark.parametrize("name", PLOTS)
def test_a_recovery_may_be_killed_too(crew: Crew, scene_of: SceneOf, name: str) -> None:
    """Two kills in a row: the second run meets what the first one left, and leaves more."""
    scene = scene_of(name)
    trials = points.kills_in_recovery(
        crew.count(scene), name, is_every=selection.IS_EVERY, count=selection.count(16, 1)
    )
    reports = crew.attempt(scene, trials)
    assert_sound(reports, trials)
    if selection.is_all():
        # Killed while it made spares, a run has published: the next one has little left to be killed in.
        fewest = len(reports) / (3 if "spare" in name else 2)
        assert sum(report.runs[1].answer is None for report in reports) > fewest, "most were to be killed twice"


def test_the_scenes_do_what_they_are_for(crew: Crew, scene_of: SceneOf) -> None:
    """Recycling, whole writes, pruning, merging, discarding, spooling: seen in the operations themselves."""
    ran = {name: "\n".join(crew.count(scene_of(name)).modifying) for name in PLOTS}
    recycled = {name for name, text in ran.items() if "rename octo/site/main/releases/" in text}
    whole = {name for name, text in ran.items() if f"mkdir octo/site/main/staging/{NULL_OID}-" in text}
    assert {name for name in PLOTS if "recycled" in name} <= recycled - whole
    assert {"first publish", "a burst, written whole"} <= whole - recycled
    assert "back to a release that stands" not in whole | recycled
    assert ran["pruning"].count("rename octo/site/main/releases/") == 2 + 1
    assert "tmp_pack_" in ran["a large pack"]
    assert len(re.findall(r"create octo/site/\.incoming/", ran["a pack in parts"])) >= 3 + 1, "the run opens it too"
    for name in ("packs are merged", "packs are rewritten"):
        assert ran[name].count(".idx") >= 6, "old packs go"
    assert "tmp_shallow_" in ran["first publish"]
    assert ran["packs are rewritten"].count("rename octo/site/mirror.git/objects/pack/tmp_shallow_") == 2
    assert re.search(r"(rename|rmdir) octo/site/mirror\.git/objects/pack\n", ran["a damaged mirror"])
    assert "rmdir octo/site/main/staging/trash-" in ran["leftovers"]
