"""Fixtures and guards for all tests. See testing for what they return."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from testing import fake_lambda, selection
from testing.event_bus import Bus
from testing.guards import forbid_network, isolated_environment, replace_environment
from testing.origin import GitOrigin
from testing.parameters import ParameterStore
from testing.queue import MessageQueue
from testing.repositories import Upstream
from testing.service import Service

# Else every run, and each of its workers, rewrites the assertions of all test modules anew: most of what it costs to
# collect them.
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--all` and `--transport`."""
    parser.addoption(
        "--transport",
        choices=("call", "function"),
        default="call",
        help="call the mount side in the same process, or invoke it as a function, as a deployed stack does",
    )
    parser.addoption("--all", action="store_true", help="try every case of the tests that try a sample (make test-all)")


def pytest_configure(config: pytest.Config) -> None:
    """Say before the tests are collected how many cases they try."""
    selection.try_all(config.getoption("--all"))
    os.environ[fake_lambda.VARIABLE] = config.getoption("--transport")
    # The same examples in every CI run: a red build has to be the change's own doing.
    settings.register_profile(
        "house",
        deadline=None,
        max_examples=selection.count(100, 25),
        derandomize=bool(os.environ.get("CI")),
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    settings.load_profile("house")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not in the sample."""
    if not selection.is_all() and (left_out := selection.deselect(items)):
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what is there by now, for good: a sixth of the time went into that."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a process whole files, and all of `crash`: what is made for a file, or once for a crew, is made once."""
    from xdist.scheduler import LoadScopeScheduling

    if config.getoption("dist") != "load":
        return None
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _file_or_crash
    return scheduler


def _file_or_crash(nodeid: str) -> str:
    return "crash" if nodeid.startswith("tests/crash/") else nodeid.partition("::")[0]


@pytest.fixture(scope="session", autouse=True)
def _isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's home, configuration, credentials and network out of every test."""
    before = dict(os.environ)
    replace_environment(os.environ, isolated_environment(tmp_path_factory.mktemp("home"), before))
    allow_network = forbid_network()
    yield
    allow_network()
    replace_environment(os.environ, before)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Return what tells a figure to whoever runs the tests; to standard error, for xdist swallows the other."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", file=sys.stderr)

    return say


@pytest.fixture(scope="session")
def parameter_store() -> Iterator[ParameterStore]:
    """Return the session's Parameter Store; tests keep apart by their prefixes."""
    store = ParameterStore()
    yield store
    store.stop()


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[GitOrigin]:
    """Return a started origin without repositories."""
    with GitOrigin(tmp_path / "origin", is_remembering=True) as started:
        started.root.mkdir()
        yield started


@pytest.fixture
def upstream(origin: GitOrigin) -> Upstream:
    """Return the origin's empty repository `octo/site`."""
    return Upstream(origin.root)


@pytest.fixture
def queue() -> Iterator[MessageQueue]:
    """Return an empty queue, with dead letters."""
    started = MessageQueue()
    yield started
    started.stop()


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """Return an event bus that this process's clients find."""
    started = Bus()
    started.lead_here(monkeypatch)
    yield started
    started.stop()


@pytest.fixture
def service(tmp_path: Path, parameter_store: ParameterStore, origin: GitOrigin) -> Iterator[Service]:
    """Return the service under test, with a secret and no repositories."""
    started = Service(tmp_path / "mount", parameter_store, origin).start()
    yield started
    started.stop()
