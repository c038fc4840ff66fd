"""What docs/operate.md says of actions, fields, options, states and exit codes is what there is."""

import re
from pathlib import Path

import pytest

from handler import cli
from handler.exchange.operations import TargetState
from handler.network.operations import operator
from handler.network.operations.command import ACTIONS, read_command

PAGE = (Path(__file__).parents[2] / "docs" / "operate.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `(\w+)[^`]*` \| (.*?) \|", PAGE, re.MULTILINE))
VALUES = {"repository": "octo/site", "path": "octo/site", "ref": "main", "to": "abcdef0", "why": "x", "by": "x"}


def test_every_action_is_there_with_its_fields() -> None:
    """All that it takes together, and nothing else."""
    assert set(ACTIONS) <= set(ROWS)
    for action in ACTIONS:
        fields = re.findall(r"`(\w+)`", ROWS[action])
        assert read_command({"action": action, **{field: VALUES.get(field, True) for field in fields}})


@pytest.mark.parametrize("action", ACTIONS)
def test_every_option_is_there(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As the command itself tells them."""
    with pytest.raises(SystemExit):
        cli.main([action, "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out.partition("options:")[2])) - {"--help"}
    line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{action}"))
    assert set(re.findall(r"--[a-z-]+", line.split("`")[1])) == options - {"--json", "--function"}
    assert "`--json`" in PAGE


def test_states_and_exit_codes_are_there() -> None:
    """Each once."""
    states = re.findall(r"^\| `([a-z ]+)` \|", PAGE.partition("## States")[2], re.MULTILINE)
    assert sorted(states) == sorted(TargetState)
    codes = [int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)]
    assert codes == [operator.WELL, operator.ATTENTION, operator.REFUSED, operator.FAILED]
