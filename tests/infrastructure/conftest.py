"""The template, read and transformed once a process."""

import pytest

from testing.stack import MODES, Stack, read_stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The project's template, with every mode in it; tests that change it copy it first."""
    return read_stack()


@pytest.fixture(scope="session", params=MODES)
def mode(request: pytest.FixtureRequest) -> Stack:
    """The stack that each mode makes of the template, one after the other."""
    return read_stack().under(MODES[request.param])
