"""The package: what `pip install .` brings, which is the handler and the command, and nothing else."""

import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest
from flit_core import buildapi

from tools.locks import PROJECT as ROOT

NAME = "git2efs"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The wheel's files: path and content."""
    directory = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        name = buildapi.build_wheel(str(directory))
    with zipfile.ZipFile(directory / name) as archive:
        return {each: archive.read(each) for each in archive.namelist()}


def test_wheel_has_the_handler_and_nothing_else(wheel: dict[str, bytes]) -> None:
    """Neither tests nor tools; every module, byte for byte."""
    (about,) = {path.split("/")[0] for path in wheel if not path.startswith("handler/")}
    assert about.startswith(f"{NAME}-")
    assert about.endswith(".dist-info")
    modules = {path: path.read_bytes() for path in (ROOT / "handler").rglob("*.py")}
    inside = {ROOT / path: content for path, content in wheel.items() if path.startswith("handler/")}
    assert inside == modules


def test_command_is_a_function_that_takes_no_argument(
    wheel: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """`git2efs --help` ends with 0, and shows the actions."""
    (text,) = (content for path, content in wheel.items() if path.endswith("/entry_points.txt"))
    parser = ConfigParser()
    parser.read_string(text.decode())
    assert dict(parser["console_scripts"]) == {NAME: parser["console_scripts"][NAME]}
    module, _, function = parser["console_scripts"][NAME].partition(":")
    main = getattr(import_module(module), function)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("sys.argv", [NAME, "--help"])
        main()
    assert ended.value.code == 0
    assert "rollback" in capsys.readouterr().out


def test_licence_comes_along(wheel: dict[str, bytes]) -> None:
    """It has to, by its own words."""
    licence = Path(ROOT / "LICENSE").read_bytes()
    assert licence in [content for path, content in wheel.items() if path.endswith("/LICENSE")]


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on PATH")
def test_make_venv_makes_the_command(tmp_path: Path) -> None:
    """It runs this folder's source from anywhere, also where another `handler` lies."""
    project, elsewhere = tmp_path / "a project", tmp_path / "elsewhere"
    (project / ".venv/bin").mkdir(parents=True)
    (project / "locks").mkdir()
    (elsewhere / "handler").mkdir(parents=True)
    (elsewhere / "handler/__init__.py").write_text("raise SystemExit('the wrong one')")
    for name in ("Makefile", "handler", "pyproject.toml"):
        (project / name).symlink_to(ROOT / name)
    (project / "locks/dev.txt").write_text("")
    python = project / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (project / ".venv/.complete").write_text("")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["make", "venv"], cwd=project, env=environment, check=True, capture_output=True)
    command = [str(project / ".venv/bin/git2efs"), "--version"]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{NAME} ")
