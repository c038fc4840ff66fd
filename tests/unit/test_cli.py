"""The command line: version, completion, colours, progress, the token; and that Ctrl-C is no traceback."""

import argparse
import io
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

from handler import cli
from handler.cli import command_line, credentials, parser, stacks, terminal
from handler.errors import ConfigurationInvalid, Malformed
from handler.model import Repository
from handler.network.operations.command import ACTIONS

PROJECT = Path(__file__).parents[2]
OURS = Repository(full_name="octo/site", url="https://github.com/octo/site.git")


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        """Say so."""
        return True


# -- version, completion ----------------------------------------------------------------------------------------------


def test_the_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    """It stands in one place."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert (ended.value.code, capsys.readouterr().out) == (0, f"git2efs {version}\n")


def test_without_the_project_beside_it_the_installed_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where nothing is installed either, as in a function, that it is not known."""
    monkeypatch.setattr(parser, "__file__", "/nowhere/handler/cli/parser.py")
    monkeypatch.setattr(metadata, "version", lambda name: f"{name} 7")
    assert parser.version() == "git2efs 7"

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert parser.version() == "unknown"


def script_of(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return a completion script."""
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(script: str, *words: str) -> Sequence[str]:
    """Return what bash offers for the last of the words."""
    line = " ".join(f"'{word}'" for word in words)
    code = f'{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _git2efs; printf "%s\\n" "${{COMPREPLY[@]}}"'
    found = subprocess.run(["bash", "-u", "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr == ""
    return found.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on PATH")
def test_bash_completes_actions_and_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Each action its own."""
    script = script_of("bash", capsys)
    assert completed(script, "git2efs", "ro") == ["rollback"]
    assert completed(script, "git2efs", "rollback", "--w") == ["--why"]
    assert completed(script, "git2efs", "take-over", "octo/site", "--f") == ["--function", "--from"]
    assert completed(script, "git2efs", "completion", "z") == ["zsh"]
    assert set(completed(script, "git2efs", "")) >= {*ACTIONS, "add", "secret", "webhook", "completion", "--version"}


@pytest.mark.parametrize("shell", parser.SHELLS)
def test_every_action_and_option_is_in_each_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And the shell itself takes it, where it is installed."""
    script = script_of(shell, capsys)
    for name, action in parser.actions_of(parser.build_parser("git2efs")).items():
        (line, *_) = [each for each in script.splitlines() if re.search(rf"(?<![\w-]){name}(?![\w-])", each)]
        assert line
        options = [option for each in action._actions for option in each.option_strings if option.startswith("--")]
        spelled = [f"-l {each[2:]} " if shell == "fish" else each for each in options]
        assert [each for each in spelled if each not in script] == []
    if shutil.which(shell):
        flag = "--no-execute" if shell == "fish" else "-n"
        subprocess.run([shell, flag], input=script, text=True, check=True, capture_output=True)


# -- the terminal -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "environment", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_a_terminal_that_wants_them(
    stream: io.StringIO, environment: dict[str, str], wanted: bool
) -> None:
    """As no-color.org has it: set, and not empty."""
    assert terminal.wants_colours(stream, environment) is wanted


def test_who_waits_at_a_terminal_sees_that_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one line, which is gone at the end; a pipe gets one line that stays."""
    monkeypatch.delenv("TERM", raising=False)
    monkeypatch.setattr(terminal, "_TICK_SECONDS", 0.01)
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with terminal.waiting("asking ops\x1b[2J"):
        deadline = time.monotonic() + 5
        while "0 s" not in stream.getvalue():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert stream.getvalue().startswith("asking ops\\x1b[2J")
    assert stream.getvalue().endswith("\r\x1b[K")
    monkeypatch.setattr(sys, "stderr", pipe := io.StringIO())
    with terminal.waiting("asking ops"):
        pass
    assert pipe.getvalue() == "asking ops\n"


def test_an_interrupt_ends_it_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code that shells give it."""

    def interrupted(parsed: argparse.Namespace) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "_carry_out", interrupted)
    assert cli.main(["status"]) == 130
    assert capsys.readouterr().err.startswith("interrupted")


# -- which stack ------------------------------------------------------------------------------------------------------


def chosen(monkeypatch: pytest.MonkeyPatch, *options: str, **environment: str) -> tuple[object, list[object]]:
    """Return the stack that `status` with these options asks, and the profile and region that AWS is asked with."""
    used: list[object] = []
    monkeypatch.setattr(stacks, "_use_profile", lambda profile, region: used.extend((profile, region)))
    return stacks.choose_stack(parser.build_parser("git2efs").parse_args(["status", *options]), environment), used


def test_what_was_deployed_from_here_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In its region and with its profile; an option comes first, and another stack has nothing to do with them."""
    monkeypatch.setattr(stacks, "PROJECT", tmp_path)
    assert chosen(monkeypatch) == (stacks._Deployed("git2efs"), [None, None])
    (tmp_path / "deploy.toml").write_text('stack = "mine"\nregion = "eu-central-1"\nprofile = "work"\n[parameters]\n')
    mine = stacks._Deployed("mine")
    assert chosen(monkeypatch) == (mine, ["work", "eu-central-1"])
    assert chosen(monkeypatch, "--stack", "mine", "--region", "us-east-1") == (mine, ["work", "us-east-1"])
    assert chosen(monkeypatch, GIT2EFS_STACK="other") == (stacks._Deployed("other"), [None, None])
    assert chosen(monkeypatch, "--function", "ops")[1] == [None, None]
    assert chosen(monkeypatch, GIT2EFS_MOUNT="/mnt")[0].is_host  # type: ignore[attr-defined]
    (tmp_path / "deploy.toml").write_text("stack =")
    with pytest.raises(ConfigurationInvalid, match=r"deploy\.toml"):
        chosen(monkeypatch)


# -- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://github.com/octo/site.git", "GH_TOKEN"),
        ("https://octo.ghe.com/octo/site.git", "GITHUB_TOKEN"),
        ("https://git.example.com/octo/site.git", "GH_ENTERPRISE_TOKEN"),
        ("https://github.com.example.com/octo/site.git", "GITHUB_ENTERPRISE_TOKEN"),
    ],
)
def test_a_token_is_for_its_own_kind_of_host(url: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As GitHub's own CLI keeps them apart."""
    repository = Repository(full_name="octo/site", url=url)
    assert credentials.find_token(repository, {variable: "abc\n"}) == "abc"
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    others = dict.fromkeys((*credentials.GITHUB, *credentials.ENTERPRISE), "abc")
    for name in credentials.GITHUB if variable in credentials.GITHUB else credentials.ENTERPRISE:
        del others[name]
    with pytest.raises(Malformed, match="no token for"):
        credentials.find_token(repository, others)


def test_at_a_terminal_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed is not shown; nothing typed is no token."""
    asked = []

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return "" if len(asked) > 1 else "abc"

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", getpass)
    assert credentials.find_token(OURS, {}) == "abc"
    assert "github.com" in asked[0]
    with pytest.raises(Malformed):
        credentials.find_token(OURS, {})


@pytest.mark.parametrize("action", parser.SETUP_ACTIONS)
def test_no_option_takes_a_token_or_a_secret(action: str) -> None:
    """`ps` and the shell's history would show it."""
    options = [
        each for one in parser.actions_of(parser.build_parser("x"))[action]._actions for each in one.option_strings
    ]
    assert not {"--token", "--secret", "--password"} & set(options)
