"""The Makefile: what it does with signals, another Python, and what a run leaves in the project's folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.__main__ import _options
from testing.stack import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A `.venv` that is complete; its Python is the one that runs the tests."""
    directory = tmp_path / "venv"
    (directory / "bin").mkdir(parents=True)
    _write_program(directory / "bin" / "python", f'exec "{sys.executable}" "$@"')
    (directory / ".complete").touch()
    return directory


def _write_program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def would(environment: Path, *words: str) -> str:
    """Return the commands that `make` would run."""
    words = ("make", "--dry-run", f"VENV={environment}", *words)
    result = subprocess.run(words, cwd=ROOT, env=_plain(), capture_output=True, text=True, check=True)
    return result.stdout


def _plain() -> dict[str, str]:
    """The environment without what an outer `make` put there."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "PYTHON")}


@contextmanager
def serving(*words: str) -> Iterator[subprocess.Popen[str]]:
    """`make serve`, ready; whatever is left of its group is killed in the end."""
    process = subprocess.Popen(
        ["make", *words], cwd=ROOT, env=_plain(), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("git2efs: listening on ")
        yield process
    finally:
        if _is_there(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _is_there(group: int) -> bool:
    """Tell whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_signal_ends_the_server_with_make(environment: Path, tmp_path: Path) -> None:
    """As a supervisor sends it, to `make` alone: no orphan goes on serving."""
    with serving("serve", f"VENV={environment}", f"ROOT={tmp_path / 'mount'}", "PORT=0") as process:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        deadline = time.monotonic() + 30
        while _is_there(process.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not _is_there(process.pid)


def test_another_python_makes_the_environment_anew(environment: Path, tmp_path: Path) -> None:
    """It is not kept silently; without a name, and with the name of the same Python, it is."""
    other = _write_program(tmp_path / "other-python", "echo 3.14.0 another")
    assert "-m venv" not in would(environment, "venv")
    assert "-m venv" not in would(environment, "venv", f"PYTHON={sys.executable}")
    assert f"{other} -m venv {environment}" in would(environment, "venv", f"PYTHON={other}")


def test_what_was_published_here_is_neither_tracked_nor_linted(tmp_path: Path) -> None:
    """`make serve` publishes to ./mount; also where no git repository gives .gitignore a meaning."""
    assert "/mount/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount" / "published.py").write_text("import os,sys\nprint( undefined )\n")
    ruff = Path(sys.executable).with_name("ruff")
    for words in (("check",), ("format", "--check")):
        result = subprocess.run([ruff, *words, "."], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "mount" not in configuration["tool"]["mypy"]["files"]


def test_help_lists_the_targets() -> None:
    """Each with what it does."""
    result = subprocess.run(["make", "help"], cwd=ROOT, env=_plain(), capture_output=True, text=True, check=True)
    targets = {line.split()[1] for line in result.stdout.splitlines() if line.startswith("make ")}
    assert {"run", "serve", "test", "build", "deploy", "e2e", "bench"} <= targets


@pytest.mark.sampled(0)
@pytest.mark.parametrize("target", ["run"])
def test_readmes_first_command_runs(environment: Path, target: str) -> None:
    """As it stands there."""
    words = ("make", target, f"VENV={environment}")
    result = subprocess.run(words, cwd=ROOT, env=_plain(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "3 pushes published, 1 redelivery unchanged, 1 forgery refused" in result.stdout


def test_benchmarks_write_into_the_project_only_when_they_are_asked() -> None:
    """Results of a quick run there would contradict README's table, which a test compares."""
    assert _options(["--quick"]).output is None
    assert _options(["--record"]).output == ROOT / "benchmarks" / "results.md"
    with pytest.raises(SystemExit):
        _options(["--record", "--output", "other.md"])
