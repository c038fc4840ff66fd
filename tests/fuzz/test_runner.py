"""What the runner tells of a target's fuzzer; atheris itself is not needed for it."""

from pathlib import Path
from subprocess import Popen
from types import SimpleNamespace
from typing import cast

import pytest

from tests.fuzz import __main__ as runner

DONE = "#4096\tpulse  cov: 82 ft: 90\nstat::number_of_executed_units: 5000\n"


@pytest.mark.parametrize(
    ("status", "log", "told", "found"),
    [
        (0, DONE, "5000 executions, 82 branches: nothing found", False),
        (77, f"cov: 3\nTypeError: no\n{DONE}", "FOUND SOMETHING", True),
        (1, "ModuleNotFoundError: atheris", "? executions, ? branches: FOUND SOMETHING", True),
        (0, "nothing ran", "FOUND SOMETHING", True),
    ],
)
def test_a_target_that_raised_or_did_not_run_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    log: str,
    told: str,
    found: bool,
) -> None:
    """With the end of its log, which has the traceback; silence is no success."""
    monkeypatch.setattr(runner, "FOUND", tmp_path)
    (tmp_path / "pack.log").write_text(log)
    process = cast("Popen[str]", SimpleNamespace(returncode=status))
    assert runner._tell("pack", process) == found
    out = capsys.readouterr().out
    assert told in out
    assert (log in out) == found
