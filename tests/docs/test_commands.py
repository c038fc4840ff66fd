"""Every command that README and the pages show is one that there is, with the options and fields that it has.

What the commands do is tested where it can be done: `make deploy`, `sam` and README's way to a published push in
tests/deployed, `make run` and `make serve` in tests/local and tests/infrastructure. What needs Docker, a mount or
GitHub is only read here.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jmespath
import pytest

from handler.config.repository import parse_repository
from testing.documented import PAGES, PROGRAMS, PROJECT, Shown, commands_of, read_aws
from testing.stack import read_stack
from tools.deploy import BUILT as BUILT_HERE
from tools.template import PUBLISHED

BUILT = BUILT_HERE.name

COMMANDS = [command for page in PAGES for command in commands_of(page)]
BY_THE_CLI_ALONE = {("cloudformation", "deploy")}
"""Operations that only the AWS CLI has, and no service."""


def shown(*programs: str) -> list[Shown]:
    """Return the commands of these programs, each once."""
    found = {command.text: command for command in COMMANDS if _program(command) in programs}
    return list(found.values())


def _program(command: Shown) -> str:
    return command.words[0].removeprefix(".venv/bin/")


def _name(command: Shown) -> str:
    return command.text[:60]


def test_every_command_is_looked_at() -> None:
    """A page with a command of another program gets its check here first."""
    assert len(COMMANDS) > 40
    assert {_program(command) for command in COMMANDS} <= PROGRAMS
    assert {"aws", "gh", "make", "sam", "git2efs"} <= {_program(command) for command in COMMANDS}


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("command", shown("make"), ids=_name)
def test_make_knows_the_target_and_every_value(command: Shown) -> None:
    """A misspelt value would be passed over without a word."""
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    words = command.words[1:]
    targets = [word for word in words if "=" not in word]
    assert targets
    assert set(targets) <= set(re.findall(r"^([a-z0-9-]+):", text, re.MULTILINE))
    for word in set(words) - set(targets):
        assert f"$({word.partition('=')[0]})" in text


@pytest.mark.parametrize("command", shown("aws"), ids=_name)
def test_aws_has_the_operation_and_every_option(command: Shown) -> None:
    """By the services' own models; what is required is given, and a query can be read."""
    if tuple(command.words[1:3]) in BY_THE_CLI_ALONE:
        return
    call = read_aws(command.words)
    if call.query:
        jmespath.compile(call.query)
    if "/repositories/" in str(call.arguments.get("Name")):
        parse_repository("OWNER/NAME", call.arguments["Value"])
    if call.service == "lambda":
        json.loads(call.arguments["Payload"])


@pytest.mark.parametrize(
    "wrong", ["aws ssm put-parameters", "aws ssm put-parameter --name x", "aws sqs purge-queue --q u"]
)
def test_what_aws_has_not_is_found(wrong: str) -> None:
    """The test above can fail."""
    with pytest.raises(ValueError, match=r"has no|needs"):
        read_aws(wrong.split())


@pytest.mark.parametrize("command", shown("gh"), ids=_name)
def test_gh_is_asked_for_what_it_has(command: Shown) -> None:
    """A webhook with the fields that the receiver needs; variables of an environment."""
    _, action, *rest = command.words
    assert (action, rest[0]) in {("variable", "set"), ("api", "repos/OWNER/NAME/hooks")}
    if action == "api":
        fields = dict(word.split("=", 1) for before, word in pairwise(rest) if before == "-f")
        assert fields.keys() == {"name", "events[]", "config[url]", "config[content_type]", "config[secret]"}
        assert (fields["events[]"], fields["config[content_type]"]) == ("push", "json")


@pytest.mark.parametrize("command", shown("python"), ids=_name)
def test_module_has_every_option(command: Shown) -> None:
    """As `--help` tells them; files that pytest is given exist."""
    assert command.words[1] == "-m"
    module, *rest = command.words[2:]
    assert importlib.util.find_spec(module)
    if module == "pytest":
        assert all((PROJECT / word).exists() for word in rest if word.startswith("tests/"))
        return
    _knows(module, rest)


@pytest.mark.parametrize("command", shown("git2efs"), ids=_name)
def test_git2efs_has_the_action_and_every_option(command: Shown) -> None:
    """The command and the module are one."""
    _knows("handler.operate", command.words[1:])


def _knows(module: str, words: list[str]) -> None:
    actions = words[:1] if words and not words[0].startswith("--") else []
    result = subprocess.run(
        [sys.executable, "-m", module, *actions, "--help"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for word in words:
        if word.startswith("--"):
            assert word in result.stdout


@pytest.mark.parametrize("command", shown("sam"), ids=_name)
def test_sam_is_given_files_and_functions_that_there_are(command: Shown) -> None:
    """Its options are tried by tests/deployed; what needs Docker is only read."""
    action, *rest = command.words[1:]
    assert action in {"delete", "local", "package", "publish"}
    if action == "package":
        assert Path(rest[rest.index("--template-file") + 1]).parts == (BUILT, "arm64", PUBLISHED)
    if action in ("package", "publish"):
        assert rest[-1] == f"{BUILT}/packaged.yaml"
    if action == "delete":
        assert rest == ["--stack-name", "git2efs"]
    functions = {name for name, _ in read_stack().functions()}
    assert {word for word in rest if word.endswith("Function")} <= functions
    assert all((PROJECT / word).exists() for word in rest if word.startswith("tests/"))


def test_blocks_are_read_as_a_person_reads_them(tmp_path: Path) -> None:
    """Output is no command, a backslash goes on, and blocks with a language are no commands."""
    page = tmp_path / "page.md"
    page.write_text(
        "```\nmake build\nthen some output\n```\n```json\nmake none\n```\n"
        "```\n$ make run &\nmake is talking\n```\n  ```\n  X=1 aws ssm \\\n   get-parameter | less\n  ```\n"
    )
    commands = commands_of(page)
    assert [command.words for command in commands] == [
        ["make", "build"],
        ["make", "run"],
        ["aws", "ssm", "get-parameter"],
    ]
