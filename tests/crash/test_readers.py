"""A reader that keeps to the contract never sees a mix of two trees, nor a file that is not there."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from local.origin import FileContent, SampleOrigin
from testing import selection
from testing.deliveries import NULL_OID, push_payload, webhook_request
from testing.parameters import ParameterStore
from testing.reader import Sightings, read_once, reading, tree_of
from testing.repositories import Tree, snapshot
from testing.service import Service
from tests.crash.crew import Crew
from tests.crash.invariants import after_peace, shelter
from tests.crash.operations import Manner, Stop
from tests.crash.trials import TARGET, Scene

PUBLISHES = int(os.environ.get("GIT2EFS_TEST_PUBLISHES", selection.count(150, 100)))
"""How many publishes a looping reader goes through; 10,000 take some minutes."""
SERIES = 40
GRACE_SECONDS = 1


def assert_whole(sightings: Sightings, publishes: int) -> None:
    """Hold what was seen to whole trees, and enough of them."""
    assert sightings.torn == []
    assert sightings.whole > sightings.late
    assert len(sightings.numbers) > publishes / 10, "the reader was to see many of the pushes"
    assert sightings.numbers == sorted(sightings.numbers), "the tree never went back"


def test_a_reader_sees_whole_trees_through_many_publishes(tmp_path: Path, parameter_store: ParameterStore) -> None:
    """Whole writes in the grace, recycling and pruning after it: each tree that is seen is one push's, entirely."""
    service = Service(tmp_path / "mount", parameter_store).start()
    try:
        with SampleOrigin("octo/site") as origin:
            service.put_repository(url=origin.url, grace_seconds=GRACE_SECONDS, publish=[{"ref": "refs/heads/main"}])
            with reading(service.mount / TARGET, GRACE_SECONDS) as sightings:
                before = NULL_OID
                for number in range(1, PUBLISHES + 1):
                    files = {path: FileContent(content, mode) for path, (mode, content) in tree_of(number).items()}
                    after = origin.commit("refs/heads/main", files, f"Push {number}")
                    payload = push_payload(
                        "octo/site", "refs/heads/main", before, after, pushed_at=1_750_000_000 + number
                    )
                    assert service.send(webhook_request("push", payload, service.secret)).outcome == "published"
                    before = after
        assert service.tree() == tree_of(PUBLISHES)
    finally:
        service.stop()
    assert_whole(sightings, PUBLISHES)


def test_a_reader_sees_whole_trees_through_publishes_that_are_killed(
    crew: Crew, series_of: Callable[[int, int], tuple[Scene, ...]]
) -> None:
    """Every other run is killed somewhere, and the next one goes on from what it left."""
    scenes = series_of(SERIES, GRACE_SECONDS)
    chance = random.Random("a series with kills")
    worker = crew.colleagues[0]
    worker.ask(scenes[0], "begin")
    killed = 0
    with reading(worker.mount / TARGET, GRACE_SECONDS) as sightings:
        for number, scene in enumerate(scenes):
            if number % 2:
                run = worker.ask(scenes[0], "run", scene.push, Stop(Manner.KILL, chance.randint(1, 60)))
                killed += run.answer is None
            if number % 3 == 0:
                run = worker.ask(scenes[0], "run", scene.push, Stop())
                assert run.answer[:2] == (200, "published"), run
        before = shelter(worker.mount, scene)
        assert worker.ask(scenes[0], "run", scene.push, Stop()).answer[0] == 200
    assert killed > SERIES / 4
    assert_whole(sightings, SERIES)
    assert after_peace(worker.mount, scene, before, scene.push.commit) == []


# -- the reader itself ----------------------------------------------------------------------------------------------


def lay_out(target: Path, tree: Tree) -> Path:
    """Publish a tree by hand; return its release."""
    release = target / "releases" / ("1" * 40)
    for path, (mode, content) in tree.items():
        place = release / os.fsdecode(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if mode == 0o120000:
            place.symlink_to(content.decode())
        else:
            place.write_bytes(content)
            place.chmod(mode & 0o777)
    (target / "current").symlink_to(f"releases/{release.name}")
    return release


def sight(target: Path, clock: Callable[[], float] = lambda: 0.0) -> Sightings:
    """Read once."""
    sightings = Sightings()
    read_once(target, 1.0, sightings, clock)
    return sightings


@pytest.mark.parametrize("number", [3, 4, 5])
def test_the_reader_knows_a_whole_tree(tmp_path: Path, number: int) -> None:
    """What was pushed is what it expects to read."""
    assert snapshot(lay_out(tmp_path, tree_of(number))) == tree_of(number)
    assert sight(tmp_path) == Sightings(whole=1, numbers=[number])


def test_the_reader_sees_a_mix_and_what_is_missing(tmp_path: Path) -> None:
    """One file of the push before, one that should have gone, one that is not there, no tree at all."""
    release = lay_out(tmp_path, tree_of(4))
    (release / "only-3").write_bytes(b"3\n")
    assert sight(tmp_path).torn
    (release / "only-3").unlink()
    (release / "deep/er/still/number").write_bytes(b"3\n")
    assert sight(tmp_path).torn
    (release / "deep/er/still/number").unlink()
    assert sight(tmp_path).torn
    (release / "number").unlink()
    assert sight(tmp_path).torn
    (tmp_path / "current").unlink()
    assert sight(tmp_path).torn


def test_what_a_reader_sees_after_the_grace_is_outside_of_the_contract(tmp_path: Path) -> None:
    """Such a reading counts neither for nor against."""
    times = iter((0.0, 0.95))
    assert sight(tmp_path, lambda: next(times)) == Sightings(late=1)
