"""What a cold start loads before the first request is read."""

import json
import subprocess
import sys

import pytest

from testing.process import PROJECT

MOST_MODULES = 330
"""Beside what the bare interpreter has loaded. A hundred modules are about 30 ms of a cold start."""

FORBIDDEN = (
    "Crypto",
    "handler.network.app_tokens",
    "boto3",
    "dulwich.porcelain",
    "dulwich.client",
    "dulwich.repo",
    "pydantic",
    "requests",
)


ENTRIES = ("handler.webhook, handler.network.deliver", "handler.worker")
"""In direct mode the door loads what delivers when it is made, which is before the first request in Lambda."""


@pytest.fixture(scope="module", params=ENTRIES)
def loaded(request: pytest.FixtureRequest) -> list[str]:
    """Return the modules that importing an entry point loads."""
    code = f"import sys; bare = set(sys.modules); import {request.param}; "
    code += "import json; print(json.dumps(sorted(set(sys.modules) - bare)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(result.stdout)
    return modules


def test_the_entry_point_loads_no_more_modules_than_now(loaded: list[str]) -> None:
    """A new dependency of the door is a decision, not an accident."""
    assert len(loaded) <= MOST_MODULES


def test_only_github_is_loaded_of_the_forges(loaded: list[str]) -> None:
    """Another forge's module waits for its route, and a forge's API for a status or a webhook."""
    parts = {name.rpartition(".")[2] for name in loaded if name.startswith("handler.network.forges.")}
    assert parts <= {"github", "statuses"}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_the_door_does_not_need_is_not_loaded(loaded: list[str], name: str) -> None:
    """The AWS client waits until a parameter is read, what signs until there is a GitHub App; others are for nobody."""
    assert [module for module in loaded if module == name or module.startswith(f"{name}.")] == []
