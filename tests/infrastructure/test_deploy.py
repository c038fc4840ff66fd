"""`make deploy`: what deploy.toml says becomes one `sam deploy`; what is wrong starts nothing. SAM is not run."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testing.stack import ROOT, TEMPLATE, parse
from tools import deploy

REGION = ("AWS_DEFAULT_REGION", "eu-central-1")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built template with the stack's parameters."""
    path = tmp_path_factory.mktemp("built") / "template.yaml"
    parameters = parse(TEMPLATE.read_text(encoding="utf-8"))["Parameters"]
    path.write_text(yaml.safe_dump({"Parameters": parameters}))
    return path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that were started; each ends with 0."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv(*REGION)
    return commands


def run(config: Path, template: Path, *more: str) -> int:
    """Run the command with this configuration."""
    return deploy.main(["--config", str(config), "--template-file", str(template), *more])


def test_three_values_are_remembered(
    started: list[list[str]], template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first time writes deploy.toml; the next one needs no value and starts the same."""
    config = tmp_path / "deploy.toml"
    values = ("--stack", "site", "--repository", "octo/site", "--email", "ops@example.com")
    assert run(config, template, *values) == 0
    assert str(config) in capsys.readouterr().out
    assert run(config, template) == run(config, template, *values) == 0
    assert started == [started[0]] * 3
    (command, *_) = started
    assert command[1:4] == ["deploy", "--config-file", str(ROOT / "samconfig.toml")]
    assert command[command.index("--stack-name") + 1] == "site"
    assert command[command.index("--parameter-overrides") + 1 :] == [
        'Architecture="arm64"',
        'FirstRepository="octo/site"',
        'AlarmEmail="ops@example.com"',
    ]


def test_no_value_is_needed(started: list[list[str]], template: Path, tmp_path: Path) -> None:
    """A stack named git2efs, with every parameter's default."""
    assert run(tmp_path / "deploy.toml", template) == 0
    assert started[0][started[0].index("--stack-name") + 1 :][-2:] == ["--parameter-overrides", 'Architecture="arm64"']


def test_everything_else_stands_in_the_file(started: list[list[str]], template: Path, tmp_path: Path) -> None:
    """Numbers and truths as the template wants them; the architecture selects what is deployed."""
    config = tmp_path / "deploy.toml"
    config.write_text(
        'stack = "site"\nregion = "us-west-2"\narchitecture = "x86_64"\n'
        "[parameters]\nMemorySize = 1024\nDashboard = false\nReconcileRate = 'rate(1 minute)'\n"
    )
    assert run(config, template, "--no-execute-changeset") == 0
    (command,) = started
    assert command[command.index("--region") + 1] == "us-west-2"
    assert command[command.index("--parameter-overrides") + 1 :] == [
        'Architecture="x86_64"',
        'MemorySize="1024"',
        'Dashboard="false"',
        'ReconcileRate="rate(1 minute)"',
        "--no-execute-changeset",
    ]


def test_tags_are_the_stacks_own(started: list[list[str]], template: Path, tmp_path: Path) -> None:
    """CloudFormation gives them to all that it makes; without the table they stay as they are."""
    config = tmp_path / "deploy.toml"
    config.write_text("[tags]\nteam = 'web'\n'cost:centre' = 4711\n")
    assert run(config, template) == 0
    (command,) = started
    tags = command[command.index("--tags") + 1 : command.index("--parameter-overrides")]
    assert tags == ["team=web", "cost:centre=4711"]
    config.write_text("")
    assert run(config, template) == 0
    assert "--tags" not in started[1]


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("stack = ", [], "Invalid value"),
        ('stak = "site"\nregion = 1', [], "region has to be text"),
        ('stak = "site"\nregion = 1', [], "stak is unknown"),
        ('architecture = "riscv"', [], "architecture has to be arm64 or x86_64"),
        ("parameters = 1", [], "parameters has to be a table"),
        ('[parameters]\nFirstRepo = "octo/site"', [], "the stack has no parameter FirstRepo"),
        ("[parameters]\nAlarmEmail = '\"a\"@b'", [], "AlarmEmail has a quote"),
        ('stack = "site"', ["--stack", "other"], "stack is 'site', and not 'other': change it there"),
        ('stack = "site"', ["--repository", "octo/site"], "FirstRepository is '', and not 'octo/site'"),
        ('profile = "nobody"', [], "nobody"),
        ("tags = 1", [], "tags has to be a table"),
        ("[tags]\nteam = 'web shop'", [], "the tag team=web shop may have letters"),
        ("[tags]\n'aws:team' = 'web'", [], "not begin with aws:"),
        ("[tags]\nteam = ''", [], "the tag team= may"),
    ],
)
def test_what_is_wrong_starts_nothing(
    started: list[list[str]],
    template: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    more: list[str],
    said: str,
) -> None:
    """Exit status 2, and words that say what to change."""
    (tmp_path / "deploy.toml").write_text(text)
    assert run(tmp_path / "deploy.toml", template, *more) == 2
    assert said in capsys.readouterr().err
    assert started == []


def test_without_a_build_or_a_region_nothing_starts(
    started: list[list[str]],
    template: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SAM would ask for the one much later, and make a bucket before it."""
    assert run(tmp_path / "deploy.toml", tmp_path / "none.yaml") == 2
    assert "run make build" in capsys.readouterr().err
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert run(tmp_path / "deploy.toml", template) == 2
    assert "no region" in capsys.readouterr().err
    assert started == []


def test_somebody_at_a_keyboard_is_asked(tmp_path: Path, template: Path) -> None:
    """samconfig.toml says so; where nobody sits, the question would end the deployment."""
    configuration = deploy.Configuration()
    assert "--no-confirm-changeset" not in deploy.command_of(configuration, template, asks=True)
    assert "--no-confirm-changeset" in deploy.command_of(configuration, template, asks=False)


def test_git_ignores_the_file() -> None:
    """It has what is this machine's alone; whatever it is called, as deploy-dev.toml."""
    assert "/deploy*.toml" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
