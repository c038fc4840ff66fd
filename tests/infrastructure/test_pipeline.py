"""The pipeline's laws: pinned actions, least permissions, no secrets, approval before prod; and scripts that parse."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cfnlint import api
from cfnlint.config import ManualArgs

from testing.stack import REGION, ROOT, parse

PIPELINE = ROOT / ".github" / "workflows" / "pipeline.yml"
ROLE = ROOT / ".github" / "deploy-role.yaml"
TEXT = PIPELINE.read_text(encoding="utf-8")
WORKFLOW = yaml.safe_load(TEXT)
JOBS: dict[str, Any] = WORKFLOW["jobs"]
TRIGGERS = WORKFLOW[True]
"""YAML 1.1 reads the key `on` as true."""
MOST_MINUTES = 60

STEPS = [(name, number, step) for name, job in JOBS.items() for number, step in enumerate(job["steps"])]
SCRIPTS = [(name, number, step["run"]) for name, number, step in STEPS if "run" in step]


def expressions(value: object) -> Iterator[str]:
    """Yield what stands between ${{ and }} anywhere in a value."""
    if isinstance(value, dict):
        for item in value.values():
            yield from expressions(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item)
    elif isinstance(value, str):
        yield from (each.strip() for each in re.findall(r"\$\{\{(.*?)\}\}", value))


def test_every_action_is_pinned_by_commit_and_says_its_version() -> None:
    """A tag can be moved to other code; the comment is for those who update it. One pin an action."""
    used = [line.strip().removeprefix("- ") for line in TEXT.splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert len(used) == len([step for _, _, step in STEPS if "uses" in step])
    for line in used:
        assert re.fullmatch(r"uses: [a-z-]+/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line
    actions = {line.split()[1] for line in used}
    assert len({action.partition("@")[0] for action in actions}) == len(actions)


def test_nothing_is_permitted_unless_a_job_says_so() -> None:
    """Each job reads the code; only what deploys may ask for a token, and then in an environment."""
    assert WORKFLOW["permissions"] == {}
    for name, job in JOBS.items():
        deploys = "environment" in job
        wanted = {"contents": "read"} | ({"id-token": "write"} if deploys else {})
        assert job["permissions"] == wanted, name
        uses_aws = any("configure-aws-credentials" in step.get("uses", "") for step in job["steps"])
        assert uses_aws == deploys, name


def test_there_are_no_secrets() -> None:
    """OIDC needs none; and an environment's variables are for the jobs in it."""
    assert "secrets." not in TEXT
    assert "AWS_SECRET" not in TEXT
    for name, job in JOBS.items():
        if "environment" not in job:
            assert [each for each in expressions(job) if each.startswith("vars.")] == [], name


@pytest.mark.parametrize("name", JOBS)
def test_every_job_ends(name: str) -> None:
    """Without a time-out a job that hangs runs for six hours."""
    assert 0 < JOBS[name]["timeout-minutes"] <= MOST_MINUTES


@pytest.mark.parametrize("name", JOBS)
def test_runner_is_named_by_its_version(name: str) -> None:
    """`latest` is another machine from one day to the next."""
    assert re.fullmatch(r"ubuntu-\d\d\.04", JOBS[name]["runs-on"])


def test_needs_are_jobs_and_deploying_needs_all_the_others() -> None:
    """What is deployed was linted, tested on both Pythons, built and run."""
    for job in JOBS.values():
        assert set(job.get("needs", [])) <= set(JOBS)
    assert set(JOBS["deploy"]["needs"]) == set(JOBS) - {"deploy"}
    assert JOBS["check"]["strategy"]["matrix"]["python"] == ["3.11", "3.13"]


