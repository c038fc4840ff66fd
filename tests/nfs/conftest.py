"""Two mounts of one NFS export, as two hosts have them: named by the environment, else these tests are skipped."""

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.origin import SampleOrigin
from testing.parameters import ParameterStore
from testing.service import Service
from tests.nfs.pushes import REPOSITORY, Pushes
from tests.nfs.reader import Reader

FIRST, SECOND = "GIT2EFS_TEST_NFS", "GIT2EFS_TEST_NFS2"


@dataclass(frozen=True, slots=True)
class Mounts:
    """One directory of the export as two hosts see it; `settings` leads a child process to the second."""

    first: Path
    second: Path

    @property
    def second_host(self) -> dict[str, str]:
        """The variable that makes a service work on the second mount."""
        return {"GIT2EFS_MOUNT": os.fspath(self.second)}


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """Return a fresh directory on both mounts; skipped where none are named."""
    if not (os.environ.get(FIRST) and os.environ.get(SECOND)):
        pytest.skip(f"needs two mounts of one NFS export, named by {FIRST} and {SECOND}; docs/nfs.md says how")
    first, second = (Path(os.environ[name]) for name in (FIRST, SECOND))
    assert first.stat().st_dev != second.stat().st_dev, "the two mounts share their caches: mount with nosharecache"
    name = f"git2efs-{uuid.uuid4().hex[:12]}"
    (first / name).mkdir()
    os.close(os.open(second, os.O_RDONLY | os.O_DIRECTORY))  # ask the server what is new in it
    assert (second / name).is_dir(), f"{FIRST} and {SECOND} are not mounts of one export"
    yield Mounts(first / name, second / name)
    shutil.rmtree(first / name, ignore_errors=True)


@pytest.fixture
def service(mounts: Mounts, parameter_store: ParameterStore) -> Iterator[Service]:
    """Return the service under test on the first mount."""
    started = Service(mounts.first, parameter_store)
    # Seconds, not tenths: an NFS server may be far away, or run inside an emulator.
    started.settings |= {"read_timeout_seconds": 30.0, "lock_seconds": 30.0}
    started.start()
    yield started
    started.stop()


@pytest.fixture
def pushes(service: Service) -> Iterator[Pushes]:
    """Return the repository, without a parameter and without a commit."""
    with SampleOrigin(REPOSITORY) as origin:
        yield Pushes(service, origin)


@pytest.fixture
def reader(mounts: Mounts) -> Iterator[Reader]:
    """Return a consumer of `octo/site/main` on the second mount."""
    opened = Reader(mounts.second / "octo/site/main")
    yield opened
    opened.close()
