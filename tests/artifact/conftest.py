"""The built artefact and what runs it, where `make e2e` says that they are there; else those tests are left out."""

import os
from pathlib import Path

import pytest

from testing.stack import ROOT
from tests.artifact.runtime import Tools
from tests.deployed.deployment import ARCHITECTURE

TOOLS = os.environ.get("GIT2EFS_TEST_E2E", "")
collect_ignore_glob = [] if TOOLS else ["test_runs.py", "test_built.py"]


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The emulator and the runtime client."""
    return Tools(ROOT / TOOLS)


@pytest.fixture(scope="session")
def artefact() -> Path:
    """The build directory for this machine's processor."""
    built = ROOT / ".aws-sam" / ARCHITECTURE
    assert built.is_dir(), "`make build` comes first"
    return built
