"""The one fixture: a stored mount, unpacked and configured."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.parameters import ParameterStore
from tests.takeover.stored import Stored, Take


@pytest.fixture
def take(tmp_path: Path, parameter_store: ParameterStore) -> Iterator[Take]:
    """Return what takes a stored mount over; see `Take`."""
    taken: list[Stored] = []

    def take(name: str, *, age_seconds: float = 3600.0, **parameter: object) -> Stored:
        stored = Stored(name, tmp_path / str(len(taken)), parameter_store, age_seconds)
        taken.append(stored)
        stored.configure(**parameter)
        return stored

    yield take
    for stored in reversed(taken):
        stored.stop()
