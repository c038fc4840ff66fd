"""`python -m local demo`, as `make run` calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import local.demo
from local.origin import FileContent
from local.tree import published_files
from tests.local.conftest import PROJECT


def test_the_demonstration_shows_every_step_and_leaves_nothing(tmp_path: Path) -> None:
    """The unchanged handler, a real child process, real fetches: exit 0, plain text, the directory removed."""
    done = subprocess.run(
        [sys.executable, "-m", "local", "demo"],
        cwd=PROJECT, env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[-1].startswith("Done in ")
    assert sum("equal the commit's" in line for line in lines) == 4
    (isolated,) = (line for line in lines if line.startswith("isolated"))
    assert "publishes, without a network" in isolated
    assert isolated.endswith("fails (NetworkForbidden)")
    answers = [json.loads(line) for line in lines if line.startswith("{")]
    assert [answer["outcome"] for answer in answers] == ["published", "published", "unchanged", "published", "rejected"]
    assert [answer.get("files_written") for answer in answers] == [9, 1, 0, 1, None]
    assert [line.split()[0] for line in lines if line.startswith(("log ", "metrics "))].count("log") == 5
    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_is_not_the_commits_fails_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It checks what it shows: with a path missing the exit status is 1, and the path is named."""

    def without_readme(root: str) -> dict[bytes, FileContent]:
        return {path: file for path, file in published_files(root).items() if path != b"README.md"}

    monkeypatch.setattr("local.demo.published_files", without_readme)
    assert local.demo.demo() == 1
    assert "FAILED: the published tree is not the commit's:\nREADME.md: was committed" in capsys.readouterr().err


def test_a_service_that_does_not_start_fails_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is the service's own last words."""
    monkeypatch.setenv("GIT2EFS_LOCK_SECONDS", "forever")
    assert local.demo.demo() == 1
    errors = capsys.readouterr().err
    assert errors.startswith("\nFAILED: the service ended by itself\n")
    assert "GIT2EFS_LOCK_SECONDS must be a number" in errors