def test_main_goes_to_dev_and_a_release_to_prod() -> None:
    """And a pull request nowhere. A deployment is never broken off; environments do not wait for each other."""
    deploy = JOBS["deploy"]
    target = "${{ github.event_name == 'release' && 'prod' || 'dev' }}"
    assert set(TRIGGERS) == {"pull_request", "push", "release"}
    assert TRIGGERS["push"] == {"branches": ["main"]}
    assert TRIGGERS["release"] == {"types": ["published"]}
    is_main = "(github.event_name == 'push' && github.ref == 'refs/heads/main')"
    assert deploy["if"] == f"github.event_name == 'release' || {is_main}"
    assert (deploy["environment"], deploy["env"]["TARGET"]) == (target, target)
    assert deploy["concurrency"] == {"group": f"deploy-{target}", "cancel-in-progress": False}
    assert WORKFLOW["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"


def test_environments_are_samconfigs() -> None:
    """The smoke test asks the stack that was deployed."""
    samconfig = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    for environment in ("dev", "prod"):
        assert samconfig[environment]["deploy"]["parameters"]["stack_name"] == f"git2efs-{environment}"
    scripts = "\n".join(script for name, _, script in SCRIPTS if name == "deploy")
    assert '--config-env "$TARGET"' in scripts
    assert '--stack "git2efs-$TARGET"' in scripts


def test_what_was_tested_is_what_is_deployed() -> None:
    """The artefact is handed on, and not built a second time; for the template's default architecture."""
    deploy = "\n".join(script for name, _, script in SCRIPTS if name == "deploy")
    architecture = parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Parameters"]["Architecture"]["Default"]
    assert "build" not in deploy
    assert f"--template-file .aws-sam/{architecture}/template.yaml" in deploy
    assert any(f"tar -cf artefact.tar .aws-sam/{architecture}" in script for _, _, script in SCRIPTS)


@pytest.mark.parametrize(("name", "number", "script"), SCRIPTS, ids=[f"{name}-{number}" for name, number, _ in SCRIPTS])
def test_script_parses_and_has_nothing_of_an_event_in_it(name: str, number: int, script: str) -> None:
    """An expression in a script is text before it is a script: a branch's name could be a command."""
    assert list(expressions(script)) == []
    result = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_scripts_make_what_the_makefile_has() -> None:
    """A target that was renamed would fail here first."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made = {words[-1] for _, _, script in SCRIPTS if (words := script.split()) and words[0] == "make"}
    assert made == {"lint", "test-all", "e2e"}
    assert made <= targets


@pytest.mark.parametrize("step", [step for _, _, step in STEPS if "actions/checkout" in step.get("uses", "")])
def test_checkout_keeps_no_token(step: dict[str, Any]) -> None:
    """What the tests run needs none."""
    assert step["with"]["persist-credentials"] is False


def test_role_is_for_one_environment_of_one_repository() -> None:
    """Exact, without a wildcard: neither a pull request's job nor another repository's gets it."""
    template = parse(ROLE.read_text(encoding="utf-8"))
    (statement,) = template["Resources"]["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"},
        }
    }
    outputs = {value["Description"].split()[3] for value in template["Outputs"].values() if "variable" in str(value)}
    assert {f"vars.{name}" for name in outputs} | {"vars.AWS_REGION"} == {
        each for each in expressions(JOBS["deploy"]) if each.startswith("vars.")
    }


def test_role_may_make_every_resource_of_the_template() -> None:
    """A service that the template begins to use has to be added to CloudFormation's role."""
    kinds = {item["Type"] for item in parse((ROOT / "template.yaml").read_text())["Resources"].values()}
    services = {"ApiGatewayV2": "apigateway", "EFS": "elasticfilesystem", "Serverless": "lambda"}
    needed = {services.get(kind.split("::")[1], kind.split("::")[1].lower()) for kind in kinds} - {"iam"}
    role = parse(ROLE.read_text(encoding="utf-8"))["Resources"]["CloudFormationRole"]["Properties"]
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    made = [action for statement in statements for action in _listed(statement["Action"])]
    assert {f"{service}:*" for service in needed | {"apigateway", "scheduler"}} <= set(made)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_role_is_clean() -> None:
    """cfn-lint has nothing to say."""
    config = ManualArgs(regions=[REGION])
    assert [str(match) for match in api.lint(ROLE.read_text(encoding="utf-8"), config=config)] == []
