"""The crew, the origin and the scenes: made once for all tests here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.crew import Crew
from tests.crash.replay import ReplayingOrigin
from tests.crash.scenarios import set_scene
from tests.crash.trials import Scene
from tests.support.parameters import ParameterStore
from tests.support.repositories import has_git


@pytest.fixture(scope="session")
def replaying_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayingOrigin]:
    """Return a started origin without repositories."""
    if not has_git():
        pytest.skip("needs git")
    with ReplayingOrigin(tmp_path_factory.mktemp("replay")) as origin:
        yield origin


@pytest.fixture(scope="session")
def crew(
    tmp_path_factory: pytest.TempPathFactory, parameter_store: ParameterStore, replaying_origin: ReplayingOrigin
) -> Iterator[Crew]:
    """Return the workers."""
    with Crew(tmp_path_factory.mktemp("crew"), parameter_store, replaying_origin) as started:
        yield started


@pytest.fixture(scope="session")
def scene_of(
    tmp_path_factory: pytest.TempPathFactory, parameter_store: ParameterStore, replaying_origin: ReplayingOrigin
) -> Callable[[str], Scene]:
    """Return what makes a scene by its plot's name, once."""
    directory: Path = tmp_path_factory.mktemp("scenes")
    scenes: dict[str, Scene] = {}

    def scene(name: str) -> Scene:
        if name not in scenes:
            place = directory / name.replace(" ", "-").replace(",", "")
            scenes[name] = set_scene(name, place, parameter_store, replaying_origin)
        return scenes[name]

    return scene
