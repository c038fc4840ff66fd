"""`make accept`: a whole run, one that is interrupted, and what a killed one left. The account is then as it was."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testing.stack import ROOT
from tests.deployed.bridges import write_bridged_template
from tests.deployed.deployment import ARCHITECTURE
from tests.deployed.emulator import Emulator
from tools.accept.account import Account
from tools.accept.leftovers import find
from tools.accept.stacks import PREFIX

PAGE = (ROOT / "docs" / "acceptance.md").read_text(encoding="utf-8")
ACTIONS = {
    "efs": "elasticfilesystem",
    "s3:ListBuckets": "s3:ListAllMyBuckets",
    "s3:ListObjectsV2": "s3:ListBucket",
    "lambda:Invoke": "lambda:InvokeFunction",
}
"""IAM's names, where they are not the API's."""


@pytest.fixture
def options(emulator: Emulator, built: Path, tmp_path: Path) -> list[str]:
    """What the emulator needs: a template for it, a VPC that is there, this machine's processor."""
    subnets = emulator.client("ec2").describe_subnets()["Subnets"]
    private = [each["SubnetId"] for each in subnets if each["VpcId"] == subnets[0]["VpcId"]]
    parameters = {"VpcId": subnets[0]["VpcId"], "SubnetIdA": private[0], "SubnetIdB": private[1]}
    # A mount of its own: what an earlier run published there would be found.
    mount = tmp_path / f"mount-{tmp_path.name}"
    mount.mkdir()
    template = write_bridged_template(built, mount, has_routes=True)
    found = ["--endpoint-url", emulator.endpoint, "--template-file", str(template), "--architecture", ARCHITECTURE]
    found += [f"--parameter={name}={value}" for name, value in parameters.items()]
    return [*found, "--yes", "--report", str(tmp_path / "report.md")]


def account_of(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Return the account as the command sees it."""
    for name, value in emulator.credentials.items():
        monkeypatch.setenv(name, value)
    return Account(endpoint=emulator.endpoint)


def things_in(emulator: Emulator) -> list[str]:
    """Return what there is in the account, by other lists than the command's."""
    client = emulator.client
    names = [each["FunctionName"] for each in client("lambda").list_functions()["Functions"]]
    names += [each["RoleName"] for each in client("iam").list_roles()["Roles"]]
    names += [each["Name"] for each in client("scheduler").list_schedules()["Schedules"]]
    names += [each["ApiId"] for each in client("apigatewayv2").get_apis()["Items"]]
    names += [each["FileSystemId"] for each in client("efs").describe_file_systems()["FileSystems"]]
    names += [each["logGroupName"] for each in client("logs").describe_log_groups()["logGroups"]]
    names += [each["Name"] for each in client("s3").list_buckets()["Buckets"]]
    names += [each["Name"] for each in client("ssm").describe_parameters()["Parameters"]]
    return sorted(names)


def shape(report: str) -> dict[str, Any]:
    """Return what a report is about, without what was measured."""
    parts = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", report, re.MULTILINE))
    rows = {title: re.findall(r"^\| (.+) \|$", text, re.MULTILINE) for title, text in parts.items()}
    cells = {title: [row.split(" | ") for row in found] for title, found in rows.items()}
    return {
        "steps": [(name, result, promise) for name, result, _, promise in cells["Steps"]],
        "figures": [(step, name, known) for step, name, _, known in cells["Figures"]],
        "failed": parts["Failed"].split("\n"),
        "not run": parts["Not run"].split("\n"),
        "operations": parts["AWS operations that this command called"].split(),
    }


def test_a_run_proves_reports_and_leaves_nothing(emulator: Emulator, options: list[str], tmp_path: Path) -> None:
    """As `make accept` is typed; the report is as the page shows it, and the page's rights are enough."""
    before = things_in(emulator)
    done = subprocess.run(
        ["make", "--no-print-directory", "accept", f"ARGS={' '.join([*options, '--warm 2', '--burst 3'])}"],
        cwd=ROOT,
        env={**os.environ, **emulator.credentials},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0.10 USD" in done.stdout
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```markdown\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    found = shape(report)
    assert found == shape(shown)
    assert [name for name, result, _ in found["steps"] if result == "not run"] == [
        "trust",
        "bill",
        "on AWS alone: mount",
        "on AWS alone: network",
    ]
    (policy,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    statements = json.loads(policy)["Statement"]
    allowed = {
        action
        for each in statements
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    assert {action_of(each.strip("-` ")) for each in found["operations"] if each != "-"} <= allowed
    assert things_in(emulator) == before


def action_of(operation: str) -> str:
    """Return the right that an operation needs."""
    service, _, name = operation.partition(":")
    return ACTIONS.get(operation, f"{ACTIONS.get(service, service)}:{name}")


def until(emulator: Emulator, options: list[str], words: str, number: signal.Signals) -> int:
    """Start the command, send it a signal when it says these words, and return its exit status."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.accept", *options],
        cwd=ROOT,
        env={**os.environ, **emulator.credentials},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(words):
                process.send_signal(number)
                break
        process.stdout.read()
    return process.returncode


def test_an_interrupted_run_deletes_and_a_killed_ones_rest_is_found(
    emulator: Emulator, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupted one says what it did not run, and leaves the other's alone; `--clean` deletes that."""
    before = things_in(emulator)
    account = account_of(emulator, monkeypatch)
    assert until(emulator, options, "deploy: passed", signal.SIGKILL) == -signal.SIGKILL
    of_killed = find(account, PREFIX).names()
    assert {name.split()[0] for name in of_killed} == {"stack", "file", "parameter", "bucket"}
    # Not while a function runs: the emulator would make its log group anew, for which no role has the right.
    assert until(emulator, options, "deploy: passed", signal.SIGTERM) == 1
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert report.startswith("# git2efs: acceptance\n\n**Interrupted**")
    assert "- verify: the run was interrupted before it" in report
    assert "| delete | passed |" in report
    assert find(account, PREFIX).names() == of_killed
    assert until(emulator, [*options, "--clean"], "accept: deleted", signal.SIGCONT) == 0
    assert things_in(emulator) == before
