"""One emulator, one artefact and one stack for all of these tests, which `make e2e` alone collects.

They are no part of `make test`: SAM and the emulator are installed apart, in the directory that GIT2EFS_TEST_E2E names.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from testing.origin import GitOrigin
from testing.stack import ROOT
from tests.deployed.deployment import ARCHITECTURE, Deployment, Sam
from tests.deployed.emulator import Emulator

TOOLS = os.environ.get("GIT2EFS_TEST_E2E", "")
collect_ignore_glob = [] if TOOLS else ["test_*.py"]


class StackTogether(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives these tests to one process, in their order, for they are about one stack; others run beside it."""

    def _split_scope(self, nodeid: str) -> str:
        return "stack" if nodeid.startswith("tests/deployed/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> StackTogether:
    """Share the tests out so, where `-n` is given; not by xdist's mark for a group, which this pytest passes over."""
    return StackTogether(config, log)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template that `make build` made, beside the artefacts; a copy, since other templates are put beside it."""
    copy = tmp_path_factory.mktemp("built") / ARCHITECTURE
    shutil.copytree(ROOT / ".aws-sam" / ARCHITECTURE, copy)
    return copy / "template.yaml"


@pytest.fixture(scope="session")
def sam() -> Sam:
    """SAM's command."""
    return Sam(ROOT / TOOLS / "sam" / "bin" / "sam")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An account with nothing in it."""
    with Emulator(ROOT / TOOLS / "emulator" / "bin" / "python", tmp_path_factory.mktemp("emulator")) as started:
        yield started


@pytest.fixture(scope="session")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitOrigin]:
    """Real git http-backend on a loopback port, in GitHub's place."""
    with GitOrigin(tmp_path_factory.mktemp("origin")) as started:
        yield started


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory, emulator: Emulator, sam: Sam) -> Iterator[Deployment]:
    """The stack, not yet deployed."""
    mount = tmp_path_factory.mktemp("mount")
    yield Deployment(emulator, sam, "git2efs-e2e", mount)
    shutil.rmtree(mount, ignore_errors=True)


@pytest.fixture(scope="module")
def direct(deployment: Deployment, built: Path) -> Deployment:
    """The stack in direct mode, deployed afresh or over what was there."""
    deployment.deploy(built, Delivery="direct", ReconcileRate="rate(1 hour)")
    deployment.put_secret()
    return deployment


@pytest.fixture(scope="module")
def inline(deployment: Deployment, built: Path) -> Deployment:
    """The stack without a publisher of its own, deployed afresh or over what was there."""
    deployment.deploy(built, Delivery="direct", Publisher="inline", ReconcileRate="rate(1 hour)")
    deployment.put_secret()
    return deployment


@pytest.fixture(scope="module")
def queued(deployment: Deployment, built: Path) -> Deployment:
    """The stack in queued mode, deployed afresh or over what was there."""
    deployment.deploy(built, Delivery="queued", ReconcileRate="rate(1 hour)")
    deployment.put_secret()
    return deployment
