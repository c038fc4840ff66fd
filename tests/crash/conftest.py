"""The crew, the origin and the scenes: made once for all tests here."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testing.parameters import ParameterStore
from testing.repositories import require_git
from tests.crash.crew import Crew
from tests.crash.replay import ReplayingOrigin
from tests.crash.scenarios import set_scene, set_series
from tests.crash.trials import Scene

MEMORY = "/dev/shm"


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return an empty directory, in memory where this machine offers it: trials make and remove a mount each."""
    if os.access(MEMORY, os.W_OK):
        with tempfile.TemporaryDirectory(prefix="crash-", dir=MEMORY) as name:
            yield Path(name)
    else:
        yield tmp_path_factory.mktemp("crash")


@pytest.fixture(scope="session")
def replaying_origin(workplace: Path) -> Iterator[ReplayingOrigin]:
    """Return a started origin without repositories."""
    require_git()
    root = workplace / "origin"
    root.mkdir()
    with ReplayingOrigin(root) as origin:
        yield origin


@pytest.fixture(scope="session")
def crew(workplace: Path, parameter_store: ParameterStore, replaying_origin: ReplayingOrigin) -> Iterator[Crew]:
    """Return the workers."""
    with Crew(workplace, parameter_store, replaying_origin) as started:
        yield started


@pytest.fixture(scope="session")
def scene_of(
    workplace: Path, parameter_store: ParameterStore, replaying_origin: ReplayingOrigin
) -> Callable[[str], Scene]:
    """Return what makes a scene by its plot's name, once."""
    scenes: dict[str, Scene] = {}

    def scene(name: str) -> Scene:
        if name not in scenes:
            place = workplace / name.replace(" ", "-").replace(",", "")
            scenes[name] = set_scene(name, place, parameter_store, replaying_origin)
        return scenes[name]

    return scene


@pytest.fixture(scope="session")
def series_of(
    workplace: Path, parameter_store: ParameterStore, replaying_origin: ReplayingOrigin
) -> Callable[[int, int], tuple[Scene, ...]]:
    """Return what makes a series of pushes: `(count, grace seconds) -> scenes`."""
    return lambda count, grace_seconds: set_series(
        count, grace_seconds, workplace / "series", parameter_store, replaying_origin
    )
