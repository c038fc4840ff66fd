"""The one fixture: a stored mount, unpacked and configured."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.parameters import ParameterStore
from tests.crash.conftest import workplace
from tests.takeover.stored import Stored, Take

__all__ = ["workplace"]


@pytest.fixture
def take(workplace: Path, parameter_store: ParameterStore) -> Iterator[Take]:
    """Return what takes a stored mount over; see `Take`."""
    taken: list[Stored] = []
    directory = Path(tempfile.mkdtemp(dir=workplace))

    def take(name: str, *, age_seconds: float = 3600.0, **parameter: object) -> Stored:
        stored = Stored(name, directory / str(len(taken)), parameter_store, age_seconds)
        taken.append(stored)
        stored.configure(**parameter)
        return stored

    yield take
    for stored in reversed(taken):
        stored.stop()
    shutil.rmtree(directory)
