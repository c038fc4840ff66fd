"""The crew for trials of working copies, and its scenes: made once for all tests here."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testing.parameters import ParameterStore
from tests.crash.conftest import replaying_origin, workplace
from tests.crash.crew import Crew
from tests.crash.replay import ReplayingOrigin
from tests.working_copy.scenes import CopyScene, set_scene

__all__ = ["replaying_origin", "workplace"]


@pytest.fixture(scope="session")
def crew(workplace: Path, parameter_store: ParameterStore, replaying_origin: ReplayingOrigin) -> Iterator[Crew]:
    """Return the workers."""
    with Crew(workplace, parameter_store, replaying_origin, "tests.working_copy.worker") as started:
        yield started


@pytest.fixture(scope="session")
def scene_of(
    workplace: Path, parameter_store: ParameterStore, replaying_origin: ReplayingOrigin
) -> Callable[[str], CopyScene]:
    """Return what makes a scene by its plot's name, once."""
    scenes: dict[str, CopyScene] = {}

    def scene(name: str) -> CopyScene:
        if name not in scenes:
            place = workplace / name.replace(" ", "-").replace(",", "")
            scenes[name] = set_scene(name, place, parameter_store, replaying_origin)
        return scenes[name]

    return scene
