"""The template, read and transformed once a process."""

import pytest

from .stack import Stack, read_stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The project's template; tests that change it copy it first."""
    return read_stack()
