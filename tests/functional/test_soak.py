"""A short soak: its runs hold what they promise, and say so when a promise is broken."""

import subprocess
import sys

import pytest

from benchmarks.soak import Report
from testing.process import PROJECT


@pytest.mark.sampled(0)
def test_a_short_soak_keeps_every_promise() -> None:
    """Ten thousand pushes are for `make soak`."""
    command = [sys.executable, "-m", "benchmarks.soak", "--pushes", "20", "--bursts", "1", "--files", "40"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Kept.") == 3
    assert "| 10 | 1.0 | 1 | 0 |" in done.stdout, "a push of a burst wrote more than its one file"
    assert "pushes in bursts: 10 of 10" in done.stderr


def test_a_broken_promise_is_told() -> None:
    """In the table's place for the verdict."""
    report = Report("Run")
    report.hold(True, "this one")
    assert report.text.endswith("Kept.\n")
    report.hold(False, "that one")
    assert report.text.endswith("**Broken**: that one\n")
