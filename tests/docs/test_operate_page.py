"""What docs/operate.md says of actions, fields, options, states and exit codes is what there is.

And every `git2efs` command on any page is one that can be typed.
"""

import re
import shlex
from pathlib import Path

import pytest

from handler import cli
from handler.cli.parser import SETUP_ACTIONS, actions_of, build_parser
from handler.exchange.operations import TargetState
from handler.network.operations import operator
from handler.network.operations.command import ACTIONS, read_command

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "operate.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([\w-]+)[^`]*` \| (.*?) \|", PAGE, re.MULTILINE))
VALUES = {"repository": "octo/site", "path": "octo/site", "ref": "main", "to": "abcdef0", "why": "x", "by": "x"}
VALUES |= {"from": "octo/old"}
COMMON = {"--help", "--json", "--function", "--stack", "--local", "--region", "--profile"}
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")), PROJECT / "CHANGELOG.md"]


def test_every_action_is_there_with_its_fields() -> None:
    """All that it takes together, and nothing else."""
    assert set(ACTIONS) <= set(ROWS)
    for action in ACTIONS:
        fields = re.findall(r"`(\w+)`", ROWS[action])
        assert read_command({"action": action, **{field: VALUES.get(field, True) for field in fields}})


@pytest.mark.parametrize("action", [*ACTIONS, *SETUP_ACTIONS])
def test_every_option_is_there(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As the command itself tells them."""
    with pytest.raises(SystemExit):
        cli.main([action, "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out.partition("options:")[2]))
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{action}"))
    assert set(re.findall(r"--[a-z-]+", line.split("`")[1])) == options - COMMON
    assert [each for each in COMMON - {"--help"} if f"`{each}" not in PAGE] == []


def test_states_and_exit_codes_are_there() -> None:
    """Each once."""
    states = re.findall(r"^\| `([a-z ]+)` \|", PAGE.partition("## States")[2], re.MULTILINE)
    assert sorted(states) == sorted(TargetState)
    codes = [int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)]
    assert codes == [operator.WELL, operator.ATTENTION, operator.REFUSED, operator.FAILED]


def commands_in(text: str) -> list[list[str]]:
    """Return the `git2efs` commands of a page, in blocks and in sentences, each as its words."""
    parts = re.split(r"^ *```.*$", text, flags=re.MULTILINE)
    lines = re.findall(r"^ *(?:\$ )?(?:\.venv/bin/)?git2efs ([a-z].*)$", "\n".join(parts[1::2]), re.MULTILINE)
    lines += [each.replace("\n", " ") for each in re.findall(r"`git2efs ([a-z][^`]*)`", "\n".join(parts[::2]))]
    return [shlex.split(line, comments=True) for line in lines if "..." not in line]


def test_every_command_on_a_page_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """With its options, and what they take."""
    parser = build_parser("git2efs")
    found = [command for page in PAGES for command in commands_in(page.read_text(encoding="utf-8"))]
    assert len(found) > 8
    for command in found:
        if len(command) == 1:
            assert command[0] in actions_of(parser), command  # a sentence about an action
            continue
        try:
            parser.parse_args(command)
        except SystemExit:
            pytest.fail(f"git2efs {' '.join(command)}: {capsys.readouterr().err}")


@pytest.mark.parametrize(
    "text", ["`git2efs take-over x`", "```\n$ git2efs rollback --back\n```", "```sh\ngit2efs destroy all\n```"]
)
def test_a_command_that_cannot_be_typed_is_found(text: str) -> None:
    """The test above can fail."""
    (command,) = commands_in(text)
    with pytest.raises(SystemExit):
        build_parser("git2efs").parse_args(command)
